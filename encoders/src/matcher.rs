//! An image-text matcher: a model that looks at a text and an image together and says whether they match.
//!
//! Two kinds of head are served, and the manifest says which a folder has. BLIP's (Li et al. 2022, section 3) is a text encoder that
//! attends to the image tower's tokens in every layer, so it reads token ids, the first of them replaced by `[ENC]`
//! (`BLIP/train_retrieval.py::evaluation`); BLIP-2's (Li et al. 2023) has 32 vectors an image and gives the ITC cosine, which is of the best of
//! them, itself. The bundled model's compares states of the text tower with those of the image tower.
//!
//! What must stay true: features depend on their own input alone, and a score on its own pair alone; so nothing is ever padded where a
//! graph takes any length, and pairs are grouped by the length of their texts instead.

use pictor_core::{
    DecodeError, EncodeError, Encoder, ImageFeatures, MatchScore, Matcher, MatcherSpec, PreparedImage,
    TextFeatures, dot,
};

use crate::clip::{DualEncoder, Lazy, TextTower, token_rows};
use crate::decode::DecodeOptions;
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::MatcherHead;
use crate::runtime::{Input, InputKind, Numbers, Rows, Runtime, RuntimeInfo, RuntimeOptions};
use crate::tokenize::Ids;

/// A model folder with a matcher, opened on a runtime.
pub struct ImageTextMatcher {
    towers: DualEncoder,
    spec: MatcherSpec,
    head: MatcherHead,
    /// Numbers in each token of a text's features; `None` where the head reads ids.
    text_width: Option<usize>,
    image: Lazy<Box<dyn Runtime>>,
    text: Lazy<TextTower>,
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
        let image_tokens = folder.image_features(&head)?;
        let text_width = match &head.text_features {
            Some(input) => Some(folder.text_features(&head, input)?),
            None => None,
        };
        let encoder = towers.spec();
        let spec = MatcherSpec {
            name: encoder.name.clone(),
            fingerprint: encoder.fingerprint.clone(),
            image_tokens,
            dim: encoder.dim,
        };
        let (image, text, joint) = (Lazy::new(), Lazy::new(), Lazy::new());
        Ok(Self { towers, spec, head, text_width, image, text, joint })
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

    /// The runtime that was chosen, to be shown.
    pub fn runtime(&self) -> &RuntimeInfo {
        self.towers.runtime()
    }

    /// How much the ITC cosine counts in the ranking score ([`MatcherHead::itc_weight`]).
    pub fn itc_weight(&self) -> f32 {
        self.head.itc_weight.unwrap_or(1.0)
    }

    /// Loads every graph and runs each once.
    ///
    /// # Errors
    /// [`EncodeError`] when one does not load or does not run.
    pub fn warm_up(&self) -> Result<(), EncodeError> {
        let size = self.towers.manifest().image.preprocess.size();
        let pixels = vec![0.0; 3 * size.width as usize * size.height as usize];
        let blank = PreparedImage { pixels, size, original: size, spent: Default::default() };
        let (images, texts) = (self.encode_images(&[blank])?, self.encode_texts(&["a photo"])?);
        let pairs: Vec<_> = texts.iter().zip(&images).collect();
        self.score(&pairs).map(|_| ())
    }

    /// The image tower, giving features and embeddings.
    fn image(&self) -> Result<&dyn Runtime, ModelError> {
        let tower = &self.towers.manifest().image;
        let outputs =
            [tower.features.as_deref(), Some(tower.output.as_str())].into_iter().flatten().collect();
        Ok(self.image.get(|| self.towers.engine().load(&self.towers.image_graph(outputs)?))?.as_ref())
    }

    /// The text tower, giving features, where the head reads them, and embeddings.
    fn text(&self) -> Result<&TextTower, ModelError> {
        let tower = &self.towers.manifest().text;
        let features = tower.features.as_deref().filter(|_| self.text_width.is_some());
        let outputs = [features, Some(tower.output.as_str())].into_iter().flatten().collect();
        self.text.get(|| self.towers.load_text_tower(outputs))
    }

    /// The graph that scores pairs.
    fn joint(&self) -> Result<&dyn Runtime, ModelError> {
        let head = &self.head;
        let longest = self.towers.manifest().text.context_length;
        let ids = InputKind::Tokens { length: None, longest };
        let text = match (&head.input_ids, &head.text_features, self.text_width) {
            (_, Some(name), Some(width)) => Some(Input { name, kind: InputKind::States { longest, width } }),
            (name, ..) => name.as_ref().map(|name| Input { name, kind: ids }),
        };
        let mask = head.attention_mask.as_ref().map(|name| Input { name, kind: ids });
        let [tokens, width] = self.spec.image_tokens;
        let image = Input { name: &head.image_features, kind: InputKind::Features { tokens, width } };
        let inputs: Vec<Input<'_>> = [text, mask, Some(image)].into_iter().flatten().collect();
        let outputs =
            [Some(&head.output), head.itc.as_ref()].into_iter().flatten().map(String::as_str).collect();
        let graph = || self.towers.graph(&head.file, &head.variants, inputs, outputs);
        Ok(self.joint.get(|| self.towers.engine().load(&graph()?))?.as_ref())
    }

    /// The score of each pair, whose texts all have `length` tokens.
    fn score_together(
        &self,
        pairs: &[(&TextFeatures, &ImageFeatures)],
        length: usize,
    ) -> Result<Vec<MatchScore>, EncodeError> {
        let failed = |error: ModelError| self.towers.failed(pairs.len(), error.to_string());
        let ids: Vec<&[i64]> = pairs.iter().map(|(text, _)| text.ids.as_slice()).collect();
        let text = match self.text_width {
            None => Rows { shape: vec![length], numbers: Numbers::I64(ids) },
            Some(width) => {
                let rows = pairs.iter().map(|(text, _)| text.tokens.as_slice()).collect();
                Rows { shape: vec![length, width], numbers: Numbers::F32(rows) }
            }
        };
        let ones = vec![1; length];
        let mask = self.head.attention_mask.as_ref().map(|_| {
            let numbers = Numbers::I64(vec![ones.as_slice(); pairs.len()]);
            Rows { shape: vec![length], numbers }
        });
        let rows = pairs.iter().map(|(_, image)| image.tokens.as_slice()).collect();
        let image = Rows { shape: self.spec.image_tokens.to_vec(), numbers: Numbers::F32(rows) };
        let inputs: Vec<Rows<'_>> = [Some(text), mask, Some(image)].into_iter().flatten().collect();
        let (joint, count) = (self.joint().map_err(failed)?, pairs.len());
        let (logits, cosines) = if self.head.itc.is_some() {
            let [logits, cosines] = self.towers.run(joint, &inputs, [vec![count, 2], vec![count, 1]])?;
            (logits, cosines)
        } else {
            let [logits] = self.towers.run(joint, &inputs, [vec![count, 2]])?;
            (logits, pairs.iter().map(|(text, image)| dot(&text.embedding, &image.embedding)).collect())
        };
        if !logits.iter().chain(&cosines).all(|number| number.is_finite()) {
            return Err(self.towers.failed(count, "it gave a score that is not a number".into()));
        }
        let weight = self.itc_weight();
        let score =
            |(logits, cosine): (&[f32], &f32)| MatchScore::new([logits[0], logits[1]], *cosine, weight);
        Ok(logits.chunks_exact(2).zip(&cosines).map(score).collect())
    }

    /// Fails unless the features have the shapes that this model's have.
    fn check(&self, pairs: &[(&TextFeatures, &ImageFeatures)]) -> Result<(), EncodeError> {
        let [tokens, width] = self.spec.image_tokens;
        let fits = |(text, image): &(&TextFeatures, &ImageFeatures)| {
            image.tokens.len() == tokens * width
                && text.tokens.len() == text.ids.len() * self.text_width.unwrap_or(0)
                && [&text.embedding, &image.embedding].iter().all(|row| row.len() == self.spec.dim)
        };
        match pairs.iter().all(fits) {
            true => Ok(()),
            false => Err(self.towers.failed(pairs.len(), "features were made by another matcher".into())),
        }
    }
}

impl Matcher for ImageTextMatcher {
    fn spec(&self) -> &MatcherSpec {
        &self.spec
    }

    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.towers.prepare_image(bytes)
    }

    fn encode_images(&self, batch: &[PreparedImage]) -> Result<Vec<ImageFeatures>, EncodeError> {
        let count = batch.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let ([tokens, width], dim) = (self.spec.image_tokens, self.spec.dim);
        let shapes = [vec![count, tokens, width], vec![count, dim]];
        let rows = self.towers.image_rows(batch)?;
        let tower = self.image().map_err(|error| self.towers.failed(count, error.to_string()))?;
        let [features, embeds] = self.towers.run(tower, &[rows], shapes)?;
        let embeddings = self.towers.embeddings(embeds)?;
        let rows = features.chunks_exact(tokens * width).zip(embeddings.rows());
        Ok(rows
            .map(|(tokens, row)| ImageFeatures { tokens: tokens.to_vec(), embedding: row.to_vec() })
            .collect())
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<Vec<TextFeatures>, EncodeError> {
        let failed = |error: ModelError| self.towers.failed(batch.len(), error.to_string());
        let tower = self.text().map_err(failed)?;
        let texts = batch.iter().map(|text| tower.tokenizer.ids(text)).collect::<Result<Vec<Ids>, _>>()?;
        let mut answers: Vec<Option<TextFeatures>> = vec![None; texts.len()];
        for (length, group) in tower.tokenizer.groups(&texts, usize::MAX) {
            let (mut ids, mut mask) = (Vec::new(), Vec::new());
            for &i in &group {
                tower.tokenizer.pad(&texts[i], length, &mut ids, &mut mask);
            }
            let mut inputs = vec![token_rows(&ids, length)];
            if self.towers.manifest().text.attention_mask.is_some() {
                inputs.push(token_rows(&mask, length));
            }
            let embeds_shape = vec![group.len(), self.spec.dim];
            let (states, embeds) = match self.text_width {
                None => {
                    let [embeds] = self.towers.run(tower.runtime.as_ref(), &inputs, [embeds_shape])?;
                    (Vec::new(), embeds)
                }
                Some(width) => {
                    let shapes = [vec![group.len(), length, width], embeds_shape];
                    let [states, embeds] = self.towers.run(tower.runtime.as_ref(), &inputs, shapes)?;
                    (states, embeds)
                }
            };
            let embeddings = self.towers.embeddings(embeds)?;
            let numbers = states.len() / group.len();
            for (place, (&i, row)) in group.iter().zip(embeddings.rows()).enumerate() {
                let mut ids = texts[i].clone();
                if let (Some(first), Some(id)) = (ids.first_mut(), self.head.first_id) {
                    *first = id.into();
                }
                // Of a text that was filled up, the states of its own tokens.
                let own = ids.len() * self.text_width.unwrap_or(0);
                let tokens = states[place * numbers..][..own].to_vec();
                answers[i] = Some(TextFeatures { ids, tokens, embedding: row.to_vec() });
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn score(&self, pairs: &[(&TextFeatures, &ImageFeatures)]) -> Result<Vec<MatchScore>, EncodeError> {
        self.check(pairs)?;
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        let length = |i: usize| pairs[i].0.ids.len();
        order.sort_by_key(|&i| length(i));
        let mut scores: Vec<Option<MatchScore>> = vec![None; pairs.len()];
        for group in order.chunk_by(|&a, &b| length(a) == length(b)) {
            let together: Vec<_> = group.iter().map(|&i| pairs[i]).collect();
            for (&i, score) in group.iter().zip(self.score_together(&together, length(group[0]))?) {
                scores[i] = Some(score);
            }
        }
        Ok(scores.into_iter().flatten().collect())
    }
}
