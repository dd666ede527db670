//! Exact search: every allowed row is scored.
//!
//! It is an index kind of its own, the fallback of the others whenever a walk would cost more than a scan or finds too few
//! rows, and the oracle that their recall is measured against.

use rayon::prelude::*;

use crate::rows::Scorer;
use crate::topk::{Neighbor, TopK};
use crate::{AnnError, RowSet, Rows, SearchOptions, VectorIndex, check_query};

/// From this many bytes of rows on, a scan is shared among threads: below it takes under a millisecond, and waking threads would
/// cost a good part of that.
const PARALLEL_FROM: usize = 4 << 20;

/// Rows one task scans, a multiple of 64 (the rows in a word of a [`RowSet`]).
const ROWS_PER_TASK: usize = 4096;

/// Rows asked of memory ahead of the one being scored, as in a walk (graph.rs).
const AHEAD: usize = 4;

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
        scan(&self.rows, query, k, opts.allow)
    }
}

/// The `k` best of the allowed rows; `k` must not exceed their number, `query` must have the rows' dimension.
///
/// # Errors
/// [`AnnError::Damaged`] when the file under the rows is.
pub(crate) fn scan(
    rows: &Rows,
    query: &[f32],
    k: usize,
    allow: Option<&RowSet>,
) -> Result<Vec<Neighbor>, AnnError> {
    if k == 0 {
        return Ok(Vec::new());
    }
    let scorer = rows.scorer(query);
    let scan_task = |top, task| scan_task(&scorer, rows.len(), top, allow, task);
    let tasks = rows.len().div_ceil(ROWS_PER_TASK);
    let work = allow.map_or(rows.len(), RowSet::len) * rows.row_bytes();
    let top = if work < PARALLEL_FROM {
        (0..tasks).fold(TopK::new(k), scan_task)
    } else {
        (0..tasks).into_par_iter().fold(|| TopK::new(k), scan_task).reduce(|| TopK::new(k), TopK::merge)
    };
    rows.check()?;
    Ok(top.into_sorted())
}

fn scan_task(scorer: &Scorer<'_>, rows: usize, mut top: TopK, allow: Option<&RowSet>, task: usize) -> TopK {
    let range = task * ROWS_PER_TASK..rows.min((task + 1) * ROWS_PER_TASK);
    match allow {
        None => {
            let scorer = scorer.checked(range.clone());
            range.for_each(|row| top.push(scorer.score(row as u32)));
        }
        Some(allow) => {
            let rows: Vec<u32> = allow.iter_words(range.start / 64..range.end.div_ceil(64)).collect();
            for (i, &row) in rows.iter().enumerate() {
                // The processor fetches ahead by itself only where rows follow one another.
                if let Some(&later) = rows.get(i + AHEAD) {
                    scorer.prefetch(later);
                }
                top.push(scorer.score(row));
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::random_rows;

    /// Scores everything with the plain loop, sorts, cuts.
    fn naive(rows: &Rows, query: &[f32], k: usize, allow: Option<&RowSet>) -> Vec<Neighbor> {
        let mut all: Vec<Neighbor> = (0..rows.len() as u32)
            .filter(|&row| allow.is_none_or(|set| set.contains(row)))
            .map(|row| Neighbor::new(row, pictor_core::dot(query, &rows.row(row).unwrap().unwrap())))
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
            halves in any::<bool>(),
        ) {
            let small = |i: usize| ((i as u64 + 1).wrapping_mul(seed | 1) >> 33) % 5;
            let data = (0..n * dim).map(|i| f16::from_f32(small(i) as f32 - 2.0)).collect();
            let rows = match halves {
                true => Rows::from_f16(dim, data),
                false => Rows::from_vec(dim, data.into_iter().map(f16::to_f32).collect()),
            };
            let rows = rows.unwrap();
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
        assert!(rows.len() * rows.row_bytes() > PARALLEL_FROM);
        let set = RowSet::from_fn(rows.len(), |row| row % 8 != 3);
        for allow in [None, Some(&set)] {
            let query = rows.row(17).unwrap().unwrap();
            let many = scan(&rows, &query, 25, allow).unwrap();
            let scorer = rows.scorer(&query);
            let serial = (0..rows.len().div_ceil(ROWS_PER_TASK))
                .fold(TopK::new(25), |top, task| scan_task(&scorer, rows.len(), top, allow, task));
            assert_eq!(many, serial.into_sorted());
            assert_eq!(many[0].row, 17);
        }
    }
}
