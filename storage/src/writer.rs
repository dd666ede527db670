//! Writing: changes gathered in memory, then one commit (`commit.rs`); and, behind the writer's back, one merge at a time
//! (`merging.rs`), which the writer starts after a commit and puts in place before a later one.
//!
//! Nothing reaches the disk before [`Writer::commit`], so dropping a writer forgets what it gathered and leaves the index as
//! the last commit made it. The memory taken is that of the vectors and records gathered: whoever indexes much commits often.
//!
//! What must stay true: only this type decides when a merge starts and when its result counts; the thread decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use pictor_core::{EmbeddingBatch, Generation, ImageId, ImageRecord};

use crate::catalog::{Catalog, Skipped};
use crate::layout::Layout;
use crate::lock::WriterLock;
use crate::manifest::Manifest;
use crate::merge::{self, SegmentStats};
use crate::merging::Merging;
use crate::recovery::Recovered;
use crate::segment::{self, Segment};
use crate::snapshot::check_dim;
use crate::text::TextIndex;
use crate::{StorageError, commit};

/// The one writer of an index. It holds the lock until dropped. Dropping it gives up a merge that is at work, which can take as
/// long as the step the merge is at: building a nearest-neighbour index cannot be cut short.
pub struct Writer {
    pub(crate) layout: Layout,
    /// The last commit.
    pub(crate) manifest: Manifest,
    /// Its segments.
    pub(crate) segments: Vec<Segment>,
    pub(crate) catalog: Catalog,
    pub(crate) text: TextIndex,
    pub(crate) next_id: u64,
    /// The next segment is named after this.
    pub(crate) next_segment: u64,
    /// The merge that is at work, or done and not in place.
    pub(crate) merging: Option<Merging>,
    /// Since the last commit.
    pub(crate) changes: Changes,
    /// Why nothing more is accepted (I7).
    poison: Option<String>,
    // Last, so that it is released last.
    _lock: WriterLock,
}

/// What the next commit will change.
#[derive(Default)]
pub(crate) struct Changes {
    /// New images and their vectors.
    pub(crate) images: BTreeMap<ImageId, (ImageRecord, Vec<f32>)>,
    /// The ids of `images` by uri.
    uris: HashMap<String, ImageId>,
    /// Images of the last commit that go, with their uris.
    pub(crate) deleted: BTreeMap<ImageId, String>,
    /// Images of the last commit whose record changes.
    pub(crate) updated: BTreeMap<ImageId, ImageRecord>,
    /// Ledger entries to set, and to clear.
    pub(crate) skipped: BTreeMap<String, Option<Skipped>>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.images.is_empty()
            && self.deleted.is_empty()
            && self.updated.is_empty()
            && self.skipped.is_empty()
    }
}

impl Writer {
    pub(crate) fn new(layout: Layout, recovered: Recovered) -> Self {
        let Recovered { manifest, segments, catalog, text, next_id, lock } = recovered;
        let next_segment = manifest.next_segment;
        Self {
            layout,
            manifest,
            segments,
            catalog,
            text,
            next_id,
            next_segment,
            merging: None,
            changes: Changes::default(),
            poison: None,
            _lock: lock,
        }
    }

    /// The last commit.
    pub fn generation(&self) -> Generation {
        self.manifest.generation
    }

    /// The image at `uri` as this writer has it, uncommitted changes included.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn find(&self, uri: &str) -> Result<Option<(ImageId, ImageRecord)>, StorageError> {
        if let Some(&id) = self.changes.uris.get(uri) {
            return Ok(self.changes.images.get(&id).map(|(record, _)| (id, record.clone())));
        }
        match self.catalog.id_of(uri)? {
            Some(id) if self.is_committed(id) => Ok(self.committed_record(id)?.map(|record| (id, record))),
            _ => Ok(None),
        }
    }

    /// Adds an image with its vector, a unit vector of the index's dimension. An image at the same uri is replaced: its id
    /// goes, this one gets a new id. A ledger entry for the uri is cleared.
    ///
    /// # Errors
    /// [`StorageError::Dimension`], [`StorageError::Embedding`], [`StorageError::Poisoned`].
    pub fn put(&mut self, record: ImageRecord, vector: &[f32]) -> Result<ImageId, StorageError> {
        self.check_poison()?;
        check_dim(&self.manifest.encoder, vector)?;
        EmbeddingBatch::new(vector.len(), vector.to_vec())?;
        if let Some((old, _)) = self.find(&record.uri)? {
            self.delete(old)?;
        }
        self.clear_skipped(&record.uri)?;
        let id = ImageId(self.next_id);
        self.next_id += 1;
        self.changes.uris.insert(record.uri.clone(), id);
        self.changes.images.insert(id, (record, vector.to_vec()));
        Ok(id)
    }

    /// Replaces the record of an image whose bytes are the same: other captions, another time of change. Id and vector stay.
    /// False when there is no such image.
    ///
    /// # Errors
    /// [`StorageError::OtherImage`] for a record of another uri, [`StorageError::Poisoned`].
    pub fn update_record(&mut self, id: ImageId, record: ImageRecord) -> Result<bool, StorageError> {
        self.check_poison()?;
        let Some(known) = self.live_record(id)? else { return Ok(false) };
        if known.uri != record.uri {
            return Err(StorageError::OtherImage { id, expected: known.uri, received: record.uri });
        }
        match self.changes.images.get_mut(&id) {
            Some((pending, _)) => *pending = record,
            None => {
                self.changes.updated.insert(id, record);
            }
        }
        Ok(true)
    }

    /// Deletes an image. False when there is no such image.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn delete(&mut self, id: ImageId) -> Result<bool, StorageError> {
        self.check_poison()?;
        let Some(record) = self.live_record(id)? else { return Ok(false) };
        match self.changes.images.remove(&id) {
            Some((record, _)) => {
                self.changes.uris.remove(&record.uri);
            }
            None => {
                self.changes.updated.remove(&id);
                self.changes.deleted.insert(id, record.uri);
            }
        }
        Ok(true)
    }

    /// Enters a file that could not be indexed into the ledger, in the place of an older entry. An image that the index has at
    /// that uri stays.
    pub fn skip(&mut self, skipped: Skipped) {
        self.changes.skipped.insert(skipped.uri.clone(), Some(skipped));
    }

    /// The ledger's entry for `uri`, uncommitted changes included.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn find_skipped(&self, uri: &str) -> Result<Option<Skipped>, StorageError> {
        match self.changes.skipped.get(uri) {
            Some(entry) => Ok(entry.clone()),
            None => self.catalog.find_skipped(uri),
        }
    }

    /// Clears the ledger's entry for `uri`, if there is one: the file is gone, or is an image now.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn clear_skipped(&mut self, uri: &str) -> Result<(), StorageError> {
        if self.catalog.find_skipped(uri)?.is_some() {
            self.changes.skipped.insert(uri.to_owned(), None);
        } else {
            self.changes.skipped.remove(uri);
        }
        Ok(())
    }

    /// Number of images added since the last commit and not deleted again.
    pub fn pending(&self) -> usize {
        self.changes.images.len()
    }

    /// Makes everything gathered durable and visible, all of it or nothing, and says which generation that is. Without
    /// changes nothing is committed and the generation is the one there was.
    ///
    /// A merge that has finished is put in place first, and one that has become necessary is started afterwards, to run while
    /// the writer goes on. Only when segments pile up faster than they are merged does a commit wait for that.
    ///
    /// # Errors
    /// [`StorageError::Merge`] when a merge has failed since the last commit. Nothing of this commit was written then and
    /// nothing is lost: committing again goes on where this left off.
    ///
    /// Otherwise whatever kept it from being written, as [`StorageError::Full`] when that is a full disk. The index is then as
    /// the last commit made it (or, when only the last fsync of all failed, possibly as this one makes it), whole in either
    /// case. This writer accepts nothing more ([`StorageError::Poisoned`], I7); a new one recovers.
    pub fn commit(&mut self) -> Result<Generation, StorageError> {
        self.check_poison()?;
        if self.merging.as_ref().is_some_and(Merging::is_finished) {
            self.finish_merge()?;
        }
        if self.changes.is_empty() {
            return Ok(self.manifest.generation);
        }
        while self.segments.len() >= merge::TOO_MANY_SEGMENTS {
            self.start_merge();
            self.finish_merge()?;
        }
        let generation = self.or_poison(commit::run)?;
        self.start_merge();
        Ok(generation)
    }

    /// Commits, and returns when every merge that is due has been done and put in place: what to call when nothing more is to
    /// come for a while. A writer that is dropped instead leaves the merges to the next one.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn finish(&mut self) -> Result<Generation, StorageError> {
        let generation = self.commit()?;
        loop {
            self.start_merge();
            if self.merging.is_none() {
                return Ok(generation);
            }
            self.finish_merge()?;
        }
    }

    /// Commits, makes one segment of all, without the deleted rows, and has RocksDB and tantivy rewrite their files without
    /// what is deleted. False when segments and text index were as they should be already. Takes as much free space as the
    /// index has live data.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn compact(&mut self) -> Result<bool, StorageError> {
        self.commit()?;
        self.finish_merge()?;
        let is_merged = match self.segments.as_slice() {
            [] => true,
            [one] => one.deleted.is_empty(),
            _ => false,
        };
        let was_compact = is_merged && self.text.is_compact()?;
        if !is_merged {
            self.start_merge_of(self.segments.clone());
            self.finish_merge()?;
        }
        self.or_poison(commit::compact_stores)?;
        Ok(!was_compact)
    }

    /// A name that no segment has had since the index was made, as far as a manifest tells.
    pub(crate) fn new_segment(&mut self) -> String {
        let name = format!("{:08}", self.next_segment);
        self.next_segment += 1;
        name
    }

    /// Starts the merge that the policy asks for, if it does and none is at work.
    fn start_merge(&mut self) {
        if self.merging.is_none() {
            let stats = |segment: &Segment| SegmentStats { rows: segment.rows.len(), live: segment.live() };
            let chosen = merge::choose(&self.segments.iter().map(stats).collect::<Vec<_>>());
            if !chosen.is_empty() {
                self.start_merge_of(chosen.iter().map(|&i| self.segments[i].clone()).collect());
            }
        }
    }

    fn start_merge_of(&mut self, sources: Vec<Segment>) {
        let name = self.new_segment();
        let (kind, shape) = (&self.manifest.kind, self.manifest.shape());
        self.merging = Some(Merging::start(&self.layout, kind, shape, name, sources));
    }

    /// Waits for the merge at work, if there is one, and puts its result in place. A merge that failed has changed nothing, so
    /// the writer stays usable; a failure to put it in place is a failed write like any other.
    fn finish_merge(&mut self) -> Result<(), StorageError> {
        let Some(merging) = self.merging.take() else { return Ok(()) };
        let merged = merging
            .finish()
            .map_err(|source| StorageError::Merge { source: Box::new(source) }.on_disk(self.layout.root()))?;
        self.or_poison(|writer| commit::swap(writer, merged))
    }

    /// Writes; a failure makes the writer accept nothing more (I7).
    fn or_poison<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        write(self).map_err(|error| {
            let error = error.on_disk(self.layout.root());
            let reasons =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            self.poison = Some(reasons.map(ToString::to_string).collect::<Vec<_>>().join(": "));
            error
        })
    }

    fn check_poison(&self) -> Result<(), StorageError> {
        match &self.poison {
            None => Ok(()),
            Some(reason) => Err(StorageError::Poisoned { reason: reason.clone() }),
        }
    }

    /// Whether `id` is of the last commit and not deleted since.
    fn is_committed(&self, id: ImageId) -> bool {
        !self.changes.deleted.contains_key(&id) && segment::locate(&self.segments, id).is_some()
    }

    fn committed_record(&self, id: ImageId) -> Result<Option<ImageRecord>, StorageError> {
        match self.changes.updated.get(&id) {
            Some(record) => Ok(Some(record.clone())),
            None => self.catalog.record(id),
        }
    }

    fn live_record(&self, id: ImageId) -> Result<Option<ImageRecord>, StorageError> {
        match self.changes.images.get(&id) {
            Some((record, _)) => Ok(Some(record.clone())),
            None if self.is_committed(id) => self.committed_record(id),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("manifest", &self.manifest)
            .field("pending", &self.pending())
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
