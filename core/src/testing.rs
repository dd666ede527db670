//! Test doubles (feature `testing`): an encoder and a matcher that need no model.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::{
    DecodeError, EmbeddingBatch, EncodeError, Encoder, EncoderSpec, ImageFeatures, MatchScore, Matcher,
    MatcherSpec, PreparedImage, RasterSize, TextFeatures, dot,
};

/// Deterministic vectors from hashes of the input: equal inputs meet, different ones are nearly orthogonal.
///
/// An "image" is any non-empty byte string that does not start with `bad`; a text finds the image whose bytes are its UTF-8.
pub struct HashEncoder {
    spec: EncoderSpec,
}

impl HashEncoder {
    /// An encoder of `dim` components. Encoders of different dimension have different fingerprints.
    pub fn new(dim: usize) -> Self {
        Self { spec: EncoderSpec { name: "hash".into(), dim, fingerprint: format!("hash-{dim}") } }
    }

    /// The vector of `bytes`.
    pub fn vector(&self, bytes: &[u8]) -> Vec<f32> {
        let raw = (0..self.spec.dim)
            .map(|i| {
                let mut hasher = DefaultHasher::new();
                (i, bytes).hash(&mut hasher);
                (hasher.finish() % 2001) as f32 / 1000.0 - 1.0 + 1e-4
            })
            .collect();
        let batch =
            EmbeddingBatch::normalise(self.spec.dim, raw).expect("hashes are finite and not all zero");
        batch.as_slice().to_vec()
    }
}

impl Encoder for HashEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        if bytes.starts_with(b"bad") {
            return Err(DecodeError::Damaged { format: "test", reason: "starts with 'bad'".into() });
        }
        let size = RasterSize { width: bytes.len() as u32, height: 1 };
        let pixels = bytes.iter().map(|&b| f32::from(b)).collect();
        Ok(PreparedImage { pixels, size, original: size, spent: [Duration::ZERO; 2] })
    }

    fn encode_images(&self, batch: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError> {
        let rows = batch.iter().flat_map(|image| {
            let bytes: Vec<u8> = image.pixels.iter().map(|&p| p as u8).collect();
            self.vector(&bytes)
        });
        Ok(EmbeddingBatch::new(self.spec.dim, rows.collect())?)
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        let rows = batch.iter().flat_map(|text| self.vector(text.as_bytes()));
        Ok(EmbeddingBatch::new(self.spec.dim, rows.collect())?)
    }
}

/// Scores by shared words: the logit is the number of the text's words that are words of the image's bytes, minus those that are not.
///
/// Images as for [`HashEncoder`], of at most [`HashMatcher::LETTERS`] bytes of UTF-8; longer ones are cut.
pub struct HashMatcher {
    encoder: HashEncoder,
    spec: MatcherSpec,
}

impl HashMatcher {
    /// Tokens of an image: one for each byte.
    pub const LETTERS: usize = 32;

    /// A matcher whose ITC embeddings are those of a [`HashEncoder`] of `dim` components.
    pub fn new(dim: usize) -> Self {
        let spec = MatcherSpec {
            name: "hash-matcher".into(),
            fingerprint: format!("hash-matcher-{dim}"),
            image_tokens: [Self::LETTERS, 1],
            dim,
        };
        Self { encoder: HashEncoder::new(dim), spec }
    }
}

impl Matcher for HashMatcher {
    fn spec(&self) -> &MatcherSpec {
        &self.spec
    }

    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.encoder.prepare_image(bytes)
    }

    fn encode_images(&self, batch: &[PreparedImage]) -> Result<Vec<ImageFeatures>, EncodeError> {
        let embeddings = self.encoder.encode_images(batch)?;
        let features = batch.iter().zip(embeddings.rows()).map(|(image, row)| {
            let mut tokens = image.pixels.clone();
            tokens.resize(Self::LETTERS, 0.0);
            ImageFeatures { tokens, embedding: row.to_vec() }
        });
        Ok(features.collect())
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<Vec<TextFeatures>, EncodeError> {
        let embeddings = self.encoder.encode_texts(batch)?;
        let features = batch.iter().zip(embeddings.rows()).map(|(text, row)| {
            let ids = text.bytes().map(i64::from).collect();
            TextFeatures { ids, tokens: Vec::new(), embedding: row.to_vec() }
        });
        Ok(features.collect())
    }

    fn score(&self, pairs: &[(&TextFeatures, &ImageFeatures)]) -> Result<Vec<MatchScore>, EncodeError> {
        let words = |letters: Vec<u8>| -> Vec<String> {
            let text = String::from_utf8_lossy(&letters).into_owned();
            text.trim_end_matches('\0').split_whitespace().map(str::to_owned).collect()
        };
        let score = |(text, image): &(&TextFeatures, &ImageFeatures)| {
            let shown = words(image.tokens.iter().map(|&letter| letter as u8).collect());
            let asked = words(text.ids.iter().map(|&letter| letter as u8).collect());
            let met = asked.iter().filter(|word| shown.contains(word)).count() as f32;
            let logit = 2.0 * met - asked.len() as f32;
            MatchScore::new([0.0, logit], dot(&text.embedding, &image.embedding), 1.0)
        };
        Ok(pairs.iter().map(score).collect())
    }
}
