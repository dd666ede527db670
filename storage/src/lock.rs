//! The writer's lock: one writer at a time, across processes and within one.
//!
//! An advisory lock (`flock`) on the file `LOCK`, which the kernel drops with the process that held it, so a killed run leaves
//! nothing to clean up. The file's text is the holder's process id, there only for the message of whoever comes second.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::StorageError;

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: fs_err::File,
}

impl WriterLock {
    /// Takes the lock of the index in `root`.
    ///
    /// # Errors
    /// [`StorageError::Busy`] at once when another writer holds it.
    pub(crate) fn take(root: &Path) -> Result<Self, StorageError> {
        let path = root.join("LOCK");
        let mut file =
            fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be writing its number just now; the message then does without.
                let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StorageError::Busy { dir: root.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::take(dir.path()).unwrap();
        match WriterLock::take(dir.path()).unwrap_err() {
            StorageError::Busy { holder, .. } => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other}"),
        }
        drop(first);
        WriterLock::take(dir.path()).unwrap();
    }
}
