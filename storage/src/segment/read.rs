//! Reading a segment's files: mapped, checked, and typed errors for whatever does not fit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use pictor_ann::{RowSet, Rows};

use super::{
    CHECKSUM_BYTES, DELETED_KIND, HEADER_BYTES, Header, IDS, IDS_KIND, Kind, VECTORS, VECTORS_KIND, VERSION,
};
use crate::StorageError;
use crate::manifest::SegmentEntry;

/// The ids and vectors of a segment, mapped.
pub(crate) struct SegmentRows {
    ids: SealedFile,
    vectors: SealedFile,
    rows: Rows,
}

impl SegmentRows {
    /// Maps both files of the segment in `dir`. `ids.bin` is checked to the last bit; of `vectors.bin` only header and
    /// length are, since its checksum costs reading all of it ([`verify`](Self::verify) does).
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn open(dir: &Path, dim: usize, rows: u32) -> Result<Self, StorageError> {
        let ids = SealedFile::open(dir.join(IDS), IDS_KIND, 1, rows as usize)?;
        let vectors = SealedFile::open(dir.join(VECTORS), VECTORS_KIND, dim, rows as usize)?;
        ids.verify()?;
        let payload = HEADER_BYTES..vectors.map.len() - CHECKSUM_BYTES;
        let matrix = Rows::new(dim, vectors.map.clone(), payload)?;
        let rows = Self { ids, vectors, rows: matrix };
        if !rows.ids().is_sorted_by(|a, b| a < b) {
            return Err(StorageError::damaged(&rows.ids.path, "ids do not ascend"));
        }
        Ok(rows)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.ids().len()
    }

    /// The id of each row, ascending.
    pub(crate) fn ids(&self) -> &[u64] {
        bytemuck::cast_slice(self.ids.payload())
    }

    /// The vectors.
    pub(crate) fn matrix(&self) -> &Rows {
        &self.rows
    }

    /// One vector.
    pub(crate) fn vector(&self, row: u32) -> &[f32] {
        self.rows.row(row).expect("row numbers come from the ids beside them; this is a bug")
    }

    /// Reads `vectors.bin` whole and compares its checksum.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        self.vectors.verify()
    }
}

/// The deleted rows of a segment, none when the manifest names no list.
pub(super) fn deleted(dir: &Path, entry: &SegmentEntry) -> Result<RowSet, StorageError> {
    let mut set = RowSet::empty(entry.rows as usize);
    let Some(list) = &entry.deleted else { return Ok(set) };
    let file = SealedFile::open(dir.join(&list.file), DELETED_KIND, 1, list.rows as usize)?;
    file.verify()?;
    let rows: &[u32] = bytemuck::cast_slice(file.payload());
    if !rows.is_sorted_by(|a, b| a < b) || rows.last().is_some_and(|&last| last >= entry.rows) {
        return Err(StorageError::damaged(&file.path, "row numbers do not ascend within the segment"));
    }
    for &row in rows {
        set.insert(row);
    }
    Ok(set)
}

/// A mapped file of header, payload and checksum, of the length its header and the manifest promise.
struct SealedFile {
    path: PathBuf,
    map: Arc<Mmap>,
}

impl SealedFile {
    fn open(path: PathBuf, kind: Kind, dim: usize, count: usize) -> Result<Self, StorageError> {
        let file = match fs_err::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StorageError::damaged(&path, "the manifest names it and it is gone"));
            }
            file => file?,
        };
        // SAFETY: a file that a manifest names is never written again (I2), only unlinked, and an unlinked file stays whole
        // while it is mapped. Another program that truncates it would break this; FORMAT.md lists that assumption.
        let map = unsafe { Mmap::map(file.file()) }?;
        check(&path, &map, kind, dim, count)?;
        Ok(Self { path, map: Arc::new(map) })
    }

    fn payload(&self) -> &[u8] {
        &self.map[HEADER_BYTES..self.map.len() - CHECKSUM_BYTES]
    }

    fn verify(&self) -> Result<(), StorageError> {
        let (content, stored) = self.map.split_at(self.map.len() - CHECKSUM_BYTES);
        let found = blake3::hash(content);
        if found.as_bytes() != stored {
            let expected = blake3::Hash::from_slice(stored).map_or_else(|_| String::new(), |h| h.to_string());
            return Err(StorageError::damaged(
                &self.path,
                format!("its bytes have checksum {found}, expected {expected}"),
            ));
        }
        Ok(())
    }
}

fn check(path: &Path, bytes: &[u8], kind: Kind, dim: usize, count: usize) -> Result<(), StorageError> {
    let too_short = || StorageError::damaged(path, format!("{} bytes are too few for a header", bytes.len()));
    let header: Header = bytemuck::pod_read_unaligned(bytes.get(..HEADER_BYTES).ok_or_else(too_short)?);
    if header.magic != kind.magic {
        let (found, wanted) = (header.magic.escape_ascii(), kind.magic.escape_ascii());
        return Err(StorageError::damaged(path, format!("it starts with '{found}', expected '{wanted}'")));
    }
    if header.version != VERSION {
        return Err(StorageError::Version {
            path: path.to_owned(),
            expected: VERSION,
            received: header.version,
        });
    }
    let payload = (count * dim * kind.element) as u64;
    if (header.count, header.dim as usize, header.payload) != (count as u64, dim, payload) {
        return Err(StorageError::damaged(
            path,
            format!(
                "its header says {} × {} in {} bytes, the manifest {count} × {dim} in {payload}",
                header.count, header.dim, header.payload
            ),
        ));
    }
    let expected = payload + (HEADER_BYTES + CHECKSUM_BYTES) as u64;
    if bytes.len() as u64 != expected {
        return Err(StorageError::damaged(
            path,
            format!("it has {} bytes, expected {expected}", bytes.len()),
        ));
    }
    Ok(())
}
