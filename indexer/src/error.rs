//! What stops an indexing job. One bad image does not: see [`crate::IndexReport::skipped`].

use std::io;
use std::path::PathBuf;

use pictor_core::{CaptionsError, EncodeError, Generation};
use pictor_storage::StorageError;
use thiserror::Error;

/// Why an indexing job did not run to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The caller named nothing.
    #[error("no source given; name a folder of photographs or an image file")]
    NoSource,
    /// A source is not there, or may not be looked at.
    #[error("source {} cannot be used; check the path and its permissions", path.display())]
    Source {
        /// As the caller gave it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder in which nothing can be indexed.
    #[error(
        "no image in {} or below ({}){}; name another folder, or a file itself when its extension is unusual",
        path.display(),
        crate::IMAGE_EXTENSIONS.join(", "),
        first_skipped.as_ref().map(|reason| format!(", and not every entry could be used: {reason}")).unwrap_or_default()
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The first entry that looked like an image and could not be used, with the reason.
        first_skipped: Option<String>,
    },
    /// A source is the index itself, or lies inside it.
    #[error("source {} lies inside the index {}; name the photographs instead", path.display(), index.display())]
    SourceInIndex {
        /// The source.
        path: PathBuf,
        /// The index directory.
        index: PathBuf,
    },
    /// An option is out of its range.
    #[error("{name} is {received}; it must be at least 1")]
    Option {
        /// Field of [`crate::IndexOptions`].
        name: &'static str,
        /// Value received.
        received: usize,
    },
    /// The caption file cannot be read.
    #[error(transparent)]
    ReadCaptions(io::Error),
    /// The caption file is not one.
    #[error("{} is not a caption file that Pictor reads", path.display())]
    Captions {
        /// The caption file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: CaptionsError,
    },
    /// The model refused a whole batch and every image of it alone, so it is the model that fails, not an image.
    #[error(
        "the model failed on every image of a batch; {indexed} images are indexed as of generation {generation}, run again \
         to go on once the model works (see `pictor doctor`)"
    )]
    Encode {
        /// The model's own words.
        #[source]
        source: EncodeError,
        /// Images that this job indexed before, all committed.
        indexed: u64,
        /// The index as it was left.
        generation: Generation,
    },
    /// The index could not be read or written. What was committed before stays.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
