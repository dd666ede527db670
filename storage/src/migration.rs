//! From one model to another: the new vectors are gathered in an index of their own beside the old one, which goes on serving, and
//! then one file says that they are the index.
//!
//! ```text
//! manifest.json              names the stores by `home`: "" for those beside it, "model-1" for those in that directory
//! manifest.previous.json     the manifest before the last switch, for the way back
//! model-1/                   catalog/, text/, segments/: an index like any other; while it is being made, with a manifest.json of its own
//! ```
//!
//! The way there, and what a crash finds: the successor is written like every index, so it can be cut short at any point and gone
//! on with. The switch writes `manifest.previous.json` and then replaces `manifest.json`: before the second, nothing has changed;
//! after it, everything has. The way back exchanges the two, by way of `manifest.undone.json`, which is put in its place by whoever
//! comes next if a crash comes between.
//!
//! What must stay true: at every moment `manifest.json` names whole stores; stores that it or `manifest.previous.json` names are
//! deleted by nobody but [`Migration::forget_previous`]; ids go on counting over a switch and back (I4).

use std::io;
use std::path::{Path, PathBuf};

use pictor_core::EncoderSpec;

use crate::directory::Directory;
use crate::failpoint::{self, Point};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::{Snapshot, StorageError, Store, Writer};

const PREVIOUS: &str = "manifest.previous.json";
const UNDONE: &str = "manifest.undone.json";

/// Holds the writer's lock of an index while a successor of it is made: nobody changes what is being copied.
#[derive(Debug)]
pub struct Migration {
    root: Layout,
    /// Recovered the index and holds its lock.
    writer: Writer,
}

impl Migration {
    /// Takes the lock of the index in `dir`.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while somebody writes it; whatever keeps it from being opened.
    pub fn begin(dir: &Path) -> Result<Self, StorageError> {
        let writer = Store::open(dir)?.writer()?;
        let this = Self { root: Layout::new(dir), writer };
        this.finish_rollback()?;
        this.tidy()?;
        Ok(this)
    }

    /// The index that is being replaced, as of its last commit; it does not change while the lock is held.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn old(&self) -> Result<std::sync::Arc<Snapshot>, StorageError> {
        Store::open(self.root.root())?.snapshot()
    }

    /// The successor with the vectors of `spec`: the one that an earlier run began, or a new one, indexed as the old one is.
    ///
    /// # Errors
    /// [`StorageError::OtherSuccessor`] when an earlier run began one for another model.
    pub fn successor(&self, spec: &EncoderSpec) -> Result<Store, StorageError> {
        if let Some((_, store)) = self.unfinished()? {
            let (begun, wanted) = (store.spec().clone(), spec.clone());
            if begun != wanted {
                return Err(StorageError::OtherSuccessor { specs: Box::new((begun, wanted)) });
            }
            return Ok(store);
        }
        let name = (1..).map(|n| format!("model-{n}")).find(|name| !self.root.root().join(name).exists());
        let dir = self.root.root().join(name.expect("there is always another number; this is a bug"));
        let Manifest { kind, dtype, .. } = &self.writer.manifest;
        let mut manifest = Manifest::empty(spec.clone(), kind.clone(), *dtype);
        manifest.next_id = self.writer.next_id;
        Store::create_from(Layout::new(&dir), manifest)
    }

    /// Throws away a successor that is not finished. False when there is none.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn discard(&self) -> Result<bool, StorageError> {
        let Some((dir, _)) = self.unfinished()? else { return Ok(false) };
        // The manifest first: what is left without one is garbage to everybody.
        self.directory().delete(&Manifest::path(&dir))?;
        self.directory().delete(&dir)?;
        Ok(true)
    }

    /// Makes the finished successor the index. The old stores stay, for [`Migration::rollback`].
    ///
    /// # Errors
    /// [`StorageError::NoSuccessor`]; [`StorageError::Busy`] while somebody writes the successor.
    pub fn switch(self) -> Result<(), StorageError> {
        let Some((dir, store)) = self.unfinished()? else { return Err(StorageError::NoSuccessor) };
        // Recovered, and no other writer at work.
        let successor = store.writer()?;
        let home = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut manifest = Manifest {
            home,
            next_id: successor.next_id.max(self.writer.next_id),
            ..successor.manifest.clone()
        };
        drop(successor);
        let root = self.root.root().to_owned();
        self.writer.manifest.clone().replace_at(self.directory(), &root.join(PREVIOUS))?;
        failpoint::reach(Point::SwitchPrevious);
        manifest.replace(self.directory(), &root)?;
        failpoint::reach(Point::SwitchManifest);
        drop(self);
        // What nothing names any more: the stores from before the switch before this one, and the successor's own manifest.
        Migration::begin(&root).map(drop)
    }

    /// Makes the index what it was before the last switch; what is replaced is kept in its turn, so a second rollback undoes the first.
    ///
    /// # Errors
    /// [`StorageError::NoPrevious`] when there was no switch, or its old stores were forgotten.
    pub fn rollback(self) -> Result<(), StorageError> {
        let root = self.root.root();
        let Some(mut previous) = self.previous()? else { return Err(StorageError::NoPrevious) };
        // A manifest that names stores which cannot be opened would be worse than the one there is.
        Snapshot::open(&self.root.at(&previous.home), previous.clone(), None)?;
        previous.next_id = previous.next_id.max(self.writer.next_id);
        self.writer.manifest.clone().replace_at(self.directory(), &root.join(UNDONE))?;
        failpoint::reach(Point::RollbackUndone);
        previous.replace(self.directory(), root)?;
        failpoint::reach(Point::RollbackManifest);
        self.put_undone_in_place()
    }

    /// Deletes the stores from before the last switch. False when there are none.
    ///
    /// # Errors
    /// When they cannot be deleted; what is left goes when this is called again.
    pub fn forget_previous(self) -> Result<bool, StorageError> {
        let Some(previous) = self.previous()? else { return Ok(false) };
        // The manifest first: stores that nothing names are garbage to whoever comes next.
        self.directory().delete(&self.root.root().join(PREVIOUS))?;
        self.directory().sync(self.root.root())?;
        self.delete_home(&previous.home)?;
        Ok(true)
    }

    fn directory(&self) -> &dyn Directory {
        self.root.directory()
    }

    /// The manifest before the last switch. One of the stores that there are now is no way back: a switch died before it happened.
    fn previous(&self) -> Result<Option<Manifest>, StorageError> {
        let previous = read(&self.root.root().join(PREVIOUS))?;
        Ok(previous.filter(|manifest| manifest.home != self.writer.manifest.home))
    }

    /// Deletes what a migration that was cut short left and nothing names: stores, and manifests within stores that the root's name.
    fn tidy(&self) -> Result<(), StorageError> {
        let root = self.root.root();
        let mut named = vec![self.writer.manifest.home.clone()];
        named.extend(self.previous()?.map(|manifest| manifest.home));
        for home in named.iter().filter(|home| !home.is_empty()) {
            self.directory().delete(&Manifest::path(&root.join(home)))?;
        }
        let mut homes = vec![String::new()];
        for entry in fs_err::read_dir(root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // With a manifest of its own it is a successor that is being made.
            if name.starts_with("model-") && !Manifest::path(&root.join(&name)).exists() {
                homes.push(name);
            }
        }
        homes.iter().filter(|home| !named.contains(home)).try_for_each(|home| self.delete_home(home))
    }

    /// The successor that is being made, if one is: a directory with a manifest of its own that the root's manifests do not name.
    fn unfinished(&self) -> Result<Option<(PathBuf, Store)>, StorageError> {
        for entry in fs_err::read_dir(self.root.root())? {
            let entry = entry?;
            let dir = entry.path();
            // Stores that the root's manifests name have none of their own: see `tidy`.
            if entry.file_name().to_string_lossy().starts_with("model-") && Manifest::path(&dir).exists() {
                let store = Store::open(&dir)?;
                return Ok(Some((dir, store)));
            }
        }
        Ok(None)
    }

    fn delete_home(&self, home: &str) -> Result<(), StorageError> {
        let layout = self.root.at(home);
        for part in [layout.segments(), layout.text(), layout.catalog()] {
            self.directory().delete(&part)?;
        }
        if !home.is_empty() {
            self.directory().delete(&self.root.root().join(home))?;
        }
        Ok(self.directory().sync(self.root.root())?)
    }

    /// What a rollback that was cut short left to do.
    fn finish_rollback(&self) -> Result<(), StorageError> {
        let path = self.root.root().join(UNDONE);
        match read(&path)? {
            None => Ok(()),
            // It died before it replaced the manifest: it did not happen.
            Some(undone) if undone.home == self.writer.manifest.home => Ok(self.directory().delete(&path)?),
            Some(_) => self.put_undone_in_place(),
        }
    }

    fn put_undone_in_place(&self) -> Result<(), StorageError> {
        let root = self.root.root();
        self.directory().rename(&root.join(UNDONE), &root.join(PREVIOUS))?;
        Ok(self.directory().sync(root)?)
    }
}

fn read(path: &Path) -> Result<Option<Manifest>, StorageError> {
    match fs_err::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Manifest::parse_at(path.to_owned(), &bytes?).map(Some),
    }
}
