//! An index, out into files that other programs read: clip-retrieval's layout (`exchange/`).
//!
//! Everything is written below a folder of another name, which gets its own when all is there and on disk: whoever sees the
//! folder sees a whole export.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use half::f16;
use npyz::WriterBuilder;
use pictor_core::{Generation, ImageId, ImageRecord};
use pictor_storage::{Dtype, Snapshot};
use serde::Serialize;

use crate::IndexError;
use crate::exchange::{ColumnKind, MetadataWriter, attribute_columns};

/// Records between two calls of `progress`.
const BLOCK: u64 = 1024;

/// How to export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Rows of one pair of files, at least 1.
    pub rows_per_file: usize,
    /// How the components of vectors are written. clip-retrieval's files are f16.
    pub dtype: Dtype,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { rows_per_file: 1_000_000, dtype: Dtype::F16 }
    }
}

/// What [`export`] wrote. As JSON, it is what `pictor export --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The folder.
    pub out: PathBuf,
    /// Images.
    pub images: u64,
    /// Pairs of files.
    pub parts: u64,
    /// Components of a vector.
    pub dim: usize,
    /// How its components are written.
    pub dtype: Dtype,
    /// Columns made of attributes.
    pub attributes: usize,
    /// The commit that was exported.
    pub generation: Generation,
    /// Bytes written.
    pub bytes: u64,
    /// Wall time.
    pub seconds: f64,
}

/// Writes all images of `snapshot`, by ascending id, to the new folder `out`. `progress` is told now and then how many are done.
///
/// # Errors
/// [`IndexError::Exists`] when `out` is there and not empty; [`IndexError::Export`] when it cannot be written, and then nothing
/// of that name is there; [`IndexError::Storage`] when the index cannot be read.
pub fn export(
    snapshot: &Snapshot,
    out: &Path,
    options: &ExportOptions,
    progress: &dyn Fn(u64),
) -> Result<ExportReport, IndexError> {
    let started = Instant::now();
    if options.rows_per_file == 0 {
        return Err(IndexError::Option { name: "rows_per_file", received: 0 });
    }
    let failed = |source: std::io::Error| failed(out, source);
    let vacant = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !vacant {
        return Err(IndexError::Exists { path: out.to_owned() });
    }
    let staging = staging(out)?;
    if staging.exists() {
        // Of an export that was cut short.
        fs_err::remove_dir_all(&staging).map_err(failed)?;
    }
    let written = write_all(snapshot, &staging, options, progress);
    let (parts, attributes, bytes) = written.inspect_err(|_| {
        // The error is the news; what cannot be deleted either goes with the next export.
        let _ = fs_err::remove_dir_all(&staging);
    })?;
    fs_err::rename(&staging, out).map_err(failed)?;
    if let Some(parent) = staging.parent() {
        fs_err::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(ExportReport {
        out: out.to_owned(),
        images: snapshot.len() as u64,
        parts,
        dim: snapshot.spec().dim,
        dtype: options.dtype,
        attributes,
        generation: snapshot.generation(),
        bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn failed(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IndexError {
    IndexError::Export { path: path.to_owned(), source: source.into() }
}

/// Where the files are until all of them are there: beside `out`, so that renaming works.
fn staging(out: &Path) -> Result<PathBuf, IndexError> {
    let out = std::path::absolute(out).map_err(|error| failed(out, error))?;
    let Some(name) = out.file_name() else { return Err(IndexError::Exists { path: out }) };
    let mut name = name.to_owned();
    name.push(".partial");
    Ok(out.with_file_name(name))
}

/// Parts, attribute columns and bytes written.
fn write_all(
    snapshot: &Snapshot,
    staging: &Path,
    options: &ExportOptions,
    progress: &dyn Fn(u64),
) -> Result<(u64, usize, u64), IndexError> {
    // Every part has the same columns, so all records are looked at before the first is written.
    let mut columns = BTreeMap::new();
    for entry in snapshot.records() {
        attribute_columns(&mut columns, &entry?.1);
    }
    for folder in ["img_emb", "metadata"] {
        fs_err::create_dir_all(staging.join(folder)).map_err(|error| failed(staging, error))?;
    }
    let total = snapshot.len();
    let (mut parts, mut done, mut bytes) = (0, 0, 0);
    let mut records = snapshot.records();
    while done < total {
        let rows = options.rows_per_file.min(total - done);
        let mut part = PartWriter::create(snapshot, staging, parts, rows, options.dtype, &columns)?;
        for _ in 0..rows {
            let (id, record) = records.next().ok_or_else(|| fewer_records(snapshot, done))??;
            part.push(snapshot, id, record)?;
            done += 1;
            if (done as u64).is_multiple_of(BLOCK) {
                progress(done as u64);
            }
        }
        bytes += part.finish()?;
        parts += 1;
    }
    progress(done as u64);
    Ok((parts, columns.len(), bytes))
}

/// No healthy index gets here; `pictor verify` names what is missing.
fn fewer_records(snapshot: &Snapshot, found: usize) -> IndexError {
    let reason =
        format!("the index shows {} images and has records of {found}; see `pictor verify`", snapshot.len());
    IndexError::Export { path: PathBuf::new(), source: reason.into() }
}

/// One pair of files being written.
struct PartWriter {
    vectors: Vectors,
    metadata: MetadataWriter<BufWriter<File>>,
    paths: [PathBuf; 2],
}

type Npy<T> = npyz::NpyWriter<T, BufWriter<File>>;

enum Vectors {
    F16(Npy<f16>),
    F32(Npy<f32>),
}

impl PartWriter {
    fn create(
        snapshot: &Snapshot,
        staging: &Path,
        number: u64,
        rows: usize,
        dtype: Dtype,
        columns: &BTreeMap<String, ColumnKind>,
    ) -> Result<Self, IndexError> {
        let paths = [
            staging.join(format!("img_emb/img_emb_{number}.npy")),
            staging.join(format!("metadata/metadata_{number}.parquet")),
        ];
        let create = |path: &Path| match File::create_new(path) {
            Ok(file) => Ok(BufWriter::with_capacity(1 << 20, file)),
            Err(error) => Err(failed(path, error)),
        };
        let shape = [rows as u64, snapshot.spec().dim as u64];
        let vectors = create(&paths[0])?;
        let vectors = match dtype {
            Dtype::F16 => npy(shape, vectors).map(Vectors::F16),
            Dtype::F32 => npy(shape, vectors).map(Vectors::F32),
        };
        let vectors = vectors.map_err(|error| failed(&paths[0], error))?;
        let metadata = MetadataWriter::new(create(&paths[1])?, snapshot.spec(), columns)
            .map_err(|error| failed(&paths[1], error))?;
        Ok(Self { vectors, metadata, paths })
    }

    fn push(&mut self, snapshot: &Snapshot, id: ImageId, record: ImageRecord) -> Result<(), IndexError> {
        let vector = snapshot.vector(id)?.expect("a snapshot's records are of its images; this is a bug");
        let written = match &mut self.vectors {
            Vectors::F16(file) => file.extend(vector.into_iter().map(f16::from_f32)),
            Vectors::F32(file) => file.extend(vector),
        };
        written.map_err(|error| failed(&self.paths[0], error))?;
        self.metadata.push(id, record).map_err(|error| failed(&self.paths[1], error))
    }

    /// Makes both files durable; their bytes.
    fn finish(self) -> Result<u64, IndexError> {
        let [vectors, metadata] = &self.paths;
        let done = match self.vectors {
            Vectors::F16(file) => file.finish(),
            Vectors::F32(file) => file.finish(),
        };
        done.map_err(|error| failed(vectors, error))?;
        let file = self.metadata.finish().map_err(|error| failed(metadata, error))?;
        drop(file);
        let mut bytes = 0;
        for path in &self.paths {
            let file = File::open(path).map_err(|error| failed(path, error))?;
            file.sync_all().map_err(|error| failed(path, error))?;
            bytes += file.metadata().map_err(|error| failed(path, error))?.len();
        }
        Ok(bytes)
    }
}

fn npy<T: npyz::AutoSerialize>(shape: [u64; 2], file: BufWriter<File>) -> std::io::Result<Npy<T>> {
    npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()
}
