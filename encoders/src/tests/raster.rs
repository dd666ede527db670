//! Resize, crop, colour order and their rounding, against rasters that the reference pipelines made
//! (`tests/golden/make_preprocess.py`).

use pictor_core::RasterSize;
use serde::Deserialize;

use super::{files, levels};
use crate::decode::{DecodeOptions, Decoded, Mode, Raster};
use crate::preprocess::Preprocess;

#[derive(Deserialize)]
struct Golden {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    reference: String,
    preprocess: Preprocess,
    cases: Vec<(Source, String, Vec<u8>)>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Source {
    File(String),
    /// Pillow mode, width, height, seed.
    Picture(String, u32, u32, u32),
}

/// The generated picture of the golden files in any of Pillow's modes, as decoding would give it.
fn picture(mode: &str, width: u32, height: u32, seed: u32) -> Decoded {
    let opaque = |rgb: [u8; 3]| [rgb[0], rgb[1], rgb[2], 255];
    let (mode, pixels): (_, Vec<u8>) = match mode {
        "L" => (Mode::Grey, levels(width, height, seed).map(|at| at(0)).collect()),
        "RGB" => (Mode::Rgb, levels(width, height, seed).flat_map(|at| [0, 1, 2].map(at)).collect()),
        "RGBA" => (Mode::Rgba, levels(width, height, seed).flat_map(|at| [0, 1, 2, 3].map(at)).collect()),
        "LA" => (Mode::Rgba, levels(width, height, seed).flat_map(|at| [0, 0, 0, 1].map(at)).collect()),
        "CMYK" => (Mode::Cmyk, levels(width, height, seed).flat_map(|at| [0, 1, 2, 3].map(at)).collect()),
        "P" => {
            let colour = |index: u8| opaque([3, 5, 7].map(|factor| index.wrapping_mul(factor)));
            (Mode::Indexed, levels(width, height, seed).flat_map(|at| colour(at(0))).collect())
        }
        other => panic!("mode {other}"),
    };
    let original = RasterSize { width, height };
    Decoded { raster: Raster::new(original, pixels, mode), original }
}

#[test]
fn every_pixel_is_the_references() {
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/preprocess.json")).unwrap();
    // References do not turn photographs.
    let options = DecodeOptions { exif: false, ..DecodeOptions::default() };
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for Group { reference, preprocess, cases: sources } in &golden.groups {
        for (source, hash, probes) in sources {
            cases += 1;
            let raster = match source {
                Source::File(name) => preprocess.raster(&files::file(name), &options).unwrap(),
                Source::Picture(mode, width, height, seed) => {
                    preprocess.resized(picture(mode, *width, *height, *seed))
                }
            };
            if blake3::hash(&raster).to_hex()[..16] != **hash {
                let ours: Vec<u8> = [0, raster.len() / 6 * 3, raster.len() - 3]
                    .iter()
                    .flat_map(|&at| raster[at..at + 3].to_vec())
                    .collect();
                wrong.push(format!(
                    "{source:?} by {reference}, {preprocess:?}:\n  {ours:?}, expected {probes:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases > 1000);
}
