//! Pillow's `Image.resize`, bit for bit, for 8-bit pixels of any number of channels.
//!
//! Models were trained and measured behind Pillow, and its resampling is unlike other libraries': the kernel is widened when
//! shrinking (antialiasing), each axis is one pass, and between the passes the values are rounded and clipped to 8 bits, with
//! fixed-point weights. A general resize crate is faster still and differs by several levels in places, which moves
//! embeddings; so the arithmetic here is that of `src/libImaging/Resample.c`, only arranged for SIMD.
//!
//! The version is Pillow 13. Up to Pillow 12 the horizontal pass always came first; since 13 the vertical one does when the
//! height loses much more than the width ([`vertical_first`]), which moves a few levels in tall pictures.
//!
//! What must stay true: every pixel equals Pillow's (`tests/raster.rs` compares with rasters that Pillow made), and the
//! work is proportional to the source and the window asked for, never to the size of the resized image, which an extreme
//! aspect ratio can make huge.

use std::ops::Range;

use pictor_core::RasterSize;
use serde::{Deserialize, Serialize};

/// Interpolation kernels, by Pillow's names; both are widened by the scale when shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Catmull-Rom: cubic convolution with a = -0.5, support 2.
    Bicubic,
    /// Triangle, support 1.
    Bilinear,
}

impl Filter {
    /// Half the kernel's width, in source pixels, when not shrinking.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    /// `bicubic_filter` and `bilinear_filter` of Resample.c, with the operations in the same order: f64 addition is not
    /// associative, and a last bit here is a pixel there.
    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            _ => 0.0,
        }
    }
}

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

/// Fraction bits of a weight: 8 bits for the pixel and 2 for the sum, which may leave 0..=255 by the kernel's overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Rows that the horizontal pass takes at once: two AVX2 registers of sums for each channel.
const LANES: usize = 16;

/// Columns times channels that the vertical pass takes at once: four AVX2 registers of sums.
const STRIP: usize = 32;

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
        return unsafe { both_passes_avx2::<N>(pixels, stride, &columns, &rows, vertical_first) };
    }
    both_passes::<N>(pixels, stride, &columns, &rows, vertical_first)
}

/// The same code compiled for AVX2, which has the 32-bit multiply that baseline x86-64 lacks: five times as fast.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn both_passes_avx2<const N: usize>(
    pixels: &[u8],
    stride: usize,
    columns: &Axis,
    rows: &Axis,
    vertical_first: bool,
) -> Vec<u8> {
    both_passes::<N>(pixels, stride, columns, rows, vertical_first)
}

#[inline(always)]
fn both_passes<const N: usize>(
    pixels: &[u8],
    stride: usize,
    columns: &Axis,
    rows: &Axis,
    vertical_first: bool,
) -> Vec<u8> {
    if vertical_first {
        horizontal::<N>(&vertical(pixels, stride, rows), stride, columns)
    } else {
        vertical(&horizontal::<N>(pixels, stride, columns), columns.starts.len() * N, rows)
    }
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

/// Each row of `pixels` to `axis.starts.len()` pixels.
///
/// Rows are taken [`LANES`] at a time and turned so that the same column of all of them is adjacent: then every weight
/// multiplies whole registers.
#[inline(always)]
fn horizontal<const N: usize>(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    let out_stride = axis.starts.len() * N;
    let mut out = vec![0; pixels.len() / stride * out_stride];
    let part = axis.source();
    let bytes = part.start * N..part.end * N;
    let mut turned = vec![[[0u8; LANES]; N]; part.len()];
    for (block, out_block) in pixels.chunks(stride * LANES).zip(out.chunks_mut(out_stride * LANES)) {
        for (lane, row) in block.chunks_exact(stride).enumerate() {
            for (column, pixel) in turned.iter_mut().zip(row[bytes.clone()].as_chunks::<N>().0) {
                for channel in 0..N {
                    column[channel][lane] = pixel[channel];
                }
            }
        }
        for (x, (start, weights)) in axis.taps().enumerate() {
            let mut sums = [[1i32 << (PRECISION_BITS - 1); LANES]; N];
            let from = start - part.start;
            for (column, &weight) in turned[from..from + weights.len()].iter().zip(weights) {
                for (sums, levels) in sums.iter_mut().zip(column) {
                    for (sum, &level) in sums.iter_mut().zip(levels) {
                        *sum += i32::from(level) * weight;
                    }
                }
            }
            // All at once and by value, so that the sums stay in registers.
            let levels = sums.map(|sums| sums.map(clip8));
            for (lane, row) in out_block.chunks_exact_mut(out_stride).enumerate() {
                for channel in 0..N {
                    row[x * N + channel] = levels[channel][lane];
                }
            }
        }
    }
    out
}

/// Rows of `stride` bytes to `axis.starts.len()` rows.
#[inline(always)]
fn vertical(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    let mut out = vec![0; axis.starts.len() * stride];
    let first = axis.source().start;
    for ((start, weights), row) in axis.taps().zip(out.chunks_exact_mut(stride)) {
        let sources = &pixels[(start - first) * stride..];
        let mut strips = row.chunks_exact_mut(STRIP);
        let mut from = 0;
        for strip in strips.by_ref() {
            let mut sums = [1i32 << (PRECISION_BITS - 1); STRIP];
            for (source, &weight) in sources.chunks_exact(stride).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(&source[from..from + STRIP]) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (value, sum) in strip.iter_mut().zip(sums) {
                *value = clip8(sum);
            }
            from += STRIP;
        }
        for (i, value) in strips.into_remainder().iter_mut().enumerate() {
            let column = sources.chunks_exact(stride).map(|source| i32::from(source[from + i]));
            let sum: i32 = column.zip(weights).map(|(value, weight)| value * weight).sum();
            *value = clip8(sum + (1 << (PRECISION_BITS - 1)));
        }
    }
    out
}

/// A sum of weighted pixels, with one half added, back to 8 bits.
#[inline(always)]
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Which source pixels make each wanted pixel of one axis, and with which weights (`precompute_coeffs` and
/// `normalize_coeffs_8bpc` of Resample.c).
struct Axis {
    /// First source pixel of each wanted pixel; never decreasing.
    starts: Vec<usize>,
    /// Source pixels of each wanted pixel, 1 or more.
    counts: Vec<usize>,
    /// Weights in units of 2^-[`PRECISION_BITS`], `longest` for each wanted pixel, zero past its count.
    weights: Vec<i32>,
    longest: usize,
}

impl Axis {
    fn new(input: u32, output: u32, window: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let inverse = 1.0 / filter_scale;
        // An axis that keeps its size has one weight of 1 (both kernels are 0 at every other whole number), and Pillow skips
        // its pass; taking it with that weight gives the same bytes.
        let longest = if input == output { 1 } else { support.ceil() as usize * 2 + 1 };
        let mut axis = Self {
            starts: Vec::with_capacity(window.len()),
            counts: Vec::with_capacity(window.len()),
            weights: Vec::with_capacity(window.len() * longest),
            longest,
        };
        let mut exact = Vec::with_capacity(longest);
        for x in window {
            let center = (f64::from(x) + 0.5) * scale;
            // C's cast truncates towards zero and so does `as`; a negative start is 0 either way.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input as usize);
            let (start, end) = if input == output { (x as usize, x as usize + 1) } else { (start, end) };
            exact.clear();
            exact.extend((start..end).map(|i| filter.at((i as f64 - center + 0.5) * inverse)));
            let total: f64 = exact.iter().sum();
            axis.starts.push(start);
            axis.counts.push(end - start);
            axis.weights.extend(exact.iter().map(|weight| fixed_point(weight / total)));
            axis.weights.resize(axis.starts.len() * longest, 0);
        }
        axis
    }

    /// First source pixel and weights of each wanted pixel.
    #[inline(always)]
    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.longest);
        self.starts
            .iter()
            .zip(&self.counts)
            .zip(weights)
            .map(|((&start, &count), weights)| (start, &weights[..count]))
    }

    /// The source pixels that any wanted pixel reads.
    fn source(&self) -> Range<usize> {
        let end = self.starts.iter().zip(&self.counts).map(|(start, count)| start + count).max();
        self.starts.first().copied().unwrap_or(0)..end.unwrap_or(0)
    }
}

/// A weight in units of 2^-[`PRECISION_BITS`], rounded half away from zero as Pillow rounds it.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}
