//! How several rankings become one. Pure.
//!
//! Reciprocal rank fusion: `score(d) = Σ 1 / (60 + rank(d))` over the lists in which `d` appears, ranks from 1 (Cormack, Clarke and
//! Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009; 60 is their
//! constant). Ranks and not scores, because a cosine and a BM25 value have no common scale: adding them needs weights that differ
//! from model to model and corpus to corpus, and rank fusion needs none.

use std::collections::HashMap;

use pictor_core::{Hit, ImageId};

/// The constant of the paper: how little the first ranks stand out from those after them.
pub const RANK_CONSTANT: usize = 60;

/// How far down each list is asked for when the best `k` of the fusion are wanted: twice `k`, at least 100.
///
/// An image below the depth `d` of a list loses at most `1 / (61 + d)` of its score: at 100, 1/161 against the 1/61 of a first
/// place. The floor makes every `k` up to 50 see the same lists, so that a longer answer only adds to a shorter one.
pub fn depth(k: usize) -> usize {
    (2 * k).max(100)
}

/// One ranking of everything in `lists` (each best first, no image twice in a list), in the order of [`Hit::rank`].
///
/// # Example
/// ```
/// use pictor_core::{Hit, ImageId};
/// use pictor_query::fuse::reciprocal_rank;
///
/// let vector = [Hit::new(ImageId(7), 0.31), Hit::new(ImageId(2), 0.30)];
/// let text = [Hit::new(ImageId(2), 8.5)];
/// let fused = reciprocal_rank(&[&vector, &text]);
/// assert_eq!(fused[0].id, ImageId(2), "1/62 + 1/61 is more than 1/61");
/// ```
pub fn reciprocal_rank(lists: &[&[Hit]]) -> Vec<Hit> {
    let mut scores = HashMap::<ImageId, f64>::new();
    for list in lists {
        for (rank, hit) in (1..).zip(*list) {
            *scores.entry(hit.id).or_default() += 1.0 / (RANK_CONSTANT + rank) as f64;
        }
    }
    let mut fused: Vec<Hit> = scores.into_iter().map(|(id, score)| Hit::new(id, score as f32)).collect();
    fused.sort_unstable_by(Hit::rank);
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[u64]) -> Vec<Hit> {
        // Scores that no fusion may look at.
        ids.iter().map(|&id| Hit::new(ImageId(id), 1e6 / (id + 1) as f32)).collect()
    }

    fn fused(lists: &[&[u64]]) -> Vec<(u64, f32)> {
        let lists: Vec<_> = lists.iter().map(|ids| list(ids)).collect();
        let lists: Vec<_> = lists.iter().map(Vec::as_slice).collect();
        reciprocal_rank(&lists).into_iter().map(|hit| (hit.id.0, hit.score.get())).collect()
    }

    #[test]
    fn scores_are_the_papers() {
        let (first, second) = (1.0 / 61.0, 1.0 / 62.0);
        assert_eq!(fused(&[&[5, 3], &[3]]), [(3, (1.0f64 / 62.0 + 1.0 / 61.0) as f32), (5, first)]);
        assert_eq!(fused(&[&[5, 3], &[]]), [(5, first), (3, second)]);
        assert!(fused(&[]).is_empty());
    }

    #[test]
    fn equal_scores_go_by_id() {
        assert_eq!(fused(&[&[9, 1], &[1, 9]]).iter().map(|hit| hit.0).collect::<Vec<_>>(), [1, 9]);
        assert_eq!(fused(&[&[8], &[4], &[6]]).iter().map(|hit| hit.0).collect::<Vec<_>>(), [4, 6, 8]);
    }

    /// Lists from a small generator, against what the formula says of any lists.
    #[test]
    fn holds_for_any_lists() {
        let mut state = 1u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let mut lists = vec![Vec::new(), Vec::new(), Vec::new()];
            for ids in &mut lists {
                for _ in 0..random(20) {
                    let id = random(30);
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
            }
            let [a, b, c] = [&lists[0][..], &lists[1][..], &lists[2][..]];
            let result = fused(&[a, b, c]);
            assert_eq!(result, fused(&[c, b, a]), "the order of the lists does not matter");
            assert!(result.is_sorted_by(|x, y| x.1 > y.1 || (x.1 == y.1 && x.0 < y.0)));
            let mut all: Vec<u64> = lists.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(result.len(), all.len(), "everything appears, once");
            for (id, score) in result {
                let places = lists.iter().filter_map(|ids| ids.iter().position(|&other| other == id));
                let expected: f64 = places.map(|place| 1.0 / (61 + place) as f64).sum();
                assert!((f64::from(score) - expected).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_longer_answer_continues_a_shorter_one() {
        assert_eq!([1, 10, 50, 51, 1000].map(depth), [100, 100, 100, 102, 2000]);
    }
}
