//! Why a request has no answer, by what the caller can do about it.

use pictor_core::{DecodeError, EmbeddingError, EncodeError, ImageId};
use pictor_storage::{FilterError, StorageError};
use thiserror::Error;

use crate::{MAX_EFFORT, MAX_K, MAX_RERANK, MAX_TEXT_CHARS, Mode};

/// Why a search failed. Everything above [`QueryError::Encode`] is the caller's to mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nothing to search for.
    #[error("the query is empty; give a text, an image, or the id of an indexed image")]
    EmptyQuery,
    /// The mode compares words, and there are none.
    #[error("mode {0} needs a text; give one, or use mode vector")]
    NeedsText(Mode),
    /// The mode compares only words, and there is an image.
    #[error("mode text cannot search by image; use mode vector or hybrid, or leave the image out")]
    ImageInTextMode,
    /// More or fewer results than an answer may have.
    #[error("k is {0}; it must be from 1 to {MAX_K}")]
    KOutOfRange(usize),
    /// The search effort makes no sense.
    #[error("effort is {0}; it must be from 1 to {MAX_EFFORT}")]
    EffortOutOfRange(usize),
    /// Longer than any model or caption reads.
    #[error("the text has {0} characters; it must have at most {MAX_TEXT_CHARS}")]
    TextTooLong(usize),
    /// The mode is none of the three.
    #[error("unknown mode '{0}'; expected vector, text or hybrid")]
    UnknownMode(String),
    /// A matcher compares words with images, and there are no words.
    #[error("reranking needs a text: a matcher compares words with images; give one, or leave rerank out")]
    RerankNeedsText,
    /// More or fewer candidates than may be reranked.
    #[error("rerank is {0}; it must be from 1 to {MAX_RERANK}")]
    RerankOutOfRange(usize),
    /// The deadline has nothing to cut short.
    #[error(
        "a deadline cuts reranking short, and this search is not reranked; give rerank too, or leave the deadline out"
    )]
    DeadlineWithoutRerank,
    /// The engine has no matcher.
    #[error(
        "no matcher is open, so results cannot be reranked; name a model that has one with --matcher, or leave rerank out"
    )]
    NoMatcher,
    /// The image to compare with is not in the index.
    #[error("no image {0} in the index; it may have been replaced since, so search again")]
    UnknownImage(ImageId),
    /// Text and image point in opposite directions, so their mean has none.
    #[error("text and image cancel each other out; search with one of them")]
    NoDirection(#[source] EmbeddingError),
    /// The filter cannot be read, or cannot be meant for this index.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The query image cannot be read.
    #[error("the query image cannot be read; give a JPEG, PNG, WebP, GIF or BMP file")]
    Decode(#[from] DecodeError),
    /// The model failed.
    #[error("the query could not be encoded; see `pictor doctor`")]
    Encode(#[from] EncodeError),
    /// The index could not be read, or was made with another model.
    #[error(transparent)]
    Storage(StorageError),
    /// A hit has no record: the index contradicts itself (invariant I1).
    #[error(
        "image {0} was found but has no record, so the index is damaged; index again into a new directory"
    )]
    MissingRecord(ImageId),
}

impl From<StorageError> for QueryError {
    /// A filter that the index cannot answer is the caller's to mend, everything else is not.
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Filter(error) => Self::Filter(error),
            error => Self::Storage(error),
        }
    }
}
