//! Sets of rows: what a filter allows, what is not deleted.

use std::ops::Range;

/// A set of row numbers below a fixed `universe`, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    /// Bit `i % 64` of word `i / 64` is row `i`; bits past the universe are 0.
    words: Vec<u64>,
    universe: usize,
    len: usize,
}

impl RowSet {
    /// No rows, of `universe` that there are.
    pub fn empty(universe: usize) -> Self {
        Self { words: vec![0; universe.div_ceil(64)], universe, len: 0 }
    }

    /// The rows below `universe` for which `contains` is true.
    pub fn from_fn(universe: usize, mut contains: impl FnMut(u32) -> bool) -> Self {
        let mut set = Self::empty(universe);
        for (word, start) in set.words.iter_mut().zip((0..universe).step_by(64)) {
            for row in start..universe.min(start + 64) {
                *word |= u64::from(contains(row as u32)) << (row - start);
            }
        }
        set.len = set.words.iter().map(|word| word.count_ones() as usize).sum();
        set
    }

    /// Adds a row; false when it was in the set.
    ///
    /// # Panics
    /// When `row` is not below the universe.
    pub fn insert(&mut self, row: u32) -> bool {
        assert!((row as usize) < self.universe, "row {row} is outside a set over {} rows", self.universe);
        let (word, bit) = (&mut self.words[row as usize / 64], 1 << (row % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(new);
        new
    }

    /// Whether `row` is in the set; false outside the universe.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of rows in the set; O(1).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the set has no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of rows the set could hold: those of the index it was made for.
    pub fn universe(&self) -> usize {
        self.universe
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_words(0..self.words.len())
    }

    /// The rows of some 64-row words, ascending.
    pub(crate) fn iter_words(&self, words: Range<usize>) -> impl Iterator<Item = u32> + '_ {
        let start = words.start;
        self.words[words].iter().enumerate().flat_map(move |(i, &word)| {
            let base = ((start + i) * 64) as u32;
            // Each step clears the lowest set bit.
            std::iter::successors(Some(word), |w| Some(w & w.wrapping_sub(1)))
                .take_while(|&w| w != 0)
                .map(move |w| base + w.trailing_zeros())
        })
    }

    /// As a bitmap: bit `i % 8` of byte `i / 8` is row `i`.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn row_set_equals_a_sorted_list(universe in 0_usize..300, seed in any::<u64>()) {
            let member = |row: u32| (u64::from(row) + 1).wrapping_mul(seed | 1) >> 40 & 3 == 0;
            let set = RowSet::from_fn(universe, member);
            let list: Vec<u32> = (0..universe as u32).filter(|&row| member(row)).collect();
            prop_assert_eq!(set.len(), list.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), list.clone());
            prop_assert!((0..400).all(|row| set.contains(row) == list.contains(&row)));
            let bytes = set.as_bytes();
            prop_assert!((0..universe as u32).all(|row| (bytes[row as usize / 8] >> (row % 8) & 1 == 1) == set.contains(row)));
            let mut grown = RowSet::empty(universe);
            prop_assert!(list.iter().all(|&row| grown.insert(row) && !grown.insert(row)));
            prop_assert_eq!(grown, set);
        }
    }
}
