//! The vectors an index is built over, and sets of them.
//!
//! Rows are borrowed bytes: a memory-mapped file stays on disk until a search touches it, and no index keeps a second copy of
//! what it can read here. The bytes are little-endian f32, read in place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::AnnError;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and mapped in place; a big-endian machine would need to copy them");

/// Bytes that live as long as somebody needs them: an mmap, a vector.
type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// An immutable matrix, `n × dim` f32, row-major, of unit vectors. Cheap to clone: clones share the bytes.
#[derive(Clone)]
pub struct Rows {
    dim: usize,
    len: usize,
    bytes: Bytes,
    range: Range<usize>,
}

/// Gives a vector of floats as the bytes that [`Rows`] reads.
struct Floats(Vec<f32>);

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Rows {
    /// The rows in `bytes[range]`: little-endian f32, row-major, `dim` components each. `Arc<memmap2::Mmap>` is such bytes.
    ///
    /// `bytes.as_ref()` must return the same memory each time, as that of a map or a vector does.
    ///
    /// # Errors
    /// [`AnnError::Shape`] when `range` is outside `bytes`, is no whole number of rows, or does not start on a multiple of four
    /// in memory; [`AnnError::TooManyRows`] beyond `u32::MAX` rows.
    pub fn new(
        dim: usize,
        bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    ) -> Result<Self, AnnError> {
        let received = range.len();
        let wrong = |reason| AnnError::Shape { bytes: received, dim, reason };
        if dim == 0 || dim > i32::MAX as usize {
            return Err(wrong("a row has between 1 and 2³¹ - 1 components"));
        }
        let slice = (*bytes).as_ref().get(range.clone()).ok_or_else(|| wrong("they lie outside the file"))?;
        let floats: &[f32] =
            bytemuck::try_cast_slice(slice).map_err(|_| wrong("they are no whole, aligned f32 values"))?;
        if !floats.len().is_multiple_of(dim) {
            return Err(wrong("they do not divide into rows"));
        }
        let len = floats.len() / dim;
        if len > u32::MAX as usize {
            return Err(AnnError::TooManyRows { rows: len, limit: u32::MAX as usize });
        }
        Ok(Self { dim, len, bytes, range })
    }

    /// Rows held in memory.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn from_vec(dim: usize, data: Vec<f32>) -> Result<Self, AnnError> {
        let range = 0..size_of_val(data.as_slice());
        Self::new(dim, Arc::new(Floats(data)), range)
    }

    /// Components in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All numbers, row-major, `len × dim`.
    pub fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&(*self.bytes).as_ref()[self.range.clone()])
    }

    /// Row `i`, or `None` past the end.
    pub fn row(&self, i: u32) -> Option<&[f32]> {
        let start = i as usize * self.dim;
        self.as_slice().get(start..start + self.dim)
    }

    /// Indexing code relies on an order among distances, which NaN would break.
    pub(crate) fn check_finite(&self) -> Result<(), AnnError> {
        match self.as_slice().iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => Err(AnnError::RowNotFinite { row: at / self.dim }),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("dim", &self.dim).field("len", &self.len).finish_non_exhaustive()
    }
}

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

    #[test]
    fn rows_are_read_in_place() {
        let file: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let bytes: Bytes = Arc::new(Floats(file));
        let rows = Rows::new(2, Arc::clone(&bytes), 8..40).unwrap();
        assert_eq!((rows.len(), rows.dim()), (4, 2));
        assert_eq!(rows.row(3), Some(&[8.0, 9.0][..]));
        assert_eq!(rows.row(4), None);

        for (dim, range) in [(2, 8..44), (2, 8..36), (2, 7..39), (0, 0..8)] {
            assert!(matches!(Rows::new(dim, Arc::clone(&bytes), range), Err(AnnError::Shape { .. })));
        }
        assert!(Rows::new(2, bytes, 8..8).unwrap().is_empty());
        assert!(matches!(
            Rows::from_vec(2, vec![0.0, 1.0, f32::NAN, 0.0]).unwrap().check_finite(),
            Err(AnnError::RowNotFinite { row: 1 })
        ));
    }

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
