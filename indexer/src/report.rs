//! What came of an indexing job.

use pictor_core::Generation;
use pictor_storage::Skipped;
use serde::Serialize;

use crate::StageTimes;

/// What [`crate::index`] did. As JSON, it is what `pictor index --json` prints.
///
/// Unless the job was cancelled, `found = indexed + unchanged + updated + skipped.len()`.
#[derive(Clone, Debug, Serialize)]
pub struct IndexReport {
    /// Image files found in the sources, each counted once however often it is reached; those that could not be used included.
    pub found: u64,
    /// Images encoded and written: new ones, and files whose bytes changed.
    pub indexed: u64,
    /// Files that the index already had with the same bytes.
    pub unchanged: u64,
    /// Of files that the index already had with the same bytes, those that got other captions or attributes.
    pub updated: u64,
    /// Files found that the caption file names; 0 without one. Far below `found` means that the names do not match.
    pub captioned: u64,
    /// Files found that the attribute file names; 0 without one.
    pub attributed: u64,
    /// Files that could not be indexed, and why. This list is the one thing that grows with the corpus, by its bad files.
    pub skipped: Vec<Skipped>,
    /// Records deleted because their files are gone (only with `prune`).
    pub removed: u64,
    /// The index as this job left it.
    pub generation: Generation,
    /// Wall time of the whole job.
    pub seconds: f64,
    /// `indexed / seconds`: the rate a user sees.
    pub images_per_second: f64,
    /// Bytes read from image files.
    pub bytes: u64,
    /// Threads that read, decode and resize.
    pub prepare_threads: usize,
    /// Busy seconds of each stage.
    pub stages: StageTimes,
    /// Images encoded / busy seconds of the encode stage: comparable with the bare runtime's rate.
    pub encode_images_per_second: f64,
    /// Whether the caller stopped it. What was encoded by then is committed.
    pub cancelled: bool,
}
