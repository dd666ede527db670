//! From a file's bytes to RGB pixels as a viewer shows them.
//!
//! Formats are told by content, never by file name. EXIF orientation is applied, since photographs lie on their side without
//! it (Python pipelines that skip `ImageOps.exif_transpose` embed the photograph lying down). Everything else follows
//! Pillow's `convert("RGB")`, which the models were trained behind: alpha is dropped and not blended, grey becomes three
//! equal channels, 16-bit colour keeps its high byte, of an animation the first frame counts. One exception: Pillow clips
//! 16-bit grey to white, which shows nothing; here it keeps its high byte too.
//!
//! What must stay true: no input makes this panic or allocate without bound, and a file that ends early is an error, not half
//! a photograph over grey.

use std::io::Cursor;
use std::panic::catch_unwind;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GenericImageView, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use pictor_core::{DecodeError, RasterSize};

use crate::resize::{Filter, Window, resize};

/// Most pixels decoded, width times height: where Pillow raises `DecompressionBombError`, twice its `MAX_IMAGE_PIXELS`
/// (`PIL/Image.py`). 512 MiB as RGB.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Longest side decoded, in pixels: the most that JPEG, WebP and GIF can say. PNG and BMP can say more, with almost no bytes.
const MAX_SIDE: u32 = 65_535;

/// Most bytes a decoder may allocate: 16-bit RGBA of [`MAX_PIXELS`].
const MAX_ALLOCATION: u64 = MAX_PIXELS * 8;

/// Quality of thumbnails, 1 to 100, of libjpeg's scale: where artefacts stop being visible at that size.
const THUMBNAIL_QUALITY: u8 = 80;

/// Decodes JPEG, PNG, WebP, GIF (first frame) or BMP and turns it upright by its EXIF orientation.
///
/// # Errors
/// [`DecodeError`]: empty, unknown, damaged or too large.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    let name = format_name(format).ok_or(DecodeError::UnknownFormat)?;
    let damaged = |reason: String| DecodeError::Damaged { format: name, reason };
    if format == ImageFormat::Jpeg && !jpeg_reaches_its_end(bytes) {
        return Err(damaged("the file ends before the image does".into()));
    }
    // The decoders are safe Rust, and crafted files have made such decoders panic before; one bad file must not end a job
    // over a million.
    let decoded = catch_unwind(|| decode(bytes, format, name));
    decoded.unwrap_or_else(|_| {
        Err(damaged("the decoder gave up on it (a bug worth reporting to the image crate)".into()))
    })
}

fn decode(bytes: &[u8], format: ImageFormat, name: &'static str) -> Result<RgbImage, DecodeError> {
    let damaged = |reason: String| DecodeError::Damaged { format: name, reason };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| damaged(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height, limit: MAX_PIXELS });
    }
    if width == 0 || height == 0 || width.max(height) > MAX_SIDE {
        return Err(damaged(format!("{width} × {height} pixels; a side must be 1 to {MAX_SIDE} pixels")));
    }
    // Photographs with a broken EXIF block are common and are shown as they are stored, by viewers too.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| damaged(error.to_string()))?;
    image.apply_orientation(orientation);
    Ok(into_rgb(image))
}

/// `Image.convert("RGB")`.
fn into_rgb(image: DynamicImage) -> RgbImage {
    let high = |value: u16| (value >> 8) as u8;
    let (width, height) = image.dimensions();
    let from_16_bit =
        |rgb: Vec<u8>| RgbImage::from_raw(width, height, rgb).expect("three bytes a pixel; this is a bug");
    match image {
        DynamicImage::ImageRgb16(image) => from_16_bit(image.into_raw().into_iter().map(high).collect()),
        DynamicImage::ImageRgba16(image) => {
            from_16_bit(image.pixels().flat_map(|p| [p[0], p[1], p[2]].map(high)).collect())
        }
        DynamicImage::ImageLuma16(image) => {
            from_16_bit(image.pixels().flat_map(|p| [high(p[0]); 3]).collect())
        }
        DynamicImage::ImageLumaA16(image) => {
            from_16_bit(image.pixels().flat_map(|p| [high(p[0]); 3]).collect())
        }
        // 8-bit images lose alpha and repeat grey, which is what Pillow does; RGB is moved, not copied.
        other => other.into_rgb8(),
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

/// Whether a JPEG's main image has an end-of-image marker.
///
/// The decoder fills what is missing with grey and reports success, as browsers do; Pillow refuses, and so do we, because an
/// index should say which files are broken. Segments before the first scan are stepped over by their length, since an
/// EXIF thumbnail inside them is a JPEG with an end of its own.
fn jpeg_reaches_its_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    let mut at = 2;
    while let Some(&[first, marker, high, low]) = bytes.get(at..at + 4).and_then(|b| b.first_chunk()) {
        match (first, marker) {
            (0xFF, START_OF_SCAN) => return bytes[at..].windows(2).rev().any(|pair| pair == END_OF_IMAGE),
            // A marker may be preceded by any number of fill bytes.
            (0xFF, 0xFF) => at += 1,
            (0xFF, _) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            // Bytes between segments: the decoder resynchronises, so look for the end from here on.
            _ => return bytes[at..].windows(2).rev().any(|pair| pair == END_OF_IMAGE),
        }
    }
    false
}

/// A JPEG of the photograph as a viewer shows it, its longer side at most `max_side` pixels; never enlarged.
///
/// # Errors
/// [`DecodeError`], as [`decode_rgb`].
pub fn thumbnail_jpeg(bytes: &[u8], max_side: u32) -> Result<Vec<u8>, DecodeError> {
    let image = decode_rgb(bytes)?;
    let size = fit(image.width(), image.height(), max_side);
    let pixels = resize(&image, size, &Window::all(size), Filter::Bilinear);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY)
        .encode(&pixels, size.width, size.height, image::ExtendedColorType::Rgb8)
        .map_err(|error| DecodeError::Damaged { format: "JPEG", reason: format!("thumbnail: {error}") })?;
    Ok(jpeg)
}

/// The size with the same aspect ratio whose longer side is at most `max_side`, each side at least 1.
fn fit(width: u32, height: u32, max_side: u32) -> RasterSize {
    let (longest, max_side) = (width.max(height), max_side.max(1));
    if longest <= max_side {
        return RasterSize { width, height };
    }
    let scale = |side: u32| {
        ((u64::from(side) * u64::from(max_side) + u64::from(longest) / 2) / u64::from(longest)).max(1)
    };
    RasterSize { width: scale(width) as u32, height: scale(height) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_keep_the_aspect_ratio_and_never_grow() {
        let size = |width, height| RasterSize { width, height };
        assert_eq!(fit(640, 480, 256), size(256, 192));
        assert_eq!(fit(480, 640, 256), size(192, 256));
        assert_eq!(fit(1000, 3, 100), size(100, 1));
        assert_eq!(fit(20, 10, 256), size(20, 10));
        assert_eq!(fit(20, 10, 0), size(1, 1));
    }

    #[test]
    fn refuses_what_is_no_image() {
        assert!(matches!(decode_rgb(b""), Err(DecodeError::Empty)));
        assert!(matches!(decode_rgb(b"<html>not found</html>"), Err(DecodeError::UnknownFormat)));
        // TIFF is told by the image crate and not compiled in.
        assert!(matches!(decode_rgb(b"II*\0aaaaaaaaaaaaaaaa"), Err(DecodeError::UnknownFormat)));
    }
}
