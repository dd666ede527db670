//! Where the bytes of a cache are: in RocksDB, or in memory.
//!
//! In RocksDB there is one key space; the first byte of a key says what it is (numbers big-endian):
//!
//! ```text
//! 'f' key -> features                 as `codec.rs` writes them; kept in blob files, which compactions do not copy
//! 'u' key -> tick, bytes (u64 each)   when it was last used, and what it counts: all that opening has to read
//! ```
//!
//! No write-ahead log: both keys of an entry are in one batch and one key space, so a crash loses the entries of the last few
//! megabytes, never half of one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rocksdb::{
    DB, DBCompressionType, IteratorMode, LogLevel, Options, PrefixRange, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::lru::{Entry, Key};
use crate::lock::WriterLock;
use crate::{Cause, StorageError};

const FEATURES: u8 = b'f';
const USE: u8 = b'u';

/// No features are this long, in bytes.
const MAX_ENTRY: u64 = 1 << 40;

/// One change of a cache.
#[derive(Default)]
pub(super) struct Change<'a> {
    pub put: Option<(Key, &'a [u8])>,
    pub gone: &'a [Key],
    pub used: &'a [(Key, Entry)],
}

/// The bytes of every entry.
pub(super) enum Values {
    Memory(Mutex<HashMap<Key, Arc<[u8]>>>),
    Disk(Disk),
}

impl Values {
    /// The bytes under `key`; an error of RocksDB's is that of one damaged value, or of the whole.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Arc<[u8]>>, Cause> {
        match self {
            Self::Memory(values) => {
                Ok(values.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
            }
            Self::Disk(disk) => Ok(disk.db.get(named(FEATURES, key))?.map(Arc::from)),
        }
    }

    /// All of `change` or none of it.
    pub(super) fn apply(&self, change: &Change<'_>) -> Result<(), StorageError> {
        match self {
            Self::Memory(values) => {
                let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
                change.gone.iter().for_each(|key| drop(values.remove(key)));
                values.extend(change.put.map(|(key, bytes)| (key, Arc::from(bytes))));
                Ok(())
            }
            Self::Disk(disk) => disk.apply(change),
        }
    }
}

/// RocksDB in a directory that is locked for this process.
pub(super) struct Disk {
    dir: PathBuf,
    db: DB,
    _lock: WriterLock,
}

impl Disk {
    /// Opens or makes the cache in `dir`, with what it holds in no order.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<(Key, Entry)>), StorageError> {
        let failed = |source: Cause| StorageError::FeatureCache { dir: dir.to_owned(), source };
        let system = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                StorageError::FeatureCacheNotWritable { dir: dir.to_owned(), source }
            }
            _ => failed(source.into()),
        };
        fs_err::create_dir_all(dir).map_err(system)?;
        for entry in fs_err::read_dir(dir).map_err(system)? {
            let name = entry.map_err(system)?.file_name();
            if name != "LOCK" && name != "db" {
                let name = name.to_string_lossy();
                return Err(failed(format!("it holds other files, such as {name}").into()));
            }
        }
        let lock = WriterLock::take(dir).map_err(|error| match error {
            StorageError::Busy { dir, holder } => StorageError::FeatureCacheBusy { dir, holder },
            StorageError::Io(error) => system(error),
            error => failed(Box::new(error)),
        })?;
        let db = DB::open(&options(), dir.join("db")).map_err(|error| failed(Box::new(error)))?;
        let disk = Self { dir: dir.to_owned(), db, _lock: lock };
        let entries = disk.entries()?;
        Ok((disk, entries))
    }

    fn entries(&self) -> Result<Vec<(Key, Entry)>, StorageError> {
        let mut range = ReadOptions::default();
        range.set_iterate_range(PrefixRange([USE]));
        let (mut entries, mut foreign) = (Vec::new(), WriteBatch::default());
        for entry in self.db.iterator_opt(IteratorMode::Start, range) {
            let (name, value) = entry.map_err(|source| self.failed(source))?;
            let number = |at: usize| Some(u64::from_be_bytes(value.get(at..at + 8)?.try_into().ok()?));
            match (Key::try_from(&name[1..]), number(0), number(8)) {
                (Ok(key), Some(used), Some(bytes)) if value.len() == 16 && bytes < MAX_ENTRY => {
                    entries.push((key, Entry { used, bytes }));
                }
                _ => {
                    foreign.delete([&[FEATURES], &name[1..]].concat());
                    foreign.delete(name);
                }
            }
        }
        self.write(foreign)?;
        Ok(entries)
    }

    fn apply(&self, change: &Change<'_>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for key in change.gone {
            batch.delete(named(FEATURES, key));
            batch.delete(named(USE, key));
        }
        if let Some((key, bytes)) = &change.put {
            batch.put(named(FEATURES, key), bytes);
        }
        for (key, entry) in change.used {
            batch.put(named(USE, key), [entry.used.to_be_bytes(), entry.bytes.to_be_bytes()].concat());
        }
        self.write(batch)
    }

    /// Puts everything on disk.
    pub(super) fn flush(&self) -> Result<(), StorageError> {
        self.db.flush().map_err(|source| self.failed(source))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut quick = WriteOptions::default();
        quick.disable_wal(true);
        self.db.write_opt(batch, &quick).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rocksdb::Error) -> StorageError {
        StorageError::FeatureCache { dir: self.dir.clone(), source: Box::new(source) }
    }
}

fn named(kind: u8, key: &Key) -> Vec<u8> {
    [&[kind][..], key].concat()
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    // Features hardly compress.
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(8 << 20);
    options.set_level_zero_file_num_compaction_trigger(2);
    // Values lie in files of their own, and a file of which a quarter is deleted is written anew: see `super` on the space taken.
    options.set_enable_blob_files(true);
    options.set_min_blob_size(4096);
    options.set_blob_file_size(16 << 20);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(1.0);
    options.set_blob_gc_force_threshold(0.25);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options
}
