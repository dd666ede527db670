//! What a search returned, query by query, and what came of each.
//!
//! Everything that puts items in order ends here: exact search ([`crate::exact()`]), an index ([`from_lists`]), a score matrix
//! ([`from_scores`]) and reranking ([`crate::rerank()`]); everything that is said about an order starts here. What must stay true:
//! one order for all of them, [`Candidate::order`], and a figure only where the ranking is long enough to know it.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::{EvalError, Relevance};

/// An item and how well it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Index of the image or text; `u32::MAX` for an image that an index holds and the dataset does not.
    pub item: u32,
    /// Its score in the stage that ranked it.
    pub score: f32,
}

impl Candidate {
    /// The order of results everywhere: best score first, equal scores by index, NaN last.
    pub fn order(&self, other: &Self) -> Ordering {
        // `+ 0.0` makes -0.0 equal to 0.0, as `==` has it.
        let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        key(other.score).total_cmp(&key(self.score)).then(self.item.cmp(&other.item))
    }
}

/// What came of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Place of the best positive, from 1. `None` when the ranking ended before one was met.
    pub rank: Option<u32>,
    /// Average precision at R, 0..=1, R = the query's positives: the precisions at the places of the positives among the
    /// first R, summed, divided by R (Musgrave et al. 2020, "A Metric Learning Reality Check", section 3.2; ECCV Caption's
    /// mAP@R). `None` when the ranking ended before R.
    pub average_precision: Option<f64>,
    /// Share of positives among the first R, 0..=1. `None` as above.
    pub r_precision: Option<f64>,
}

impl Outcome {
    /// Of a ranking, best first. `positives` is ascending; `complete` says that nothing else competed, so that what is not
    /// in the ranking was not found, rather than cut off.
    pub fn new(ranking: &[Candidate], positives: &[u32], complete: bool) -> Self {
        let is_positive = |candidate: &Candidate| positives.binary_search(&candidate.item).is_ok();
        let rank = ranking.iter().position(is_positive).map(|place| place as u32 + 1);
        let r = positives.len();
        if r == 0 || (ranking.len() < r && !complete) {
            return Self { rank, average_precision: None, r_precision: None };
        }
        let (mut hits, mut precisions) = (0, 0.0);
        for (place, candidate) in ranking.iter().take(r).enumerate() {
            if is_positive(candidate) {
                hits += 1;
                precisions += f64::from(hits) / (place + 1) as f64;
            }
        }
        let of_r = |sum: f64| Some(sum / r as f64);
        Self { rank, average_precision: of_r(precisions), r_precision: of_r(f64::from(hits)) }
    }
}

/// One query's ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the text (text → image) or image (image → text).
    pub query: u32,
    /// What came of it, over the whole ranking.
    pub outcome: Outcome,
    /// The head of the ranking that was kept, best first.
    pub top: Vec<Candidate>,
    /// Whether `top` holds everything that competed.
    pub complete: bool,
}

/// Both directions of one way of ranking, queries ascending. Those without positives are left out:
/// [`Relevance::text_queries`] of [`Relevance::texts`] are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Rankings {
    /// Each text is a query, and images are ranked.
    pub text_to_image: Vec<Ranked>,
    /// Each image is a query, and texts are ranked.
    pub image_to_text: Vec<Ranked>,
}

/// Rankings from what an index returned: `lists[q]` is what it found for query `q`, best first, in the order in which a user
/// would see it. Items that are not of the dataset compete too, as `u32::MAX`. `complete` says that the lists hold all that
/// the index would ever return; else each must reach R@10. They are kept whole.
///
/// # Errors
/// [`EvalError::ShortRanking`] when a list has fewer than ten items and is not complete.
pub fn from_lists<'a>(
    lists: &[Vec<Candidate>],
    positives: impl Fn(u32) -> &'a [u32],
    complete: bool,
) -> Result<Vec<Ranked>, EvalError> {
    let queries = lists.iter().enumerate().map(|(query, list)| (query, list, positives(query as u32)));
    queries
        .filter(|(_, _, positives)| !positives.is_empty())
        .map(|(query, list, positives)| match list.len() {
            received @ ..10 if !complete => Err(EvalError::ShortRanking { query, received, expected: 10 }),
            _ => {
                let outcome = Outcome::new(list, positives, complete);
                Ok(Ranked { query: query as u32, outcome, top: list.clone(), complete })
            }
        })
        .collect()
}

/// Rankings, both directions, from one score matrix, row-major texts × images: for matrices that are small, or made
/// elsewhere. `keep` is how much of each ranking to keep.
///
/// # Errors
/// [`EvalError::Matrix`] when the numbers are not texts × images.
pub fn from_scores(scores: &[f32], relevance: &Relevance, keep: usize) -> Result<Rankings, EvalError> {
    let (texts, images) = (relevance.texts(), relevance.images());
    check_matrix(scores, texts, images)?;
    let columns = |image: usize| scores[image..].iter().step_by(images);
    Ok(Rankings {
        text_to_image: rank_rows(
            texts,
            |t| &scores[t * images..][..images],
            |t| relevance.images_of_text(t),
            keep,
        ),
        image_to_text: rank_rows(images, columns, |i| relevance.texts_of_image(i), keep),
    })
}

/// Rankings of one direction from a score matrix of its own, row-major queries × `items`. BLIP's evaluation has such: a
/// matrix for each direction, of -100 where a pair was not reranked.
///
/// # Errors
/// [`EvalError::Matrix`] when the numbers do not divide into rows of `items`.
pub fn from_score_rows<'a>(
    scores: &[f32],
    items: usize,
    positives: impl Fn(u32) -> &'a [u32] + Sync,
    keep: usize,
) -> Result<Vec<Ranked>, EvalError> {
    let queries = scores.len() / items.max(1);
    check_matrix(scores, queries, items)?;
    Ok(rank_rows(queries, |query| &scores[query * items..][..items], positives, keep))
}

fn check_matrix(scores: &[f32], rows: usize, columns: usize) -> Result<(), EvalError> {
    match rows.checked_mul(columns) {
        Some(expected) if expected == scores.len() && expected > 0 => Ok(()),
        _ => Err(EvalError::Matrix { received: scores.len(), rows, columns }),
    }
}

/// Sorts the row of every query that has positives.
fn rank_rows<'a, 's, R: IntoIterator<Item = &'s f32>>(
    queries: usize,
    row: impl Fn(usize) -> R + Sync,
    positives: impl Fn(u32) -> &'a [u32] + Sync,
    keep: usize,
) -> Vec<Ranked> {
    let queries = (0..queries as u32).into_par_iter().filter(|&query| !positives(query).is_empty());
    queries
        .map(|query| {
            let scores = row(query as usize).into_iter().zip(0..);
            let mut top: Vec<_> = scores.map(|(&score, item)| Candidate { item, score }).collect();
            top.sort_unstable_by(Candidate::order);
            let outcome = Outcome::new(&top, positives(query), true);
            let complete = top.len() <= keep;
            top.truncate(keep);
            Ranked { query, outcome, top, complete }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_score_first_then_index_and_nan_last() {
        let scores = [0.5, f32::NAN, 0.5, -0.0, 0.9, 0.0, -100.0];
        let mut order: Vec<_> = (0..).zip(scores).map(|(item, score)| Candidate { item, score }).collect();
        order.sort_by(Candidate::order);
        assert_eq!(order.iter().map(|c| c.item).collect::<Vec<_>>(), [4, 0, 2, 3, 5, 6, 1]);
    }
}
