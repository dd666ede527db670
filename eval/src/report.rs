//! What an evaluation of retrieval says: the one type that is printed, drawn, kept as JSON and compared with later.
//!
//! What must stay true: a figure never travels without what is needed to repeat it (model, data, command, protocol), and the rank of
//! every query is kept, so that two reports can be compared query by query.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the JSON layout.
pub const REPORT_FORMAT: u32 = 1;

/// A whole evaluation: one dataset, one or more runs over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalReport {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// How every figure is defined, in sentences.
    pub protocol: String,
    /// What made the report.
    pub provenance: Provenance,
    /// What was ranked.
    pub dataset: DatasetSummary,
    /// In the order in which they were asked for.
    pub runs: Vec<Run>,
    /// Each run against the first, and what reranking and the index changed.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
}

/// What made a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of Pictor.
    pub pictor: String,
    /// The command, word by word.
    pub command: Vec<String>,
    /// UTC, RFC 3339, to the second.
    pub date: String,
    /// Processor and threads, for people.
    pub machine: String,
    /// Wall time of everything, seconds.
    pub seconds: f64,
}

/// What was ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// For people: the caption file's name and the split.
    pub name: String,
    /// Where it was read from, each file or folder by its role: `captions`, `images`, `split`, `relevance`.
    pub sources: BTreeMap<String, String>,
    /// Lower-case hexadecimal BLAKE3 over image names, captions and relevance, in order: equal hashes mean equal queries.
    pub hash: String,
    /// Images ranked.
    pub images: usize,
    /// Captions ranked.
    pub captions: usize,
    /// Images that nothing describes: ranked for every text, and no queries themselves.
    pub images_without_captions: usize,
    /// Where positives come from: `captions`, `ECCV Caption`, `CxC`.
    pub relevance: String,
}

/// One way of ranking, both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// For tables, unique in the report: `pictor-mini`, `pictor-mini, index`, `pictor-mini, rerank 128`.
    pub label: String,
    /// The dual encoder.
    pub model: ModelSummary,
    /// What put the results in order.
    pub ranking: Ranking,
    /// Each caption is a query.
    pub text_to_image: Direction,
    /// Each image with captions is a query; absent where this way of ranking has only the other direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_to_text: Option<Direction>,
    /// Where the time went.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Queries whose positives rank lowest, worst first.
    #[serde(default)]
    pub failures: Vec<Failure>,
}

/// A model that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// Its fingerprint; empty for embeddings that were read from files.
    pub fingerprint: String,
    /// Components of an embedding.
    pub dim: usize,
    /// `fp32`, `fp16`, `int8`; empty for embeddings that were read from files.
    pub precision: String,
    /// What ran it, with its version.
    pub runtime: String,
}

/// What put results in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Ranking {
    /// Exact inner products of freshly made embeddings.
    Exact,
    /// What an index returned.
    Index {
        /// Its folder.
        path: String,
        /// Its kind, as it is written on the command line.
        kind: String,
        /// Images in it; those that are not of the dataset compete too.
        images: usize,
        /// The filter that was applied, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// The first `k_test` of an earlier ranking, in the order of a matcher's scores.
    Rerank {
        /// The matcher.
        matcher: ModelSummary,
        /// Candidates of each query that were scored.
        k_test: usize,
        /// Label of the run that the candidates come from.
        first_stage: String,
    },
}

/// One direction of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// The figures.
    pub metrics: Metrics,
    /// 95 % bootstrap interval of each figure, by its name in [`Metrics`].
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Rank from 1 of each query's best positive, in the dataset's order; `None` where the ranking ended before one was met.
    pub ranks: Vec<Option<u32>>,
}

/// The figures of one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Percent of queries with a positive in first place, 0..=100.
    #[serde(rename = "R@1")]
    pub r1: f64,
    /// Percent of queries with a positive among the first 5.
    #[serde(rename = "R@5")]
    pub r5: f64,
    /// Percent of queries with a positive among the first 10.
    #[serde(rename = "R@10")]
    pub r10: f64,
    /// Median over queries of the best positive's rank, from 1; the mean of the middle two for an even count. `None` when a
    /// ranking ended before a positive was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_rank: Option<f64>,
    /// Mean of the same ranks. `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_rank: Option<f64>,
    /// Mean average precision at R, percent (Musgrave et al. 2020, section 3.2; R = the query's positives).
    #[serde(rename = "mAP@R", default, skip_serializing_if = "Option::is_none")]
    pub map_at_r: Option<f64>,
    /// Mean share of positives among a query's first R, percent.
    #[serde(rename = "R-precision", default, skip_serializing_if = "Option::is_none")]
    pub r_precision: Option<f64>,
}

/// Time of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `encode images`, `encode texts`, `rank`, `rerank`, …
    pub name: String,
    /// What was counted: images, captions, queries, pairs.
    pub unit: String,
    /// How many.
    pub items: usize,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// A query that was answered badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The direction.
    pub direction: String,
    /// The caption, or the image's path.
    pub query: String,
    /// Rank of the best positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// What should have come first: paths of images, or captions.
    pub expected: Vec<String>,
    /// What did, best first, with scores.
    pub received: Vec<(String, f32)>,
}

/// Two runs, query by query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Label of the run that the other is held against.
    pub base: String,
    /// Label of the other run.
    pub run: String,
    /// `text_to_image` or `image_to_text`.
    pub direction: String,
    /// Name of the figure in [`Metrics`].
    pub metric: String,
    /// Run minus base, points.
    pub difference: f64,
    /// 95 % interval of the difference, from a paired bootstrap over queries.
    pub interval: [f64; 2],
    /// Two-sided p of no difference: paired permutation (sign flips) for means, of the same queries.
    pub p: f64,
}
