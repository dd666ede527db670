//! A navigable small-world graph as one read-only array, and the walk over it.
//!
//! The graph is stored without vectors: the walk scores the rows themselves, so nothing is on disk or in memory twice, and
//! opening is mapping. The payload is an array of u32, little-endian:
//!
//! | words | what |
//! |---|---|
//! | 8 | entry row, layers, lists, links, four zeros |
//! | rows + 1 | where each row's lists start; row `r` has the lists `[r]..[r + 1]`, that of layer 0 first |
//! | lists + 1 | where each list's links start |
//! | links | row numbers, nearest first |
//!
//! Source: Malkov & Yashunin 2016 (arXiv:1603.09320), algorithm 5 (K-NN-SEARCH) with algorithm 2 (SEARCH-LAYER).

use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::ops::Range;

use crate::envelope::Payload;
use crate::topk::{Neighbor, TopK};
use crate::{RowSet, Rows, dot};

const HEADER: usize = 8;

/// Links of every row on every layer it is part of, before they are written: `lists[row][layer]` are row numbers.
pub(crate) struct Links {
    /// Where every walk starts: a row on the highest layer.
    pub entry: u32,
    pub lists: Vec<Vec<Vec<u32>>>,
}

impl Links {
    /// Writes the payload. `None` when there are more lists or links than a u32 counts.
    pub fn write(&self, to: &mut impl Write) -> io::Result<Option<()>> {
        let lists = || self.lists.iter().flatten();
        let layers = self.lists.iter().map(Vec::len).max().unwrap_or(0);
        let count = lists().count();
        let links: usize = lists().map(Vec::len).sum();
        let (Ok(count), Ok(links)) = (u32::try_from(count), u32::try_from(links)) else {
            return Ok(None);
        };
        let mut put = |word: u32| to.write_all(&word.to_le_bytes());
        for word in [self.entry, layers as u32, count, links, 0, 0, 0, 0] {
            put(word)?;
        }
        let mut start = 0;
        put(start)?;
        for row in &self.lists {
            start += row.len() as u32;
            put(start)?;
        }
        let mut start = 0;
        put(start)?;
        for list in lists() {
            start += list.len() as u32;
            put(start)?;
        }
        lists().flatten().try_for_each(|&row| put(row))?;
        Ok(Some(()))
    }
}

/// A graph in a mapped file, checked to be one.
pub(crate) struct Graph {
    payload: Payload,
    entry: u32,
    layers: usize,
    /// Word ranges of the payload.
    rows: Range<usize>,
    lists: Range<usize>,
    links: Range<usize>,
}

/// The three arrays of a graph, cast once per walk.
struct View<'a> {
    rows: &'a [u32],
    lists: &'a [u32],
    links: &'a [u32],
}

impl View<'_> {
    /// Neighbours of `row` on `layer`, none above its highest.
    fn neighbours(&self, row: u32, layer: usize) -> &[u32] {
        let (first, end) = (self.rows[row as usize] as usize, self.rows[row as usize + 1] as usize);
        if first + layer >= end {
            return &[];
        }
        &self.links[self.lists[first + layer] as usize..self.lists[first + layer + 1] as usize]
    }
}

impl Graph {
    /// Checks that `payload` is a graph over `rows > 0` rows in which every number stays inside its bounds, so that no walk can
    /// leave the array.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(payload: Payload, rows: usize) -> Result<Self, &'static str> {
        let words: &[u32] =
            bytemuck::try_cast_slice(payload.bytes()).map_err(|_| "the graph is no whole number of words")?;
        let [entry, layers, lists, links, ..] = *words else {
            return Err("the graph has no header");
        };
        let (lists, links) = (lists as usize, links as usize);
        let rows_at = HEADER..HEADER + rows + 1;
        let lists_at = rows_at.end..rows_at.end + lists + 1;
        let links_at = lists_at.end..lists_at.end + links;
        if words.len() != links_at.end {
            return Err("the graph's length is not what its header says");
        }
        let starts_fit = |starts: &[u32], end: usize| {
            starts.first() == Some(&0) && starts.last() == Some(&(end as u32)) && starts.is_sorted()
        };
        if !starts_fit(&words[rows_at.clone()], lists) || !starts_fit(&words[lists_at.clone()], links) {
            return Err("the graph's lists do not follow each other");
        }
        if entry as usize >= rows || words[links_at.clone()].iter().any(|&row| row as usize >= rows) {
            return Err("the graph names a row that does not exist");
        }
        Ok(Self { entry, layers: layers as usize, rows: rows_at, lists: lists_at, links: links_at, payload })
    }

    fn view(&self) -> View<'_> {
        let words: &[u32] = bytemuck::cast_slice(self.payload.bytes());
        View {
            rows: &words[self.rows.clone()],
            lists: &words[self.lists.clone()],
            links: &words[self.links.clone()],
        }
    }

    /// Up to `beam` (> 0) rows near `query`, best first: fewer when the walk reaches fewer allowed ones.
    ///
    /// Rows that `allow` leaves out are walked through but not kept, so a sparse set costs a longer walk and not its recall.
    pub fn walk(&self, rows: &Rows, query: &[f32], beam: usize, allow: Option<&RowSet>) -> Vec<Neighbor> {
        let graph = self.view();
        let (data, dim) = (rows.as_slice(), rows.dim());
        let score = |row: u32| {
            let start = row as usize * dim;
            Neighbor::new(row, dot(query, &data[start..start + dim]))
        };
        let mut nearest = score(self.entry);
        for layer in (1..self.layers).rev() {
            // SEARCH-LAYER with a beam of one is a greedy descent.
            loop {
                let best =
                    graph.neighbours(nearest.row, layer).iter().map(|&row| score(row)).min_by(Neighbor::rank);
                match best {
                    Some(best) if best.score > nearest.score => nearest = best,
                    _ => break,
                }
            }
        }

        let mut found = TopK::new(beam);
        let mut visited = vec![0_u64; rows.len().div_ceil(64)];
        let mut visit = |row: u32| {
            let (word, bit) = (&mut visited[row as usize / 64], 1 << (row % 64));
            let new = *word & bit == 0;
            *word |= bit;
            new
        };
        let mut open = BinaryHeap::from([Candidate(nearest)]);
        visit(nearest.row);
        if allow.is_none_or(|set| set.contains(nearest.row)) {
            found.push(nearest);
        }
        while let Some(Candidate(closest)) = open.pop() {
            if !found.admits(closest.score) {
                break;
            }
            for &row in graph.neighbours(closest.row, 0) {
                if !visit(row) {
                    continue;
                }
                let neighbour = score(row);
                if found.admits(neighbour.score) {
                    open.push(Candidate(neighbour));
                    if allow.is_none_or(|set| set.contains(row)) {
                        found.push(neighbour);
                    }
                }
            }
        }
        found.into_sorted()
    }
}

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
