//! Tests that hold the whole crate against values made elsewhere: by Pillow, by the Python tokenizer, by ONNX Runtime.
//!
//! | file | proves |
//! |---|---|
//! | `raster.rs` | resize and crop equal Pillow's in every pixel |
//! | `files.rs` | every format and its odd cases decode to Pillow's pixels; broken files are typed errors |
//! | `golden.rs` | the bundled model passes its verification on each runtime, and a verification notices every slip |
//! | `encode.rs` | batch invariance, runtimes agree, towers load lazily |
//! | `folders.rs` | a broken model folder is a typed error that names what to look at |

mod encode;
mod files;
mod folders;
mod golden;
mod raster;

use std::path::PathBuf;

use image::RgbImage;

use crate::{DualEncoder, ModelError, ModelFolder, RuntimeChoice, RuntimeOptions};

/// The generated picture of the golden files: integer arithmetic only, so every language repeats it.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| (x * (3 + c) + y * (5 + 2 * c) + seed * 7 + ((x * y) >> (3 + c))) as u8))
    })
}

fn bundled_model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/pictor-mini")
}

/// The bundled model on each runtime of this machine; says so when that is tract alone.
fn runtimes() -> Vec<DualEncoder> {
    let open = |choice| DualEncoder::open(&ModelFolder::bundled(), &RuntimeOptions { choice, threads: 2 });
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
