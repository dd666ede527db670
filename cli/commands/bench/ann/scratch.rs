//! The folder in which the benchmark keeps its files.

use std::path::{Path, PathBuf};

/// A folder of our own for the vectors and one index.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in `within`.
    pub fn new(within: &Path) -> anyhow::Result<Self> {
        let folder = within.join(format!("pictor-bench-{}", std::process::id()));
        fs_err::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// One that another process made.
    pub fn existing(folder: &Path) -> Self {
        Self(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The vectors, sealed.
    pub fn vectors(&self) -> PathBuf {
        self.0.join("vectors")
    }

    /// The index that is being measured; exact search has none.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// Bytes of the index.
    pub fn index_bytes(&self) -> anyhow::Result<u64> {
        match self.index().try_exists()? {
            true => Ok(fs_err::metadata(self.index())?.len()),
            false => Ok(0),
        }
    }

    /// Removes the index, if there is one.
    pub fn remove_index(&self) -> anyhow::Result<()> {
        match self.index().try_exists()? {
            true => Ok(fs_err::remove_file(self.index())?),
            false => Ok(()),
        }
    }

    /// Removes the folder with everything in it.
    pub fn remove(&self) -> anyhow::Result<()> {
        Ok(fs_err::remove_dir_all(&self.0)?)
    }
}
