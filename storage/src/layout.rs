//! Where things are below an index directory, and the means to change them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::{Directory, FsDirectory};

/// An index directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: Arc<Path>,
    /// The directory of the three stores: the root, or one in it.
    home: Arc<Path>,
    directory: Arc<dyn Directory>,
}

impl Layout {
    /// The index in `root`, on the file system.
    pub(crate) fn new(root: &Path) -> Self {
        Self::with(root, Arc::new(FsDirectory))
    }

    /// The index in `root`, changed through `directory`.
    pub(crate) fn with(root: &Path, directory: Arc<dyn Directory>) -> Self {
        Self { root: root.into(), home: root.into(), directory }
    }

    /// The same index with its stores where a manifest's `home` says.
    pub(crate) fn at(&self, home: &str) -> Self {
        Self { home: self.root.join(home).into(), ..self.clone() }
    }

    /// The index directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// How its files are changed.
    pub(crate) fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// RocksDB's directory.
    pub(crate) fn catalog(&self) -> PathBuf {
        self.home.join("catalog")
    }

    /// tantivy's directory.
    pub(crate) fn text(&self) -> PathBuf {
        self.home.join("text")
    }

    /// The directory of all segments.
    pub(crate) fn segments(&self) -> PathBuf {
        self.home.join("segments")
    }

    /// The directory of the segment called `name`.
    pub(crate) fn segment(&self, name: &str) -> PathBuf {
        self.segments().join(name)
    }
}
