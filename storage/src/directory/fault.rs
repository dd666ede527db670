//! A directory that fails once, at its n-th operation, and works before and after: a disk that was full for a moment.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Directory, DurableFile, FsDirectory};

/// [`FsDirectory`] with one failure in it.
#[derive(Clone, Debug)]
pub(crate) struct FaultDirectory {
    left: Arc<AtomicI64>,
}

impl FaultDirectory {
    /// Fails at operation `n`, counted from 0. Creating, writing (once a file: a buffer gathers the rest), finishing, renaming,
    /// deleting and syncing count one each.
    pub(crate) fn failing_at(n: usize) -> Self {
        Self { left: Arc::new(AtomicI64::new(n as i64)) }
    }

    /// Whether the failure has happened.
    pub(crate) fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn step(&self, what: &str) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::Error::other(format!("injected failure of {what}"))),
            _ => Ok(()),
        }
    }
}

impl Directory for FaultDirectory {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.step("create")?;
        let inner = FsDirectory.create(path)?;
        Ok(Box::new(FaultFile { inner, directory: self.clone(), written: false }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step("create_dir")?;
        FsDirectory.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename")?;
        FsDirectory.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.step("delete")?;
        FsDirectory.delete(path)
    }

    fn sync(&self, dir: &Path) -> io::Result<()> {
        self.step("sync")?;
        FsDirectory.sync(dir)
    }
}

struct FaultFile {
    inner: Box<dyn DurableFile>,
    directory: FaultDirectory,
    written: bool,
}

impl Write for FaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.written, true) {
            self.directory.step("write")?;
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DurableFile for FaultFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.directory.step("fsync")?;
        self.inner.finish()
    }
}
