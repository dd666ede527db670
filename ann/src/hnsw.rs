//! HNSW, by two builders: `hnsw_rs` for the kind `hnsw`, FAISS for `faiss:HNSW…`. We keep and walk the graph (graph.rs).
//!
//! Why not either library's own file and search: both hold a second copy of every vector, in f32, in memory; `hnsw_rs` borrows from
//! its loader for as long as the index lives, and the filtered search of both may return fewer rows than exist. What is worth
//! taking is the construction; the links it makes are exported once into a flat array that is mapped when opened.
//!
//! `hnsw_rs` inserts by one thread, in order. It draws levels from a fixed seed, so the same rows give the same file, and
//! its parallel insertion is not safe from deadlock: a thread keeps the read lock on its new point's links while it takes the
//! write lock of each neighbour, and for points on three or more layers two threads can do so in opposite order. FAISS inserts
//! by all cores, with links that differ a little from build to build.

use std::path::Path;
use std::sync::Arc;

use hnsw_rs::anndists::dist::distances::Distance;

use crate::graph::{Graph, Links, Walk};
use crate::refine::{scan_is_cheaper, walk_budget};
use crate::sealed::SealedFile;
use crate::topk::Neighbor;
use crate::{AnnError, IndexKind, Rows, SearchOptions, VectorIndex, check_query, dot, faiss, file, flat};

/// `hnsw_rs` allows at most 16 layers; each holds 1/M of the rows below it.
const MAX_LAYERS: usize = 16;

/// Cosine distance of unit vectors.
#[derive(Clone, Copy, Default)]
struct OneMinusDot;

impl Distance<f32> for OneMinusDot {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        // `hnsw_rs` asserts that distances are not negative, and rounding may bring the inner product of equal vectors above 1.
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// Builds the graph and writes it.
pub(crate) fn build(
    kind: &IndexKind,
    m: usize,
    ef_construction: usize,
    rows: &Rows,
    path: &Path,
) -> Result<(), AnnError> {
    write(kind, m, rows, path, || connect(m, ef_construction, rows))
}

/// Has FAISS build the graph of `faiss:HNSW{m}`, and writes it.
pub(crate) fn build_by_faiss(kind: &IndexKind, m: usize, rows: &Rows, path: &Path) -> Result<(), AnnError> {
    write(kind, m, rows, path, || faiss::connect(m, rows))
}

fn write(
    kind: &IndexKind,
    m: usize,
    rows: &Rows,
    path: &Path,
    connect: impl FnOnce() -> Result<(u32, Links), AnnError>,
) -> Result<(), AnnError> {
    // First: a failure leaves no file.
    let connected = (!rows.is_empty()).then(connect).transpose()?;
    let mut writer = file::create(path, kind, rows)?;
    if let Some((entry, links)) = connected {
        // A row has at most 2M links on layer 0.
        let limit = u32::MAX as usize / (2 * m);
        links.write(entry, &mut writer)?.ok_or(AnnError::TooManyRows { rows: rows.len(), limit })?;
    }
    file::finish(writer)
}

/// Inserts all rows and reads back who was linked to whom.
fn connect(m: usize, ef_construction: usize, rows: &Rows) -> Result<(u32, Links), AnnError> {
    let builder =
        hnsw_rs::hnsw::Hnsw::<f32, OneMinusDot>::new(m, rows.len(), MAX_LAYERS, ef_construction, OneMinusDot);
    for row in 0..rows.len() {
        builder.insert_slice((&rows.range(row, row + 1)?, row));
    }
    // The highest layer each row is part of: its own, or higher where the first rows, linked before the upper layers had any
    // of their own, serve as bridges.
    let mut highest = vec![0; rows.len()];
    let mut entry = (0, 0);
    for point in builder.get_point_indexation() {
        let (row, own) = (point.get_origin_id(), usize::from(point.get_point_id().0));
        entry = entry.max((own, row));
        highest[row] = own.max(highest[row]);
        for (layer, list) in point.get_neighborhood_id().iter().enumerate().take(own + 1) {
            for neighbour in list {
                highest[neighbour.d_id] = layer.max(highest[neighbour.d_id]);
            }
        }
    }
    let mut lists = vec![Vec::new(); rows.len()];
    for point in builder.get_point_indexation() {
        let row = point.get_origin_id();
        // Above that layer `hnsw_rs` notes which row it passed on the way down: nothing leads there, so nothing is lost.
        lists[row] = point.get_neighborhood_id().into_iter().take(highest[row] + 1).collect();
    }
    let mut links = Links::default();
    for layers in lists {
        links.push(layers.into_iter().map(|list| list.into_iter().map(|neighbour| neighbour.d_id as u32)));
    }
    Ok((entry.1 as u32, links))
}

/// Times the default effort under a filter, which may leave rows that are harder to tell apart than all of them are.
const FILTERED_FACTOR: usize = 4;

/// `efSearch` unless one is named: `max(64, 2k)` up to 200,000 rows, and √(rows / 200,000) times that beyond, since the same beam
/// finds less among more rows.
fn default_effort(k: usize, rows: usize) -> usize {
    let grown = (rows as f64 / 200_000.0).sqrt().max(1.0);
    (64.max(k.saturating_mul(2)) as f64 * grown) as usize
}

/// A graph over rows, and how hard it is searched by default: [`default_effort`].
pub(crate) struct Hnsw {
    rows: Rows,
    /// `None` over no rows.
    graph: Option<Graph>,
}

impl Hnsw {
    pub fn open(rows: Rows, file: Arc<SealedFile>) -> Result<Self, AnnError> {
        let graph = (!rows.is_empty()).then(|| Graph::new(file, rows.len())).transpose()?;
        Ok(Self { rows, graph })
    }
}

impl VectorIndex for Hnsw {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn search(&self, query: &[f32], k: usize, opts: &SearchOptions<'_>) -> Result<Vec<Neighbor>, AnnError> {
        let k = check_query(&self.rows, query, k, opts)?;
        let allowed = opts.allow.map_or(self.rows.len(), crate::RowSet::len);
        let default =
            default_effort(k, self.rows.len()) * if opts.allow.is_some() { FILTERED_FACTOR } else { 1 };
        let beam = opts.effort.unwrap_or(default).max(k).min(self.rows.len());
        let walkable = k > 0 && !scan_is_cheaper(allowed, self.rows.len(), beam);
        if let Some(graph) = self.graph.as_ref().filter(|_| walkable) {
            let scorer = self.rows.scorer(query);
            let walk = graph.walk(&scorer, beam, opts.allow, walk_budget(allowed, self.rows.len(), beam));
            graph.file().check()?;
            self.rows.check()?;
            match walk {
                Walk::Done(mut found) if found.len() >= k => {
                    found.truncate(k);
                    return Ok(found);
                }
                // The allowed rows hide in a part of the graph that is far away, or that no link leads to.
                Walk::Done(_) | Walk::GaveUp => {}
            }
        }
        flat::scan(&self.rows, query, k, opts.allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowSet;
    use crate::tests::random_rows;

    /// The walk itself, where `search` would have scanned.
    #[test]
    fn a_sparse_set_costs_a_longer_walk_and_not_its_recall() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graph");
        let rows = random_rows(4_000, 16, 21);
        build(&IndexKind::HNSW, 16, 200, &rows, &path).unwrap();
        let index = Hnsw::open(rows.clone(), file::open(&path, &IndexKind::HNSW, &rows).unwrap()).unwrap();
        let graph = index.graph.as_ref().unwrap();
        let queries = random_rows(40, 16, 22);
        for keep in [1, 2, 10, 50, 500] {
            let set = RowSet::from_fn(rows.len(), |row| row % keep == 0);
            let mut found = 0;
            for query in 0..queries.len() as u32 {
                let query = &queries.row(query).unwrap().unwrap();
                let Walk::Done(walked) = graph.walk(&rows.scorer(query), 64, Some(&set), usize::MAX) else {
                    panic!("there is no end to the budget");
                };
                assert!(walked.iter().all(|hit| set.contains(hit.row)) && walked.len() <= 64);
                let exact = flat::scan(&rows, query, 8, Some(&set)).unwrap();
                found += exact.iter().filter(|e| walked[..8].contains(e)).count();
            }
            let recall = found as f64 / (8 * queries.len()) as f64;
            assert!(recall >= 0.95, "one in {keep}: recall@8 is {recall}");
        }
    }
}
