//! The bundled model against its `golden.json`, which its training recipe wrote with Pillow, the Python tokenizer and ONNX Runtime.

use pictor_core::{Encoder, PreparedImage, dot};
use serde::Deserialize;

use super::{bundled_model, runtimes};
use crate::decode::decode_rgb;
use crate::manifest::ModelManifest;
use crate::tokenize::TextTokenizer;
use crate::{DecodeOptions, ModelFolder};

#[derive(Deserialize)]
struct Golden {
    images: Vec<Picture>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Picture {
    file: String,
    raster: String,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<i64>,
    embedding: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_slice(&read("golden.json")).unwrap()
}

fn manifest() -> ModelManifest {
    ModelFolder::bundled().manifest().unwrap()
}

/// A file of the model's folder in the repository; golden files are no part of the binary.
fn read(name: &str) -> Vec<u8> {
    fs_err::read(bundled_model().join(name)).unwrap()
}

#[test]
fn token_ids_are_the_references() {
    let folder = ModelFolder::bundled();
    let tower = manifest().text;
    let tokenizer = TextTokenizer::new(&folder.read(&tower.tokenizer).unwrap(), &tower).unwrap();
    let golden = golden();
    for Text { text, ids, .. } in &golden.texts {
        assert_eq!(&tokenizer.ids(text).unwrap(), ids, "{text:?}");
    }
    assert!(golden.texts.iter().any(|text| text.ids.len() == tower.context_length), "no text is truncated");
}

/// Resized and cropped, no pixel is more than one of 255 levels off the reference's, and the tensor is made of such levels.
#[test]
fn rasters_are_the_references() {
    let preprocess = manifest().image.preprocess;
    let encoder = &runtimes()[0];
    for Picture { file, raster, .. } in golden().images {
        let expected = decode_rgb(&read(&raster), &DecodeOptions::default()).unwrap();
        let prepared = encoder.prepare_image(&read(&file)).unwrap();
        assert_eq!(expected.len(), prepared.pixels.len(), "{file}");
        let plane = expected.len() / 3;
        for (i, &level) in expected.iter().enumerate() {
            let channel = i % 3;
            let pixel = prepared.pixels[channel * plane + i / 3];
            let ours = (pixel * preprocess.std[channel] + preprocess.mean[channel]) * 255.0;
            assert!((ours - ours.round()).abs() < 1e-3, "{file}: {ours} is no level");
            assert!((ours - f32::from(level)).abs() < 1.5, "{file}: {ours} and {level} at {i}");
        }
    }
}

#[test]
fn embeddings_are_the_references_on_each_runtime() {
    let golden = golden();
    for encoder in runtimes() {
        let prepared: Vec<PreparedImage> =
            golden.images.iter().map(|image| encoder.prepare_image(&read(&image.file)).unwrap()).collect();
        let images = encoder.encode_images(&prepared).unwrap();
        for (ours, Picture { file, embedding, .. }) in images.rows().zip(&golden.images) {
            let cosine = dot(ours, embedding);
            assert!(cosine > 0.9999, "{}: {file}: {cosine}", encoder.runtime());
        }
        let texts: Vec<&str> = golden.texts.iter().map(|text| text.text.as_str()).collect();
        let texts = encoder.encode_texts(&texts).unwrap();
        for (ours, Text { text, embedding, .. }) in texts.rows().zip(&golden.texts) {
            let cosine = dot(ours, embedding);
            assert!(cosine > 0.9999, "{}: {text:?}: {cosine}", encoder.runtime());
        }
    }
}
