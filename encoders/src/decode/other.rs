//! PNG, WebP and BMP through the image crate, whose pixels are exact for the lossless of them; the mode that Pillow would read
//! them in is told from the header, since the decoder expands palettes and single bits.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use pictor_core::RasterSize;

use super::raster::{Mode, Raster};

/// A file whose header has been read.
pub(super) struct Other<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    /// Of the stored image, before any orientation.
    pub size: RasterSize,
    /// Not the decoder's colour type alone says it.
    stored: Option<Mode>,
}

impl<'a> Other<'a> {
    /// Reads the header; `most_bytes` is what the decoder may allocate.
    pub fn open(bytes: &'a [u8], format: ImageFormat, most_bytes: u64) -> Result<Self, String> {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(most_bytes);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions();
        let stored = match format {
            ImageFormat::Png => png_mode(bytes),
            ImageFormat::Bmp => bmp_mode(bytes),
            _ => None,
        };
        Ok(Self { decoder: Box::new(decoder), size: RasterSize { width, height }, stored })
    }

    /// As the EXIF block says, where there is one that can be read.
    pub fn orientation(&mut self) -> Orientation {
        self.decoder.orientation().unwrap_or(Orientation::NoTransforms)
    }

    pub fn read(self) -> Result<Raster, String> {
        let image = DynamicImage::from_decoder(self.decoder).map_err(|error| error.to_string())?;
        Ok(raster(image, self.stored))
    }
}

/// 8 bits a channel, in the mode that is `stored` or that the channels say.
///
/// 16-bit colour keeps its high byte, which is Pillow's reading of it. Pillow clips 16-bit grey to white, which shows nothing;
/// here it keeps its high byte too.
fn raster(image: DynamicImage, stored: Option<Mode>) -> Raster {
    let size = RasterSize { width: image.width(), height: image.height() };
    let high = |levels: Vec<u16>| levels.into_iter().map(|level| (level >> 8) as u8).collect();
    let spread = |pairs: Vec<u8>| -> Vec<u8> {
        pairs.as_chunks().0.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]).collect()
    };
    let (pixels, mode) = match image {
        DynamicImage::ImageLuma8(image) => (image.into_raw(), Mode::Grey),
        DynamicImage::ImageLuma16(image) => (high(image.into_raw()), Mode::Grey),
        DynamicImage::ImageLumaA8(image) => (spread(image.into_raw()), Mode::Rgba),
        DynamicImage::ImageLumaA16(image) => (spread(high(image.into_raw())), Mode::Rgba),
        DynamicImage::ImageRgba8(image) => (image.into_raw(), Mode::Rgba),
        DynamicImage::ImageRgba16(image) => (high(image.into_raw()), Mode::Rgba),
        DynamicImage::ImageRgb16(image) => (high(image.into_raw()), Mode::Rgb),
        other => (other.into_rgb8().into_raw(), Mode::Rgb),
    };
    match (stored, mode) {
        (Some(Mode::Keyed), Mode::Rgba) => Raster::new(size, pixels, Mode::Keyed),
        (Some(Mode::Indexed), Mode::Rgba) => Raster::new(size, pixels, Mode::Indexed),
        (Some(Mode::Indexed), _) => {
            let rgb = Raster::new(size, pixels, mode).into_rgb();
            let rgba = rgb.as_chunks().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
            Raster::new(size, rgba, Mode::Indexed)
        }
        _ => Raster::new(size, pixels, mode),
    }
}

/// What a PNG's header says that the decoder's output does not (`PIL/PngImagePlugin.py::_MODES`): single bits and palettes are
/// not interpolated, and alpha that comes from a `tRNS` chunk is no channel.
fn png_mode(bytes: &[u8]) -> Option<Mode> {
    match bytes.get(24..26)? {
        [1, 0] | [_, 3] => Some(Mode::Indexed),
        [_, 0 | 2] => Some(Mode::Keyed),
        _ => None,
    }
}

/// `PIL/BmpImagePlugin.py::_bitmap`: up to 8 bits there is a palette, which is dropped when it is the grey ramp; of two
/// colours, black and white are mode `1`, which is not interpolated either.
fn bmp_mode(bytes: &[u8]) -> Option<Mode> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let header = number(14)?;
    let core = header == 12;
    let bits = u16::from_le_bytes(*bytes.get(if core { 24 } else { 28 }..)?.first_chunk()?);
    if bits > 8 {
        return None;
    }
    let stated = if core { 0 } else { number(46)? };
    let colours = if stated == 0 { 1 << bits } else { stated as usize };
    let palette = bytes.get(14 + header as usize..)?.chunks_exact(if core { 3 } else { 4 }).take(colours);
    let ramp = palette.len() == colours
        && palette.enumerate().all(|(i, entry)| entry[..3].iter().all(|&level| usize::from(level) == i));
    Some(if ramp && colours > 2 { Mode::Grey } else { Mode::Indexed })
}
