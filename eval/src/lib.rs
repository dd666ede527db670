//! How good retrieval is, in the numbers that papers print.
//!
//! What lives here: [`Dataset`] (images and their captions, as published datasets name them), [`pair_rows`] (the same from embedding
//! files alone), [`retrieval()`] (R@K of
//! an exact search between two sets of embeddings), [`recall_from_rankings`] (the same figures from what an index returned)
//! and [`RetrievalReport`], the one type that all of it is reported in.
//!
//! Why no model and no index here: a figure is a function of vectors or of rankings, so this crate takes those and can be
//! checked against any other implementation. What must stay true: nothing is left out of a figure in silence; an image or a
//! caption that is missing is an error, and what cannot have a figure is counted in the report.

pub mod classification;
mod dataset;
mod error;
pub mod hard_negatives;
mod image_table;
mod pairs;
pub mod pope;
mod report;
mod retrieval;

pub use dataset::{Caption, Dataset, DatasetOptions, ImageRef, Positives, cxc, eccv_caption};
pub use error::EvalError;
pub use pairs::{PairedRows, Pairing, merge_repeated_rows, pair_rows, parse_indices};
pub use report::{PROTOCOL, Recall, RetrievalReport};
pub use retrieval::{recall_from_rankings, retrieval};
