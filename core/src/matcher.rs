//! The seam behind which cross-encoders live: models that look at a text and an image together.
//!
//! A pair costs far more than a cosine, so a matcher works in two steps: features of each side, once, and then a score for each pair of
//! them. What must stay true: features depend on their own input alone, and a score on its own two sides alone.

use serde::{Deserialize, Serialize};

use crate::{DecodeError, EncodeError, PreparedImage};

/// What a matcher is, and the shape of what it keeps of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatcherSpec {
    /// The model's name, for people.
    pub name: String,
    /// As [`crate::EncoderSpec::fingerprint`]: equal fingerprints mean interchangeable features and comparable scores.
    pub fingerprint: String,
    /// Tokens of an image, and numbers in each.
    pub image_tokens: [usize; 2],
    /// Components of the ITC embeddings.
    pub dim: usize,
}

/// What a matcher keeps of an image: made once, scored against any number of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFeatures {
    /// `tokens × width` numbers, row-major, as [`MatcherSpec::image_tokens`] says. f16 keeps all of them that ranking needs.
    pub tokens: Vec<f32>,
    /// The image's ITC embedding: `dim` components, L2 norm 1.
    pub embedding: Vec<f32>,
}

/// What a matcher keeps of a text: made once, scored against any number of images.
#[derive(Clone, Debug, PartialEq)]
pub struct TextFeatures {
    /// Token ids, special tokens included, without padding.
    pub ids: Vec<i64>,
    /// A row of numbers for each id, where the matcher's head reads states of the text tower; empty where it reads the ids.
    pub tokens: Vec<f32>,
    /// The text's ITC embedding: `dim` components, L2 norm 1.
    pub embedding: Vec<f32>,
}

/// What a matcher says of one text-image pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchScore {
    /// Raw logit of the "match" class of the ITM head.
    pub itm_logit: f32,
    /// Softmax over the head's two classes: the probability of a match, 0..=1.
    pub itm_probability: f32,
    /// Cosine similarity of the matcher's own ITC towers, -1..=1.
    pub itc_cosine: f32,
    /// What candidates are ranked by: `itm_logit + itc_weight × itc_cosine`. The weight is the model's own, and 1 for BLIP
    /// (`BLIP/train_retrieval.py::evaluation`).
    pub score: f32,
}

impl MatchScore {
    /// From the head's two logits, "no match" and "match", the ITC cosine, and the model's weight of it.
    pub fn new(logits: [f32; 2], itc_cosine: f32, itc_weight: f32) -> Self {
        let [no, yes] = logits;
        // softmax over two classes is the sigmoid of their difference.
        let itm_probability = 1.0 / (1.0 + (no - yes).exp());
        Self { itm_logit: yes, itm_probability, itc_cosine, score: yes + itc_weight * itc_cosine }
    }
}

/// Scores text-image pairs together (image-text matching), for reranking the head of a result list.
pub trait Matcher: Send + Sync {
    /// What makes its features interchangeable.
    fn spec(&self) -> &MatcherSpec;

    /// As [`crate::Encoder::prepare_image`], for the matcher's own preprocessing.
    ///
    /// # Errors
    /// [`DecodeError`], about this image only.
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError>;

    /// The features of each image, in order.
    ///
    /// # Errors
    /// [`EncodeError`] when the model fails on the batch.
    fn encode_images(&self, batch: &[PreparedImage]) -> Result<Vec<ImageFeatures>, EncodeError>;

    /// The features of each text, in order.
    ///
    /// # Errors
    /// [`EncodeError`] when the tokenizer or the model fails on the batch.
    fn encode_texts(&self, batch: &[&str]) -> Result<Vec<TextFeatures>, EncodeError>;

    /// One score per pair, in order. All pairs are one batch of the model: callers with many cut them to size.
    ///
    /// # Errors
    /// [`EncodeError`] when the model fails on the batch, or features are of another matcher.
    fn score(&self, pairs: &[(&TextFeatures, &ImageFeatures)]) -> Result<Vec<MatchScore>, EncodeError>;
}

#[cfg(test)]
mod tests {
    use super::MatchScore;

    #[test]
    fn ranks_by_logit_and_weighted_cosine() {
        let score = MatchScore::new([1.0, 3.0], 0.5, 4.0);
        assert_eq!((score.itm_logit, score.itc_cosine, score.score), (3.0, 0.5, 5.0));
        assert!((score.itm_probability - 0.880_797).abs() < 1e-6, "softmax of (1, 3)");
        for extreme in [[0.0, 200.0], [200.0, 0.0]] {
            assert!((0.0..=1.0).contains(&MatchScore::new(extreme, 0.0, 1.0).itm_probability));
        }
    }
}
