//! The figures of a direction, from what came of its queries.
//!
//! What must stay true: a figure is a mean, median or count over exactly the queries given, in f64, so that it is the same
//! number as any other implementation makes of the same ranks; and a figure that a ranking was too short for is absent.

use crate::EvalError;
use crate::bootstrap::{Clusters, interval};
use crate::rankings::{Outcome, Ranked};
use crate::report::{Direction, Metrics};

/// How every figure here is defined; part of each report, because figures of different definitions look alike.
pub const PROTOCOL: &str = "R@K: percent of queries with at least one positive among the first K (CLIP_benchmark, \
zeroshot_retrieval.py: recall_at_k > 0). Rank: place of the best positive, from 1. mAP@R and R-precision: over the first R \
results, R = number of the query's positives (Musgrave et al. 2020, section 3.2). Every caption and every image is \
ranked, without a prompt; those with a positive are the queries. Items of equal \
score rank in dataset order. Intervals: 95 % percentile bootstrap, 2,000 resamples of images with all their captions.";

/// The figures of one direction, with intervals from resampling `clusters` ([`Clusters::new`] of the same `ranked`). Without
/// queries there is nothing to find: R@K is 0 and all else absent.
///
/// # Errors
/// [`EvalError::DifferentQueries`] when `clusters` were made of other queries.
///
/// # Example
/// ```
/// use pictor_eval::{Clusters, Relevance, direction, from_scores};
/// // Two texts, two images; the second text finds the first image.
/// let rankings = from_scores(&[0.9, 0.1, 0.8, 0.7], &Relevance::from_captions(&[0, 1], 2)?, 2)?;
/// let figures = direction(&rankings.text_to_image, &Clusters::single(2))?.metrics;
/// assert_eq!((figures.r1, figures.r5, figures.mean_rank), (50.0, 100.0, Some(1.5)));
/// # Ok::<(), pictor_eval::EvalError>(())
/// ```
pub fn direction(ranked: &[Ranked], clusters: &Clusters) -> Result<Direction, EvalError> {
    if clusters.queries() != ranked.len() {
        return Err(EvalError::DifferentQueries {
            first: "the ranking".into(),
            first_queries: ranked.len(),
            second: "the clusters".into(),
            second_queries: clusters.queries(),
        });
    }
    let outcomes: Vec<Outcome> = ranked.iter().map(|ranked| ranked.outcome).collect();
    let all: Vec<u32> = (0..outcomes.len() as u32).collect();
    let metrics = metrics_of(&outcomes, &all);
    let resampled: Vec<Metrics> = clusters.resample(|places| metrics_of(&outcomes, places));
    let intervals = FIGURES.iter().filter_map(|&(name, figure)| {
        // A figure that some query lacks is absent, even where a resample left that query out.
        figure(&metrics)?;
        Some((name.to_owned(), interval(resampled.iter().filter_map(figure).collect())?))
    });
    let intervals = intervals.collect();
    Ok(Direction { metrics, intervals, ranks: outcomes.iter().map(|outcome| outcome.rank).collect() })
}

/// Each figure by its name in a report.
type Figure = fn(&Metrics) -> Option<f64>;
const FIGURES: [(&str, Figure); 7] = [
    ("R@1", |m| Some(m.r1)),
    ("R@5", |m| Some(m.r5)),
    ("R@10", |m| Some(m.r10)),
    ("median_rank", |m| m.median_rank),
    ("mean_rank", |m| m.mean_rank),
    ("mAP@R", |m| m.map_at_r),
    ("R-precision", |m| m.r_precision),
];

/// Figures over the outcomes at `places`, which may repeat.
fn metrics_of(outcomes: &[Outcome], places: &[u32]) -> Metrics {
    let chosen = || places.iter().map(|&place| &outcomes[place as usize]);
    let queries = places.len().max(1) as f64;
    let mut hits = [0_u32; 3];
    for rank in chosen().filter_map(|outcome| outcome.rank) {
        for (hits, k) in hits.iter_mut().zip([1, 5, 10]) {
            *hits += u32::from(rank <= k);
        }
    }
    let [r1, r5, r10] = hits.map(|hits| 100.0 * f64::from(hits) / queries);
    // One query without the figure, and there is none.
    let percent = |figure: fn(&Outcome) -> Option<f64>| {
        let sum: Option<f64> = chosen().map(figure).sum();
        sum.filter(|_| !places.is_empty()).map(|sum| 100.0 * sum / queries)
    };
    let ranks: Option<Vec<u32>> = chosen().map(|outcome| outcome.rank).collect();
    let mut ranks = ranks.unwrap_or_default();
    let sum: u64 = ranks.iter().map(|&rank| u64::from(rank)).sum();
    Metrics {
        r1,
        r5,
        r10,
        mean_rank: (!ranks.is_empty()).then(|| sum as f64 / queries),
        median_rank: median(&mut ranks),
        map_at_r: percent(|outcome| outcome.average_precision),
        r_precision: percent(|outcome| outcome.r_precision),
    }
}

/// The middle one, or the mean of the middle two; `None` of nothing.
fn median(ranks: &mut [u32]) -> Option<f64> {
    let (middle, even) = (ranks.len() / 2, ranks.len().is_multiple_of(2));
    if ranks.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = ranks.select_nth_unstable(middle);
    let lower = if even { below.iter().copied().max().unwrap_or(upper) } else { upper };
    Some((f64::from(lower) + f64::from(upper)) / 2.0)
}
