//! Small JPEGs of photographs, for people to look at.

use image::codecs::jpeg::JpegEncoder;
use pictor_core::{DecodeError, RasterSize};

use crate::decode::{DecodeOptions, decode};
use crate::resize::{Filter, Window, resize};

/// Quality of thumbnails, 1 to 100, of libjpeg's scale: where artefacts stop being visible at that size.
const QUALITY: u8 = 80;

/// A JPEG of the photograph as a viewer shows it, its longer side at most `max_side` pixels; never enlarged.
///
/// # Errors
/// [`DecodeError`], as [`crate::decode_rgb`].
pub fn thumbnail_jpeg(bytes: &[u8], max_side: u32) -> Result<Vec<u8>, DecodeError> {
    // Nobody compares a thumbnail with a reference, so large photographs are decoded small.
    let options = DecodeOptions { fast: true, ..DecodeOptions::default() };
    let decoded = decode(bytes, &options, |full| fit(full, max_side))?;
    let size = fit(decoded.original, max_side);
    let from = decoded.raster.size;
    let pixels = resize::<3>(&decoded.raster.into_rgb(), from, size, &Window::all(size), Filter::Bilinear);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&pixels, size.width, size.height, image::ExtendedColorType::Rgb8)
        .map_err(|error| DecodeError::Damaged { format: "JPEG", reason: format!("thumbnail: {error}") })?;
    Ok(jpeg)
}

/// The size with the same aspect ratio whose longer side is at most `max_side`, each side at least 1.
fn fit(size: RasterSize, max_side: u32) -> RasterSize {
    let RasterSize { width, height } = size;
    let (longest, max_side) = (width.max(height), max_side.max(1));
    if longest <= max_side {
        return size;
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
        assert_eq!(fit(size(640, 480), 256), size(256, 192));
        assert_eq!(fit(size(480, 640), 256), size(192, 256));
        assert_eq!(fit(size(1000, 3), 100), size(100, 1));
        assert_eq!(fit(size(20, 10), 256), size(20, 10));
        assert_eq!(fit(size(20, 10), 0), size(1, 1));
    }
}
