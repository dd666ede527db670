//! What stops an indexing job. One bad image does not: see [`crate::IndexReport::skipped`].

use std::io;
use std::path::PathBuf;

use pictor_core::{AttributesError, CaptionsError, EncodeError, Generation};
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
    /// The attribute file cannot be read.
    #[error(transparent)]
    ReadAttributes(io::Error),
    /// The attribute file is not one.
    #[error("{} is not an attribute file that Pictor reads (CSV or TSV with a heading, or JSON Lines)", path.display())]
    Attributes {
        /// The attribute file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: AttributesError,
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
    /// A folder or file that holds no vectors to import, or not all that belongs to them.
    #[error("nothing is imported from {}: {reason}", path.display())]
    Parts {
        /// What the caller named, or a folder in it.
        path: PathBuf,
        /// What is missing or too much.
        reason: String,
    },
    /// A file of vectors that cannot be read.
    #[error("{} cannot be read: {reason}; nothing of it is imported", path.display())]
    VectorFile {
        /// The `.npy` file.
        path: PathBuf,
        /// What is wrong with it, with what was expected.
        reason: String,
    },
    /// A file of metadata that cannot be read.
    #[error("{} cannot be read: {reason}; write it again, or leave it out with --no-metadata", path.display())]
    Metadata {
        /// The `.parquet` file.
        path: PathBuf,
        /// What is wrong with it, with what was expected.
        reason: String,
    },
    /// Vectors and what is known of them do not belong together, so every row after the first missing one would be wrong.
    #[error(
        "{} has {vector_rows} rows and {} has {metadata_rows}; they are not of the same images, and nothing is imported: \
         write both again from one run",
        vectors.display(), metadata.display()
    )]
    Misaligned {
        /// The `.npy` file.
        vectors: PathBuf,
        /// Its rows.
        vector_rows: u64,
        /// The `.parquet` file.
        metadata: PathBuf,
        /// Its rows.
        metadata_rows: u64,
    },
    /// The vectors are of another dimension than the model's.
    #[error(
        "the vectors of {} have {received} components, those of {model} have {expected}; name the model that made them with --model",
        path.display()
    )]
    VectorDimension {
        /// The `.npy` file.
        path: PathBuf,
        /// The model.
        model: String,
        /// Components of the model's vectors.
        expected: usize,
        /// Components found.
        received: usize,
    },
    /// The files say which model made the vectors, and it is another one.
    #[error("the vectors of {} were made with {received}, not with {expected}; name that model with --model", path.display())]
    VectorModel {
        /// The `.parquet` file that says so.
        path: PathBuf,
        /// The index's model: name and fingerprint.
        expected: String,
        /// The model of the vectors.
        received: String,
    },
    /// An export would overwrite something.
    #[error("{} is there already; name a folder that is not, or delete it first", path.display())]
    Exists {
        /// Where the export was to go.
        path: PathBuf,
    },
    /// An export could not be written.
    #[error("the export to {} failed; check the free space of the disk and run it again", path.display())]
    Export {
        /// The file, or the folder.
        path: PathBuf,
        /// What the system, or the writer of the format, said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The index could not be read or written. What was committed before stays.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
