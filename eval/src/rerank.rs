//! The second stage: the head of a ranking in the order of a matcher's scores.
//!
//! This is what BLIP and LAVIS evaluate (`BLIP/train_retrieval.py::evaluation`, `LAVIS …/albef_models/__init__.py::
//! compute_sim_matrix`): they fill a matrix with -100, write the scores of the `k_test` best by ITC over it, and take ranks
//! from the matrix. Where a matcher's scores are above -100, that is this order but for what comes after the first `k_test`: all
//! of it ties there, and keeps the first stage's order here. R@K is the same for K up to `k_test`. What must stay true: the
//! first `k_test` stay the first `k_test`, so that a positive which the first stage put behind them keeps its rank.

use crate::EvalError;
use crate::rankings::{Candidate, Outcome, Ranked};

/// Puts the first `k_test` candidates of each query into the order of `score`, which gives a number for each of the items it
/// is asked about, in their order; candidates of equal score stay in first-stage order, NaN goes last. The rest follows as it
/// was, with its first-stage scores. `positives` are those that `first` was made with.
///
/// # Errors
/// What `score` returns, [`EvalError::Scores`] when it gives another number of scores, [`EvalError::ShortRanking`] when fewer
/// than `k_test` candidates were kept of a longer ranking.
pub fn rerank<'a, E: From<EvalError>>(
    first: &[Ranked],
    k_test: usize,
    positives: impl Fn(u32) -> &'a [u32],
    mut score: impl FnMut(u32, &[u32]) -> Result<Vec<f32>, E>,
) -> Result<Vec<Ranked>, E> {
    first
        .iter()
        .map(|ranked| {
            let (query, received) = (ranked.query as usize, ranked.top.len());
            if received < k_test && !ranked.complete {
                return Err(EvalError::ShortRanking { query, received, expected: k_test }.into());
            }
            let (head, rest) = ranked.top.split_at(k_test.min(received));
            let items: Vec<u32> = head.iter().map(|candidate| candidate.item).collect();
            let scores = score(ranked.query, &items)?;
            if scores.len() != items.len() {
                let (received, expected) = (scores.len(), items.len());
                return Err(EvalError::Scores { query, received, expected }.into());
            }
            Ok(reordered(ranked, &items, &scores, rest, positives(ranked.query)))
        })
        .collect()
}

fn reordered(first: &Ranked, items: &[u32], scores: &[f32], rest: &[Candidate], positives: &[u32]) -> Ranked {
    // Places in the first stage stand in for the items while sorting, so that ties keep its order.
    let mut places: Vec<Candidate> =
        (0..).zip(scores).map(|(item, &score)| Candidate { item, score }).collect();
    places.sort_unstable_by(Candidate::order);
    let head = places.iter().map(|place| Candidate { item: items[place.item as usize], ..*place });
    let top: Vec<Candidate> = head.chain(rest.iter().copied()).collect();
    let outcome = Outcome::new(&top, positives, first.complete);
    // What was not kept of the ranking is behind what was, and did not move.
    let rank = outcome.rank.or(first.outcome.rank);
    Ranked { query: first.query, outcome: Outcome { rank, ..outcome }, top, complete: first.complete }
}
