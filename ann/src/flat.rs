//! Exact search: every allowed row is scored.
//!
//! It is an index kind of its own, the fallback of the others whenever a walk would cost more than a scan or finds too few
//! rows, and the oracle that their recall is measured against.

use rayon::prelude::*;

use crate::topk::{Neighbor, TopK};
use crate::{AnnError, RowSet, Rows, SearchOptions, VectorIndex, check_query, dot};

/// From this many multiplications on (8 MB of rows), a scan is shared among threads: below it takes under a millisecond, and
/// waking threads would cost a good part of that.
const PARALLEL_FROM: usize = 1 << 21;

/// Rows one task scans, a multiple of 64 (the rows in a word of a [`RowSet`]).
const ROWS_PER_TASK: usize = 4096;

/// Exact search over all rows. Needs no file.
pub(crate) struct Flat {
    rows: Rows,
}

impl Flat {
    pub fn new(rows: Rows) -> Self {
        Self { rows }
    }
}

impl VectorIndex for Flat {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn search(&self, query: &[f32], k: usize, opts: &SearchOptions<'_>) -> Result<Vec<Neighbor>, AnnError> {
        let k = check_query(&self.rows, query, k, opts)?;
        Ok(scan(&self.rows, query, k, opts.allow))
    }
}

/// The `k` best of the allowed rows; `k` must not exceed their number, `query` must have the rows' dimension.
pub(crate) fn scan(rows: &Rows, query: &[f32], k: usize, allow: Option<&RowSet>) -> Vec<Neighbor> {
    if k == 0 {
        return Vec::new();
    }
    let tasks = rows.len().div_ceil(ROWS_PER_TASK);
    let work = allow.map_or(rows.len(), RowSet::len) * rows.dim();
    let top = if work < PARALLEL_FROM {
        (0..tasks).fold(TopK::new(k), |top, task| scan_task(rows, query, top, allow, task))
    } else {
        (0..tasks)
            .into_par_iter()
            .fold(|| TopK::new(k), |top, task| scan_task(rows, query, top, allow, task))
            .reduce(|| TopK::new(k), TopK::merge)
    };
    top.into_sorted()
}

fn scan_task(rows: &Rows, query: &[f32], mut top: TopK, allow: Option<&RowSet>, task: usize) -> TopK {
    let data = rows.as_slice();
    let dim = rows.dim();
    let range = task * ROWS_PER_TASK..rows.len().min((task + 1) * ROWS_PER_TASK);
    match allow {
        None => {
            let vectors = data[range.start * dim..range.end * dim].chunks_exact(dim);
            for (row, vector) in range.zip(vectors) {
                top.push(Neighbor::new(row as u32, dot(query, vector)));
            }
        }
        Some(allow) => {
            for row in allow.iter_words(range.start / 64..range.end.div_ceil(64)) {
                let start = row as usize * dim;
                top.push(Neighbor::new(row, dot(query, &data[start..start + dim])));
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::random_rows;

    /// Scores everything with the plain loop, sorts, cuts.
    fn naive(rows: &Rows, query: &[f32], k: usize, allow: Option<&RowSet>) -> Vec<Neighbor> {
        let mut all: Vec<Neighbor> = (0..rows.len() as u32)
            .filter(|&row| allow.is_none_or(|set| set.contains(row)))
            .map(|row| Neighbor::new(row, pictor_core::dot(query, rows.row(row).unwrap())))
            .collect();
        all.sort_by(Neighbor::rank);
        all.truncate(k);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Components are small integers: sums are exact, so scores are equal to the last bit and ties are many.
        #[test]
        fn equals_the_naive_scan(
            dim in 1_usize..40,
            n in 0_usize..400,
            k in 0_usize..500,
            seed in any::<u64>(),
            filtered in any::<bool>(),
        ) {
            let small = |i: usize| ((i as u64 + 1).wrapping_mul(seed | 1) >> 33) % 5;
            let data = (0..n * dim).map(|i| small(i) as f32 - 2.0).collect();
            let rows = Rows::from_vec(dim, data).unwrap();
            let query: Vec<f32> = (0..dim).map(|i| small(i + 7) as f32 - 2.0).collect();
            let set = RowSet::from_fn(n, |row| small(row as usize + 31) < 2);
            let allow = filtered.then_some(&set);
            let found = Flat::new(rows.clone()).search(&query, k, &SearchOptions { allow, effort: None }).unwrap();
            prop_assert_eq!(found, naive(&rows, &query, k, allow));
        }
    }

    #[test]
    fn many_threads_find_what_one_finds() {
        let rows = random_rows(40_000, 64, 5);
        assert!(rows.len() * rows.dim() > PARALLEL_FROM);
        let set = RowSet::from_fn(rows.len(), |row| row % 8 != 3);
        for allow in [None, Some(&set)] {
            let query = rows.row(17).unwrap();
            let many = scan(&rows, query, 25, allow);
            let serial = (0..rows.len().div_ceil(ROWS_PER_TASK))
                .fold(TopK::new(25), |top, task| scan_task(&rows, query, top, allow, task));
            assert_eq!(many, serial.into_sorted());
            assert_eq!(many[0].row, 17);
        }
    }
}
