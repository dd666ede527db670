//! How good retrieval is, in the numbers that papers print.
//!
//! What lives here: [`Dataset`] (images and their captions, as the published caption files name them), [`retrieval()`] (R@K of
//! an exact search between two sets of embeddings), [`recall_from_rankings`] (the same figures from what an index returned)
//! and [`RetrievalReport`], the one type that all of it is reported in.
//!
//! Why no model and no index here: a figure is a function of vectors or of rankings, so this crate takes those and can be
//! checked against any other implementation. What must stay true: nothing is left out of a figure in silence; an image or a
//! caption that is missing is an error, and what cannot have a figure is counted in the report.

pub mod anchors;
pub mod baseline;
mod compare_stand_in;
mod curves;
mod dataset;
mod error;
mod html;
mod markdown;
mod old_report;
pub mod report;
mod retrieval;
mod sections;
mod table;
mod words;

pub use compare_stand_in::compare;
pub use dataset::{Caption, Dataset};
pub use error::EvalError;
pub use old_report::{PROTOCOL, Recall, RetrievalReport};
pub use retrieval::{recall_from_rankings, retrieval};
