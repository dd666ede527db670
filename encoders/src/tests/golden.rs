//! The bundled model against its `golden.json`, which the exporter wrote with Pillow, the Python tokenizer and ONNX Runtime.

use pictor_core::{Encoder, dot};
use serde::Deserialize;

use super::{bmp, bundled_model, picture, runtimes};
use crate::manifest::ModelManifest;
use crate::tokenize::TextTokenizer;
use crate::{DecodeOptions, ModelFolder};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    images: Vec<Picture>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<i64>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Picture {
    make: Make,
    pixels_sum: u64,
    tensor: Statistics,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Make {
    width: u32,
    height: u32,
    seed: u32,
}

#[derive(Deserialize)]
struct Statistics {
    first16: Vec<f32>,
    mean: f64,
    std: f64,
}

fn golden() -> Golden {
    serde_json::from_slice(&fs_err::read(bundled_model().join("golden.json")).unwrap()).unwrap()
}

fn manifest() -> ModelManifest {
    ModelFolder::bundled().manifest().unwrap()
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

#[test]
fn tensors_are_the_references() {
    let preprocess = manifest().image.preprocess;
    for Picture { make, pixels_sum, tensor, .. } in golden().images {
        let image = picture(make.width, make.height, make.seed);
        assert_eq!(image.iter().map(|&level| u64::from(level)).sum::<u64>(), pixels_sum);
        let ours = preprocess.prepare(&bmp(&image), &DecodeOptions::default()).unwrap().pixels;
        for (a, b) in ours.iter().zip(&tensor.first16) {
            // The file holds seven decimals.
            assert!((a - b).abs() < 2e-7, "{}x{}: {a} {b}", make.width, make.height);
        }
        let count = ours.len() as f64;
        let mean = ours.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = ours.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - tensor.mean).abs() < 1e-6 && (variance.sqrt() - tensor.std).abs() < 1e-6);
    }
}

#[test]
fn embeddings_are_the_references_on_each_runtime() {
    let golden = golden();
    for encoder in runtimes() {
        let preprocess = &encoder.manifest().image.preprocess;
        let prepared = golden.images.iter().map(|Picture { make, .. }| {
            let image = picture(make.width, make.height, make.seed);
            preprocess.prepare(&bmp(&image), &DecodeOptions::default()).unwrap()
        });
        let images = encoder.encode_images(&prepared.collect::<Vec<_>>()).unwrap();
        for (ours, Picture { make, embedding, .. }) in images.rows().zip(&golden.images) {
            let cosine = dot(ours, embedding);
            assert!(cosine > 0.9999, "{}: {}x{}: {cosine}", encoder.runtime(), make.width, make.height);
        }
        let texts: Vec<&str> = golden.texts.iter().map(|text| text.text.as_str()).collect();
        let texts = encoder.encode_texts(&texts).unwrap();
        for (ours, Text { text, embedding, .. }) in texts.rows().zip(&golden.texts) {
            let cosine = dot(ours, embedding);
            assert!(cosine > 0.9999, "{}: {text:?}: {cosine}", encoder.runtime());
        }
    }
}
