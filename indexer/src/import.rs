//! Vectors that another program made, into an index.
//!
//! The files are checked against each other before the first row is written ([`ImportSource::open`]): a row too few in one of
//! them would give every later image the description of another. Rows are then read a block at a time and written in the order
//! they come, with a commit every so many, so an import of any size takes the memory of one commit.
//!
//! What must stay true: running the same import again changes nothing and goes on where the last one ended, because a row whose
//! uri has the same vector and the same description in the index is passed over. The first row of a uri counts; later ones
//! of the same uri are counted as duplicates and left out, or a second run would undo the first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use half::f16;
use pictor_core::{EmbeddingBatch, EmbeddingError, EncoderSpec, Generation, ImageId, ImageRecord};
use pictor_storage::{Skipped, Snapshot, Store, Writer};
use serde::Serialize;

use crate::IndexError;
use crate::exchange::{Described, Metadata, Part, VectorFile, find_parts, model_mark};
use crate::source::modified_ns;

/// Rows read at a time.
const BLOCK: usize = 1024;
/// Skipped rows that a report lists; the ledger has all.
const LISTED: usize = 20;

/// Files to import, checked.
#[derive(Debug)]
pub struct ImportSource {
    parts: Vec<Part>,
    rows: u64,
    ignored: BTreeMap<String, String>,
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Changes between two commits, at least 1: what an interruption can cost, and what is held in memory.
    pub commit_every: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { commit_every: 50_000 }
    }
}

/// What [`import`] did. As JSON, it is what `pictor import --json` prints.
///
/// Unless the job was cancelled, `rows = imported + replaced + updated + unchanged + duplicates + skipped`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImportReport {
    /// Rows in the source.
    pub rows: u64,
    /// Images that are new in the index.
    pub imported: u64,
    /// Images that the index had with another vector.
    pub replaced: u64,
    /// Images that the index had with the same vector and another description.
    pub updated: u64,
    /// Images that the index had just so.
    pub unchanged: u64,
    /// Rows whose uri an earlier row of the source has.
    pub duplicates: u64,
    /// Rows without a direction (zero, or not finite), which are in the ledger.
    pub skipped: u64,
    /// The first of them.
    pub first_skipped: Vec<Skipped>,
    /// Rows that were not of unit length and have been divided by it.
    pub normalised: u64,
    /// Columns that were left out, with the reason.
    pub ignored_columns: BTreeMap<String, String>,
    /// The index as this job left it.
    pub generation: Generation,
    /// Wall time.
    pub seconds: f64,
    /// Whether the caller stopped it. What was read by then is committed.
    pub cancelled: bool,
}

impl ImportSource {
    /// Finds the files in `source` (a folder in clip-retrieval's layout, or one `.npy` file) and checks that the rows of each
    /// pair are as many and that every vector has as many components as `spec` says. Without `with_metadata` the
    /// metadata files are not looked for, and a row is named after its file and number.
    ///
    /// # Errors
    /// [`IndexError::Source`], [`IndexError::Parts`], [`IndexError::VectorFile`], [`IndexError::Metadata`],
    /// [`IndexError::Misaligned`], [`IndexError::VectorDimension`], [`IndexError::VectorModel`].
    pub fn open(source: &Path, with_metadata: bool, spec: &EncoderSpec) -> Result<Self, IndexError> {
        let parts = find_parts(source, with_metadata)?;
        let (mut rows, mut ignored) = (0, BTreeMap::new());
        for part in &parts {
            let (vectors, metadata) = open(part, spec)?;
            rows += vectors.rows();
            ignored.extend(metadata.into_iter().flat_map(|metadata| metadata.ignored().clone()));
        }
        Ok(Self { parts, rows, ignored })
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Opens the files of a part and holds them against each other and the model.
fn open(part: &Part, spec: &EncoderSpec) -> Result<(VectorFile, Option<Metadata>), IndexError> {
    let vectors = VectorFile::open(&part.vectors)?;
    if vectors.dim() != spec.dim {
        return Err(IndexError::VectorDimension {
            path: part.vectors.clone(),
            model: spec.name.clone(),
            expected: spec.dim,
            received: vectors.dim(),
        });
    }
    let Some(path) = &part.metadata else { return Ok((vectors, None)) };
    let metadata = Metadata::open(path)?;
    if vectors.rows() != metadata.rows() {
        return Err(IndexError::Misaligned {
            vectors: part.vectors.clone(),
            vector_rows: vectors.rows(),
            metadata: path.clone(),
            metadata_rows: metadata.rows(),
        });
    }
    match metadata.model() {
        Some(model) if model != model_mark(spec) => Err(IndexError::VectorModel {
            path: path.clone(),
            expected: model_mark(spec),
            received: model.to_owned(),
        }),
        _ => Ok((vectors, Some(metadata))),
    }
}

/// Brings `store` up to date with the rows of `source`, and commits. `progress` is told now and then how many rows are done.
///
/// A row that is not of unit length is divided by it; one without a direction is skipped and kept in the index's ledger. Where
/// the uri of a row is the absolute path of a file that is there, its record gets the file's length and time of change, so that
/// `pictor index` passes over it later. Once `cancel` is true, what was read is committed and the report says `cancelled`.
///
/// # Errors
/// As [`ImportSource::open`], for files that changed since; [`IndexError::Storage`]. Commits made before the error stay.
pub fn import(
    source: &ImportSource,
    store: &Store,
    options: &ImportOptions,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<ImportReport, IndexError> {
    if options.commit_every == 0 {
        return Err(IndexError::Option { name: "commit_every", received: 0 });
    }
    let started = Instant::now();
    let mut writer = store.writer()?;
    let before = store.snapshot()?;
    let report = ImportReport {
        rows: source.rows,
        ignored_columns: source.ignored.clone(),
        ..ImportReport::default()
    };
    let mut job =
        Import { writer: &mut writer, before, seen: IdSet::default(), options, uncommitted: 0, report };
    for part in &source.parts {
        if !job.part(part, progress, cancel)? {
            job.report.cancelled = true;
            break;
        }
    }
    job.commit()?;
    let mut report = job.report;
    // Whoever stops a job wants it to end; the merges are then left to the next one.
    if !report.cancelled {
        report.generation = writer.finish()?;
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// An import under way.
struct Import<'a> {
    writer: &'a mut Writer,
    /// The index before it.
    before: Arc<Snapshot>,
    /// Images that an earlier row stands for.
    seen: IdSet,
    options: &'a ImportOptions,
    uncommitted: usize,
    report: ImportReport,
}

impl Import<'_> {
    /// Imports one pair of files; false when the caller wanted no more.
    fn part(&mut self, part: &Part, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<bool, IndexError> {
        let (mut vectors, mut metadata) = open(part, self.before.spec())?;
        let failed = |source| IndexError::Source { path: part.vectors.clone(), source };
        let file = fs::canonicalize(&part.vectors).map_err(failed)?;
        let (mut block, mut row) = (vec![], 0u64);
        loop {
            let rows = vectors.read(BLOCK, &mut block)?;
            if rows == 0 {
                return Ok(true);
            }
            if cancel.load(Relaxed) {
                return Ok(false);
            }
            for vector in block.chunks_exact(vectors.dim()) {
                let described = metadata.as_mut().map_or(Ok(Described::default()), Metadata::next_row)?;
                self.row(&file, row, vector, described)?;
                row += 1;
            }
            let r = &self.report;
            progress(r.imported + r.replaced + r.updated + r.unchanged + r.duplicates + r.skipped);
        }
    }

    fn row(&mut self, file: &Path, row: u64, vector: &[f32], described: Described) -> Result<(), IndexError> {
        let mut record = record(described, || format!("{}#{row}", file.display()));
        let vector = match unit(vector) {
            Ok((vector, normalised)) => {
                self.report.normalised += u64::from(normalised);
                vector
            }
            Err(what) => {
                let reason = format!("its vector, row {row} of {}, {what}", file.display());
                return self.skip(Skipped { uri: record.uri, reason, bytes: 0, modified_ns: None });
            }
        };
        let vector = vector.as_slice();
        let Some((id, known)) = self.writer.find(&record.uri)? else {
            let id = self.put(record, vector)?;
            self.seen.insert(id);
            self.report.imported += 1;
            return Ok(());
        };
        if !self.seen.insert(id) {
            self.report.duplicates += 1;
            return Ok(());
        }
        if !self.before.vector(id)?.is_some_and(|stored| is_stored_as(vector, &stored)) {
            let id = self.put(record, vector)?;
            self.seen.insert(id);
            self.report.replaced += 1;
            return Ok(());
        }
        self.writer.clear_skipped(&record.uri)?;
        keep_what_is_known(&mut record, &known);
        if record == known {
            self.report.unchanged += 1;
            return Ok(());
        }
        self.writer.update_record(id, record)?;
        self.report.updated += 1;
        self.changed()
    }

    fn put(&mut self, record: ImageRecord, vector: &[f32]) -> Result<ImageId, IndexError> {
        let id = self.writer.put(record, vector)?;
        self.changed()?;
        Ok(id)
    }

    fn skip(&mut self, skipped: Skipped) -> Result<(), IndexError> {
        self.report.skipped += 1;
        if self.report.first_skipped.len() < LISTED {
            self.report.first_skipped.push(skipped.clone());
        }
        // A row that is as bad as last time is no change.
        if self.writer.find_skipped(&skipped.uri)?.as_ref() == Some(&skipped) {
            return Ok(());
        }
        self.writer.skip(skipped);
        self.changed()
    }

    fn changed(&mut self) -> Result<(), IndexError> {
        self.uncommitted += 1;
        if self.uncommitted >= self.options.commit_every { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        self.report.generation = self.writer.commit()?;
        self.uncommitted = 0;
        Ok(())
    }
}

/// `vector` with length 1, and whether it had another; or what is wrong with it.
fn unit(vector: &[f32]) -> Result<(EmbeddingBatch, bool), &'static str> {
    let explain = |error| match error {
        EmbeddingError::NotFinite { .. } => "holds a number that is not finite",
        _ => "is zero, which points nowhere",
    };
    match EmbeddingBatch::new(vector.len(), vector.to_vec()) {
        Ok(vector) => Ok((vector, false)),
        Err(EmbeddingError::NotUnit { .. }) => {
            let vector = EmbeddingBatch::normalise(vector.len(), vector.to_vec()).map_err(explain)?;
            Ok((vector, true))
        }
        Err(error) => Err(explain(error)),
    }
}

pub(crate) fn record(described: Described, name: impl FnOnce() -> String) -> ImageRecord {
    let Described { uri, captions, size, attributes, content_hash, file } = described;
    let uri = uri.unwrap_or_else(name);
    let (uri, (bytes, modified_ns)) = match file {
        Some(file) => (uri, file),
        None => look_at_file(uri),
    };
    ImageRecord { uri, content_hash, bytes, modified_ns, size, captions, attributes }
}

/// The uri as `pictor index` would write it and what it would note of the file, when there is such a file here.
fn look_at_file(uri: String) -> (String, (u64, Option<i128>)) {
    let nowhere = (0, None);
    let path = Path::new(&uri);
    if !path.is_absolute() {
        return (uri, nowhere);
    }
    let found: Option<(PathBuf, fs::Metadata)> =
        fs::canonicalize(path).ok().and_then(|path| fs::metadata(&path).ok().map(|found| (path, found)));
    match found {
        Some((path, found)) if found.is_file() => match path.into_os_string().into_string() {
            Ok(uri) => (uri, (found.len(), modified_ns(&found))),
            Err(_) => (uri, nowhere),
        },
        _ => (uri, nowhere),
    }
}

/// What the index knows of the same file from having read it stays.
fn keep_what_is_known(record: &mut ImageRecord, known: &ImageRecord) {
    let same_file = (record.bytes, record.modified_ns) == (known.bytes, known.modified_ns);
    if same_file && record.content_hash.is_none() {
        record.content_hash = known.content_hash;
        record.size = record.size.or(known.size);
    }
}

/// Whether an index that was given `vector` holds `stored`: the same numbers, or their halves.
fn is_stored_as(vector: &[f32], stored: &[f32]) -> bool {
    vector.len() == stored.len()
        && vector.iter().zip(stored).all(|(&new, &old)| new == old || f16::from_f32(new).to_f32() == old)
}

/// A set of ids, one bit each: ids are given without gaps.
#[derive(Default)]
struct IdSet(Vec<u64>);

impl IdSet {
    /// Adds `id`; false when it was in the set.
    fn insert(&mut self, id: ImageId) -> bool {
        let (word, bit) = ((id.0 / 64) as usize, 1 << (id.0 % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}
