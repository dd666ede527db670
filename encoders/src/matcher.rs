//! An image-text matcher: a cross-encoder that looks at a text and an image together and says whether they match (BLIP, Li et al.
//! 2022, section 3; its text encoder attends to the image tower's tokens in every layer).
//!
//! The scores are those of BLIP's retrieval evaluation (`BLIP/train_retrieval.py::evaluation`): the raw logit of the "match" class, with
//! the first token replaced by `[ENC]`, and the cosine of the model's own two towers beside it.
//!
//! What must stay true: a score depends on its own text and image alone.

use pictor_core::{DecodeError, EncodeError, Encoder, MatchScore, Matcher, PreparedImage, dot};

use crate::clip::{DualEncoder, Lazy, token_rows};
use crate::decode::DecodeOptions;
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::MatcherHead;
use crate::runtime::{Input, InputKind, Numbers, Rows, Runtime, RuntimeOptions};

/// A model folder with a matcher, opened on a runtime.
pub struct ImageTextMatcher {
    towers: DualEncoder,
    head: MatcherHead,
    /// Tokens, and numbers in each, that the head attends to.
    features: [usize; 2],
    image: Lazy<Box<dyn Runtime>>,
    joint: Lazy<Box<dyn Runtime>>,
}

impl ImageTextMatcher {
    /// Opens a model, as [`DualEncoder::open`] does. Graphs load on first use.
    ///
    /// # Errors
    /// [`ModelError`], also when the folder has no matcher.
    pub fn open(folder: &ModelFolder, options: &RuntimeOptions) -> Result<Self, ModelError> {
        let towers = DualEncoder::open(folder, options)?;
        let manifest = towers.manifest();
        let head =
            manifest.matcher.clone().ok_or_else(|| ModelError::NoMatcher { name: manifest.name.clone() })?;
        let features = folder.features(&head)?;
        Ok(Self { towers, head, features, image: Lazy::new(), joint: Lazy::new() })
    }

    /// The same matcher, which decodes images as `options` say.
    #[must_use]
    pub fn with_decode(mut self, options: DecodeOptions) -> Self {
        self.towers = self.towers.with_decode(options);
        self
    }

    /// The two towers of the same model (ITC), as an encoder of their own.
    pub fn towers(&self) -> &DualEncoder {
        &self.towers
    }

    /// The image tower, giving features and embeddings.
    fn image(&self) -> Result<&dyn Runtime, ModelError> {
        let tower = &self.towers.manifest().image;
        let outputs =
            [tower.features.as_deref(), Some(tower.output.as_str())].into_iter().flatten().collect();
        Ok(self.image.get(|| self.towers.engine().load(&self.towers.image_graph(outputs)?))?.as_ref())
    }

    /// The text encoder with cross-attention, and its head.
    fn joint(&self) -> Result<&dyn Runtime, ModelError> {
        let head = &self.head;
        let [tokens, width] = self.features;
        let longest = self.towers.manifest().text.context_length;
        let ids = InputKind::Tokens { length: None, longest };
        let inputs = [Some(&head.input_ids), head.attention_mask.as_ref()].into_iter().flatten();
        let mut inputs: Vec<Input<'_>> = inputs.map(|name| Input { name, kind: ids }).collect();
        inputs.push(Input { name: &head.image_features, kind: InputKind::Features { tokens, width } });
        let graph = || self.towers.graph(&head.file, &head.variants, inputs, vec![&head.output]);
        Ok(self.joint.get(|| self.towers.engine().load(&graph()?))?.as_ref())
    }
}

impl Matcher for ImageTextMatcher {
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.towers.prepare_image(bytes)
    }

    fn score(&self, text: &str, images: &[PreparedImage]) -> Result<Vec<MatchScore>, EncodeError> {
        let count = images.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let failed = |error: ModelError| self.towers.failed(count, error.to_string());
        let ([tokens, width], dim) = (self.features, self.towers.spec().dim);
        let shapes = [vec![count, tokens, width], vec![count, dim]];
        let rows = self.towers.image_rows(images)?;
        let [features, embeds] = self.towers.run(self.image().map_err(failed)?, &[rows], shapes)?;
        let images = self.towers.embeddings(embeds)?;
        let texts = self.towers.encode_texts(&[text])?;

        let mut ids = self.towers.text_tower().map_err(failed)?.tokenizer.ids(text)?;
        if let (Some(first), Some(id)) = (ids.first_mut(), self.head.first_id) {
            *first = id.into();
        }
        let mask = vec![1; ids.len()];
        // The same text for every image.
        let repeated = |numbers: &[i64]| numbers.repeat(count);
        let (length, ids, mask) = (ids.len(), repeated(&ids), repeated(&mask));
        let mut inputs = vec![token_rows(&ids, length)];
        if self.head.attention_mask.is_some() {
            inputs.push(token_rows(&mask, length));
        }
        let numbers = Numbers::F32(features.chunks_exact(tokens * width).collect());
        inputs.push(Rows { shape: vec![tokens, width], numbers });
        let [logits] = self.towers.run(self.joint().map_err(failed)?, &inputs, [vec![count, 2]])?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(self.towers.failed(count, "it gave a score that is not a number".into()));
        }
        let text = texts.row(0).unwrap_or_default();
        let scores = logits.chunks_exact(2).zip(images.rows());
        Ok(scores
            .map(|(logit, image)| MatchScore { itm_logit: logit[1], itc_cosine: dot(text, image) })
            .collect())
    }
}
