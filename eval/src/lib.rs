//! How good retrieval is, in the numbers that papers print.
//!
//! What lives here: [`Dataset`] (images and their captions, as published datasets name them), [`pair_rows`] (the same from embedding
//! files alone) and [`Relevance`] (which answers which); [`exact()`] and its kin, which put items in order, and [`direction()`] and
//! [`compare()`], which make figures of an order; and [`RetrievalReport`], the one type that all of it is reported in:
//! printed, written as Markdown and as a page, held against an earlier one ([`hold_against`]) and shown beside published figures
//! ([`anchors`]).
//! Beside retrieval: [`classification`] (zero-shot), [`pope`] (objects that are there or not) and [`hard_negatives`] (captions and
//! their edited twins), each with readers, figures and a report of its own.
//!
//! Why no model and no index here: a figure is a function of vectors or of rankings, so this crate takes those and can be
//! checked against any other implementation. What must stay true: nothing is left out of a figure in silence; an image or a
//! caption that is missing is an error, and what cannot have a figure is counted in the report.

pub mod anchors;
mod baseline;
mod bootstrap;
pub mod classification;
mod compare;
mod curves;
mod dataset;
mod error;
mod exact;
pub mod hard_negatives;
mod html;
mod image_table;
mod markdown;
mod metrics;
mod pairs;
pub mod pope;
mod rankings;
mod relevance;
mod report;
mod rerank;
mod sections;
mod table;
mod tile;
mod words;

pub use baseline::{Verdict, check_baseline, hold_against, read_report};
pub use bootstrap::{Clusters, RESAMPLES};
pub use compare::{PERMUTATIONS, compare};
pub use dataset::{Caption, Dataset, DatasetOptions, ImageRef, Positives, cxc, eccv_caption};
pub use error::EvalError;
pub use exact::exact;
pub use metrics::{PROTOCOL, direction};
pub use pairs::{PairedRows, Pairing, merge_repeated_rows, pair_rows, parse_indices};
pub use rankings::{Candidate, Outcome, Ranked, Rankings, from_lists, from_score_rows, from_scores};
pub use relevance::Relevance;
pub use report::{
    Comparison, DatasetSummary, Direction, Failure, Metrics, ModelSummary, Provenance, REPORT_FORMAT,
    Ranking, RetrievalReport, Run, Stage,
};
pub use rerank::rerank;
