//! The whole of an index in a screenful: what it holds, how large it is on disk, how much of it is in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use pictor_ann::{AutoChoice, Dtype, IndexKind};
use pictor_core::{EncoderSpec, Generation};
use serde::Serialize;

use crate::kind_choice::KindChoice;
use crate::manifest::{FORMAT_VERSION, Manifest, SegmentEntry};
use crate::memory::{self, Memory};
use crate::{Snapshot, StorageError, segment};

/// What an index is, as of one generation.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Version of the on-disk layout.
    pub format: u32,
    /// The commit described.
    pub generation: Generation,
    /// What makes the vectors.
    pub spec: EncoderSpec,
    /// How segments are indexed.
    pub kind: KindChoice,
    /// What `auto` makes of the largest segment, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto: Option<String>,
    /// How the components of vectors are written.
    pub dtype: Dtype,
    /// Images that can be found.
    pub images: usize,
    /// Records in the catalog: those of the images, and those of images that died with the last commit.
    pub records: usize,
    /// Files in the error ledger.
    pub skipped: usize,
    /// Oldest first.
    pub segments: Vec<SegmentDescription>,
    /// Bytes on disk.
    pub bytes: StoreBytes,
    /// Memory of this process once the vectors were opened; `None` where the system does not say.
    pub memory: Option<Memory>,
}

/// One segment.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentDescription {
    /// Its directory's name.
    pub name: String,
    /// Rows, deleted ones included.
    pub rows: usize,
    /// Deleted rows.
    pub deleted: usize,
    /// The nearest-neighbour index built over it.
    pub kind: IndexKind,
    /// Bytes of its files.
    pub bytes: SegmentBytes,
    /// Bytes of its mapped files that are in this process's memory; `None` where the system does not say.
    pub resident: Option<u64>,
}

/// Bytes of a segment's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SegmentBytes {
    /// `vectors.bin`.
    pub vectors: u64,
    /// `ids.bin`.
    pub ids: u64,
    /// The nearest-neighbour index.
    pub neighbors: u64,
    /// The list of deleted rows.
    pub deleted: u64,
    /// The sum.
    pub total: u64,
}

/// Bytes on disk by store.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoreBytes {
    /// Vectors, ids, lists of deleted rows and nearest-neighbour indexes.
    pub segments: u64,
    /// RocksDB.
    pub catalog: u64,
    /// tantivy.
    pub text: u64,
    /// The sum.
    pub total: u64,
}

impl Snapshot {
    /// What `auto` makes of the largest segment, and why; `None` for an index of a kind that was named, or of no images.
    pub fn auto_choice(&self) -> Option<AutoChoice> {
        let Manifest { kind, segments, .. } = self.manifest();
        if let KindChoice::Fixed(_) = kind {
            return None;
        }
        let (dim, dtype) = self.manifest().shape();
        let rows = segments.iter().map(|entry| entry.rows).max()?;
        Some(kind.resolve(rows as usize, dim, dtype))
    }

    /// Describes the index as of this snapshot; sizes are those on disk now.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] and [`StorageError::Io`] when the catalog or a directory cannot be read.
    pub fn describe(&self) -> Result<Description, StorageError> {
        let (layout, manifest) = (self.layout(), self.manifest());
        // First, while nothing but the vectors is open.
        let memory = memory::of_process()?;
        let resident = memory::resident_below(&layout.segments())?;
        let mut segments = vec![];
        for entry in &manifest.segments {
            let dir = layout.segment(&entry.name);
            segments.push(SegmentDescription {
                name: entry.name.clone(),
                rows: entry.rows as usize,
                deleted: entry.deleted.as_ref().map_or(0, |list| list.rows as usize),
                kind: entry.kind.clone(),
                bytes: segment_bytes(&dir, entry)?,
                resident: resident.as_ref().map(|by_file| resident_of(by_file, &entry.name)),
            });
        }
        let in_segments = segments.iter().map(|segment| segment.bytes.total).sum();
        let (catalog, text) = (size_of_tree(&layout.catalog())?, size_of_tree(&layout.text())?);
        Ok(Description {
            format: FORMAT_VERSION,
            generation: manifest.generation,
            spec: manifest.encoder.clone(),
            kind: manifest.kind.clone(),
            auto: self.auto_choice().map(|choice| choice.to_string()),
            dtype: manifest.dtype,
            images: self.len(),
            records: self.count_records()?,
            skipped: self.skipped()?.len(),
            segments,
            bytes: StoreBytes { segments: in_segments, catalog, text, total: in_segments + catalog + text },
            memory,
        })
    }
}

fn segment_bytes(dir: &Path, entry: &SegmentEntry) -> io::Result<SegmentBytes> {
    let size = |name: &str| size_of_file(&dir.join(name));
    let (vectors, ids, neighbors) =
        (size(segment::VECTORS.0)?, size(segment::IDS.0)?, size(segment::NEIGHBORS)?);
    let deleted = entry.deleted.as_ref().map_or(Ok(0), |list| size(&list.file))?;
    let total = vectors + ids + neighbors + deleted;
    Ok(SegmentBytes { vectors, ids, neighbors, deleted, total })
}

fn resident_of(by_file: &BTreeMap<String, u64>, segment: &str) -> u64 {
    let of_segment = |file: &str| file.split('/').next() == Some(segment);
    by_file.iter().filter(|(file, _)| of_segment(file)).map(|(_, bytes)| bytes).sum()
}

/// Bytes of a file; one that is not there, or was deleted meanwhile, counts nothing.
fn size_of_file(path: &Path) -> io::Result<u64> {
    match fs_err::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata?.len()),
    }
}

/// Bytes of all files below `dir`. A file deleted meanwhile counts nothing.
fn size_of_tree(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    let gone_is_nothing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(0),
        _ => Err(error),
    };
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return gone_is_nothing(error),
    };
    for entry in entries {
        let entry = entry?;
        total += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_tree(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(error) => gone_is_nothing(error)?,
        };
    }
    Ok(total)
}
