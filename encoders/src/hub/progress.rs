//! How far an installation is, for whoever draws it.

use std::cell::Cell;

/// How far an installation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddState<'a> {
    /// The file that is being fetched or copied.
    pub file: &'a str,
    /// Bytes that are there, of all files together.
    pub done: u64,
    /// Bytes of all files together, where known.
    pub total: Option<u64>,
}

/// Is told how far an installation is.
pub trait AddProgress {
    /// Called at least once for each file, and about every 64 KiB.
    fn update(&self, state: &AddState<'_>);
}

/// Adds up the files.
pub(crate) struct Meter<'a> {
    progress: &'a dyn AddProgress,
    total: Option<u64>,
    finished: Cell<u64>,
}

impl<'a> Meter<'a> {
    pub fn new(progress: &'a dyn AddProgress, total: Option<u64>) -> Self {
        Self { progress, total, finished: Cell::new(0) }
    }

    /// `done` bytes of `file` are there, of `size`.
    pub fn file(&self, file: &str, done: u64, size: Option<u64>) {
        let total = self.total.or(size);
        self.progress.update(&AddState { file, done: self.finished.get() + done, total });
    }

    /// `file` is complete with `size` bytes.
    pub fn finish(&self, file: &str, size: u64) {
        self.file(file, size, Some(size));
        self.finished.set(self.finished.get() + size);
    }
}
