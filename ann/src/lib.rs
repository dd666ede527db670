//! Nearest neighbours over immutable rows: flat, HNSW, FAISS.
//!
//! What lives here: [`Rows`] (a matrix of unit vectors that somebody else mapped or owns), the three ways to search it
//! ([`IndexKind`]) and the one way to ask ([`VectorIndex`]). This is the only crate that knows `hnsw_rs` and FAISS.
//!
//! Why this way: rows never change once written, so an index has no add and no remove. A deletion is a row that the caller
//! leaves out of [`SearchOptions::allow`]; an update is a new row in a new index. That keeps each index a file that is
//! written once ([`build`]) and then only read, by any number of threads ([`open`]).
//!
//! What must stay true, for every kind:
//! - a search returns exactly `min(k, allowed rows)` neighbours, best first, equal scores by ascending row;
//! - every score is the exact inner product of the query and the stored row, so kinds can be compared and mixed;
//! - which rows come back may be approximate, except for [`IndexKind::Flat`], the oracle the others are tested against;
//! - a file that was truncated or changed is a typed error when it is opened or when the changed part is first used, never a panic
//!   and never a wrong result.
//!
//! ```
//! use pictor_ann::{IndexKind, Rows, SearchOptions};
//!
//! let rows = Rows::from_vec(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8])?;
//! let file = std::env::temp_dir().join(format!("ann-doc-{}", std::process::id()));
//! pictor_ann::build(&IndexKind::Flat, &rows, &file)?;
//! let index = pictor_ann::open(&IndexKind::Flat, rows, &file)?;
//! let found = index.search(&[0.0, 1.0], 2, &SearchOptions::default())?;
//! assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [1, 2]);
//! # Ok::<(), pictor_ann::AnnError>(())
//! ```

mod auto;
mod dot;
mod error;
mod faiss;
mod file;
mod flat;
mod graph;
mod hnsw;
mod kind;
mod refine;
mod row_set;
mod rows;
mod sealed;
#[cfg(test)]
mod tests;
mod topk;

use std::path::Path;

pub use auto::AutoChoice;
pub use dot::dot;
pub use error::AnnError;
pub use faiss::faiss_version;
pub use kind::IndexKind;
pub use row_set::RowSet;
pub use rows::{Dtype, Rows};
pub use sealed::{Head, SEALED_VERSION, SealedFile, SealedWriter};
pub use topk::Neighbor;

/// How to search; the default searches all rows with the effort of the kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchOptions<'a> {
    /// How hard an approximate index tries, larger being slower and closer to exact: `efSearch` of a graph (HNSW), `nprobe` of
    /// inverted lists (FAISS IVF). `None` takes the default that each kind documents; flat search ignores it.
    pub effort: Option<usize>,
    /// The rows that may be returned; `None` is all of them.
    pub allow: Option<&'a RowSet>,
}

/// An index over immutable rows, searched by any number of threads at once.
pub trait VectorIndex: Send + Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `min(k, allowed rows)` rows of largest inner product with `query` (`dim` components), best first, equal scores by
    /// ascending row. Scores are exact.
    ///
    /// # Errors
    /// [`AnnError::Dimension`] and [`AnnError::QueryNotFinite`] for a query that no row can be compared with,
    /// [`AnnError::RowSet`] when `allow` was made for another number of rows, [`AnnError::Damaged`] when a file is not what was written,
    /// [`AnnError::Faiss`] when FAISS fails.
    fn search(&self, query: &[f32], k: usize, opts: &SearchOptions<'_>) -> Result<Vec<Neighbor>, AnnError>;
}

/// Builds the index of `rows` and writes it to `path`, synced to the medium. The caller syncs the directory.
///
/// One file is written, except by [`IndexKind::Flat`], which needs none. An existing file is replaced.
///
/// # Errors
/// [`AnnError::Kind`] for parameters out of range, [`AnnError::RowNotFinite`], [`AnnError::TooFewRows`] when the kind must
/// learn from more rows than there are, [`AnnError::Faiss`] for a factory string FAISS rejects, [`AnnError::Io`].
pub fn build(kind: &IndexKind, rows: &Rows, path: &Path) -> Result<(), AnnError> {
    kind.check()?;
    rows.check_finite()?;
    match kind {
        IndexKind::Flat => Ok(()),
        IndexKind::Hnsw { m, ef_construction } => hnsw::build(kind, *m, *ef_construction, rows, path),
        IndexKind::Faiss { factory } => match kind.faiss_graph() {
            Some(m) => hnsw::build_by_faiss(kind, m, rows, path),
            None => faiss::build(kind, factory, rows, path),
        },
    }
}

/// Opens what [`build`] wrote for the same `kind` and the same `rows`. Flat search opens no file.
///
/// The file is mapped and must not change while the index lives. A graph is verified as it is walked, so that opening it costs
/// nothing; what FAISS reads is verified before FAISS sees it, since it trusts what it reads.
///
/// # Errors
/// [`AnnError::Damaged`] for a truncated or changed file, [`AnnError::Mismatch`] for an intact file of another kind or of
/// other rows, [`AnnError::Io`] when there is none, [`AnnError::Faiss`] when FAISS cannot read it.
pub fn open(kind: &IndexKind, rows: Rows, path: &Path) -> Result<Box<dyn VectorIndex>, AnnError> {
    Ok(match kind {
        IndexKind::Flat => Box::new(flat::Flat::new(rows)),
        kind => {
            let file = file::open(path, kind, &rows)?;
            match kind {
                IndexKind::Faiss { factory } if kind.faiss_graph().is_none() => match rows.is_empty() {
                    // FAISS was never asked to index nothing; exact search of nothing is the same.
                    true => Box::new(flat::Flat::new(rows)),
                    false => Box::new(faiss::Faiss::open(factory, rows, file)?),
                },
                _ => Box::new(hnsw::Hnsw::open(rows, file)?),
            }
        }
    })
}

/// Checks what every kind requires of a query; returns how many hits `min(k, allowed rows)` are.
fn check_query(rows: &Rows, query: &[f32], k: usize, opts: &SearchOptions<'_>) -> Result<usize, AnnError> {
    if query.len() != rows.dim() {
        return Err(AnnError::Dimension { expected: rows.dim(), received: query.len() });
    }
    if let Some(at) = query.iter().position(|x| !x.is_finite()) {
        return Err(AnnError::QueryNotFinite { at, value: query[at] });
    }
    let allowed = match opts.allow {
        None => rows.len(),
        Some(allow) if allow.universe() == rows.len() => allow.len(),
        Some(allow) => {
            return Err(AnnError::RowSet { expected: rows.len(), received: allow.universe() });
        }
    };
    Ok(k.min(allowed))
}
