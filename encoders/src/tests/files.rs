//! Image files of every format and their odd cases, against what Pillow reads in them (`tests/golden/make_decode.py`).

use std::path::PathBuf;

use pictor_core::{DecodeError, Encoder};
use proptest::prelude::*;

use crate::decode::{decode_rgb, thumbnail_jpeg};
use crate::{DualEncoder, ModelFolder, RuntimeChoice, RuntimeOptions};

fn files() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode")
}

fn file(name: &str) -> Vec<u8> {
    fs_err::read(files().join(name)).unwrap()
}

/// Width, height and pixels that Pillow made of `name`.
fn pillow(name: &str) -> (u32, u32, Vec<u8>) {
    let bytes = file(&format!("{name}.rgb"));
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(0), number(4), bytes[8..].to_vec())
}

#[test]
fn every_kind_of_file_has_pillows_pixels() {
    let mut names: Vec<String> = fs_err::read_dir(files())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rgb")?.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 26);
    let mut report = Vec::new();
    for name in &names {
        let (width, height, expected) = pillow(name);
        let image = decode_rgb(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(image.dimensions(), (width, height), "{name}");
        // JPEG and lossy WebP leave inverse transform and chroma interpolation to the decoder; the others are exact.
        let allowed = match name.as_str() {
            "subsampled.jpg" | "lossy.webp" => 12,
            _ if name.ends_with(".jpg") => 4,
            _ => 0,
        };
        let worst = image.as_raw().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if worst > allowed {
            report.push(format!("{name}: off by {worst}, allowed {allowed}"));
        }
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
}

#[test]
fn files_that_end_early_are_errors() {
    for (name, format) in [("truncated.jpg", "JPEG"), ("truncated.png", "PNG")] {
        match decode_rgb(&file(name)) {
            Err(DecodeError::Damaged { format: told, .. }) => assert_eq!(told, format),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Every prefix of every file: an error or, where only a trailer is missing, an image; never a panic.
    for name in ["baseline.jpg", "orientation-6.jpg", "rgb.png", "frames.gif", "lossy.webp", "rgb.bmp"] {
        let whole = file(name);
        for length in 0..whole.len() {
            let _ = decode_rgb(&whole[..length]);
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
}

/// CRC-32 of a PNG chunk (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_never_panics(name in prop::sample::select(vec![
        "baseline.jpg", "progressive.jpg", "cmyk.jpg", "palette-transparent.png", "frames.gif", "lossy.webp", "alpha.webp", "palette.bmp",
    ]), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = file(name);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode_rgb(&bytes);
    }
}

#[test]
fn thumbnails_are_upright_and_small() {
    let whole = decode_rgb(&file("orientation-6.jpg")).unwrap();
    let thumbnail = decode_rgb(&thumbnail_jpeg(&file("orientation-6.jpg"), 12).unwrap()).unwrap();
    assert_eq!(thumbnail.dimensions(), (whole.width() / 2, whole.height() / 2));
    assert!(thumbnail_jpeg(b"", 12).is_err());
}

#[test]
fn prepared_images_report_the_size_a_viewer_shows() {
    let options = RuntimeOptions::new(RuntimeChoice::Tract, 1);
    let encoder = DualEncoder::open(&ModelFolder::bundled(), &options).unwrap();
    let image = encoder.prepare_image(&file("orientation-6.jpg")).unwrap();
    assert_eq!((image.original.width, image.original.height), (16, 24));
    assert_eq!(image.pixels.len(), 3 * 224 * 224);
}
