//! The k best of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One row and how well it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Row index from 0.
    pub row: u32,
    /// Inner product of query and row: cosine similarity, in -1..=1 for unit vectors. Never NaN.
    pub score: f32,
}

impl Neighbor {
    pub(crate) fn new(row: u32, score: f32) -> Self {
        // Infinities of opposite sign can meet when a query is very large; a NaN would have no place in the order.
        Self { row, score: if score.is_nan() { f32::NEG_INFINITY } else { score } }
    }

    /// The order of every result of this crate: best score first, equal scores by ascending row, so that a ranking depends
    /// on the scores only and never on thread timing.
    pub fn rank(&self, other: &Self) -> Ordering {
        // `+ 0.0` makes -0.0 equal to 0.0, as `==` has it.
        (other.score + 0.0).total_cmp(&(self.score + 0.0)).then(self.row.cmp(&other.row))
    }
}

/// Orders by rank: the greatest is the worst.
#[derive(Clone, Copy)]
struct ByRank(Neighbor);

impl PartialEq for ByRank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for ByRank {}
impl PartialOrd for ByRank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByRank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

/// Keeps the `k` best of all neighbours pushed, in O(log k) each, whatever the order they come in.
pub(crate) struct TopK {
    k: usize,
    /// The worst is on top.
    heap: BinaryHeap<ByRank>,
}

impl TopK {
    /// Room for `k`; `k` must be bounded by the number of rows.
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k + 1) }
    }

    /// Whether `score` could still enter; equal scores may, their rows decide.
    pub fn admits(&self, score: f32) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|worst| score >= worst.0.score)
    }

    pub fn push(&mut self, neighbor: Neighbor) {
        if !self.admits(neighbor.score) {
            return;
        }
        self.heap.push(ByRank(neighbor));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    pub fn merge(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|ByRank(neighbor)| self.push(neighbor));
        self
    }

    /// Best first.
    pub fn into_sorted(self) -> Vec<Neighbor> {
        self.heap.into_sorted_vec().into_iter().map(|ByRank(neighbor)| neighbor).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few distinct scores, so that most are ties.
        #[test]
        fn equals_sort_and_truncate(scores in prop::collection::vec(-2_i8..3, 0..50), k in 0_usize..20, cut in 0_usize..50) {
            let all: Vec<_> = scores.iter().enumerate().map(|(i, &s)| Neighbor::new(i as u32, f32::from(s))).collect();
            let (first, second) = all.split_at(cut.min(all.len()));
            let (mut a, mut b) = (TopK::new(k), TopK::new(k));
            first.iter().rev().for_each(|&n| a.push(n));
            second.iter().for_each(|&n| b.push(n));
            let mut sorted = all.clone();
            sorted.sort_by(Neighbor::rank);
            sorted.truncate(k);
            prop_assert_eq!(b.merge(a).into_sorted(), sorted);
        }
    }

    #[test]
    fn nan_is_the_worst() {
        let mut top = TopK::new(2);
        for (row, score) in [(0, f32::NAN), (1, -1.0), (2, f32::NAN)] {
            top.push(Neighbor::new(row, score));
        }
        assert_eq!(top.into_sorted().iter().map(|n| n.row).collect::<Vec<_>>(), [1, 0]);
    }
}
