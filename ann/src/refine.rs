//! Exact scores for rows that an approximate index proposes, and the choice between proposing and scanning.
//!
//! Quantised codes rank well enough to find candidates and too roughly to order them; re-scoring a few candidates per hit from
//! the stored rows repairs most of that (FAISS's `IndexRefine`, faiss/IndexRefine.h).

use crate::topk::{Neighbor, TopK};
use crate::{AnnError, Rows};

/// Distances that a walk computes per entry of its beam, times what a jump to a random row costs over reading the next one.
///
/// The walk of a graph with M = 16 (32 links on layer 0) computes about 20 distances per unit of `efSearch` and each costs about
/// twice one of a scan.
const WALK_COST: usize = 40;

/// The `k` best of `candidates` by exact inner product.
///
/// # Errors
/// [`AnnError::Damaged`] when the file under the rows is.
pub(crate) fn rescore(
    rows: &Rows,
    query: &[f32],
    k: usize,
    candidates: impl Iterator<Item = u32>,
) -> Result<Vec<Neighbor>, AnnError> {
    let scorer = rows.scorer(query);
    let mut top = TopK::new(k);
    candidates.for_each(|row| top.push(scorer.score(row)));
    rows.check()?;
    Ok(top.into_sorted())
}

/// Whether scanning the `allowed` of `rows` rows is cheaper than a walk that is to keep `beam` of them.
///
/// With a share s = allowed / rows that may be kept, a walk meets beam / s rows before it has its beam full, so it costs about
/// `WALK_COST · beam / s`; the scan costs `allowed`. The two meet where `allowed² = WALK_COST · beam · rows`: with a beam of 64,
/// at 16 % of 100,000 rows and at 5 % of a million; an index of fewer than 2,560 rows is always scanned.
pub(crate) fn scan_is_cheaper(allowed: usize, rows: usize, beam: usize) -> bool {
    allowed.saturating_mul(allowed) <= WALK_COST.saturating_mul(beam).saturating_mul(rows)
}

/// Rows that a walk which is to keep `beam` of the `allowed` may score before it is given up for a scan: twice what it is expected to
/// take, and at least what a scan would cost. A filter whose rows are all far from the query then costs a scan and a part of one.
///
/// A row that is scored on a long walk costs about eight times as much as one that is scanned: it is somewhere else in memory, and
/// goes through two heaps.
pub(crate) fn walk_budget(allowed: usize, rows: usize, beam: usize) -> usize {
    (allowed / 8).max(WALK_COST.saturating_mul(beam).saturating_mul(rows) / allowed.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_where_the_docs_say() {
        assert!(scan_is_cheaper(2_560, 2_560, 64) && !scan_is_cheaper(2_561, 2_561, 64));
        assert!(scan_is_cheaper(16_000, 100_000, 64) && !scan_is_cheaper(16_001, 100_000, 64));
        assert!(scan_is_cheaper(50_000, 1_000_000, 64) && !scan_is_cheaper(51_000, 1_000_000, 64));
        assert!(scan_is_cheaper(0, 0, 64));
        assert!(scan_is_cheaper(1 << 31, 1 << 31, usize::MAX));
    }
}
