//! The file of an index: a sealed file (sealed.rs) whose label is the kind and whose head says what rows it was built over. The payload is
//! a graph (graph.rs), or FAISS's own serialisation; nothing when there are no rows.

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use fs_err::File;

use crate::sealed::{Head, SealedFile, SealedWriter};
use crate::{AnnError, IndexKind, Rows};

const MAGIC: &[u8; 8] = b"PICTRANN";

/// Writes to the file at `path`.
pub(crate) type Writer = SealedWriter<BufWriter<File>>;

/// Replaces the file at `path`.
pub(crate) fn create(path: &Path, kind: &IndexKind, rows: &Rows) -> Result<Writer, AnnError> {
    let head = Head { magic: *MAGIC, dim: rows.dim(), count: rows.len(), label: kind.to_string() };
    Ok(SealedWriter::create(BufWriter::with_capacity(1 << 20, File::create(path)?), &head)?)
}

/// Seals the file and waits until it is on the medium.
pub(crate) fn finish(writer: Writer) -> Result<(), AnnError> {
    let file = writer.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}

/// Maps the file at `path` and checks that it was written for `kind` over `rows`.
pub(crate) fn open(path: &Path, kind: &IndexKind, rows: &Rows) -> Result<Arc<SealedFile>, AnnError> {
    let file = SealedFile::open(path, MAGIC)?;
    let Head { dim, count, label, .. } = file.head();
    let mismatch = |what, expected: String, received: String| {
        Err(AnnError::Mismatch { path: path.into(), what, expected, received })
    };
    if *dim != rows.dim() {
        return mismatch("dimension", rows.dim().to_string(), dim.to_string());
    }
    if *count != rows.len() {
        return mismatch("row count", rows.len().to_string(), count.to_string());
    }
    if *label != kind.to_string() {
        return mismatch("kind", kind.to_string(), label.clone());
    }
    Ok(file)
}
