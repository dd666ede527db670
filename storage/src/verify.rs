//! What is wrong with an index: every byte of it read, every store held against the others, and all that is found said at once.
//!
//! Opening an index checks what an answer needs and stops at the first thing that is wrong. This looks at everything: the
//! checksums of the manifest, of every file of a segment, of RocksDB's blocks and of tantivy's files; that vectors are finite and of
//! length 1; that no image is in two segments; that records, uri map and text index are of exactly the images that the manifest
//! shows; and that no file is left over. Like findings of one store are one finding with a count, so that a report of a million
//! lost records is a line.
//!
//! The writer's lock is held meanwhile: stores that a commit is just changing do not agree, and that is no damage.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use pictor_core::{EmbeddingBatch, Generation, ImageId};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::layout::Layout;
use crate::lock::WriterLock;
use crate::manifest::{Manifest, SegmentEntry};
use crate::segment::{self, Segment};
use crate::text::TextIndex;
use crate::{StorageError, Store};

/// Vectors that are looked at between two calls of `progress`.
const PIECE: usize = 1024;

/// One thing that is wrong with an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part of the index.
    pub part: Part,
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it, in words for people.
    pub problem: String,
    /// What helps.
    pub remedy: Remedy,
}

/// A part of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// `manifest.json`.
    Manifest,
    /// Vectors, ids and lists of deleted rows.
    Segments,
    /// The nearest-neighbour indexes.
    Neighbors,
    /// RocksDB.
    Catalog,
    /// tantivy.
    Text,
}

/// What helps against a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// [`repair`](crate::repair()): it can be made again from vectors and catalog, or thrown away.
    Repair,
    /// A copy of the index, or indexing again: nothing else holds what was lost.
    Restore,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The commit that was verified; `None` when the manifest cannot be read.
    pub generation: Option<Generation>,
    /// Images that the manifest shows, of the segments that can be read.
    pub images: usize,
    /// Vectors read, deleted ones included.
    pub vectors: usize,
    /// What is wrong; empty for a sound index.
    pub findings: Vec<Finding>,
}

/// Reads and checks all of the index in `dir`. `progress` is told now and then how many of how many vectors and records are done.
///
/// # Errors
/// [`StorageError::Missing`], [`StorageError::NotAnIndex`], [`StorageError::Version`], [`StorageError::Busy`] when a writer is at
/// work, and [`StorageError::Io`] when the file system fails. Damage is no error but a finding.
pub fn verify(dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Verification, StorageError> {
    let _lock = lock(dir)?;
    let examined = Examined::all(&Layout::new(dir), progress)?;
    Ok(Verification {
        generation: examined.manifest.as_ref().map(|manifest| manifest.generation),
        images: examined.segments.iter().flatten().map(Segment::live).sum(),
        vectors: examined.vectors,
        findings: examined.findings,
    })
}

/// The writer's lock of an index, whose manifest may be damaged. One of an older format is brought to the current one first,
/// as whenever it is opened.
///
/// # Errors
/// As [`verify`].
pub(crate) fn lock(dir: &Path) -> Result<WriterLock, StorageError> {
    // Before the lock, which would make a file in a folder that is no index.
    match Store::open(dir) {
        Ok(_) | Err(StorageError::Damaged { .. }) => WriterLock::take(dir),
        Err(error) => Err(error),
    }
}

/// An index that was looked at whole.
pub(crate) struct Examined {
    /// `None` when it cannot be read, and then nothing else was looked at.
    pub(crate) manifest: Option<Manifest>,
    /// In the manifest's order; `None` where it is not known which images a segment holds.
    pub(crate) segments: Vec<Option<Segment>>,
    /// Vectors read.
    vectors: usize,
    pub(crate) findings: Vec<Finding>,
}

impl Examined {
    /// Looks at everything below `layout`, whose lock the caller holds.
    ///
    /// # Errors
    /// As [`verify`].
    pub(crate) fn all(layout: &Layout, progress: &dyn Fn(u64, u64)) -> Result<Self, StorageError> {
        let mut this = Self { manifest: None, segments: vec![], vectors: 0, findings: vec![] };
        let manifest = match Manifest::parse(layout.root(), &Manifest::read(layout.root())?) {
            Ok(manifest) => manifest,
            Err(error @ StorageError::Damaged { .. }) => {
                let path = Manifest::path(layout.root());
                this.find(Part::Manifest, &path, problem(&error), Remedy::Restore);
                return Ok(this);
            }
            Err(error) => return Err(error),
        };
        let layout = &layout.at(&manifest.home);
        let rows: u64 = manifest.segments.iter().map(|entry| u64::from(entry.rows)).sum();
        let mut done = 0;
        // Each row counts twice: as a vector and as a record.
        let mut advance = |rows: u64| {
            done += rows;
            progress(done, 2 * manifest.segments.iter().map(|entry| u64::from(entry.rows)).sum::<u64>());
        };
        for entry in &manifest.segments {
            this.segment(layout, &manifest, entry, &mut advance);
        }
        this.ids(layout, &manifest);
        this.catalog(layout, &manifest, &mut advance);
        this.text(layout, &manifest);
        this.leftovers(layout, &manifest)?;
        progress(2 * rows, 2 * rows);
        this.manifest = Some(manifest);
        Ok(this)
    }

    /// All segments, when it is known of each which images it holds.
    pub(crate) fn known_segments(&self) -> Option<Vec<Segment>> {
        self.segments.iter().cloned().collect()
    }

    /// Whether something of `part` was found that only a copy helps against.
    pub(crate) fn is_lost(&self, part: Part) -> bool {
        self.findings.iter().any(|finding| finding.part == part && finding.remedy == Remedy::Restore)
    }

    fn find(&mut self, part: Part, path: &Path, problem: String, remedy: Remedy) {
        self.findings.push(Finding { part, path: path.to_owned(), problem, remedy });
    }

    fn segment(
        &mut self,
        layout: &Layout,
        manifest: &Manifest,
        entry: &SegmentEntry,
        advance: &mut dyn FnMut(u64),
    ) {
        let dir = layout.segment(&entry.name);
        let damage = segment::find_damage(&dir, entry, manifest.shape());
        for error in &damage {
            self.find(Part::Segments, path_of(error).unwrap_or(&dir), problem(error), Remedy::Restore);
        }
        // It opens although its vectors are damaged; what it holds is known then.
        let segment = Segment::open(&dir, entry, manifest.shape(), None).ok();
        if let Some(segment) = &segment
            && damage.is_empty()
        {
            self.vectors(&dir, segment, advance);
            if let Err(error) = segment::verify_neighbors(&dir, segment) {
                self.find(Part::Neighbors, &dir.join(segment::NEIGHBORS), problem(&error), Remedy::Repair);
            }
        } else {
            advance(entry.rows.into());
        }
        self.segments.push(segment);
    }

    fn vectors(&mut self, dir: &Path, segment: &Segment, advance: &mut dyn FnMut(u64)) {
        let (rows, dim) = (segment.rows.matrix(), segment.rows.matrix().dim());
        let mut wrong = Tally::default();
        for start in (0..rows.len()).step_by(PIECE) {
            let end = rows.len().min(start + PIECE);
            match rows.range(start, end) {
                Err(error) => wrong.add(|| format!("row {start}: {error}")),
                Ok(piece) => {
                    for (row, vector) in piece.chunks_exact(dim).enumerate() {
                        if let Err(error) = EmbeddingBatch::new(dim, vector.to_vec()) {
                            wrong.add(|| format!("row {}: {error}", start + row));
                        }
                    }
                }
            }
            self.vectors += end - start;
            advance((end - start) as u64);
        }
        if let Some(problem) = wrong.describe("vectors are not finite and of length 1") {
            self.find(Part::Segments, dir, problem, Remedy::Restore);
        }
    }

    /// No image in two segments, no id that is still to be given.
    fn ids(&mut self, layout: &Layout, manifest: &Manifest) {
        let mut findings = vec![];
        for (i, segment) in self.segments.iter().enumerate() {
            let Some(segment) = segment else { continue };
            let (mut twice, mut early) = (Tally::default(), Tally::default());
            for &id in segment.rows.ids() {
                let has = |other: &Segment| other.rows.ids().binary_search(&id).is_ok();
                if let Some(other) = self.segments[..i].iter().flatten().find(|other| has(other)) {
                    twice.add(|| format!("image {id}, which segment {} holds", other.entry.name));
                }
                if id >= manifest.next_id {
                    early.add(|| format!("image {id}, and the next one gets {}", manifest.next_id));
                }
            }
            let dir = layout.segment(&segment.entry.name);
            findings.extend(twice.describe("images are in another segment too").map(|p| (dir.clone(), p)));
            findings.extend(early.describe("images have an id that was not given yet").map(|p| (dir, p)));
        }
        for (dir, problem) in findings {
            self.find(Part::Segments, &dir, problem, Remedy::Restore);
        }
    }

    fn catalog(&mut self, layout: &Layout, manifest: &Manifest, advance: &mut dyn FnMut(u64)) {
        let path = layout.catalog();
        match Catalog::open_read_only(&path) {
            Err(error) => self.find(Part::Catalog, &path, problem(&error), Remedy::Restore),
            Ok(catalog) => {
                if let Err(error) = self.catalog_tags(&path, &catalog, manifest) {
                    self.find(Part::Catalog, &path, problem(&error), Remedy::Restore);
                }
                if let Err(error) = self.records(&path, &catalog, advance) {
                    self.find(Part::Catalog, &path, problem(&error), Remedy::Restore);
                }
                let mut unread = Tally::default();
                catalog.skipped().filter_map(Result::err).for_each(|error| unread.add(|| problem(&error)));
                if let Some(problem) = unread.describe("entries of the error ledger cannot be read") {
                    self.find(Part::Catalog, &path, problem, Remedy::Restore);
                }
            }
        }
    }

    fn catalog_tags(
        &mut self,
        path: &Path,
        catalog: &Catalog,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        let generation = catalog.generation()?;
        if generation != manifest.generation {
            self.find(Part::Catalog, path, other_generation(generation, manifest), Remedy::Repair);
        }
        // The next id is the larger of the two that catalog and manifest say, so either may be behind; it must only be there.
        catalog.next_id()?;
        Ok(())
    }

    /// Records of exactly the images that the manifest shows, each found by its uri.
    fn records(
        &mut self,
        path: &Path,
        catalog: &Catalog,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), StorageError> {
        let segments = self.known_segments();
        let dead = catalog.dead().collect::<Result<HashSet<ImageId>, _>>()?;
        // Where it is not known which images there are, those that are not known to have died.
        let live = |id| match &segments {
            Some(segments) => segment::locate(segments, id).is_some(),
            None => !dead.contains(&id),
        };
        let (mut unread, mut left_over, mut unmapped, mut unhashed) = Default::default();
        let mut found = 0;
        for entry in catalog.records() {
            match entry {
                Err(error) => Tally::add(&mut unread, || problem(&error)),
                Ok((id, _)) if !live(id) => {
                    if !dead.contains(&id) {
                        Tally::add(&mut left_over, || format!("image {id}"));
                    }
                }
                Ok((id, record)) => {
                    found += 1;
                    if catalog.id_of(&record.uri)? != Some(id) {
                        Tally::add(&mut unmapped, || format!("image {id}, {}", record.uri));
                    }
                    if let Some(hash) = record.content_hash
                        && !catalog.has_content(id, hash)?
                    {
                        Tally::add(&mut unhashed, || format!("image {id}, {}", record.uri));
                    }
                }
            }
            advance(1);
        }
        // A damaged block ends the scan, so what lies behind it is neither missing nor there.
        let complete = unread.count == 0;
        let mapped = catalog.uris().try_fold(0, |n, entry| entry.map(|_| n + 1))?;
        let mut findings = vec![
            (unread.describe("records cannot be read"), Remedy::Restore),
            (left_over.describe("records are of images that are not there"), Remedy::Repair),
            (unmapped.describe("images are not found by their uri"), Remedy::Repair),
            (unhashed.describe("images are not found by the hash of their bytes"), Remedy::Repair),
        ];
        if let Some(segments) = &segments
            && complete
        {
            let shown: usize = segments.iter().map(Segment::live).sum();
            if found != shown {
                let missing = || {
                    let mut ids = segments.iter().flat_map(Segment::live_rows).map(|(id, _)| id);
                    ids.find(|&id| matches!(catalog.record(id), Ok(None)))
                };
                let first = missing().map_or_else(String::new, |id| format!(": image {id}"));
                let problem =
                    format!("it holds records of {found} images, the manifest shows {shown}{first}");
                findings.push((Some(problem), Remedy::Restore));
            }
            if mapped != found && unmapped.count == 0 {
                let problem = format!("the uri map has {mapped} entries for {found} images");
                findings.push((Some(problem), Remedy::Repair));
            }
        }
        for (problem, remedy) in findings {
            if let Some(problem) = problem {
                self.find(Part::Catalog, path, problem, remedy);
            }
        }
        Ok(())
    }

    fn text(&mut self, layout: &Layout, manifest: &Manifest) {
        let path = layout.text();
        let mut findings = vec![];
        if let Err(error) = self.text_findings(&path, manifest, &mut findings) {
            findings.push((path, problem(&error)));
        }
        for (path, problem) in findings {
            self.find(Part::Text, &path, problem, Remedy::Repair);
        }
    }

    fn text_findings(
        &self,
        path: &Path,
        manifest: &Manifest,
        findings: &mut Vec<(PathBuf, String)>,
    ) -> Result<(), StorageError> {
        let text = TextIndex::open(path)?;
        for file in text.damaged_files()? {
            findings.push((path.join(file), "it does not have the checksum it was written with".to_owned()));
        }
        // tantivy trusts its files, so it is not asked to understand damaged ones.
        if !findings.is_empty() {
            return Ok(());
        }
        let generation = text.generation()?;
        if generation != manifest.generation {
            findings.push((path.to_owned(), other_generation(generation, manifest)));
            return Ok(());
        }
        let Some(segments) = self.known_segments() else { return Ok(()) };
        let mut ids = text.searcher()?.ids()?;
        ids.sort_unstable();
        let (mut twice, mut strange) = (Tally::default(), Tally::default());
        for (at, &id) in ids.iter().enumerate() {
            if at > 0 && ids[at - 1] == id {
                twice.add(|| format!("image {id}"));
            } else if segment::locate(&segments, ImageId(id)).is_none() {
                strange.add(|| format!("image {id}"));
            }
        }
        let mut missing = Tally::default();
        for (id, _) in segments.iter().flat_map(Segment::live_rows) {
            if ids.binary_search(&id.0).is_err() {
                missing.add(|| format!("image {id}"));
            }
        }
        findings.extend(
            [
                twice.describe("images are in it twice"),
                strange.describe("images in it are not there"),
                missing.describe("images are not in it"),
            ]
            .into_iter()
            .flatten()
            .map(|problem| (path.to_owned(), problem)),
        );
        Ok(())
    }

    /// What a commit that was cut short left in the directory of the segments.
    fn leftovers(&mut self, layout: &Layout, manifest: &Manifest) -> Result<(), StorageError> {
        let mut unnamed = vec![];
        let files = |dir: &Path| match fs_err::read_dir(dir) {
            Ok(files) => files.map(|file| file.map(|file| file.path())).collect(),
            // Every segment that should be in it has been missed already.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        };
        for path in files(&layout.segments())? {
            let name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
            match manifest.segments.iter().find(|entry| name == entry.name.as_str()) {
                None => unnamed.push(path),
                Some(entry) => {
                    let is_named =
                        |path: &PathBuf| path.file_name().is_some_and(|n| segment::is_named(entry, n));
                    unnamed.extend(files(&path)?.into_iter().filter(|path| !is_named(path)));
                }
            }
        }
        for path in unnamed {
            let problem = "no manifest names it: a commit was cut short".to_owned();
            self.find(Part::Segments, &path, problem, Remedy::Repair);
        }
        Ok(())
    }
}

/// Counts like findings and keeps the first.
#[derive(Default)]
struct Tally {
    count: usize,
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(what);
    }

    /// `3 images are not in it, the first: image 7`, if there are any.
    fn describe(&self, what: &str) -> Option<String> {
        self.first.as_ref().map(|first| format!("{} {what}, the first: {first}", self.count))
    }
}

fn other_generation(found: Generation, manifest: &Manifest) -> String {
    format!("it is of generation {found}, the manifest of {}: a commit was cut short", manifest.generation)
}

/// What an error says of its file, without what to do about it: the finding has a remedy of its own.
fn problem(error: &StorageError) -> String {
    let causes = |source: &dyn std::error::Error| {
        std::iter::successors(Some(source), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    match error {
        StorageError::Damaged { reason, .. } => reason.clone(),
        StorageError::DamagedNeighbors { source, .. } => causes(source).join(": "),
        StorageError::Catalog { source, .. } | StorageError::Text { source, .. } => {
            causes(&**source).join(": ")
        }
        other => causes(other).join(": "),
    }
}

fn path_of(error: &StorageError) -> Option<&Path> {
    match error {
        StorageError::Damaged { path, .. } | StorageError::Version { path, .. } => Some(path),
        _ => None,
    }
}
