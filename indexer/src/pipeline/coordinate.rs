//! Both ends of the way, on the caller's thread: which files are worth a job, and what becomes of each outcome.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use pictor_core::{EmbeddingBatch, EncodeError, Generation, ImageRecord};
use pictor_storage::{Skipped, StorageError, Store, Writer};

use super::IndexOptions;
use super::encode::Outcome;
use super::prepare::Job;
use crate::IndexError;
use crate::progress::Counters;
use crate::source::{Asset, Found, Sources};

/// How long the coordinator waits for an outcome before it looks whether the caller has cancelled.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Owns the writer while a job runs.
pub(super) struct Coordinator<'a> {
    writer: &'a mut Writer,
    options: &'a IndexOptions,
    counters: &'a Counters,
    /// Tells the other threads that no further work is wanted.
    stop: &'a AtomicBool,
    /// Jobs handed out whose outcome has not come back.
    under_way: usize,
    /// Jobs handed out so far.
    jobs: u64,
    uncommitted: usize,
    model_failure: Option<EncodeError>,
    finished: Finished,
}

/// What the counters do not tell.
#[derive(Default)]
pub(super) struct Finished {
    pub found: u64,
    pub captioned: u64,
    pub attributed: u64,
    pub skipped: Vec<Skipped>,
    pub removed: u64,
    pub generation: Generation,
    pub cancelled: bool,
}

impl<'a> Coordinator<'a> {
    pub fn new(
        writer: &'a mut Writer,
        options: &'a IndexOptions,
        counters: &'a Counters,
        stop: &'a AtomicBool,
    ) -> Self {
        let finished = Finished::default();
        Self {
            writer,
            options,
            counters,
            stop,
            under_way: 0,
            jobs: 0,
            uncommitted: 0,
            model_failure: None,
            finished,
        }
    }

    /// The whole job: every file admitted, every outcome written, what is gone removed, everything committed.
    pub fn run(
        mut self,
        sources: &Sources,
        store: &Store,
        jobs: Sender<Job>,
        outcomes: &Receiver<Outcome>,
        window: usize,
        cancel: &AtomicBool,
    ) -> Result<Finished, IndexError> {
        self.move_images(sources, jobs, outcomes, window, cancel)?;
        if self.options.prune && !self.finished.cancelled && self.model_failure.is_none() {
            self.remove_gone(sources, store)?;
        }
        self.commit()?;
        // Whoever stops a job wants it to end; the merges are then left to the next one.
        if !self.finished.cancelled && self.model_failure.is_none() {
            self.finish_merges()?;
        }
        match self.model_failure {
            None => Ok(self.finished),
            Some(source) => Err(IndexError::Encode {
                source,
                indexed: self.counters.indexed.load(Relaxed),
                generation: self.finished.generation,
            }),
        }
    }

    fn move_images(
        &mut self,
        sources: &Sources,
        jobs: Sender<Job>,
        outcomes: &Receiver<Outcome>,
        window: usize,
        cancel: &AtomicBool,
    ) -> Result<(), IndexError> {
        let mut walk = sources.walk();
        // Dropping the sender is how the other stages learn that no more will come, and pass on the last, smaller batch.
        let mut jobs = Some(jobs);
        loop {
            while let Ok(outcome) = outcomes.try_recv() {
                self.settle(outcome)?;
            }
            if cancel.load(Relaxed) && (jobs.is_some() || self.under_way > 0) {
                self.finished.cancelled = true;
            }
            if self.finished.cancelled || self.model_failure.is_some() {
                self.stop.store(true, Relaxed);
                jobs = None;
            }
            if let Some(sender) = &jobs
                && self.under_way < window
            {
                match walk.next() {
                    None => jobs = None,
                    Some(found) => {
                        if let Some(job) = self.admit(found)? {
                            self.under_way += 1;
                            // Refused only when every prepare thread has died, which the scope turns into a panic.
                            let _ = sender.send(job);
                        }
                    }
                }
                continue;
            }
            if self.under_way == 0 {
                return Ok(());
            }
            match outcomes.recv_timeout(CANCEL_POLL) {
                Ok(outcome) => self.settle(outcome)?,
                Err(RecvTimeoutError::Timeout) => {}
                // As above: no thread is left to settle what is under way.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// A job, when the file has to be read.
    fn admit(&mut self, found: Found) -> Result<Option<Job>, IndexError> {
        self.finished.found += 1;
        let asset = match found {
            Ok(asset) => asset,
            Err(skipped) => return self.skip(skipped).map(|()| None),
        };
        let known = self.writer.find(&asset.uri)?;
        let captions = self.options.captions.as_ref().and_then(|captions| captions.of(&asset));
        self.finished.captioned += u64::from(captions.is_some());
        let captions = match (captions, &known) {
            (Some(captions), _) => captions.to_vec(),
            (None, Some((_, record))) => record.captions.clone(),
            (None, None) => Vec::new(),
        };
        let had = known.as_ref().map(|(_, record)| record.attributes.clone()).unwrap_or_default();
        let attributes = self.options.attributes.as_ref().and_then(|attributes| attributes.of(&asset, &had));
        self.finished.attributed += u64::from(attributes.is_some());
        let attributes = attributes.unwrap_or(had);
        match known {
            Some((id, record)) if is_unchanged(&record, &asset) => {
                // It may have been damaged in between, and put right.
                self.writer.clear_skipped(&record.uri)?;
                if (&record.captions, &record.attributes) == (&captions, &attributes) {
                    add(&self.counters.unchanged);
                } else {
                    let record = ImageRecord { captions, attributes, ..record };
                    self.write(|writer| writer.update_record(id, record))?;
                    add(&self.counters.updated);
                }
                Ok(None)
            }
            known => {
                let number = self.jobs;
                self.jobs += 1;
                Ok(Some(Job { number, asset, known, captions, attributes }))
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), IndexError> {
        match outcome {
            Outcome::Encoded(records, vectors) => self.put(records, &vectors),
            Outcome::SameBytes { id, record, is_updated } => {
                self.under_way -= 1;
                self.writer.clear_skipped(&record.uri)?;
                self.write(|writer| writer.update_record(id, record))?;
                add(if is_updated { &self.counters.updated } else { &self.counters.unchanged });
                Ok(())
            }
            Outcome::Skipped(skipped) => {
                self.under_way -= 1;
                self.skip(skipped)
            }
            Outcome::Abandoned(images) => {
                self.under_way -= images;
                Ok(())
            }
            Outcome::ModelFailed(error, images) => {
                self.under_way -= images;
                // The first failure is the cause; what follows may follow from it.
                self.model_failure.get_or_insert(error);
                Ok(())
            }
        }
    }

    fn put(&mut self, records: Vec<ImageRecord>, vectors: &EmbeddingBatch) -> Result<(), IndexError> {
        for (record, vector) in records.into_iter().zip(vectors.rows()) {
            self.under_way -= 1;
            self.write(|writer| writer.put(record, vector))?;
            add(&self.counters.indexed);
        }
        Ok(())
    }

    fn skip(&mut self, skipped: Skipped) -> Result<(), IndexError> {
        add(&self.counters.skipped);
        self.finished.skipped.push(skipped.clone());
        // A file that is as bad as last time is no change, so a run over nothing new commits nothing.
        if self.writer.find_skipped(&skipped.uri)?.as_ref() == Some(&skipped) {
            return Ok(());
        }
        self.write(|writer| {
            writer.skip(skipped);
            Ok(())
        })
    }

    /// One change, and a commit when enough have come together. Counted in changes, so that commits fall on the same images
    /// on every run.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&mut Writer) -> Result<T, StorageError>,
    ) -> Result<(), IndexError> {
        self.counters.write.time(|| change(self.writer))?;
        self.uncommitted += 1;
        if self.uncommitted >= self.options.commit_every { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        self.counters.committing.store(true, Relaxed);
        let generation = self.counters.commit.time(|| self.writer.commit());
        self.counters.committing.store(false, Relaxed);
        self.finished.generation = generation?;
        self.uncommitted = 0;
        Ok(())
    }

    fn finish_merges(&mut self) -> Result<(), IndexError> {
        self.counters.committing.store(true, Relaxed);
        let finished = self.counters.commit.time(|| self.writer.finish());
        self.counters.committing.store(false, Relaxed);
        self.finished.generation = finished?;
        Ok(())
    }

    /// Deletes the records, and the ledger entries, of files that were in one of the folders and are there no more. What the file
    /// system will not say (no permission, an I/O error) counts as still there.
    fn remove_gone(&mut self, sources: &Sources, store: &Store) -> Result<(), IndexError> {
        // Commits first, so that the snapshot is the index as it stands; it does not move while records are deleted from it.
        self.commit()?;
        let snapshot = store.snapshot()?;
        let is_gone = |uri: &str| {
            let path = Path::new(uri);
            sources.lie_above(path) && path.try_exists().is_ok_and(|exists| !exists)
        };
        for entry in snapshot.records() {
            let (id, record) = entry?;
            if is_gone(&record.uri) {
                self.write(|writer| writer.delete(id))?;
                self.finished.removed += 1;
            }
        }
        for skipped in snapshot.skipped()? {
            if is_gone(&skipped.uri) {
                self.writer.clear_skipped(&skipped.uri)?;
            }
        }
        Ok(())
    }
}

/// Length and time tell, as for make and rsync: a file rewritten with the same length within one tick of the clock is missed.
fn is_unchanged(record: &ImageRecord, asset: &Asset) -> bool {
    asset.modified_ns.is_some() && (record.bytes, record.modified_ns) == (asset.bytes, asset.modified_ns)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
