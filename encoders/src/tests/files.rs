//! Image files of every format and their odd cases, against what Pillow reads in them (`tests/golden/make_decode.py`).

use std::path::PathBuf;

use pictor_core::DecodeError;
use proptest::prelude::*;

use crate::decode::{DecodeOptions, decode};
use crate::thumbnail_jpeg;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode")
}

pub(super) fn file(name: &str) -> Vec<u8> {
    fs_err::read(folder().join(name)).unwrap()
}

/// Names of the image files, without what Pillow made of them.
fn names() -> Vec<String> {
    let files =
        fs_err::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        files.filter(|name| !name.ends_with(".rgb.png") && !name.ends_with(".white.png")).collect();
    names.sort();
    names
}

fn decode_rgb(bytes: &[u8]) -> Result<image::RgbImage, DecodeError> {
    crate::decode_rgb(bytes, &DecodeOptions::default())
}

#[test]
fn every_kind_of_file_has_pillows_pixels() {
    let mut report = Vec::new();
    let mut files = 0;
    for name in names().iter().filter(|name| !name.contains("truncated")) {
        let expected = |kind: &str| image::open(folder().join(format!("{name}.{kind}.png"))).ok();
        // The decoder of lossy WebP is not libwebp and rounds in its own way; all else is exact.
        let allowed = if name.starts_with("lossy") { 1 } else { 0 };
        let mut compare = |kind: &str, pixels: Vec<u8>, image: image::DynamicImage| {
            let expected = image.into_rgb8().into_raw();
            let worst = pixels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            if pixels.len() != expected.len() || worst > allowed {
                report.push(format!("{name} ({kind}): off by {worst}, allowed {allowed}"));
            }
        };
        let read =
            || decode(&file(name), &DecodeOptions::default(), |full| full).map(|decoded| decoded.raster);
        let raster = read().unwrap_or_else(|error| panic!("{name}: {error}"));
        compare("rgb", raster.into_rgb(), expected("rgb").unwrap());
        let opaque = expected("rgb").unwrap();
        compare("white", read().unwrap().into_rgb_over_white(), expected("white").unwrap_or(opaque));
        files += 1;
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
    assert!(files > 60);
}

#[test]
fn files_that_end_early_are_errors() {
    let truncated = [
        ("baseline-truncated.jpg", "JPEG"),
        ("420-progressive-truncated.jpg", "JPEG"),
        ("rgb-truncated.png", "PNG"),
    ];
    for (name, format) in truncated {
        match decode_rgb(&file(name)) {
            Err(DecodeError::Damaged { format: told, .. }) => assert_eq!(told, format),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Every prefix of every file: an error or, where only a trailer is missing, an image; never a panic.
    for name in names() {
        let whole = file(&name);
        for length in 0..whole.len() {
            let decoded = decode_rgb(&whole[..length]);
            assert!(
                decoded.is_err() || !name.ends_with(".jpg") || name == "trailing.jpg",
                "{name} to {length}"
            );
        }
    }
}

#[test]
fn bombs_are_refused_by_their_header() {
    // A valid PNG header that promises 60,000 × 60,000 pixels, and no data.
    let mut png = file("rgb.png");
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert!(matches!(decode_rgb(&png), Err(DecodeError::TooLarge { width: 60_000, height: 60_000, .. })));

    png[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&1u32.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert!(matches!(decode_rgb(&png), Err(DecodeError::Damaged { format: "PNG", .. })));

    // The frame header of a JPEG: 0xFFC0, length, precision, height, width.
    let mut jpeg = file("baseline.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xEA; 4]);
    assert!(matches!(decode_rgb(&jpeg), Err(DecodeError::TooLarge { width: 60_138, height: 60_138, .. })));

    let mut gif = file("frames.gif");
    gif[6..10].copy_from_slice(&[0xEA; 4]);
    assert!(matches!(decode_rgb(&gif), Err(DecodeError::TooLarge { width: 60_138, height: 60_138, .. })));
}

#[test]
fn a_jpeg_of_thousands_of_scans_is_refused() {
    // The last scan of a progressive image, again and again: legal, and each one is a pass over the image.
    let whole = file("progressive.jpg");
    let scan = whole.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let mut bomb = whole[..scan].to_vec();
    (0..5000).for_each(|_| bomb.extend_from_slice(&whole[scan..whole.len() - 2]));
    bomb.extend_from_slice(&whole[whole.len() - 2..]);
    match decode_rgb(&bomb) {
        Err(DecodeError::Damaged { reason, .. }) => assert!(reason.contains("scans"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fast_decoding_keeps_what_the_resize_needs() {
    let options = DecodeOptions { fast: true, ..DecodeOptions::default() };
    // 24 × 16, stored lying down.
    let name = "orientation-6.jpg";
    let size = |enough: (u32, u32)| {
        let enough = pictor_core::RasterSize { width: enough.0, height: enough.1 };
        let decoded = decode(&file(name), &options, |original| {
            assert_eq!((original.width, original.height), (16, 24));
            enough
        });
        let decoded = decoded.unwrap();
        assert_eq!((decoded.original.width, decoded.original.height), (16, 24));
        (decoded.raster.size.width, decoded.raster.size.height)
    };
    assert_eq!(size((16, 24)), (16, 24));
    assert_eq!(size((9, 1)), (16, 24));
    assert_eq!(size((8, 12)), (8, 12));
    assert_eq!(size((4, 7)), (8, 12));
    assert_eq!(size((4, 6)), (4, 6));
    assert_eq!(size((1, 1)), (2, 3));
}

/// CRC-32 of a PNG chunk (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damage_never_panics(name in prop::sample::select(names()), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = file(&name);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode_rgb(&bytes);
        let _ = thumbnail_jpeg(&bytes, 5);
    }

    #[test]
    fn noise_behind_a_magic_number_never_panics(
        magic in prop::sample::select(vec![&b"\xFF\xD8\xFF"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b""]),
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = decode_rgb(&[magic, &noise].concat());
    }
}

#[test]
fn thumbnails_are_upright_and_small() {
    let whole = decode_rgb(&file("orientation-6.jpg")).unwrap();
    let thumbnail = decode_rgb(&thumbnail_jpeg(&file("orientation-6.jpg"), 12).unwrap()).unwrap();
    assert_eq!(thumbnail.dimensions(), (whole.width() / 2, whole.height() / 2));
    assert!(thumbnail_jpeg(b"", 12).is_err());
}
