//! The images that a filter matches, as rows: worked out once, kept with the snapshot while there is room.
//!
//! A snapshot never changes, so neither does what a filter matches in it; a new commit is a new snapshot and starts anew.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pictor_ann::RowSet;

use crate::filter::Filter;
use crate::segment::Segment;

/// Most filters kept, and most bytes of rows, per snapshot: 64 MiB are 32 filters over 16 million images.
const CACHE_ENTRIES: usize = 32;
const CACHE_BYTES: usize = 64 << 20;

/// Rows that a filter matches, of live images only.
pub(crate) struct Matches {
    /// For each segment of the snapshot, in its order.
    rows: Vec<RowSet>,
}

impl Matches {
    /// The rows of `ids` (ascending, of images that need not be there) in `segments`.
    pub(crate) fn new(segments: &[Segment], ids: &[u64]) -> Self {
        Self { rows: segments.iter().map(|segment| rows_of(segment, ids)).collect() }
    }

    /// Those of one segment.
    pub(crate) fn rows(&self, segment: usize) -> &RowSet {
        &self.rows[segment]
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(RowSet::len).sum()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|rows| rows.universe().div_ceil(8)).sum()
    }
}

/// Both lists of ids ascend, so one walk over the shorter one finds what they share; the place in the longer one is found by
/// steps that double.
fn rows_of(segment: &Segment, ids: &[u64]) -> RowSet {
    let mut rows = RowSet::empty(segment.rows.len());
    let (own, mut at) = (segment.rows.ids(), 0);
    let first = ids.partition_point(|&id| own.first().is_some_and(|&least| id < least));
    for &id in &ids[first..] {
        let mut step = 1;
        while own.get(at + step).is_some_and(|&there| there <= id) {
            at += step;
            step *= 2;
        }
        at += own[at..own.len().min(at + step)].partition_point(|&there| there < id);
        match own.get(at) {
            None => break,
            Some(&there) if there == id && !segment.deleted.contains(at as u32) => {
                rows.insert(at as u32);
            }
            Some(_) => {}
        }
    }
    rows
}

/// What filters matched, the last used first.
#[derive(Default)]
pub(crate) struct MatchCache(Mutex<Vec<(Filter, Arc<Matches>)>>);

impl MatchCache {
    /// What `filter` matches, when it was asked not long ago.
    pub(crate) fn get(&self, filter: &Filter) -> Option<Arc<Matches>> {
        // What the lock guards is whole after every statement, so a panic elsewhere cannot have left it half done.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|(known, _)| known == filter)?;
        entries[..=at].rotate_right(1);
        Some(entries[0].1.clone())
    }

    /// Keeps an answer, and lets go of the oldest when there are too many.
    pub(crate) fn insert(&self, filter: Filter, matches: Arc<Matches>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two searches may have worked it out at once.
        entries.retain(|(known, _)| *known != filter);
        entries.insert(0, (filter, matches));
        let mut bytes = 0;
        let fits = |(_, matches): &&(Filter, Arc<Matches>)| {
            bytes += matches.bytes();
            bytes <= CACHE_BYTES
        };
        let kept = entries.iter().take(CACHE_ENTRIES).take_while(fits).count();
        entries.truncate(kept);
    }
}

impl fmt::Debug for MatchCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatchCache")
    }
}
