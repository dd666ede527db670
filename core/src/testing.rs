//! Test doubles (feature `testing`): an encoder that needs no model.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::{DecodeError, EmbeddingBatch, EncodeError, Encoder, EncoderSpec, PreparedImage, RasterSize};

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
