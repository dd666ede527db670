//! From format 1 to format 2, once, when an index of format 1 is opened.
//!
//! Format 1 held vectors as f32 in files with one checksum at their end. Their live rows are copied, as they are, into segments of
//! the new layout; the catalog gets its new keys; replacing the manifest is the upgrade. Until then the old index is untouched, so
//! an upgrade that is cut short is done again, and after it the old segments go. The text index has another schema and is made
//! again by whoever needs it first (`recovery.rs`).
//!
//! Everything that knows format 1 is in this file. It reads what FORMAT.md says of that version.

use std::path::Path;

use pictor_ann::{Dtype, IndexKind};
use pictor_core::{EncoderSpec, Generation, ImageId};
use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::commit::write_rows;
use crate::kind_choice::KindChoice;
use crate::layout::Layout;
use crate::lock::WriterLock;
use crate::manifest::{DeletedEntry, FORMAT_VERSION, Manifest, SegmentEntry};
use crate::segment::{self, Segment};
use crate::{StorageError, recovery};

/// The format that can be upgraded.
pub(crate) const FROM: u32 = 1;

/// Its manifest: field order matters, since the checksum is over the compact JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestV1 {
    format: u32,
    generation: Generation,
    next_id: u64,
    encoder: EncoderSpec,
    kind: KindChoice,
    segments: Vec<SegmentV1>,
    checksum: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentV1 {
    name: String,
    rows: u32,
    kind: IndexKind,
    deleted: Option<DeletedEntry>,
}

/// Upgrades the index, under the writer's lock.
///
/// # Errors
/// [`StorageError::Busy`] while another process upgrades or writes it, [`StorageError::Damaged`] when a file of it is; whatever keeps the
/// new files from being written, the old index being as it was.
pub(crate) fn run(layout: &Layout) -> Result<(), StorageError> {
    let root = layout.root();
    let lock = WriterLock::take(root)?;
    let old = match parse(root, &Manifest::read(root)?)? {
        Some(old) => old,
        // Somebody else was faster.
        None => return Ok(()),
    };
    let shape = (old.encoder.dim, Dtype::F32);
    let mut next_segment = old.generation.0 + 1;
    let mut segments = Vec::new();
    for entry in &old.segments {
        let rows = live_rows(&layout.segment(&entry.name), entry, old.encoder.dim)?;
        if rows.is_empty() {
            continue;
        }
        let name = format!("{next_segment:08}");
        next_segment += 1;
        let count = rows.len();
        let rows = write_rows(layout, &name, shape, count, rows.into_iter().map(Ok))?;
        let kind = segment::build_neighbors(layout.directory(), &layout.segment(&name), &old.kind, &rows)?;
        segments.push(Segment::fresh(name, kind, rows));
    }

    let catalog = Catalog::open(&layout.catalog())?;
    let images = segments.iter().map(Segment::live).sum();
    let next_id = old.next_id.max(catalog.next_id()?);
    catalog.recover(old.generation, next_id, images, |id| segment::locate(&segments, id).is_some())?;

    let entries: Vec<SegmentEntry> = segments.iter().map(|segment| segment.entry.clone()).collect();
    let mut manifest = Manifest {
        generation: old.generation,
        next_id,
        next_segment,
        segments: entries,
        ..Manifest::empty(old.encoder, old.kind, Dtype::F32)
    };
    manifest.replace(layout.directory(), root)?;
    // The old segments: what is left of them goes when the next writer opens.
    let _ = recovery::collect_garbage(layout, &manifest, None);
    drop(lock);
    Ok(())
}

/// The manifest; `None` when it is of the current format.
fn parse(root: &Path, bytes: &[u8]) -> Result<Option<ManifestV1>, StorageError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let path = Manifest::path(root);
    let not_json = |error: serde_json::Error| StorageError::damaged(&path, error.to_string());
    if serde_json::from_slice::<Format>(bytes).map_err(not_json)?.format == FORMAT_VERSION {
        return Ok(None);
    }
    let manifest: ManifestV1 = serde_json::from_slice(bytes).map_err(not_json)?;
    let unsealed = ManifestV1 { checksum: String::new(), ..manifest.clone() };
    let found = blake3::hash(&serde_json::to_vec(&unsealed).map_err(not_json)?).to_string();
    if found != manifest.checksum {
        let expected = &manifest.checksum;
        return Err(StorageError::damaged(&path, format!("its checksum is {found}, expected {expected}")));
    }
    Ok(Some(manifest))
}

/// The live rows of a segment, by ascending id.
fn live_rows(dir: &Path, entry: &SegmentV1, dim: usize) -> Result<Vec<(ImageId, Vec<f32>)>, StorageError> {
    let rows = entry.rows as usize;
    let ids = payload(&dir.join("ids.bin"), b"PICTRids", rows, 8)?;
    let vectors = payload(&dir.join("vectors.bin"), b"PICTRvec", rows, 4 * dim)?;
    let deleted = match &entry.deleted {
        None => Vec::new(),
        Some(list) => payload(&dir.join(&list.file), b"PICTRdel", list.rows as usize, 4)?,
    };
    let deleted: Vec<u32> = deleted.as_chunks().0.iter().map(|&row| u32::from_le_bytes(row)).collect();
    let ids = ids.as_chunks().0.iter().map(|&id| ImageId(u64::from_le_bytes(id)));
    let vectors = vectors
        .chunks_exact(4 * dim)
        .map(|row| row.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect());
    let all = (0..).zip(ids.zip(vectors));
    Ok(all.filter(|(row, _)| deleted.binary_search(row).is_err()).map(|(_, row)| row).collect())
}

/// The payload of a file of format 1: a head of 64 bytes (magic, version, dim, count, bytes of payload), payload, BLAKE3 of both.
fn payload(path: &Path, magic: &[u8; 8], count: usize, row_bytes: usize) -> Result<Vec<u8>, StorageError> {
    const HEAD: usize = 64;
    let mut bytes = match fs_err::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StorageError::damaged(path, "the manifest names it and it is gone"));
        }
        bytes => bytes?,
    };
    let expected = HEAD + count * row_bytes + blake3::OUT_LEN;
    if bytes.len() != expected {
        return Err(StorageError::damaged(
            path,
            format!("it has {} bytes, expected {expected}", bytes.len()),
        ));
    }
    let end = bytes.len() - blake3::OUT_LEN;
    if blake3::hash(&bytes[..end]).as_bytes() != &bytes[end..] {
        return Err(StorageError::damaged(path, "its bytes do not have the checksum they were written with"));
    }
    if !bytes.starts_with(magic) {
        let (found, wanted) = (bytes[..8].escape_ascii().to_string(), magic.escape_ascii());
        return Err(StorageError::damaged(path, format!("it starts with '{found}', expected '{wanted}'")));
    }
    bytes.truncate(end);
    bytes.drain(..HEAD);
    Ok(bytes)
}
