//! `golden.json`: inputs with the reference implementation's outputs, written by the exporter.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::{ModelManifest, is_inside};

/// The whole file.
#[derive(Debug, Deserialize)]
pub(super) struct Golden {
    /// Which libraries at which versions made it.
    pub reference: String,
    #[serde(default)]
    pub images: Vec<GoldenImage>,
    #[serde(default)]
    pub texts: Vec<GoldenText>,
    #[serde(default)]
    pub matches: Vec<GoldenMatch>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GoldenImage {
    /// Image file in the folder; without EXIF orientation, so that there is one raster whatever one does about it.
    pub file: String,
    /// PNG of the 8-bit RGB raster after resize and crop.
    pub raster: String,
    /// Unit vector, float32 arithmetic.
    pub embedding: Vec<f32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GoldenText {
    pub text: String,
    /// With special tokens, without padding.
    pub ids: Vec<i64>,
    pub embedding: Vec<f32>,
}

/// An image and a text, and a matcher's scores of them.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GoldenMatch {
    /// Image file in the folder.
    pub image: String,
    pub text: String,
    /// Raw logit of the "match" class.
    pub itm_logit: f32,
    /// Cosine of the two towers.
    pub itc_cosine: f32,
}

impl Golden {
    /// The goldens that the manifest names; none when it names none.
    pub fn read(folder: &ModelFolder, manifest: &ModelManifest) -> Result<Option<Self>, ModelError> {
        let Some(file) = &manifest.golden else { return Ok(None) };
        let wrong = |reason: String| ModelError::Manifest { path: folder.path(file), reason };
        let golden: Self = serde_json::from_slice(&read(folder, file)?)
            .map_err(|error| wrong(format!("{error}; export the model again to have its golden values")))?;
        let images = golden.images.iter().map(|image| (image.file.as_str(), &image.embedding));
        let texts = golden.texts.iter().map(|text| (text.text.as_str(), &text.embedding));
        for (input, embedding) in images.chain(texts) {
            if embedding.len() != manifest.dim {
                let (received, expected) = (embedding.len(), manifest.dim);
                return Err(wrong(format!(
                    "the embedding of '{input}' has {received} numbers, expected {expected}"
                )));
            }
        }
        if golden.images.is_empty() && golden.texts.is_empty() {
            return Err(wrong("it holds neither images nor texts; export the model again".into()));
        }
        Ok(Some(golden))
    }
}

/// A file of the folder that a golden file names.
pub(super) fn read(folder: &ModelFolder, file: &str) -> Result<Cow<'static, [u8]>, ModelError> {
    if !is_inside(file) {
        let reason = "is not a file name inside the folder".into();
        return Err(ModelError::Manifest { path: folder.path(file), reason });
    }
    Ok(folder.read(file)?)
}
