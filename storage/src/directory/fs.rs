//! The file system, by way of `fs_err`, so that every error names its path.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{Directory, DurableFile};

/// The real thing.
#[derive(Debug)]
pub(crate) struct FsDirectory;

impl Directory for FsDirectory {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        Ok(Box::new(FsFile(BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?))))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs_err::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs_err::rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let done = match fs_err::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(path),
            Ok(_) => fs_err::remove_file(path),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync(&self, dir: &Path) -> io::Result<()> {
        // On Linux a directory is synced through a read-only descriptor of it.
        fs_err::File::open(dir)?.sync_all()
    }
}

struct FsFile(BufWriter<fs_err::File>);

impl Write for FsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DurableFile for FsFile {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()?;
        self.0.get_ref().sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomic_write_replaces_the_whole_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        FsDirectory.atomic_write(&path, b"a long first version").unwrap();
        FsDirectory.atomic_write(&path, b"second").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"second");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn delete_takes_files_trees_and_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        FsDirectory.create_dir(&tree.join("inner")).unwrap();
        fs_err::write(tree.join("inner/file"), "x").unwrap();
        FsDirectory.delete(&tree.join("inner/file")).unwrap();
        FsDirectory.delete(&tree).unwrap();
        FsDirectory.delete(&tree).unwrap();
        assert!(!tree.exists());
    }
}
