//! The door: an index directory, opened. From here one gets a [`Snapshot`] to read or the [`Writer`] to write.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pictor_ann::Dtype;
use pictor_core::EncoderSpec;

use crate::catalog::Catalog;
use crate::kind_choice::KindChoice;
use crate::layout::Layout;
use crate::lock::WriterLock;
use crate::manifest::Manifest;
use crate::text::TextIndex;
use crate::{Snapshot, StorageError, Writer, recovery, segment, upgrade};

/// An index on disk.
///
/// Any number of processes may have it open and read; one at a time writes. Readers never wait for a writer.
pub struct Store {
    layout: Layout,
    encoder: EncoderSpec,
    /// The newest snapshot taken, with the bytes of the manifest it was taken from.
    newest: Mutex<Option<(Vec<u8>, Arc<Snapshot>)>>,
}

impl Store {
    /// Makes an empty index of generation 0 in `dir`, which is made too unless it is there and empty. What an earlier
    /// `create` left when it was cut short counts as empty.
    ///
    /// `spec` says what makes its vectors, for good; `kind` how segments are indexed.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`], [`StorageError::NotEmpty`], [`StorageError::Busy`] when another process is making
    /// the same index, [`StorageError::Ann`] for a kind that cannot be built for vectors of this dimension,
    /// [`StorageError::NotWritable`] and [`StorageError::Full`] for a disk that cannot be written.
    pub fn create(dir: &Path, spec: &EncoderSpec, kind: KindChoice) -> Result<Self, StorageError> {
        Self::create_with(dir, spec, kind, Dtype::default())
    }

    /// As [`Store::create`]; `dtype` says how the components of vectors are written.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_with(
        dir: &Path,
        spec: &EncoderSpec,
        kind: KindChoice,
        dtype: Dtype,
    ) -> Result<Self, StorageError> {
        Self::create_from(Layout::new(dir), Manifest::empty(spec.clone(), kind, dtype))
    }

    /// Makes the empty index that `manifest` describes.
    pub(crate) fn create_from(layout: Layout, manifest: Manifest) -> Result<Self, StorageError> {
        let dir = layout.root().to_owned();
        Self::create_in(layout, manifest).map_err(|error| error.on_disk(&dir))
    }

    fn create_in(layout: Layout, mut manifest: Manifest) -> Result<Self, StorageError> {
        let dir = layout.root();
        let spec = manifest.encoder.clone();
        if spec.dim == 0 {
            return Err(StorageError::Dimension { expected: 1, received: 0 });
        }
        check_vacant(&layout)?;
        let directory = layout.directory();
        directory.create_dir(dir)?;
        let _lock = WriterLock::take(dir)?;
        // Once more: somebody else may have been faster.
        check_vacant(&layout)?;
        for leftover in [layout.catalog(), layout.text(), layout.segments()] {
            directory.delete(&leftover)?;
        }
        directory.create_dir(&layout.segments())?;
        segment::try_kind(&layout.segments().join("trial.tmp"), &manifest.kind, spec.dim)?;
        Catalog::create(&layout.catalog())?;
        TextIndex::create(&layout.text())?;
        directory.sync(dir)?;
        manifest.replace(directory, dir)?;
        if let Some(parent) = dir.canonicalize()?.parent() {
            directory.sync(parent)?;
        }
        Ok(Self { encoder: spec, newest: Mutex::default(), layout })
    }

    /// Opens the index in `dir`. Only the manifest is read; segments are opened by [`Store::snapshot`]. An index of format 1 is
    /// brought to the current format first.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::NotAnIndex`], [`StorageError::Version`], [`StorageError::Damaged`].
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_in(Layout::new(dir))
    }

    pub(crate) fn open_in(layout: Layout) -> Result<Self, StorageError> {
        let read = || Manifest::parse(layout.root(), &Manifest::read(layout.root())?);
        let manifest = match read() {
            Err(StorageError::Version { received: upgrade::FROM, .. }) => {
                upgrade::run(&layout).map_err(|error| error.on_disk(layout.root()))?;
                read()?
            }
            manifest => manifest?,
        };
        Ok(Self { layout, encoder: manifest.encoder, newest: Mutex::default() })
    }

    /// The index directory.
    pub fn dir(&self) -> &Path {
        self.layout.root()
    }

    /// What makes this index's vectors.
    pub fn spec(&self) -> &EncoderSpec {
        &self.encoder
    }

    /// How its segments are indexed.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the manifest cannot be read.
    pub fn kind(&self) -> Result<KindChoice, StorageError> {
        Ok(Manifest::parse(self.dir(), &Manifest::read(self.dir())?)?.kind)
    }

    /// How the components of its vectors are written.
    ///
    /// # Errors
    /// As [`Store::kind`].
    pub fn dtype(&self) -> Result<Dtype, StorageError> {
        Ok(Manifest::parse(self.dir(), &Manifest::read(self.dir())?)?.dtype)
    }

    /// Checks that `spec` makes vectors that can be compared with those stored (I6): same fingerprint, same dimension.
    ///
    /// # Errors
    /// [`StorageError::EncoderMismatch`], which says what to do.
    pub fn check_encoder(&self, spec: &EncoderSpec) -> Result<(), StorageError> {
        if (&spec.fingerprint, spec.dim) == (&self.encoder.fingerprint, self.encoder.dim) {
            return Ok(());
        }
        let specs = Box::new((self.encoder.clone(), spec.clone()));
        Err(StorageError::EncoderMismatch { dir: self.dir().to_owned(), specs })
    }

    /// The index as of the newest commit, whichever process made it. While there is no newer one this costs reading the
    /// manifest; after a commit, opening what that commit added.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] and [`StorageError::DamagedNeighbors`] name the file and what to do about it.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, StorageError> {
        // What the lock guards is replaced whole, so a panic elsewhere cannot have left it half done.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Manifest::read(self.dir())?;
        loop {
            if let Some((of, snapshot)) = &*newest
                && *of == bytes
            {
                return Ok(snapshot.clone());
            }
            let manifest = Manifest::parse(self.dir(), &bytes)?;
            // Segments of another home only share their names.
            let known = newest.as_ref().map(|(_, snapshot)| &**snapshot);
            let known = known.filter(|known| known.manifest().home == manifest.home);
            match Snapshot::open(&self.layout.at(&manifest.home), manifest, known) {
                Ok(snapshot) => {
                    let snapshot = Arc::new(snapshot);
                    *newest = Some((bytes, snapshot.clone()));
                    return Ok(snapshot);
                }
                // A writer may commit, and delete what only the manifest just read names, while its files are opened.
                Err(error) => {
                    let now = Manifest::read(self.dir())?;
                    if now == bytes {
                        return Err(error);
                    }
                    bytes = now;
                }
            }
        }
    }

    /// The writer, once the index is recovered from whatever a crash left (see `recovery.rs`).
    ///
    /// # Errors
    /// [`StorageError::Busy`] at once when another writer is at work; it names the process. [`StorageError::NotWritable`] and
    /// [`StorageError::Full`] for a disk that cannot be written.
    pub fn writer(&self) -> Result<Writer, StorageError> {
        let lock = WriterLock::take(self.dir()).map_err(|error| error.on_disk(self.dir()))?;
        let recovered = recovery::run(&self.layout, lock).map_err(|error| error.on_disk(self.dir()))?;
        // Since this store was opened, the index may have been switched to another model (I6).
        let (stored, known) = (&recovered.manifest.encoder, &self.encoder);
        if (&stored.fingerprint, stored.dim) != (&known.fingerprint, known.dim) {
            let specs = Box::new((stored.clone(), known.clone()));
            return Err(StorageError::EncoderMismatch { dir: self.dir().to_owned(), specs });
        }
        Ok(Writer::new(self.layout.at(&recovered.manifest.home), recovered))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.dir())
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

/// Whether an index can be made here: nothing there, or only what a `create` cut short leaves.
fn check_vacant(layout: &Layout) -> Result<(), StorageError> {
    let dir = layout.root();
    if Manifest::path(dir).exists() {
        return Err(StorageError::AlreadyExists { dir: dir.to_owned() });
    }
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs_err::read_dir(dir)? {
        let name = entry?.file_name();
        if !["LOCK", "catalog", "text", "segments", "manifest.json.tmp"].iter().any(|ours| name == *ours) {
            return Err(StorageError::NotEmpty { dir: dir.to_owned() });
        }
    }
    Ok(())
}
