//! From a file's bytes to pixels as a viewer shows them.
//!
//! Formats are told by content, never by file name. EXIF orientation is applied unless it is asked not to be, since photographs
//! lie on their side without it (Python pipelines that skip `ImageOps.exif_transpose` embed the photograph lying down).
//! Everything else is Pillow's reading, which the models were trained behind: of an animation the first frame counts, 16-bit
//! colour keeps its high byte, alpha is dropped by a conversion to RGB and not blended. One exception: Pillow clips 16-bit grey
//! to white, which shows nothing; here it keeps its high byte too.
//!
//! What must stay true: no input makes this panic or allocate without bound, and a file that ends early is an error, not half
//! a photograph over grey.

mod gif;
mod jpeg;
mod other;
mod raster;

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{ImageFormat, RgbImage};
use pictor_core::{DecodeError, RasterSize};

use self::gif::Gif;
use self::jpeg::Jpeg;
use self::other::Other;
pub(crate) use self::raster::{Mode, Raster, premultiplied, rgb, rgb_of_premultiplied};

/// Most pixels decoded, width times height, unless [`DecodeOptions::max_pixels`] says otherwise: where Pillow raises
/// `DecompressionBombError`, twice its `MAX_IMAGE_PIXELS` (`PIL/Image.py`). 512 MiB as RGB.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most bytes of a file, unless [`DecodeOptions::max_bytes`] says otherwise: 256 MiB.
pub const MAX_BYTES: u64 = 256 << 20;

/// Longest side decoded, in pixels: the most that JPEG, WebP and GIF can say. PNG and BMP can say more, with almost no bytes.
const MAX_SIDE: u32 = 65_535;

/// How files are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Turn photographs upright by their EXIF orientation. Reference pipelines do not; a viewer does.
    pub exif: bool,
    /// Decode a JPEG straight to a half, a quarter or an eighth of its size where that is at least twice the size needed. Twice as
    /// fast for large photographs, and the pixels are no longer the reference's.
    pub fast: bool,
    /// Most pixels of an image, width times height.
    pub max_pixels: u64,
    /// Most bytes of a file.
    pub max_bytes: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { exif: true, fast: false, max_pixels: MAX_PIXELS, max_bytes: MAX_BYTES }
    }
}

/// An image and the size it has in its file.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub raster: Raster,
    /// After orientation, before any scaling while decoding; the size of `raster` unless [`DecodeOptions::fast`].
    pub original: RasterSize,
}

/// Decodes JPEG, PNG, WebP, GIF (first frame) or BMP to RGB at full size: [`DecodeOptions::fast`] changes nothing here.
///
/// # Errors
/// [`DecodeError`]: empty, unknown, damaged or too large.
pub fn decode_rgb(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let options = DecodeOptions { fast: false, ..*options };
    let Decoded { raster, original } = decode(bytes, &options, |full| full)?;
    let RasterSize { width, height } = original;
    Ok(RgbImage::from_raw(width, height, raster.into_rgb()).expect("three bytes a pixel; this is a bug"))
}

/// Decodes a file. `enough` says which size is large enough for an image of the size given, both upright, and counts with
/// [`DecodeOptions::fast`] alone.
///
/// # Errors
/// [`DecodeError`]: empty, unknown, damaged or too large.
pub(crate) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
    enough: impl Fn(RasterSize) -> RasterSize,
) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > options.max_bytes {
        return Err(DecodeError::TooManyBytes { bytes: bytes.len() as u64, limit: options.max_bytes });
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    let name = format_name(format).ok_or(DecodeError::UnknownFormat)?;
    let damaged = |reason: String| DecodeError::Damaged { format: name, reason };
    let check = |size: RasterSize| check_size(size, options, name);
    let read = || match format {
        ImageFormat::Jpeg => {
            let jpeg = Jpeg::open(bytes).map_err(damaged)?;
            check(jpeg.size)?;
            let orientation = if options.exif { jpeg.orientation() } else { Orientation::NoTransforms };
            let original = upright(jpeg.size, orientation);
            // Turning is its own inverse as far as sizes go.
            let divisor = if options.fast { jpeg.divisor(upright(enough(original), orientation)) } else { 1 };
            let raster = jpeg.read(divisor).map_err(damaged)?.oriented(orientation);
            Ok(Decoded { raster, original })
        }
        ImageFormat::Gif => {
            let gif = Gif::open(bytes).map_err(damaged)?;
            check(gif.size)?;
            let original = gif.size;
            Ok(Decoded { raster: gif.read().map_err(damaged)?, original })
        }
        _ => {
            // The most a decoder can need for what the limit allows: 16-bit RGBA.
            let most_bytes = options.max_pixels.saturating_mul(8);
            let mut other = Other::open(bytes, format, most_bytes).map_err(damaged)?;
            check(other.size)?;
            let orientation = if options.exif { other.orientation() } else { Orientation::NoTransforms };
            let original = upright(other.size, orientation);
            Ok(Decoded { raster: other.read().map_err(damaged)?.oriented(orientation), original })
        }
    };
    // Crafted files have made decoders panic before; one bad file must not end a job over a million. Nothing that the closure
    // borrows is changed by it.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(damaged("the decoder gave up on it (a bug worth reporting, with the file)".into()))
    })
}

fn check_size(size: RasterSize, options: &DecodeOptions, name: &'static str) -> Result<(), DecodeError> {
    let RasterSize { width, height } = size;
    if u64::from(width) * u64::from(height) > options.max_pixels {
        return Err(DecodeError::TooLarge { width, height, limit: options.max_pixels });
    }
    if width == 0 || height == 0 || width.max(height) > MAX_SIDE {
        let reason = format!("{width} × {height} pixels; a side must be 1 to {MAX_SIDE} pixels");
        return Err(DecodeError::Damaged { format: name, reason });
    }
    Ok(())
}

/// The size after turning.
fn upright(size: RasterSize, orientation: Orientation) -> RasterSize {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => RasterSize { width: size.height, height: size.width },
        _ => size,
    }
}

fn format_name(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Jpeg => Some("JPEG"),
        ImageFormat::Png => Some("PNG"),
        ImageFormat::WebP => Some("WebP"),
        ImageFormat::Gif => Some("GIF"),
        ImageFormat::Bmp => Some("BMP"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_image() {
        let decode = |bytes| decode_rgb(bytes, &DecodeOptions::default());
        assert!(matches!(decode(b""), Err(DecodeError::Empty)));
        assert!(matches!(decode(b"<html>not found</html>"), Err(DecodeError::UnknownFormat)));
        // TIFF is told by the image crate and not compiled in.
        assert!(matches!(decode(b"II*\0aaaaaaaaaaaaaaaa"), Err(DecodeError::UnknownFormat)));
    }

    #[test]
    fn limits_are_errors_of_their_own() {
        let mut bmp = std::io::Cursor::new(Vec::new());
        RgbImage::new(4, 3).write_to(&mut bmp, ImageFormat::Bmp).unwrap();
        let bmp = bmp.into_inner();
        let pixels = DecodeOptions { max_pixels: 11, ..DecodeOptions::default() };
        assert!(matches!(decode_rgb(&bmp, &pixels), Err(DecodeError::TooLarge { limit: 11, .. })));
        let bytes = DecodeOptions { max_bytes: bmp.len() as u64 - 1, ..DecodeOptions::default() };
        assert!(matches!(decode_rgb(&bmp, &bytes), Err(DecodeError::TooManyBytes { .. })));
        let enough =
            DecodeOptions { max_pixels: 12, max_bytes: bmp.len() as u64, ..DecodeOptions::default() };
        assert_eq!(decode_rgb(&bmp, &enough).unwrap().dimensions(), (4, 3));
    }
}
