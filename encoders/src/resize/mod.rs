//! Pillow's `Image.resize`, bit for bit, for 8-bit pixels of any number of channels.
//!
//! Models were trained and measured behind Pillow, and its resampling is unlike other libraries': the kernel is widened when
//! shrinking (antialiasing), each axis is one pass, and between the passes the values are rounded and clipped to 8 bits, with
//! fixed-point weights. A general resize crate is about as fast and differs by several levels in places, which moves
//! embeddings; so the arithmetic here is that of `src/libImaging/Resample.c`, only arranged for SIMD.
//!
//! The version is Pillow 13. Up to Pillow 12 the horizontal pass always came first; since 13 the vertical one does when the
//! height loses much more than the width ([`vertical_first`]), which moves a few levels in tall pictures.
//!
//! What must stay true: every pixel equals Pillow's (`tests/raster.rs` compares with rasters that Pillow made), and the
//! work is proportional to the source and the window asked for, never to the size of the resized image, which an extreme
//! aspect ratio can make huge.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod axis;
mod portable;

use std::ops::Range;

use image::RgbImage;
use pictor_core::RasterSize;

use self::axis::Axis;
pub use self::axis::Filter;

/// The part of a resized image that is wanted, in its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub columns: Range<u32>,
    pub rows: Range<u32>,
}

impl Window {
    /// All of an image of this size.
    pub fn all(size: RasterSize) -> Self {
        Self { columns: 0..size.width, rows: 0..size.height }
    }
}

/// Pillow's `Image.resize(size, filter)` of an RGB image, in every bit.
///
/// # Panics
/// When a side is zero, of either.
pub fn resize_rgb(image: &RgbImage, size: RasterSize, filter: Filter) -> RgbImage {
    let from = RasterSize { width: image.width(), height: image.height() };
    let sides = [from.width, from.height, size.width, size.height];
    assert!(!sides.contains(&0), "no image of {from:?} or {size:?}");
    let pixels = resize::<3>(image.as_raw(), from, size, &Window::all(size), filter);
    RgbImage::from_raw(size.width, size.height, pixels).expect("three bytes a pixel; this is a bug")
}

/// Resizes `pixels`, an image of `N` interleaved channels and the size `from`, to `full` and returns the part inside `window`,
/// row by row.
///
/// Sizes must not be zero and the window must lie inside `full`; callers hold both.
pub(crate) fn resize<const N: usize>(
    pixels: &[u8],
    from: RasterSize,
    full: RasterSize,
    window: &Window,
    filter: Filter,
) -> Vec<u8> {
    let vertical_first = vertical_first(from, full);
    let columns = Axis::new(from.width, full.width, window.columns.clone(), filter);
    let rows = Axis::new(from.height, full.height, window.rows.clone(), filter);
    let stride = from.width as usize * N;
    let needed = rows.source();
    let pixels = &pixels[needed.start * stride..needed.end * stride];
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, the only feature the function is compiled for.
        return unsafe { avx2::both_passes::<N>(pixels, stride, &columns, &rows, vertical_first) };
    }
    portable::both_passes::<N>(pixels, stride, &columns, &rows, vertical_first)
}

/// As [`resize`], with the nearest pixel of the source for each wanted one (`ImagingScaleAffine` of `libImaging/Geometry.c`).
///
/// Pillow adds up the step from the first pixel on, and so must we: the sums, not the products, decide the ties.
pub(crate) fn nearest<const N: usize>(
    pixels: &[u8],
    from: RasterSize,
    full: RasterSize,
    window: &Window,
) -> Vec<u8> {
    let positions = |input: u32, output: u32, window: &Range<u32>| -> Vec<usize> {
        let step = f64::from(input) / f64::from(output);
        let sums = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
        let wanted = sums.skip(window.start as usize).take(window.len());
        wanted.map(|at| (at as usize).min(input as usize - 1)).collect()
    };
    let columns = positions(from.width, full.width, &window.columns);
    let (pixels, _) = pixels.as_chunks::<N>();
    let mut out = Vec::with_capacity(window.rows.len() * columns.len() * N);
    for y in positions(from.height, full.height, &window.rows) {
        let row = &pixels[y * from.width as usize..][..from.width as usize];
        columns.iter().for_each(|&x| out.extend_from_slice(&row[x]));
    }
    out
}

/// Whether Pillow takes the vertical pass first: the height shrinks, by more than twice as many pixels as the width does
/// (Pillow pull request 9549, released in 13.0). The passes round in between, so the order shows in the pixels.
fn vertical_first(from: RasterSize, to: RasterSize) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (width, height) = (lost(from.width, to.width), lost(from.height, to.height));
    height > 0 && height > 2 * width
}
