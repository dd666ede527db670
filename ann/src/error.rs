//! Why an index could not be built, opened or searched.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Every failure of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnnError {
    /// A file operation failed; the message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not the name of an index kind, or parameters out of range.
    #[error("'{text}' is no index kind: {reason}; write flat, hnsw, hnsw:M:EF_CONSTRUCTION or faiss:FACTORY")]
    Kind {
        /// The kind as written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not the name of a way to write components.
    #[error("'{text}' is no dtype; write f16 or f32")]
    Dtype {
        /// As written.
        text: String,
    },
    /// Numbers that are no matrix.
    #[error("{numbers} numbers are no rows of {dim}: {reason}; check how the vectors were written")]
    Shape {
        /// Numbers received.
        numbers: usize,
        /// Components in a row.
        dim: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// More rows than a u32 numbers, or than the index's file can describe.
    #[error("{rows} rows are too many for one index, at most {limit} fit; split them over several segments")]
    TooManyRows {
        /// Rows received.
        rows: usize,
        /// The most that fit.
        limit: usize,
    },
    /// A stored vector holds NaN or an infinity.
    #[error("row {row} holds a number that is not finite; encode that image again")]
    RowNotFinite {
        /// Row index from 0.
        row: usize,
    },
    /// The query has another number of components than the rows.
    #[error("the query has {received} components, the index {expected}; use the encoder that made the index")]
    Dimension {
        /// Components of a row.
        expected: usize,
        /// Components of the query.
        received: usize,
    },
    /// The query holds NaN or an infinity.
    #[error("component {at} of the query is {value}; a query vector must be finite")]
    QueryNotFinite {
        /// Component index from 0.
        at: usize,
        /// The value there.
        value: f32,
    },
    /// `allow` was made for another index.
    #[error(
        "the set of allowed rows is over {received} rows, the index has {expected}; make it for this index"
    )]
    RowSet {
        /// Rows of the index.
        expected: usize,
        /// Rows the set ranges over.
        received: usize,
    },
    /// The index learns from its rows, and there are too few to learn from.
    #[error("FAISS index '{factory}' needs at least {needed} rows to learn from, there are {rows}; {advice}")]
    TooFewRows {
        /// The factory string.
        factory: String,
        /// Rows it needs.
        needed: usize,
        /// Rows there are.
        rows: usize,
        /// What to choose instead.
        advice: String,
    },
    /// FAISS refused or failed; `message` is in its own words.
    #[error(
        "FAISS could not {action} '{factory}': {message}; choose another factory string, or hnsw, or flat"
    )]
    Faiss {
        /// What was asked of it.
        action: &'static str,
        /// The factory string.
        factory: String,
        /// FAISS's message.
        message: String,
    },
    /// A file of another layout.
    #[error(
        "{path} has layout version {received}, this program reads version {expected}; use the version of Pictor that made it, or index again",
        path = path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version this program reads.
        expected: u32,
        /// The version found.
        received: u32,
    },
    /// The file is not what was once written.
    #[error("{path} is damaged: {reason}; run `pictor verify`, which says what can be repaired", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// An intact file, but of another index.
    #[error("index file {path} has {what} {received}, expected {expected}; rebuild the index from its vectors", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the caller expects.
        expected: String,
        /// What the file says.
        received: String,
    },
}
