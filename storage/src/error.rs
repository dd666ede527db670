//! Everything that can go wrong with an index on disk, named by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use pictor_ann::AnnError;
use pictor_core::{EmbeddingError, EncoderSpec, ImageId};
use thiserror::Error;

use crate::FilterError;
use crate::segment::NEIGHBORS;

/// The cause of an error inside RocksDB or tantivy, whose own types stay inside this crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an index could not be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directory does not exist.
    #[error("no index at {dir}; make one with `pictor index SOURCE --index {dir}`")]
    Missing {
        /// The directory named.
        dir: PathBuf,
    },
    /// The directory exists and holds no index.
    #[error(
        "{dir} holds no manifest.json, so it is no index; name another directory, or make an index in a new one with \
         `pictor index SOURCE --index DIR`"
    )]
    NotAnIndex {
        /// The directory named.
        dir: PathBuf,
    },
    /// `create` met an index that is already there.
    #[error("{dir} already holds an index; open it, or delete the directory first")]
    AlreadyExists {
        /// The directory named.
        dir: PathBuf,
    },
    /// `create` met a directory with other files in it.
    #[error("{dir} is not empty and holds no index; name an empty or new directory")]
    NotEmpty {
        /// The directory named.
        dir: PathBuf,
    },
    /// The file was written by another version of Pictor.
    #[error(
        "{path} has format version {received}, this program reads version {expected}; use the version of Pictor that \
         made it, or index again into a new directory"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version this program reads.
        expected: u32,
        /// The version found.
        received: u32,
    },
    /// A file that nothing can be rebuilt from is truncated, altered or gone.
    #[error("{path} is damaged: {reason}; restore the index from a copy, or delete it and index again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the expected and the received value.
        reason: String,
    },
    /// The nearest-neighbour index of a segment is damaged or gone. Its vectors are not.
    #[error(
        "the nearest-neighbour index in {segment} cannot be used; run `pictor repair` on this index, which rebuilds it from the \
         vectors"
    )]
    DamagedNeighbors {
        /// The segment's directory.
        segment: PathBuf,
        /// What the index said.
        #[source]
        source: AnnError,
    },
    /// The caller's encoder makes vectors that cannot be compared with those stored (invariant I6).
    #[error(
        "{dir} was made with {}, and the encoder given is {}; choose the model that made the index with --model and --precision, or \
         move the index to the other one with `pictor reindex`", .specs.0, .specs.1
    )]
    EncoderMismatch {
        /// The index.
        dir: PathBuf,
        /// The index's encoder, then the caller's.
        specs: Box<(EncoderSpec, EncoderSpec)>,
    },
    /// A migration to another model was begun and is not finished.
    #[error(
        "vectors of {} are being made beside this index, and {} was asked for; go on with the first, or throw its vectors away \
         with `pictor reindex --discard`", .specs.0, .specs.1
    )]
    OtherSuccessor {
        /// The encoder of the migration that was begun, then the one asked for.
        specs: Box<(EncoderSpec, EncoderSpec)>,
    },
    /// There is nothing to switch to.
    #[error("no vectors of another model have been made; make them with `pictor reindex --model NAME`")]
    NoSuccessor,
    /// There is nothing to go back to.
    #[error(
        "no vectors of an earlier model are kept, so there is nothing to go back to; use `pictor reindex --model NAME`"
    )]
    NoPrevious,
    /// Another writer holds the lock.
    #[error(
        "{dir} is being written by {}; wait until that run has finished, or stop it", holder_name(.holder)
    )]
    Busy {
        /// The index.
        dir: PathBuf,
        /// Process id of the holder, when it could be read.
        holder: Option<u32>,
    },
    /// An earlier write failed, so what is on disk is no longer known to this writer (invariant I7).
    #[error(
        "this writer stopped after a failed write ({reason}); close it and open the index again, which recovers \
         the last commit"
    )]
    Poisoned {
        /// The failure.
        reason: String,
    },
    /// A vector is not one that can be stored or compared.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// A vector has the wrong number of components.
    #[error(
        "a vector of {received} components was given, the index holds {expected}; encode it with the index's model"
    )]
    Dimension {
        /// Components of the index's vectors.
        expected: usize,
        /// Components received.
        received: usize,
    },
    /// `update_record` was given another image's record.
    #[error("image {id} is {expected}, the record given is of {received}; put a new image instead")]
    OtherImage {
        /// The image named.
        id: ImageId,
        /// Its uri.
        expected: String,
        /// The record's uri.
        received: String,
    },
    /// A filter cannot be read, or cannot be meant for this index.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An index kind cannot be built or searched as asked.
    #[error(transparent)]
    Ann(AnnError),
    /// RocksDB failed.
    #[error(
        "the catalog at {path} failed; check the disk, then restore the index from a copy or index again"
    )]
    Catalog {
        /// The catalog's directory.
        path: PathBuf,
        /// RocksDB's own error.
        #[source]
        source: Cause,
    },
    /// tantivy failed.
    #[error("the text index at {path} failed; run `pictor repair` on this index, which rebuilds it")]
    Text {
        /// The text index's directory.
        path: PathBuf,
        /// tantivy's own error.
        #[source]
        source: Cause,
    },
    /// Another process has the feature cache open.
    #[error(
        "the feature cache in {dir} is in use by {}; name another folder for this one with --rerank-cache, or stop that process",
        holder_name(.holder)
    )]
    FeatureCacheBusy {
        /// The cache's folder.
        dir: PathBuf,
        /// Process id of the holder, when it could be read.
        holder: Option<u32>,
    },
    /// The feature cache is where nothing may be written.
    #[error("the feature cache in {dir} cannot be written; name a writable folder with --rerank-cache")]
    FeatureCacheNotWritable {
        /// The cache's folder.
        dir: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The feature cache is damaged, or its disk is full, or its folder is something else's.
    #[error(
        "the feature cache in {dir} cannot be used; delete that folder if it is one, since all of it can be made again, or name \
         another with --rerank-cache"
    )]
    FeatureCache {
        /// The cache's folder.
        dir: PathBuf,
        /// What RocksDB or the system said.
        #[source]
        source: Cause,
    },
    /// A merge in the background failed. No committed image is touched by that, and the writer goes on.
    #[error(
        "merging segments failed, which costs no committed image; what kept it follows: put that right and run \
         `pictor compact`"
    )]
    Merge {
        /// What made it fail.
        #[source]
        source: Box<StorageError>,
    },
    /// The disk is full. The index is as the last commit made it.
    #[error(
        "the disk that holds {dir} is full; what was committed is safe: free space on that disk and run the command again"
    )]
    Full {
        /// The index.
        dir: PathBuf,
        /// Who found out.
        #[source]
        source: Box<StorageError>,
    },
    /// The index may be read and not written.
    #[error(
        "{dir} cannot be written, which adding, deleting and merging need; make the disk and the folder writable, or copy the \
         index to where they are"
    )]
    NotWritable {
        /// The index.
        dir: PathBuf,
        /// Who found out.
        #[source]
        source: Box<StorageError>,
    },
    /// The operating system failed; the message names the file.
    #[error(
        "the index could not be read or written; check the path, its permissions and the free space of the disk"
    )]
    Io(#[from] io::Error),
}

impl StorageError {
    /// A [`StorageError::Damaged`].
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// The error of a write to the index in `dir`, named by the disk when it comes from one that is full or not writable.
    ///
    /// By the words of the operating system in the chain of causes: RocksDB hands on nothing else, and tantivy and FAISS not
    /// always more. They do not depend on the locale, which this program leaves at C.
    pub(crate) fn on_disk(self, dir: &Path) -> Self {
        let causes = std::iter::successors(Some(&self as &dyn std::error::Error), |error| error.source());
        let said = causes.map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
        let (dir, full) = (dir.to_owned(), ["No space left on device", "Disk quota exceeded"]);
        if says(&full) {
            Self::Full { dir, source: Box::new(self) }
        } else if says(&["Read-only file system", "Permission denied"]) {
            Self::NotWritable { dir, source: Box::new(self) }
        } else {
            self
        }
    }
}

impl From<AnnError> for StorageError {
    /// Damage to a file of ours is told by what can be done about it.
    fn from(error: AnnError) -> Self {
        match error {
            AnnError::Damaged { ref path, .. } if path.ends_with(NEIGHBORS) => {
                let segment = path.parent().unwrap_or(path).to_owned();
                Self::DamagedNeighbors { segment, source: error }
            }
            AnnError::Damaged { path, reason } => Self::Damaged { path, reason },
            AnnError::Version { path, expected, received } => Self::Version { path, expected, received },
            AnnError::Io(error) => Self::Io(error),
            error => Self::Ann(error),
        }
    }
}

fn holder_name(holder: &Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
