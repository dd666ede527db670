//! The seam behind which encoders live.
//!
//! A model is the expensive and unreliable thing, so the waist is here: everything above it works with any implementer, and
//! tests use the hash encoder of the `testing` feature.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{EmbeddingBatch, EmbeddingError};

/// What must be equal for two vectors to be comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderSpec {
    /// The model's name, for people; two models may share it.
    pub name: String,
    /// Components of an embedding.
    pub dim: usize,
    /// Hash of the weights, the preprocessing parameters and the tokenizer, in lower-case hexadecimal. Equal fingerprints
    /// mean comparable vectors; anything else means re-encode.
    pub fingerprint: String,
}

impl fmt::Display for EncoderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What follows a dash tells two spaces of one model apart (8-bit vectors), so it is never cut off.
        let (hash, space) =
            self.fingerprint.split_at(self.fingerprint.find('-').unwrap_or(self.fingerprint.len()));
        let short: String = hash.chars().take(12).collect();
        write!(f, "{} (dim {}, fingerprint {short}{space})", self.name, self.dim)
    }
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RasterSize {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// An image as a model takes it: one CHW tensor of f32, scaled and normalised as the model's files say.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedImage {
    /// `3 × height × width` numbers, channel-major (all R, then G, then B).
    pub pixels: Vec<f32>,
    /// Size of the tensor.
    pub size: RasterSize,
    /// Size of the photograph as a viewer shows it, after EXIF orientation, before any resize.
    pub original: RasterSize,
    /// Time spent decoding, and time spent on resize, crop and normalisation.
    pub spent: [Duration; 2],
}

/// Why bytes did not become a [`PreparedImage`]. It concerns this image alone and never stops a job.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Zero bytes.
    #[error("the file is empty")]
    Empty,
    /// Not one of the formats Pictor reads.
    #[error("not an image format that Pictor reads (JPEG, PNG, WebP, GIF, BMP)")]
    UnknownFormat,
    /// The format is known and the data is damaged: truncated, corrupt, or using a feature the decoder lacks.
    #[error("damaged or unsupported {format} data: {reason}")]
    Damaged {
        /// Format by content, not by file name.
        format: &'static str,
        /// The decoder's own words.
        reason: String,
    },
    /// The file is longer than allowed.
    #[error("{bytes} bytes is over the limit of {limit} bytes; raise the limit if the file is to be trusted")]
    TooManyBytes {
        /// Length of the file.
        bytes: u64,
        /// Most bytes read.
        limit: u64,
    },
    /// Decoding it would take more memory than allowed (a decompression bomb, or a very large photograph).
    #[error(
        "{width} × {height} pixels is over the limit of {limit} pixels; raise the limit if the file is to be trusted"
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Most pixels decoded.
        limit: u64,
    },
}

/// Why a model gave no vectors for a whole batch.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Text could not be turned into token ids.
    #[error("tokenizer: {0}")]
    Tokenize(String),
    /// The runtime refused or failed.
    #[error("{runtime} failed on a batch of {batch}: {reason}")]
    Runtime {
        /// `tract` or `onnxruntime`.
        runtime: &'static str,
        /// Items in the batch.
        batch: usize,
        /// The runtime's own words.
        reason: String,
    },
    /// There is too little memory even for one item.
    #[error(
        "{runtime} ran out of memory on a single item: {reason}; free some, or use another device, a smaller model, or \
         --precision fp16"
    )]
    OutOfMemory {
        /// `tract` or `onnxruntime`.
        runtime: &'static str,
        /// The runtime's own words.
        reason: String,
    },
    /// The model's output has the wrong shape.
    #[error(
        "model output has shape {received:?}, expected {expected:?}; the model folder names the wrong output"
    )]
    Shape {
        /// Shape received.
        received: Vec<usize>,
        /// Shape that the model folder promises.
        expected: Vec<usize>,
    },
    /// The model's output is not a set of directions.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
}

/// Images and texts in, vectors of one common space out.
///
/// Row `i` of an answer depends on input `i` alone: the same input gives the same vector (within rounding) in any batch.
/// An empty batch gives an empty answer.
pub trait Encoder: Send + Sync {
    /// What makes its vectors comparable.
    fn spec(&self) -> &EncoderSpec;

    /// Decodes and preprocesses one image file's bytes: pure, CPU-bound, called from many threads at once.
    ///
    /// # Errors
    /// [`DecodeError`], about this image only.
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError>;

    /// One embedding per image, in order.
    ///
    /// # Errors
    /// [`EncodeError`] when the model fails on the batch.
    fn encode_images(&self, batch: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError>;

    /// One embedding per text, in order. Text longer than the model's context is truncated as its family does.
    ///
    /// # Errors
    /// [`EncodeError`] when the tokenizer or the model fails on the batch.
    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError>;
}
