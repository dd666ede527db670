//! The disk as the commit protocol needs it: every change this crate makes to its own files goes through [`Directory`].
//!
//! A trait, because it has two implementers: [`FsDirectory`], and in tests a directory that fails at its n-th operation, so
//! that invariant I7 is shown for every write and every sync there is. Reads need no such seam (damage is made with a real
//! file and a real bit flip), so they are plain calls. RocksDB, tantivy and the nearest-neighbour libraries do their own I/O.
//!
//! What must stay true: when `atomic_write` or `DurableFile::finish` returns `Ok`, the bytes survive a power cut as far as
//! the medium honours fsync; a file's *name* survives once its directory has been synced.

#[cfg(test)]
pub(crate) mod fault;
mod fs;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) use fs::FsDirectory;

/// A file being written. Nothing of it counts before [`finish`](DurableFile::finish) has returned; dropping it instead
/// leaves garbage that no manifest names.
pub(crate) trait DurableFile: Write {
    /// Flushes and fsyncs the file.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Changes to the files below one index.
pub(crate) trait Directory: fmt::Debug + Send + Sync {
    /// A new, empty file; an existing one of that name is truncated (only garbage of an unfinished commit can be in the way).
    fn create(&self, path: &Path) -> io::Result<Box<dyn DurableFile>>;

    /// Makes a directory; one that is already there is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file over another in the same directory: after a crash either the old or the new one is there, whole.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file, or a directory with all it holds; something already gone is fine. On Linux a reader that has the
    /// file open or mapped keeps its contents.
    fn delete(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync(&self, dir: &Path) -> io::Result<()>;

    /// Replaces the whole of a small file: temporary file, fsync, rename, directory fsync.
    fn atomic_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        let mut file = self.create(&temporary)?;
        file.write_all(bytes)?;
        file.finish()?;
        self.rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| self.sync(dir))
    }
}

/// Where `atomic_write` puts the bytes first.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
