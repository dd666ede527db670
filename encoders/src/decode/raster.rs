//! Pixels in the mode that Pillow would have them in, since the mode decides how Pillow resizes them.
//!
//! What must stay true: every conversion is Pillow's (`libImaging/Convert.c`, `AlphaComposite.c`) in every bit.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use pictor_core::RasterSize;

/// A decoded image, 8 bits a channel, interleaved, row by row.
#[derive(Debug)]
pub(crate) struct Raster {
    pub size: RasterSize,
    /// `height × width × mode.channels()` bytes.
    pub pixels: Vec<u8>,
    pub mode: Mode,
}

/// What the channels are, and what Pillow does with them in a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `L`.
    Grey,
    /// `RGB`.
    Rgb,
    /// `RGBA` and `LA`, whose alpha weighs the colours when they are resized.
    Rgba,
    /// `L` and `RGB` with a transparent colour, which Pillow keeps beside the pixels; stored as RGBA.
    Keyed,
    /// `P` and `1`, which are never interpolated; stored as RGBA with the palette's alpha.
    Indexed,
    /// `CMYK`, 0 for no ink.
    Cmyk,
}

impl Mode {
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba | Self::Keyed | Self::Indexed | Self::Cmyk => 4,
        }
    }
}

impl Raster {
    /// From pixels of that many channels.
    pub fn new(size: RasterSize, pixels: Vec<u8>, mode: Mode) -> Self {
        let expected = size.width as usize * size.height as usize * mode.channels();
        assert_eq!(pixels.len(), expected, "a raster of {size:?} in {mode:?}; this is a bug");
        Self { size, pixels, mode }
    }

    /// Turned and mirrored as an EXIF orientation says.
    pub fn oriented(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let Self { size: RasterSize { width, height }, pixels, mode } = self;
        let image = match mode.channels() {
            1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
            3 => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
            _ => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgba8),
        };
        let mut image = image.expect("as many pixels as the size says; this is a bug");
        image.apply_orientation(orientation);
        let size = RasterSize { width: image.width(), height: image.height() };
        Self::new(size, image.into_bytes(), mode)
    }

    /// `Image.convert("RGB")`: alpha is dropped and not blended, grey becomes three equal channels.
    pub fn into_rgb(self) -> Vec<u8> {
        rgb(self.pixels, self.mode)
    }

    /// What is transparent laid over white, as transformers does since version 5
    /// (`transformers/image_transforms.py::convert_to_rgb`).
    pub fn into_rgb_over_white(self) -> Vec<u8> {
        match self.mode {
            Mode::Rgba | Mode::Keyed | Mode::Indexed => each(&self.pixels, over_white),
            Mode::Grey | Mode::Rgb | Mode::Cmyk => self.into_rgb(),
        }
    }
}

/// `Image.convert("RGB")` of pixels in `mode`.
pub(crate) fn rgb(pixels: Vec<u8>, mode: Mode) -> Vec<u8> {
    match mode {
        Mode::Grey => each(&pixels, |[level]| [level; 3]),
        Mode::Rgb => pixels,
        Mode::Rgba | Mode::Keyed | Mode::Indexed => each(&pixels, |[r, g, b, _]| [r, g, b]),
        Mode::Cmyk => each(&pixels, |[c, m, y, k]| {
            // `cmyk2rgb` of Convert.c.
            let light = 255 - k;
            [c, m, y].map(|ink| light - times(ink, light))
        }),
    }
}

/// Colours times alpha: Pillow's modes `RGBa` and `La`, in which it resizes (`rgba2rgbA` of Convert.c).
pub(crate) fn premultiplied(pixels: &[u8]) -> Vec<u8> {
    each(pixels, |[r, g, b, alpha]| [times(r, alpha), times(g, alpha), times(b, alpha), alpha])
}

/// Colours divided by alpha again, and alpha dropped (`rgbA2rgba` of Convert.c).
pub(crate) fn rgb_of_premultiplied(pixels: &[u8]) -> Vec<u8> {
    each(pixels, |[r, g, b, alpha]| match alpha {
        0 | 255 => [r, g, b],
        // Past 255 where the kernel overshoots.
        _ => [r, g, b].map(|level| (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8),
    })
}

/// `a × b / 255`, rounded: `MULDIV255` of `ImagingUtils.h`.
fn times(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// `ImagingAlphaComposite` of AlphaComposite.c over opaque white: 7 more bits in the weights, rounded.
fn over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let weight = u32::from(alpha) << 7;
    [r, g, b].map(|level| {
        let sum = u32::from(level) * weight + 255 * ((255 << 7) - weight) + (0x80 << 7);
        ((((sum >> 8) + sum) >> 8) >> 7) as u8
    })
}

/// `convert` of every pixel.
fn each<const N: usize, const M: usize>(pixels: &[u8], convert: impl Fn([u8; N]) -> [u8; M]) -> Vec<u8> {
    let mut out = vec![0; pixels.len() / N * M];
    for (to, from) in out.as_chunks_mut::<M>().0.iter_mut().zip(pixels.as_chunks::<N>().0) {
        *to = convert(*from);
    }
    out
}
