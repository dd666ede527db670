//! Tests that hold the whole crate against values made elsewhere: by Pillow, by the Python tokenizer, by ONNX Runtime.
//!
//! | file | proves |
//! |---|---|
//! | `raster.rs` | resize, crop and colour order equal the reference pipelines' in every pixel |
//! | `files.rs` | every format and its odd cases decode to Pillow's pixels; broken files are typed errors |
//! | `tokens.rs` | cleaning and token ids equal open_clip's and transformers' on a thousand hard texts |
//! | `references.rs` | pixels, token ids, embeddings and match scores of every model folder here equal the reference library's, on each runtime |
//! | `verify.rs` | a verification notices every slip |
//! | `layouts.rs` | folders of other tools are read unmodified; those that contradict themselves are refused |
//! | `encode.rs` | batch invariance, runtimes and workers agree, queries at once, precisions, towers load lazily |
//! | `folders.rs` | a broken model folder is a typed error that names what to look at |

mod encode;
mod files;
mod folders;
mod layouts;
mod raster;
mod references;
mod tokens;
mod verify;

use std::path::PathBuf;

use image::RgbImage;

use crate::{DualEncoder, ModelError, ModelFolder, RuntimeChoice, RuntimeOptions};

/// Channel `c` of each pixel of the generated picture of the golden files, row by row: integer arithmetic only, so every
/// language repeats it.
fn levels(width: u32, height: u32, seed: u32) -> impl Iterator<Item = impl Fn(u32) -> u8> {
    let pixels = (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)));
    pixels.map(move |(x, y)| move |c| (x * (3 + c) + y * (5 + 2 * c) + seed * 7 + ((x * y) >> (3 + c))) as u8)
}

/// That picture in RGB.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    let pixels = levels(width, height, seed).flat_map(|level| [0, 1, 2].map(level)).collect();
    RgbImage::from_raw(width, height, pixels).unwrap()
}

/// A lossless file of a picture.
fn bmp(image: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Bmp).unwrap();
    bytes.into_inner()
}

fn bundled_model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/pictor-mini")
}

/// The bundled model on each runtime of this machine; says so when that is tract alone.
fn runtimes() -> Vec<DualEncoder> {
    let open = |choice| DualEncoder::open(&ModelFolder::bundled(), &RuntimeOptions::new(choice, 2));
    let mut encoders = vec![open(RuntimeChoice::Tract).unwrap()];
    match open(RuntimeChoice::OnnxRuntime) {
        Ok(encoder) => encoders.push(encoder),
        Err(ModelError::NoOnnxRuntime { .. }) => {
            eprintln!("note: no ONNX Runtime here (set ORT_DYLIB_PATH), so this test ran on tract alone");
        }
        Err(error) => panic!("{error}"),
    }
    encoders
}
