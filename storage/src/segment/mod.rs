//! Immutable rows on disk: a segment is a directory of `vectors.bin`, `ids.bin`, the nearest-neighbour index built over
//! them and, once images of it were deleted, one `deleted-<generation>.bin`.
//!
//! Row `i` of `vectors.bin` is the vector of id `i` of `ids.bin`; ids ascend, so finding one is a binary search. Deleting
//! writes a new list of deleted rows under a new name and the manifest names that one, so nothing a manifest names ever
//! changes (I2) and readers need no lock.
//!
//! Every file is sealed (`pictor_ann::SealedFile`), little-endian and of fixed width; FORMAT.md draws it.

mod read;
mod write;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use pictor_ann::{AnnError, Dtype, IndexKind, RowSet, Rows, SealedFile, VectorIndex};
use pictor_core::ImageId;

pub(crate) use read::{SegmentRows, find_damage};
pub(crate) use write::{RowsWriter, write_deleted};

use crate::KindChoice;
use crate::StorageError;
use crate::directory::Directory;
use crate::manifest::SegmentEntry;

/// Components as the manifest's dtype says, row-major.
pub(crate) const VECTORS: (&str, [u8; 8]) = ("vectors.bin", *b"PICTRvec");
/// u64 image ids, ascending.
pub(crate) const IDS: (&str, [u8; 8]) = ("ids.bin", *b"PICTRids");
/// u32 row numbers, ascending, in files named after the generation that deleted the last of them.
const DELETED: [u8; 8] = *b"PICTRdel";
/// The nearest-neighbour index; a flat one has no file.
pub(crate) const NEIGHBORS: &str = "ann.bin";
/// What `pictor_ann` begins that file with.
const NEIGHBORS_MAGIC: &[u8; 8] = b"PICTRANN";

/// One segment as a manifest lists it: rows, and which of them are deleted.
#[derive(Clone)]
pub(crate) struct Segment {
    /// What the manifest says.
    pub(crate) entry: SegmentEntry,
    /// Its ids and vectors.
    pub(crate) rows: Arc<SegmentRows>,
    /// Deleted rows.
    pub(crate) deleted: RowSet,
}

impl Segment {
    /// Opens what `entry` names in its directory `dir`; `known` are its rows where they are open already.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] for a file that is missing, truncated, altered (`vectors.bin`: all but its vectors) or not what the
    /// manifest says.
    pub(crate) fn open(
        dir: &Path,
        entry: &SegmentEntry,
        (dim, dtype): (usize, Dtype),
        known: Option<Arc<SegmentRows>>,
    ) -> Result<Self, StorageError> {
        let rows = match known {
            Some(rows) => rows,
            None => Arc::new(SegmentRows::open(dir, dim, dtype, entry.rows)?),
        };
        let deleted = read::deleted(dir, entry)?;
        Ok(Self { entry: entry.clone(), rows, deleted })
    }

    /// A segment that was just written.
    pub(crate) fn fresh(name: String, kind: IndexKind, rows: SegmentRows) -> Self {
        let deleted = RowSet::empty(rows.len());
        let entry = SegmentEntry { name, rows: rows.len() as u32, kind, deleted: None };
        Self { entry, rows: Arc::new(rows), deleted }
    }

    /// The row of a live image.
    pub(crate) fn row_of(&self, id: ImageId) -> Option<u32> {
        let row = self.rows.ids().binary_search(&id.0).ok()? as u32;
        (!self.deleted.contains(row)).then_some(row)
    }

    /// Live images.
    pub(crate) fn live(&self) -> usize {
        self.rows.len() - self.deleted.len()
    }

    /// Live images and their rows, by ascending id.
    pub(crate) fn live_rows(&self) -> impl Iterator<Item = (ImageId, u32)> {
        let rows = (0u32..).zip(self.rows.ids());
        rows.filter(|(row, _)| !self.deleted.contains(*row)).map(|(row, &id)| (ImageId(id), row))
    }
}

/// The row of a live image in any of `segments`, with the index of its segment.
pub(crate) fn locate(segments: &[Segment], id: ImageId) -> Option<(usize, u32)> {
    segments.iter().enumerate().find_map(|(i, segment)| Some((i, segment.row_of(id)?)))
}

/// Whether `file`, found in the directory of `entry`, is one that `entry` names.
pub(crate) fn is_named(entry: &SegmentEntry, file: &OsStr) -> bool {
    [VECTORS.0, IDS.0, NEIGHBORS]
        .into_iter()
        .chain(entry.deleted.as_ref().map(|list| &*list.file))
        .any(|name| file == name)
}

/// Builds the nearest-neighbour index of a segment beside its rows, durable on return, and says which kind it became.
///
/// A kind that learns from its rows (FAISS inverted files, quantisers) needs a minimum of them. A segment with fewer, such as
/// a small commit makes, is flat, and its manifest entry says so; a merge that makes it large enough builds the kind asked for.
///
/// # Errors
/// [`StorageError::Ann`] when the kind cannot be built over these rows, or its files cannot be written.
pub(crate) fn build_neighbors(
    directory: &dyn Directory,
    dir: &Path,
    choice: &KindChoice,
    rows: &SegmentRows,
) -> Result<IndexKind, StorageError> {
    let matrix = rows.matrix();
    let kind = choice.resolve(rows.len(), matrix.dim(), matrix.dtype()).kind;
    let kind = match pictor_ann::build(&kind, rows.matrix(), &dir.join(NEIGHBORS)) {
        Ok(()) => kind,
        Err(AnnError::TooFewRows { .. }) => IndexKind::Flat,
        Err(error) => return Err(error.into()),
    };
    directory.sync(dir)?;
    Ok(kind)
}

/// Makes the damaged or missing nearest-neighbour index of a segment again from its rows.
///
/// # Errors
/// As [`build_neighbors`].
pub(crate) fn rebuild_neighbors(
    directory: &dyn Directory,
    dir: &Path,
    segment: &Segment,
) -> Result<(), StorageError> {
    let path = dir.join(NEIGHBORS);
    // A new file, not new bytes in the old one, which somebody may have mapped.
    directory.delete(&path)?;
    pictor_ann::build(&segment.entry.kind, segment.rows.matrix(), &path)?;
    Ok(directory.sync(dir)?)
}

/// Opens the nearest-neighbour index of a segment.
///
/// # Errors
/// [`StorageError::DamagedNeighbors`].
pub(crate) fn open_neighbors(dir: &Path, segment: &Segment) -> Result<Box<dyn VectorIndex>, StorageError> {
    pictor_ann::open(&segment.entry.kind, segment.rows.matrix().clone(), &dir.join(NEIGHBORS))
        .map_err(|source| StorageError::DamagedNeighbors { segment: dir.to_owned(), source })
}

/// Reads the nearest-neighbour index of a segment whole, which opening it does not.
///
/// # Errors
/// [`StorageError::DamagedNeighbors`].
pub(crate) fn verify_neighbors(dir: &Path, segment: &Segment) -> Result<(), StorageError> {
    open_neighbors(dir, segment)?;
    if segment.entry.kind == IndexKind::Flat {
        return Ok(());
    }
    SealedFile::open(&dir.join(NEIGHBORS), NEIGHBORS_MAGIC)
        .and_then(|file| file.verify())
        .map_err(|source| StorageError::DamagedNeighbors { segment: dir.to_owned(), source })
}

/// Tries `choice` on one row, so that a factory string FAISS rejects for this dimension is an error when the index is made
/// and not after hours of encoding.
///
/// # Errors
/// [`StorageError::Ann`].
pub(crate) fn try_kind(scratch: &Path, choice: &KindChoice, dim: usize) -> Result<(), StorageError> {
    let KindChoice::Fixed(kind) = choice else { return Ok(()) };
    let mut row = vec![0.0; dim];
    row[0] = 1.0;
    let built = pictor_ann::build(kind, &Rows::from_vec(dim, row)?, scratch);
    match fs_err::remove_file(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    match built {
        Ok(()) | Err(AnnError::TooFewRows { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
