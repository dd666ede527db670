//! The catalog: what is known of each image, and of each file that was skipped. The only module that knows RocksDB.
//!
//! One key space; the first byte of a key says what it is (numbers big-endian, so that keys sort as numbers do):
//!
//! ```text
//! 'r' id       -> ImageRecord, JSON         the truth about an image
//! 'u' uri      -> id                        finds an image by where it is; rebuilt from the records in recovery
//! 'h' hash, id -> nothing                   finds images by their bytes; rebuilt like 'u'; may name images that have others now
//! 'd' id       -> nothing                   died with the last commit; its record goes with the next one
//! 's' uri      -> Skipped, JSON             the error ledger
//! 'm' name     -> u64                       "generation", "next_id", and "contents": 1 once there are keys of 'h'
//! ```
//!
//! One key space rather than column families, because a commit is then one write-ahead log and one flushed file, and a reader
//! opens in milliseconds. JSON, because records are small, read k at a time, and a field can be added without a migration.
//!
//! What must stay true: a record is never deleted before the manifest that no longer shows it is durable (I5), so a commit
//! that dies half way takes nothing from the one before it. Only ids that a manifest shows are ever looked up, so what is here
//! too early is invisible.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pictor_core::{ContentHash, Generation, ImageId, ImageRecord};
use rocksdb::{
    DB, DBCompressionType, IteratorMode, LogLevel, Options, PrefixRange, ReadOptions, WriteBatch,
    WriteOptions,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StorageError;

const RECORD: u8 = b'r';
const URI: u8 = b'u';
const HASH: u8 = b'h';
const DEAD: u8 = b'd';
const SKIPPED: u8 = b's';
const META: u8 = b'm';
const GENERATION: &[u8] = b"generation";
const NEXT_ID: &[u8] = b"next_id";
const CONTENTS: &[u8] = b"contents";

/// Entries of one write while recovery rebuilds the uri map: a few megabytes.
const RECOVERY_BATCH: usize = 10_000;

/// A file that could not be indexed, and why: data, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it is.
    pub uri: String,
    /// Why, in words for people.
    pub reason: String,
    /// Length of the file in bytes, when it was looked at.
    pub bytes: u64,
    /// Its last change, nanoseconds since the Unix epoch. With `bytes` it tells whether trying again makes sense.
    pub modified_ns: Option<i128>,
}

/// What one commit changes.
#[derive(Default)]
pub(crate) struct CatalogChanges<'a> {
    /// Images that the commit deletes, with their uris.
    pub(crate) deleted: Vec<(ImageId, &'a str)>,
    /// New records, and changed ones under the id they had.
    pub(crate) records: Vec<(ImageId, &'a ImageRecord)>,
    /// New ledger entries; `None` clears one.
    pub(crate) skipped: Vec<(&'a str, Option<&'a Skipped>)>,
}

/// An open catalog, for reading or for writing.
pub(crate) struct Catalog {
    path: PathBuf,
    db: DB,
}

impl Catalog {
    /// Makes an empty catalog of generation 0.
    pub(crate) fn create(path: &Path) -> Result<Self, StorageError> {
        let mut options = options();
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        let catalog = Self::opened(path, DB::open(&options, path))?;
        let mut batch = WriteBatch::default();
        batch.put(key(META, CONTENTS), 1_u64.to_be_bytes());
        catalog.write(batch, Generation(0), 0)?;
        Ok(catalog)
    }

    /// Opens it for writing; the writer's lock is held, so nobody else does.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        Self::opened(path, DB::open(&options(), path))
    }

    /// Opens it as it is now, for reading, beside a writer if there is one.
    ///
    /// Files are opened here once and for all (`max_open_files` −1), so what a writer deletes later stays readable. A writer
    /// may delete one *while* this opens; then the attempt fails and the next one sees the new list of files.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StorageError> {
        const ATTEMPTS: usize = 5;
        for _ in 1..ATTEMPTS {
            if let Ok(catalog) = Self::opened(path, DB::open_for_read_only(&options(), path, false)) {
                return Ok(catalog);
            }
            if !path.join("CURRENT").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self::opened(path, DB::open_for_read_only(&options(), path, false))
    }

    fn opened(path: &Path, db: Result<DB, rocksdb::Error>) -> Result<Self, StorageError> {
        match db {
            Ok(db) => Ok(Self { path: path.to_owned(), db }),
            Err(source) => Err(StorageError::Catalog { path: path.to_owned(), source: Box::new(source) }),
        }
    }

    /// The generation of the last batch written.
    pub(crate) fn generation(&self) -> Result<Generation, StorageError> {
        self.meta(GENERATION).map(Generation)
    }

    /// No id from this one on has ever been written.
    pub(crate) fn next_id(&self) -> Result<u64, StorageError> {
        self.meta(NEXT_ID)
    }

    /// The record of `id`, whether a manifest shows it or not.
    pub(crate) fn record(&self, id: ImageId) -> Result<Option<ImageRecord>, StorageError> {
        self.get(&id_key(RECORD, id))?.map(|json| self.json(&json)).transpose()
    }

    /// The image at `uri` as of the last batch.
    pub(crate) fn id_of(&self, uri: &str) -> Result<Option<ImageId>, StorageError> {
        self.get(&key(URI, uri.as_bytes()))?.map(|value| self.number(&value).map(ImageId)).transpose()
    }

    /// All records by ascending id, whether a manifest shows them or not.
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<(ImageId, ImageRecord), StorageError>> {
        self.scan(RECORD).map(|entry| {
            let (id, json) = entry?;
            Ok((ImageId(self.number(&id)?), self.json(&json)?))
        })
    }

    /// Whether there are keys to find images by their bytes; a catalog of an earlier version has none before its first writer.
    pub(crate) fn knows_contents(&self) -> Result<bool, StorageError> {
        Ok(self.get(&key(META, CONTENTS))?.is_some())
    }

    /// The images whose bytes have this hash, ascending, whether a manifest shows them or not.
    pub(crate) fn same_content(&self, hash: ContentHash) -> Result<Vec<ImageId>, StorageError> {
        if !self.knows_contents()? {
            let contents = self.contents()?.into_iter().filter(|(known, _)| *known == hash);
            return Ok(contents.map(|(_, id)| id).collect());
        }
        let mut ids = Vec::new();
        for entry in self.scan_below(key(HASH, &hash.0)) {
            let id = ImageId(self.number(&entry?.0)?);
            ids.extend(self.has_content(id, hash)?.then_some(id));
        }
        Ok(ids)
    }

    /// Every image that has a hash with it, by hash and then by id, whether a manifest shows it or not.
    pub(crate) fn contents(&self) -> Result<Vec<(ContentHash, ImageId)>, StorageError> {
        let mut contents = Vec::new();
        if self.knows_contents()? {
            for entry in self.scan(HASH) {
                let (key, _) = entry?;
                let Some((hash, id)) = key.split_first_chunk::<32>() else {
                    return Err(StorageError::damaged(&self.path, "a content hash is cut short"));
                };
                contents.push((ContentHash(*hash), ImageId(self.number(id)?)));
            }
        } else {
            for entry in self.records() {
                let (id, record) = entry?;
                contents.extend(record.content_hash.map(|hash| (hash, id)));
            }
            contents.sort_unstable();
        }
        Ok(contents)
    }

    /// Whether an image's record has this hash: a key may be older than the record.
    pub(crate) fn has_content(&self, id: ImageId, hash: ContentHash) -> Result<bool, StorageError> {
        Ok(self.record(id)?.is_some_and(|record| record.content_hash == Some(hash)))
    }

    /// Number of records, whether a manifest shows them or not.
    pub(crate) fn count_records(&self) -> Result<usize, StorageError> {
        self.scan(RECORD).try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// The uri map: every entry, whether a manifest shows its image or not.
    pub(crate) fn uris(&self) -> impl Iterator<Item = Result<ImageId, StorageError>> {
        self.scan(URI).map(|entry| Ok(ImageId(self.number(&entry?.1)?)))
    }

    /// The images that died with the last commit.
    pub(crate) fn dead(&self) -> impl Iterator<Item = Result<ImageId, StorageError>> {
        self.scan(DEAD).map(|entry| Ok(ImageId(self.number(&entry?.0)?)))
    }

    /// The error ledger by ascending uri.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = Result<Skipped, StorageError>> {
        self.scan(SKIPPED).map(|entry| self.json(&entry?.1))
    }

    /// The ledger's entry for `uri`.
    pub(crate) fn find_skipped(&self, uri: &str) -> Result<Option<Skipped>, StorageError> {
        self.get(&key(SKIPPED, uri.as_bytes()))?.map(|json| self.json(&json)).transpose()
    }

    /// Step 4 of a commit: everything in one batch, on disk when this returns.
    ///
    /// Records of images that died with the commit *before* this one go now: its manifest has been durable since.
    pub(crate) fn apply(
        &self,
        generation: Generation,
        next_id: u64,
        changes: &CatalogChanges<'_>,
    ) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for entry in self.scan(DEAD) {
            let id = ImageId(self.number(&entry?.0)?);
            if let Some(hash) = self.record(id)?.and_then(|record| record.content_hash) {
                batch.delete(hash_key(hash, id));
            }
            batch.delete(id_key(RECORD, id));
            batch.delete(id_key(DEAD, id));
        }
        for (id, uri) in &changes.deleted {
            batch.put(id_key(DEAD, *id), []);
            batch.delete(key(URI, uri.as_bytes()));
        }
        // After the deletions: a new image may stand where a deleted one stood.
        for (id, record) in &changes.records {
            batch.put(id_key(RECORD, *id), to_json(record));
            batch.put(key(URI, record.uri.as_bytes()), id.0.to_be_bytes());
            if let Some(hash) = record.content_hash {
                batch.put(hash_key(hash, *id), []);
            }
        }
        for (uri, skipped) in &changes.skipped {
            match skipped {
                Some(skipped) => batch.put(key(SKIPPED, uri.as_bytes()), to_json(skipped)),
                None => batch.delete(key(SKIPPED, uri.as_bytes())),
            }
        }
        self.write(batch, generation, next_id)
    }

    /// Makes the catalog what the manifest of `generation` says: records that are not `live` go, the maps of uris and
    /// hashes are made again from those that stay. The generation is written last, so a recovery that dies is simply done again.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a live image has no record, which no crash can cause.
    pub(crate) fn recover(
        &self,
        generation: Generation,
        next_id: u64,
        live_images: usize,
        live: impl Fn(ImageId) -> bool,
    ) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_range([URI], [URI + 1]);
        batch.delete_range([HASH], [HASH + 1]);
        batch.delete_range([DEAD], [DEAD + 1]);
        batch.put(key(META, CONTENTS), 1_u64.to_be_bytes());
        let mut found = 0;
        for entry in self.records() {
            let (id, record) = entry?;
            if live(id) {
                found += 1;
                batch.put(key(URI, record.uri.as_bytes()), id.0.to_be_bytes());
                if let Some(hash) = record.content_hash {
                    batch.put(hash_key(hash, id), []);
                }
            } else {
                batch.delete(id_key(RECORD, id));
            }
            if batch.len() >= RECOVERY_BATCH {
                self.db.write(std::mem::take(&mut batch)).map_err(|source| self.failed(source))?;
            }
        }
        if found != live_images {
            return Err(StorageError::damaged(
                &self.path,
                format!("it holds records of {found} images, the manifest shows {live_images}"),
            ));
        }
        self.write(batch, generation, next_id)
    }

    /// Has RocksDB rewrite its files without what is deleted.
    pub(crate) fn compact(&self) -> Result<(), StorageError> {
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        // That call does not say whether it worked. After a failure RocksDB refuses to write, so this one tells.
        self.write(WriteBatch::default(), self.generation()?, self.next_id()?)
    }

    /// Writes `batch` with its tags, synced, and flushes: a reader then opens without replaying a log.
    fn write(&self, mut batch: WriteBatch, generation: Generation, next_id: u64) -> Result<(), StorageError> {
        batch.put(key(META, GENERATION), generation.0.to_be_bytes());
        batch.put(key(META, NEXT_ID), next_id.to_be_bytes());
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.db.write_opt(batch, &durable).map_err(|source| self.failed(source))?;
        self.db.flush().map_err(|source| self.failed(source))
    }

    fn meta(&self, name: &[u8]) -> Result<u64, StorageError> {
        let value = self.get(&key(META, name))?;
        let missing =
            || StorageError::damaged(&self.path, format!("it has no {}", String::from_utf8_lossy(name)));
        self.number(&value.ok_or_else(missing)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get(key).map_err(|source| self.failed(source))
    }

    /// Entries of one kind by ascending key, which comes without its first byte.
    fn scan(&self, kind: u8) -> impl Iterator<Item = Result<(Vec<u8>, Box<[u8]>), StorageError>> {
        self.scan_below(vec![kind])
    }

    /// Entries whose key starts with `prefix` by ascending key, which comes without it.
    fn scan_below(
        &self,
        prefix: Vec<u8>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Box<[u8]>), StorageError>> {
        let mut range = ReadOptions::default();
        let length = prefix.len();
        range.set_iterate_range(PrefixRange(prefix));
        self.db.iterator_opt(IteratorMode::Start, range).map(move |entry| {
            let (key, value) = entry.map_err(|source| self.failed(source))?;
            Ok((key[length..].to_vec(), value))
        })
    }

    fn number(&self, bytes: &[u8]) -> Result<u64, StorageError> {
        let bytes = bytes.try_into().map_err(|_| {
            StorageError::damaged(&self.path, format!("a number of {} bytes, expected 8", bytes.len()))
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn json<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, StorageError> {
        serde_json::from_slice(bytes).map_err(|error| {
            StorageError::damaged(&self.path, format!("a record is not what this version writes: {error}"))
        })
    }

    fn failed(&self, source: rocksdb::Error) -> StorageError {
        StorageError::Catalog { path: self.path.clone(), source: Box::new(source) }
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_paranoid_checks(true);
    // Every file is opened with the database: a reader relies on that, and there are few.
    options.set_max_open_files(-1);
    options.set_write_buffer_size(16 << 20);
    // RocksDB's own diary, which nobody reads: short, and only what went wrong.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn id_key(kind: u8, id: ImageId) -> Vec<u8> {
    key(kind, &id.0.to_be_bytes())
}

fn hash_key(hash: ContentHash, id: ImageId) -> Vec<u8> {
    [&[HASH][..], &hash.0, &id.0.to_be_bytes()].concat()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are plain data; this is a bug")
}
