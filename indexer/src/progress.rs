//! How a running job goes: counters that every stage adds to, and the view of them that a caller draws.
//!
//! Why counters and not events: a bar needs a picture a few times a second, not a message per image, and an atomic add costs
//! the stages nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Told a few times a second how a job goes, and once at its end, from a thread of its own.
pub trait Progress: Send + Sync {
    /// The counts so far. A slow implementer delays only the next call.
    fn update(&self, state: &ProgressState);
}

/// Nobody looks.
impl Progress for () {
    fn update(&self, _: &ProgressState) {}
}

/// Counts of a running job. Each is exact, the set is not a consistent cut: stages go on while it is taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProgressState {
    /// Files in the sources, once they are counted (which goes on beside the work).
    pub found: Option<u64>,
    /// Files dealt with: `indexed + unchanged + updated + skipped`.
    pub done: u64,
    /// Images encoded and written.
    pub indexed: u64,
    /// Files that the index already had with the same bytes.
    pub unchanged: u64,
    /// Files that could not be indexed.
    pub skipped: u64,
    /// Bytes read from image files.
    pub bytes: u64,
    /// Whether a commit is going on, during which the other counts stand still after a while.
    pub committing: bool,
    /// Threads that read, decode and resize. Every other stage has one.
    pub prepare_threads: usize,
    /// Busy seconds of each stage.
    pub stages: StageTimes,
}

impl ProgressState {
    /// The stage that holds the others up: of the three groups that work side by side (read, decode and resize on
    /// `prepare_threads`; encode; write and commit) the one with the most busy seconds per thread, and in it the stage with the
    /// most busy seconds. `None` before anything was timed.
    pub fn slowest(&self) -> Option<&'static str> {
        let t = &self.stages;
        let prepare_threads = self.prepare_threads.max(1) as f64;
        let groups: [(f64, &[(&'static str, f64)]); 3] = [
            (prepare_threads, &[("read", t.read), ("decode", t.decode), ("resize", t.resize)]),
            (1.0, &[("encode", t.encode)]),
            (1.0, &[("write", t.write), ("commit", t.commit)]),
        ];
        let busy = |stages: &[(_, f64)]| stages.iter().map(|(_, seconds)| seconds).sum::<f64>();
        let (_, stages) =
            groups.into_iter().max_by(|a, b| (busy(a.1) / a.0).total_cmp(&(busy(b.1) / b.0)))?;
        let (name, seconds) = stages.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (*seconds > 0.0).then_some(*name)
    }
}

/// Busy seconds, summed over the threads of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StageTimes {
    /// Reading files and hashing their bytes.
    pub read: f64,
    /// Decoding, EXIF orientation included.
    pub decode: f64,
    /// Resize, crop and normalisation.
    pub resize: f64,
    /// The model.
    pub encode: f64,
    /// Handing records and vectors to the writer.
    pub write: f64,
    /// Commits: flush, index build, sync.
    pub commit: f64,
}

/// Adds up as the stages go.
#[derive(Default)]
pub(crate) struct Counters {
    pub found: OnceLock<u64>,
    pub indexed: AtomicU64,
    pub unchanged: AtomicU64,
    pub updated: AtomicU64,
    pub skipped: AtomicU64,
    pub bytes: AtomicU64,
    pub encoded: AtomicU64,
    pub committing: AtomicBool,
    pub read: Stopwatch,
    pub decode: Stopwatch,
    pub resize: Stopwatch,
    pub encode: Stopwatch,
    pub write: Stopwatch,
    pub commit: Stopwatch,
}

impl Counters {
    pub fn state(&self, prepare_threads: usize) -> ProgressState {
        let [indexed, unchanged, updated, skipped] =
            [&self.indexed, &self.unchanged, &self.updated, &self.skipped].map(|n| n.load(Relaxed));
        ProgressState {
            found: self.found.get().copied(),
            done: indexed + unchanged + updated + skipped,
            indexed,
            unchanged,
            skipped,
            bytes: self.bytes.load(Relaxed),
            committing: self.committing.load(Relaxed),
            prepare_threads,
            stages: self.stages(),
        }
    }

    pub fn stages(&self) -> StageTimes {
        StageTimes {
            read: self.read.seconds(),
            decode: self.decode.seconds(),
            resize: self.resize.seconds(),
            encode: self.encode.seconds(),
            write: self.write.seconds(),
            commit: self.commit.seconds(),
        }
    }
}

/// Time that several threads add to, in nanoseconds (584 years fit).
#[derive(Default)]
pub(crate) struct Stopwatch(AtomicU64);

impl Stopwatch {
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(start.elapsed());
        result
    }

    pub fn add(&self, spent: Duration) {
        self.0.fetch_add(spent.as_nanos() as u64, Relaxed);
    }

    pub fn seconds(&self) -> f64 {
        self.0.load(Relaxed) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowest_counts_threads_and_what_shares_them() {
        let mut state = ProgressState { prepare_threads: 2, ..Default::default() };
        assert_eq!(state.slowest(), None);
        state.stages = StageTimes { read: 1.0, decode: 3.0, resize: 2.0, encode: 3.5, ..Default::default() };
        assert_eq!(state.slowest(), Some("encode"), "6 s on 2 threads are 3 s");
        state.stages.resize = 4.0;
        assert_eq!(state.slowest(), Some("resize"), "8 s on 2 threads are 4 s");
        state.stages.commit = 5.0;
        assert_eq!(state.slowest(), Some("commit"));
    }
}
