//! The whole of an index in a screenful, for people (`Display`) and for programs (serde).

use std::fmt;
use std::io;
use std::path::Path;

use pictor_ann::{Dtype, IndexKind};
use pictor_core::{EncoderSpec, Generation};
use serde::Serialize;

use crate::kind_choice::KindChoice;
use crate::manifest::FORMAT_VERSION;
use crate::{Snapshot, StorageError};

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
    /// How the vectors' components are written.
    pub dtype: Dtype,
    /// Images that can be found.
    pub images: usize,
    /// Files in the error ledger.
    pub skipped: usize,
    /// Oldest first.
    pub segments: Vec<SegmentDescription>,
    /// Bytes on disk.
    pub bytes: StoreBytes,
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
    pub bytes: u64,
}

/// Bytes on disk by store.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoreBytes {
    /// Vectors, ids and nearest-neighbour indexes.
    pub segments: u64,
    /// RocksDB.
    pub catalog: u64,
    /// tantivy.
    pub text: u64,
    /// The sum.
    pub total: u64,
}

impl Snapshot {
    /// Describes the index as of this snapshot; sizes are those on disk now.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] and [`StorageError::Io`] when the ledger or a directory cannot be read.
    pub fn describe(&self) -> Result<Description, StorageError> {
        let (layout, manifest) = (self.layout(), self.manifest());
        let mut segments = vec![];
        for entry in &manifest.segments {
            segments.push(SegmentDescription {
                name: entry.name.clone(),
                rows: entry.rows as usize,
                deleted: entry.deleted.as_ref().map_or(0, |list| list.rows as usize),
                kind: entry.kind.clone(),
                bytes: size_of_tree(&layout.segment(&entry.name))?,
            });
        }
        let in_segments = segments.iter().map(|segment| segment.bytes).sum();
        let (catalog, text) = (size_of_tree(&layout.catalog())?, size_of_tree(&layout.text())?);
        Ok(Description {
            format: FORMAT_VERSION,
            generation: manifest.generation,
            spec: manifest.encoder.clone(),
            kind: manifest.kind.clone(),
            dtype: manifest.dtype,
            images: self.len(),
            skipped: self.skipped()?.len(),
            segments,
            bytes: StoreBytes { segments: in_segments, catalog, text, total: in_segments + catalog + text },
        })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, generation, spec, kind, dtype, images, skipped, segments, bytes } = self;
        writeln!(f, "index of {images} images, generation {generation}, format {format}")?;
        writeln!(f, "encoder    {spec}")?;
        writeln!(f, "kind       {kind}")?;
        writeln!(f, "vectors    {dtype}")?;
        writeln!(f, "skipped    {skipped}")?;
        writeln!(
            f,
            "on disk    {} bytes: segments {}, catalog {}, text {}",
            bytes.total, bytes.segments, bytes.catalog, bytes.text
        )?;
        for SegmentDescription { name, rows, deleted, kind, bytes } in segments {
            writeln!(f, "segment    {name}: {rows} rows, {deleted} deleted, {kind}, {bytes} bytes")?;
        }
        Ok(())
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
