//! Reading a segment's files: mapped, checked, and typed errors for whatever does not fit.

use std::path::Path;
use std::sync::Arc;

use pictor_ann::{AnnError, Dtype, RowSet, Rows, SealedFile};

use super::{DELETED, IDS, VECTORS};
use crate::StorageError;
use crate::manifest::SegmentEntry;

/// The ids and vectors of a segment, mapped.
pub(crate) struct SegmentRows {
    ids: Arc<SealedFile>,
    vectors: Arc<SealedFile>,
    rows: Rows,
}

impl SegmentRows {
    /// Maps both files of the segment in `dir`. `ids.bin` is checked to the last bit; `vectors.bin` as it is read, since it may be
    /// a thousand times as long ([`verify`](Self::verify) checks all of it).
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn open(dir: &Path, dim: usize, dtype: Dtype, rows: u32) -> Result<Self, StorageError> {
        let (name, magic) = IDS;
        let ids = open(&dir.join(name), &magic, 1, "u64", rows)?;
        ids.verify()?;
        let (name, magic) = VECTORS;
        let vectors = open(&dir.join(name), &magic, dim, &dtype.to_string(), rows)?;
        let matrix = Rows::from_file(vectors.clone())?;
        let rows = Self { ids, vectors, rows: matrix };
        if rows.ids().len() != rows.len() || !rows.ids().is_sorted_by(|a, b| a < b) {
            return Err(StorageError::damaged(rows.ids.path(), "ids do not ascend"));
        }
        Ok(rows)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The id of each row, ascending.
    pub(crate) fn ids(&self) -> &[u64] {
        bytemuck::try_cast_slice(self.ids.payload()).unwrap_or_default()
    }

    /// The vectors.
    pub(crate) fn matrix(&self) -> &Rows {
        &self.rows
    }

    /// One vector.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when that part of the file is.
    pub(crate) fn vector(&self, row: u32) -> Result<Vec<f32>, StorageError> {
        Ok(self.rows.row(row)?.expect("row numbers come from the ids beside them; this is a bug"))
    }

    /// Reads `vectors.bin` whole and compares its checksums.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        Ok(self.vectors.verify()?)
    }
}

/// What is wrong with the files of rows of the segment in `dir`: each read whole, and looked at whatever the others hold.
pub(crate) fn find_damage(
    dir: &Path,
    entry: &SegmentEntry,
    (dim, dtype): (usize, Dtype),
) -> Vec<StorageError> {
    let whole = |(name, magic): (&str, [u8; 8]), dim, label: &str| {
        let file = open(&dir.join(name), &magic, dim, label, entry.rows)?;
        file.verify()?;
        Ok(file)
    };
    let ids = whole(IDS, 1, "u64").and_then(|file| {
        let ids: &[u64] = bytemuck::try_cast_slice(file.payload()).unwrap_or_default();
        match ids.len() == entry.rows as usize && ids.is_sorted_by(|a, b| a < b) {
            true => Ok(()),
            false => Err(StorageError::damaged(file.path(), "ids do not ascend")),
        }
    });
    let vectors = whole(VECTORS, dim, &dtype.to_string()).map(drop);
    let deleted = deleted(dir, entry).map(drop);
    [ids, vectors, deleted].into_iter().filter_map(Result::err).collect()
}

/// The deleted rows of a segment, none when the manifest names no list.
pub(super) fn deleted(dir: &Path, entry: &SegmentEntry) -> Result<RowSet, StorageError> {
    let mut set = RowSet::empty(entry.rows as usize);
    let Some(list) = &entry.deleted else { return Ok(set) };
    let file = open(&dir.join(&list.file), &DELETED, 1, "u32", list.rows)?;
    file.verify()?;
    let rows: &[u32] = bytemuck::try_cast_slice(file.payload()).unwrap_or_default();
    if rows.len() != list.rows as usize
        || !rows.is_sorted_by(|a, b| a < b)
        || rows.last().is_some_and(|&last| last >= entry.rows)
    {
        return Err(StorageError::damaged(file.path(), "row numbers do not ascend within the segment"));
    }
    for &row in rows {
        set.insert(row);
    }
    Ok(set)
}

/// Maps a file that the manifest says holds `count` rows of `dim` `label`s.
fn open(
    path: &Path,
    magic: &[u8; 8],
    dim: usize,
    label: &str,
    count: u32,
) -> Result<Arc<SealedFile>, StorageError> {
    let file = match SealedFile::open(path, magic) {
        Err(AnnError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StorageError::damaged(path, "the manifest names it and it is gone"));
        }
        file => file?,
    };
    let head = file.head();
    if (head.dim, head.count, head.label.as_str()) != (dim, count as usize, label) {
        let found = format!("{} × {} {}", head.count, head.dim, head.label);
        return Err(StorageError::damaged(
            path,
            format!("its head says {found}, the manifest {count} × {dim} {label}"),
        ));
    }
    Ok(file)
}
