//! FAISS: any index of its factory, behind the same face as the others. (Graphs over whole vectors it only builds: `hnsw.rs` keeps and
//! walks them.)
//!
//! FAISS proposes rows, [`refine`](crate::refine) scores them exactly: an index that stores vectors as they are is asked for `k`
//! rows, a quantised one (SQ, PQ, PCA, …) for sixteen times as many. What FAISS finds too few of (too few probed lists) is found by an
//! exact scan instead, and so is what a filter asks for unless an effort is named: lists and codes make no promise about rows that are
//! far from the query.
//!
//! Default effort: `nprobe = max(32, nlist / 16)` of inverted lists, `efSearch = max(64, 2k)` of graphs over codes. FAISS's own
//! defaults, 1 and 16, are meant to be tuned and find little.
//!
//! Threads: building uses all cores through OpenMP. A search runs on the thread that asks: many queries at once is how the
//! cores are used, and OpenMP would otherwise keep a team of workers for every thread that ever searched
//! (<https://github.com/facebookresearch/faiss/wiki/Threads-and-asynchronous-calls>).

mod handle;
mod links;

use std::ffi::{CStr, c_int};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use handle::{Filter, Handle};

use crate::graph::Links;
use crate::refine::{rescore, scan_is_cheaper};
use crate::topk::Neighbor;
use crate::{
    AnnError, IndexKind, RowSet, Rows, SealedFile, SearchOptions, VectorIndex, check_query, file, flat,
};

/// Candidates per hit that a quantised index is asked for.
///
/// At 16, codes of an eighth of the size of f16 rows reach a recall@10 above 0.99 on text → image (`benches/ann`).
const CANDIDATES_PER_HIT: usize = 16;

/// Share of an index's rows that is left when no more are gone than a segment may have deleted before it is rewritten.
const LEFT_BY_DELETIONS_PERCENT: usize = 70;

/// How wide FAISS looks for neighbours of a row that it adds to a graph; its own default is 40. Wider costs building time in
/// proportion, and gives a graph that answers queries from another distribution (words, over images) with less effort:
/// measured in `benches/ann`.
const EF_CONSTRUCTION: usize = 64;

/// Rows handed to FAISS at a time: few enough that their f32 copies are small beside FAISS's own, enough that it shuffles and shares
/// them among threads well.
const ROWS_AT_ONCE: usize = 1 << 18;

/// Rows per inverted list below which FAISS's k-means warns (faiss/Clustering.h, `min_points_per_centroid`).
const ROWS_PER_LIST: usize = 39;

/// The version of the FAISS library that was compiled in, such as `1.12.0`.
pub fn faiss_version() -> String {
    handle::version()
}

/// Builds and writes the index that `factory` describes.
pub(crate) fn build(
    kind: &IndexKind,
    factory: &str,
    rows: &Rows,
    path: &std::path::Path,
) -> Result<(), AnnError> {
    let failed = |action| failed(action, factory);
    // Also over no rows: a factory string that is wrong is wrong at once, not when images arrive.
    let mut index = Handle::from_factory(rows.dim(), factory).map_err(failed("make"))?;
    if !rows.is_empty() {
        if let Some(needed) = index.nlist().filter(|&nlist| rows.len() < nlist) {
            return Err(too_few_rows(factory, needed, rows.len()));
        }
        index.train(&sample(rows, index.nlist())?).map_err(|message| {
            match rows_needed(&message).filter(|&needed| needed > rows.len()) {
                Some(needed) => too_few_rows(factory, needed, rows.len()),
                None => failed("train")(message),
            }
        })?;
        add_all(&mut index, factory, rows)?;
    }
    // Only now: a failure so far leaves no file.
    let mut writer = file::create(path, kind, rows)?;
    if !rows.is_empty() {
        writer = index.write(writer)?;
    }
    file::finish(writer)
}

/// The entry row and the links of the HNSW graph with M = `m` that FAISS builds over `rows`, at least one.
pub(crate) fn connect(m: usize, rows: &Rows) -> Result<(u32, Links), AnnError> {
    let factory = format!("HNSW{m}");
    let failed = |action| failed(action, &factory);
    let mut index = Handle::from_factory(rows.dim(), &factory).map_err(failed("make"))?;
    index.set(c"efConstruction", EF_CONSTRUCTION).map_err(failed("set the effort of"))?;
    add_all(&mut index, &factory, rows)?;
    let bytes = index.without_vectors().map_err(failed("write"))?;
    drop(index);
    links::parse(&bytes, rows.len()).map_err(failed("read"))
}

/// Adds all rows, widened to f32 a good many at a time.
fn add_all(index: &mut Handle, factory: &str, rows: &Rows) -> Result<(), AnnError> {
    for start in (0..rows.len()).step_by(ROWS_AT_ONCE) {
        let some = rows.range(start, rows.len().min(start + ROWS_AT_ONCE))?;
        index.add(&some).map_err(failed("add rows to", factory))?;
    }
    if index.len() != rows.len() {
        let message = format!("it holds {} of {} rows", index.len(), rows.len());
        return Err(failed("add rows to", factory)(message));
    }
    Ok(())
}

/// Rows to learn from, evenly spread: all of them, or as many as k-means makes use of. FAISS itself samples 256 a centroid
/// (faiss/Clustering.h, `max_points_per_centroid`); 64 of each of many lists are enough to place their centroids.
fn sample(rows: &Rows, nlist: Option<usize>) -> Result<Vec<f32>, AnnError> {
    let wanted = (64 * nlist.unwrap_or(0)).max(1 << 17);
    if rows.len() <= wanted {
        return rows.range(0, rows.len());
    }
    let mut sample = Vec::with_capacity(wanted * rows.dim());
    for i in 0..wanted {
        let row = i * rows.len() / wanted;
        sample.extend(rows.range(row, row + 1)?);
    }
    Ok(sample)
}

fn too_few_rows(factory: &str, needed: usize, rows: usize) -> AnnError {
    let advice = match rows / ROWS_PER_LIST {
        fits @ 4.. if factory.starts_with("IVF") => {
            format!("choose IVF{fits} or fewer lists ({ROWS_PER_LIST} rows for each), or hnsw, or flat")
        }
        _ => "choose hnsw or flat, which need none".into(),
    };
    AnnError::TooFewRows { factory: factory.into(), needed, rows, advice }
}

/// How many rows FAISS says that it needs to learn from.
///
/// Two of its messages mean this: `Number of training points (n) should be at least as large as number of clusters (k)` of
/// k-means, behind every codebook (faiss/Clustering.cpp), and `PCA matrix cannot output k dimensions from d`, which also tells
/// that there were fewer than k rows (faiss/VectorTransform.cpp).
fn rows_needed(message: &str) -> Option<usize> {
    let number = |from: &str, to: char| message.split_once(from)?.1.split_once(to)?.0.parse().ok();
    number("should be at least as large as number of clusters (", ')').or_else(|| {
        let needed: usize = number("PCA matrix cannot output ", ' ')?;
        // More components out than in are wrong with any number of rows.
        (needed <= number("dimensions from ", ' ')?).then_some(needed)
    })
}

fn failed(action: &'static str, factory: &str) -> impl FnOnce(String) -> AnnError {
    move |message| AnnError::Faiss { action, factory: factory.into(), message }
}

/// The parameter that effort sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knob {
    /// Lists probed, of an index with `nlist` of them.
    Nprobe {
        nlist: usize,
    },
    EfSearch,
    /// The index has neither.
    None,
}

impl Knob {
    fn name(self) -> &'static CStr {
        match self {
            Self::Nprobe { .. } => c"nprobe",
            Self::EfSearch => c"efSearch",
            Self::None => c"",
        }
    }

    /// The parameter's value for a search of `k` candidates.
    fn effort(self, asked: Option<usize>, k: usize) -> usize {
        // Beyond i32 FAISS's own counters end.
        const MOST: usize = i32::MAX as usize;
        match self {
            Self::Nprobe { nlist } => asked.unwrap_or(32.max(nlist / 16)).clamp(1, nlist.clamp(1, MOST)),
            Self::EfSearch => asked.unwrap_or(64.max(2 * k)).clamp(k.max(1), MOST),
            Self::None => 0,
        }
    }
}

/// An index of FAISS over rows.
pub(crate) struct Faiss {
    rows: Rows,
    factory: String,
    knob: Knob,
    /// Whether FAISS can restrict this index's search to a set of rows.
    filters: bool,
    candidates_per_hit: usize,
    /// Searches share it; a search with another effort changes it first.
    state: RwLock<State>,
}

struct State {
    index: Handle,
    effort: usize,
}

impl Faiss {
    /// Reads a payload over rows, at least one.
    pub fn open(factory: &str, rows: Rows, file: Arc<SealedFile>) -> Result<Self, AnnError> {
        let failed = |action| failed(action, factory);
        file.verify()?;
        let mut index = Handle::read(file).map_err(failed("read"))?;
        if (index.dim(), index.len()) != (rows.dim(), rows.len()) {
            let message = format!(
                "it holds {} rows of {}, not {} of {}",
                index.len(),
                index.dim(),
                rows.len(),
                rows.dim()
            );
            return Err(failed("read")(message));
        }
        let knob = match index.nlist() {
            Some(nlist) => Knob::Nprobe { nlist },
            None if index.set(Knob::EfSearch.name(), 64).is_ok() => Knob::EfSearch,
            None => Knob::None,
        };
        let filters = {
            // Not every class of index takes a selector, and only a search tells.
            let _one = OneThread::new();
            let all = RowSet::from_fn(rows.len(), |_| true);
            let filter = Filter::new(&all, nprobe(knob, 1)).map_err(failed("filter"))?;
            index.search(&rows.range(0, 1)?, 1, Some(&filter)).is_ok()
        };
        let candidates_per_hit = if stores_vectors(factory) { 1 } else { CANDIDATES_PER_HIT };
        // Effort 0 is never asked for, so the first search sets it.
        let state = RwLock::new(State { index, effort: 0 });
        Ok(Self { rows, factory: factory.into(), knob, filters, candidates_per_hit, state })
    }

    /// The index, with its parameter set to `effort` for as long as the guard lives.
    fn with_effort(&self, effort: usize) -> Result<RwLockReadGuard<'_, State>, AnnError> {
        // A poisoned lock protects an index that is intact: nothing in its critical sections leaves it half changed.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.effort == effort || self.knob == Knob::None {
            return Ok(state);
        }
        drop(state);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.index.set(self.knob.name(), effort).map_err(failed("set the effort of", &self.factory))?;
        state.effort = effort;
        Ok(RwLockWriteGuard::downgrade(state))
    }
}

impl VectorIndex for Faiss {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn search(&self, query: &[f32], k: usize, opts: &SearchOptions<'_>) -> Result<Vec<Neighbor>, AnnError> {
        let k = check_query(&self.rows, query, k, opts)?;
        let scan = || flat::scan(&self.rows, query, k, opts.allow);
        let allowed = opts.allow.map_or(self.rows.len(), RowSet::len);
        // A filter can leave rows that resemble each other more than they resemble the query, in lists that are far from it; their
        // codes do not tell them apart. Only their vectors do, unless somebody says how hard to try. A few rows that were
        // deleted are no such filter.
        let filtered = opts.allow.is_some() && allowed * 100 < self.rows.len() * LEFT_BY_DELETIONS_PERCENT;
        if filtered && opts.effort.is_none() {
            return scan();
        }
        let candidates = k.saturating_mul(self.candidates_per_hit).min(self.rows.len());
        let mut effort = self.knob.effort(opts.effort, candidates);
        if let Knob::Nprobe { nlist } = self.knob {
            // The k nearest of a tenth of the rows are spread over as many lists as the 10 k nearest of all.
            effort = (effort * self.rows.len()).div_ceil(allowed.max(1)).clamp(1, nlist);
        }
        let beam = if self.knob == Knob::EfSearch { effort } else { candidates.max(64) };
        let cheaper = |allowed| scan_is_cheaper(allowed, self.rows.len(), beam);
        if match opts.allow {
            Some(_) => !self.filters || cheaper(allowed),
            // Lists and codes are scanned faster than rows at any size; only a wide walk is not, and FAISS's takes time quadratic
            // in its beam.
            None => k == 0 || self.knob == Knob::EfSearch && cheaper(self.rows.len()),
        } {
            return scan();
        }
        let filter = opts.allow.map(|allow| Filter::new(allow, nprobe(self.knob, effort))).transpose();
        let filter = filter.map_err(failed("filter", &self.factory))?;
        let proposed = {
            let _one = OneThread::new();
            let state = self.with_effort(effort)?;
            state.index.search(query, candidates, filter.as_ref())
        };
        let proposed = proposed.map_err(failed("search", &self.factory))?;
        let known = proposed.into_iter().filter_map(|label| u32::try_from(label).ok());
        let known = known.filter(|&row| (row as usize) < self.rows.len());
        let found = rescore(&self.rows, query, k, known)?;
        if found.len() == k { Ok(found) } else { scan() }
    }
}

fn nprobe(knob: Knob, effort: usize) -> Option<usize> {
    matches!(knob, Knob::Nprobe { .. }).then_some(effort)
}

/// Whether every component of the factory string keeps vectors as they are, so that FAISS's own order is exact.
fn stores_vectors(factory: &str) -> bool {
    factory.split(',').all(|component| {
        let plain = ["IVF", "HNSW"].iter().any(|graph| component.starts_with(graph));
        component == "Flat" || plain && !["_PQ", "_SQ", "_2x"].iter().any(|codes| component.contains(codes))
    })
}

/// While it lives, OpenMP starts no further threads for this one.
struct OneThread {
    before: c_int,
}

// The OpenMP library that FAISS is linked with (`faiss-sys` links libgomp); both functions act on the calling thread only.
unsafe extern "C" {
    safe fn omp_get_max_threads() -> c_int;
    safe fn omp_set_num_threads(threads: c_int);
}

impl OneThread {
    fn new() -> Self {
        let before = omp_get_max_threads();
        omp_set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        omp_set_num_threads(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_factories_keep_vectors() {
        for factory in ["Flat", "HNSW32", "HNSW32,Flat", "IVF64,Flat", "IVF1024_HNSW32,Flat", "HNSW16_Flat"] {
            assert!(stores_vectors(factory), "{factory}");
        }
        for factory in
            ["SQ8", "PQ16", "IVF64,PQ16", "HNSW32_PQ12", "HNSW32_SQ8", "PCA64,Flat", "OPQ16,IVF8,PQ16"]
        {
            assert!(!stores_vectors(factory), "{factory}");
        }
    }

    #[test]
    fn effort_has_documented_defaults_and_bounds() {
        let ivf = Knob::Nprobe { nlist: 1024 };
        assert_eq!(
            (ivf.effort(None, 10), ivf.effort(Some(0), 10), ivf.effort(Some(9999), 10)),
            (64, 1, 1024)
        );
        assert_eq!(Knob::Nprobe { nlist: 64 }.effort(None, 10), 32);
        assert_eq!(Knob::Nprobe { nlist: 4 }.effort(None, 10), 4);
        let graph = Knob::EfSearch;
        assert_eq!(
            (graph.effort(None, 10), graph.effort(None, 100), graph.effort(Some(3), 10)),
            (64, 200, 10)
        );
        assert_eq!(graph.effort(Some(usize::MAX), 10), i32::MAX as usize);
    }
}
