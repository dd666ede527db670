//! A navigable small-world graph as one read-only file, and the walk over it.
//!
//! Whoever built it (`hnsw_rs`, FAISS), a graph is stored without vectors: the walk scores the rows themselves, so nothing is on
//! disk or in memory twice, and opening is mapping. The payload is an array of u32, little-endian:
//!
//! | words | what |
//! |---|---|
//! | 16 | entry row, layers, links on layer 0, tall rows, lists of tall rows, links of those, ten zeros |
//! | rows + 1 | where each row's links on layer 0 start |
//! | … | links on layer 0: row numbers |
//! | tall | the rows that are on layers above 0, ascending |
//! | tall + 1 | where the lists of each tall row start: one list for each of its layers from 1 up |
//! | lists + 1 | where each list's links start |
//! | … | links on layers above 0: row numbers |
//!
//! Layer 0, where nearly all of a walk happens, is one lookup away; the few rows above it are found by binary search.
//!
//! Source: Malkov & Yashunin 2016 (arXiv:1603.09320), algorithm 5 (K-NN-SEARCH) with algorithm 2 (SEARCH-LAYER).

use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use crate::rows::Scorer;
use crate::sealed::SealedFile;
use crate::topk::{Neighbor, TopK};
use crate::{AnnError, RowSet};

const HEADER: usize = 16;

/// The arrays of a graph, before they are written. Rows are pushed in order.
#[derive(Default)]
pub(crate) struct Links {
    layers: u32,
    starts: Vec<u32>,
    links: Vec<u32>,
    tall: Vec<u32>,
    tall_starts: Vec<u32>,
    list_starts: Vec<u32>,
    tall_links: Vec<u32>,
}

impl Links {
    /// Appends the next row's links, layer 0 first. A row without layers has no links.
    pub fn push(&mut self, layers: impl Iterator<Item = impl Iterator<Item = u32>>) {
        let row = self.starts.len() as u32;
        self.starts.push(self.links.len() as u32);
        for (layer, list) in (0..).zip(layers) {
            self.layers = self.layers.max(layer + 1);
            if layer == 0 {
                self.links.extend(list);
                continue;
            }
            if layer == 1 {
                self.tall.push(row);
                self.tall_starts.push(self.list_starts.len() as u32);
            }
            self.list_starts.push(self.tall_links.len() as u32);
            self.tall_links.extend(list);
        }
    }

    /// Writes the payload of a graph that is entered at row `entry`. `None` when there are more links than a u32 counts.
    pub fn write(mut self, entry: u32, to: &mut impl Write) -> io::Result<Option<()>> {
        if [self.links.len(), self.tall_links.len()].iter().any(|&links| u32::try_from(links).is_err()) {
            return Ok(None);
        }
        let lists = self.list_starts.len() as u32;
        let counts = [self.links.len(), self.tall.len(), self.list_starts.len(), self.tall_links.len()];
        self.starts.push(counts[0] as u32);
        self.tall_starts.push(lists);
        self.list_starts.push(counts[3] as u32);
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&[entry, self.layers]);
        header[2..6].copy_from_slice(&counts.map(|count| count as u32));
        let arrays = [
            &header[..],
            &self.starts,
            &self.links,
            &self.tall,
            &self.tall_starts,
            &self.list_starts,
            &self.tall_links,
        ];
        for array in arrays {
            to.write_all(bytemuck::cast_slice(array))?;
        }
        Ok(Some(()))
    }
}

/// A graph in a mapped file. What the file says is believed only within its bounds: a number that leads outside leads nowhere.
pub(crate) struct Graph {
    file: Arc<SealedFile>,
    rows: usize,
    entry: u32,
    layers: usize,
    /// Word ranges of the payload, in its order.
    starts: Range<usize>,
    links: Range<usize>,
    tall: Range<usize>,
    tall_starts: Range<usize>,
    list_starts: Range<usize>,
    tall_links: Range<usize>,
}

/// What a walk came to.
pub(crate) enum Walk {
    /// The allowed rows it found, best first: `beam` of them, fewer when it reached no more.
    Done(Vec<Neighbor>),
    /// It scored as many rows as it was allowed to.
    GaveUp,
}

impl Graph {
    /// Reads the header of a graph over `rows > 0` rows, and checks that the arrays it announces are the file.
    ///
    /// # Errors
    /// [`AnnError::Damaged`].
    pub fn new(file: Arc<SealedFile>, rows: usize) -> Result<Self, AnnError> {
        let damaged = |reason: &str| AnnError::Damaged { path: file.path().into(), reason: reason.into() };
        if !file.is_sound(0..file.payload().len().min(HEADER * 4)) {
            file.check()?;
        }
        let words: &[u32] = bytemuck::try_cast_slice(file.payload())
            .map_err(|_| damaged("the graph is no whole number of words"))?;
        let [entry, layers, links, tall, lists, tall_links, ..] = *words else {
            return Err(damaged("the graph has no header"));
        };
        let mut at = HEADER;
        let mut next = |len: usize| {
            at += len;
            at - len..at
        };
        let starts = next(rows + 1);
        let links = next(links as usize);
        let (tall, tall_starts) = (next(tall as usize), next(tall as usize + 1));
        let (list_starts, tall_links) = (next(lists as usize + 1), next(tall_links as usize));
        if words.len() != tall_links.end || entry as usize >= rows {
            return Err(damaged("the graph's length or entry is not what its header says"));
        }
        let layers = layers as usize;
        Ok(Self { rows, entry, layers, starts, links, tall, tall_starts, list_starts, tall_links, file })
    }

    /// Words of the payload; empty where they are damaged or where there are none.
    #[inline]
    fn words(&self, array: &Range<usize>, part: Range<usize>) -> &[u32] {
        let range = array.start + part.start..array.start + part.end;
        if part.start >= part.end
            || range.end > array.end
            || !self.file.is_sound(range.start * 4..range.end * 4)
        {
            return &[];
        }
        &bytemuck::cast_slice::<u8, u32>(self.file.payload())[range]
    }

    /// The part of `links` that belongs to entry `i` of `starts`.
    #[inline]
    fn list(&self, starts: &Range<usize>, i: usize, links: &Range<usize>) -> &[u32] {
        match *self.words(starts, i..i + 2) {
            [start, end] => self.words(links, start as usize..end as usize),
            _ => &[],
        }
    }

    /// Neighbours of `row` on `layer`, none above its highest.
    #[inline]
    fn neighbours(&self, row: u32, layer: usize) -> &[u32] {
        if layer == 0 {
            return self.list(&self.starts, row as usize, &self.links);
        }
        let tall = self.words(&self.tall, 0..self.tall.len());
        let Ok(i) = tall.binary_search(&row) else { return &[] };
        match *self.words(&self.tall_starts, i..i + 2) {
            [first, end] if layer - 1 < end.saturating_sub(first) as usize => {
                self.list(&self.list_starts, first as usize + layer - 1, &self.tall_links)
            }
            _ => &[],
        }
    }

    /// The file the graph is in.
    pub fn file(&self) -> &SealedFile {
        &self.file
    }

    /// Up to `beam` (> 0) allowed rows near the scorer's query.
    ///
    /// Rows that `allow` leaves out are walked through but not kept, so a sparse set costs a longer walk and not its recall:
    /// the walk ends only when no row is left to expand that is better than the worst of `beam` allowed ones. After `budget`
    /// scored rows it gives up, so that a set on the far side of the graph costs no more than that.
    pub fn walk(&self, scorer: &Scorer<'_>, beam: usize, allow: Option<&RowSet>, budget: usize) -> Walk {
        let mut scored = 1;
        let mut nearest = scorer.score(self.entry);
        for layer in (1..self.layers).rev() {
            // SEARCH-LAYER with a beam of one is a greedy descent.
            loop {
                let list = self.neighbours(nearest.row, layer);
                scored += list.len();
                let best = list.iter().map(|&row| scorer.score(row)).min_by(Neighbor::rank);
                match best {
                    Some(best) if best.score > nearest.score => nearest = best,
                    _ => break,
                }
            }
        }

        let mut found = TopK::new(beam);
        let mut visited = vec![0_u64; self.rows.div_ceil(64)];
        let mut visit = |row: u32| {
            let Some(word) = visited.get_mut(row as usize / 64) else { return false };
            let bit = 1 << (row % 64);
            let new = *word & bit == 0;
            *word |= bit;
            new
        };
        let allowed = |row| allow.is_none_or(|set| set.contains(row));
        let mut open = BinaryHeap::from([Candidate(nearest)]);
        visit(nearest.row);
        if allowed(nearest.row) {
            found.push(nearest);
        }
        let mut fresh = Vec::with_capacity(64);
        while let Some(Candidate(closest)) = open.pop() {
            if !found.admits(closest.score) {
                break;
            }
            fresh.clear();
            fresh.extend(self.neighbours(closest.row, 0).iter().copied().filter(|&row| visit(row)));
            scored += fresh.len();
            if scored > budget {
                return Walk::GaveUp;
            }
            fresh.iter().take(AHEAD).for_each(|&row| scorer.prefetch(row));
            for (i, &row) in fresh.iter().enumerate() {
                if let Some(&later) = fresh.get(i + AHEAD) {
                    scorer.prefetch(later);
                }
                let neighbour = scorer.score(row);
                if found.admits(neighbour.score) {
                    open.push(Candidate(neighbour));
                    if allowed(row) {
                        found.push(neighbour);
                    }
                }
            }
        }
        Walk::Done(found.into_sorted())
    }
}

/// Rows asked of memory ahead of the one being scored: enough to hide its latency, few enough to stay in the first cache.
const AHEAD: usize = 4;

/// Orders by score: the greatest is the best, the next to expand.
struct Candidate(Neighbor);

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Candidate {}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.rank(&self.0)
    }
}
