//! How images move from sources to commits.
//!
//! ```text
//!                      ┌──────── caller's thread ────────┐
//!  source, ledger ──▶ jobs ──▶ prepare × N ──▶ batcher ══▶ model ──▶ writer ──▶ commit
//!                               read, hash,    source     1 batch    (caller's thread again)
//!                               decode, resize  order      waits
//! ```
//!
//! The caller's thread owns the writer: it takes files from the source, passes over those that have not changed, hands the others
//! out as jobs, and writes what comes back. One thread owns the model; one waits beside it with the next batch ready.
//!
//! Why one thread at both ends: it alone knows how many images are under way, and never lets there be more than a *window* of
//! them. Every channel has room for a window, so no send to it ever blocks, nothing can deadlock, and memory is bounded by the
//! window whatever the corpus. The alternative, a lock around the writer, bounds nothing.
//!
//! What must stay true:
//! - **Every job gets exactly one outcome**, and every job's number reaches the batcher exactly once, with or without an image.
//! - The window is larger than a batch, so a batch can always fill: images that wait for one are fewer than a batch.
//! - The batcher restores the order of the source, so the same files get the same ids on every run, whatever the threads do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use pictor_core::Encoder;
use pictor_storage::Store;

use crate::progress::Counters;
use crate::source::Sources;
use crate::{AttributeFile, Captions, IndexError, IndexReport, Progress};

mod coordinate;
mod encode;
mod prepare;
#[cfg(test)]
mod tests;

use coordinate::Coordinator;
use prepare::Prepare;

/// Time between two calls of [`Progress::update`].
const TICK: Duration = Duration::from_millis(200);

/// How to index. The defaults suit a laptop and a server alike.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// Images per call of the model, at least 1. Memory grows with it: see [`IndexOptions::window`].
    pub batch: usize,
    /// Threads that read, decode and resize; 0 means one per CPU.
    pub prepare_threads: usize,
    /// Changes between two commits, at least 1: what a crash can cost, against the fixed price of a commit.
    pub commit_every: usize,
    /// Captions to attach. Without them, images keep the captions that the index has.
    pub captions: Option<Captions>,
    /// Attributes to attach. Without them, images keep the attributes that the index has.
    pub attributes: Option<AttributeFile>,
    /// Delete records of images that lay in one of the source folders and are gone from disk. Off by default, because an
    /// unplugged disk looks the same as an emptied folder.
    pub prune: bool,
    /// Longest file that is read, in bytes; longer ones are skipped.
    pub max_file_bytes: u64,
}

/// Longest file that is read, in bytes, unless [`IndexOptions::max_file_bytes`] says otherwise. A photograph of the largest size
/// that is decoded stays far below; the limit keeps a disk image named `.jpg` from filling the memory.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            batch: 32,
            prepare_threads: 0,
            commit_every: 20_000,
            captions: None,
            attributes: None,
            prune: false,
            max_file_bytes: MAX_FILE_BYTES,
        }
    }
}

impl IndexOptions {
    /// Most images under way at once, `3 × batch + threads`: a batch in the model, one waiting for it, one being gathered, and
    /// one image in each prepare thread. Each is held as one tensor (`3 × height × width × 4` bytes, 0.6 MB at 224 × 224); only
    /// those in a prepare thread also as file bytes and decoded pixels.
    pub fn window(&self, threads: usize) -> usize {
        3 * self.batch + threads
    }

    fn check(&self) -> Result<(), IndexError> {
        for (name, received) in [("batch", self.batch), ("commit_every", self.commit_every)] {
            if received == 0 {
                return Err(IndexError::Option { name, received });
            }
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        match self.prepare_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// Brings `store` up to date with the images in `sources` (folders and files), and commits.
///
/// A file whose length and modification time are those of its record is passed over without being read; one whose bytes hash to
/// the same only gets its record refreshed; others are encoded and replace what the index had under their path. A file that
/// cannot be read or decoded is skipped, kept in the index's ledger with the reason, and tried again in every later run, since
/// that is cheap and files get repaired; a record that the index has of its earlier bytes stays. Files that are gone stay in the
/// index unless `options.prune` is set. A panic inside a decoder or the model counts as a failure of that image.
///
/// Once `cancel` is true, the batch in the model is finished and written, everything written is committed, and the report says
/// `cancelled`.
///
/// # Errors
/// [`IndexError`] when a source is missing or has no image, the encoder is not the index's own, the model fails on every image
/// of a batch, or the index cannot be written. Commits made before the error stay, and on a failure of the model what was
/// already written is committed too.
pub fn index(
    sources: &[PathBuf],
    store: &Store,
    encoder: Arc<dyn Encoder>,
    options: &IndexOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<IndexReport, IndexError> {
    let started = Instant::now();
    options.check()?;
    store.check_encoder(encoder.spec())?;
    let sources = Sources::open(sources, store.dir())?;
    let mut writer = store.writer()?;

    let threads = options.threads();
    let window = options.window(threads);
    let counters = Counters::default();
    // Set when no further work is wanted, for whatever reason.
    let stop = AtomicBool::new(false);
    let coordinator = Coordinator::new(&mut writer, options, &counters, &stop);

    let finished = thread::scope(|scope| {
        let (jobs, job_inbox) = bounded(window);
        let (prepared, prepared_inbox) = bounded(window);
        let (batches, batch_inbox) = bounded(1);
        let (outcomes, outcome_inbox) = bounded(window);

        let prepare = Prepare {
            encoder: &*encoder,
            max_file_bytes: options.max_file_bytes,
            counters: &counters,
            stop: &stop,
        };
        for _ in 0..threads {
            let (jobs, prepared, outcomes) = (job_inbox.clone(), prepared.clone(), outcomes.clone());
            scope.spawn(move || prepare.run(&jobs, &prepared, &outcomes));
        }
        // Each stage ends when its inbox has no sender left, so nobody may hold a spare one.
        drop((job_inbox, prepared));
        scope.spawn(move || encode::gather(&prepared_inbox, &batches, options.batch));
        scope.spawn(|| {
            let (batches, outcomes) = (batch_inbox, outcomes);
            encode::run(&batches, &outcomes, &*encoder, &counters, &stop);
        });

        scope.spawn(|| count(&sources, &counters, &stop));
        let (running, ended) = bounded::<()>(0);
        let counters = &counters;
        scope.spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                progress.update(&counters.state(threads));
            }
        });

        let finished = coordinator.run(&sources, store, jobs, &outcome_inbox, window, cancel);
        stop.store(true, Relaxed);
        drop(running);
        finished
    })?;
    // A job can be done before it is counted.
    if !finished.cancelled {
        let _ = counters.found.set(finished.found);
    }
    progress.update(&counters.state(threads));

    let seconds = started.elapsed().as_secs_f64();
    let (stages, encoded) = (counters.stages(), counters.encoded.load(Relaxed));
    let indexed = counters.indexed.load(Relaxed);
    Ok(IndexReport {
        found: finished.found,
        indexed,
        unchanged: counters.unchanged.load(Relaxed),
        updated: counters.updated.load(Relaxed),
        captioned: finished.captioned,
        attributed: finished.attributed,
        skipped: finished.skipped,
        removed: finished.removed,
        generation: finished.generation,
        seconds,
        images_per_second: indexed as f64 / seconds,
        bytes: counters.bytes.load(Relaxed),
        prepare_threads: threads,
        stages,
        encode_images_per_second: if encoded == 0 { 0.0 } else { encoded as f64 / stages.encode },
        cancelled: finished.cancelled,
    })
}

/// Checks `sources` as [`index`] does before it starts, for a caller that makes the index in `index` only for sources that can
/// be used.
///
/// # Errors
/// [`IndexError`] when a source is missing, has no image, or lies inside the index.
pub fn check_sources(sources: &[PathBuf], index: &Path) -> Result<(), IndexError> {
    Sources::open(sources, index).map(drop)
}

/// Counts the files for the progress bar: a walk of its own, which costs little beside decoding and is soon done.
fn count(sources: &Sources, counters: &Counters, stop: &AtomicBool) {
    let mut found = 0;
    for _ in sources.walk() {
        if stop.load(Relaxed) {
            return;
        }
        found += 1;
    }
    // Set nowhere else while the job runs.
    let _ = counters.found.set(found);
}
