//! A cache of what a matcher keeps of images, so that reranking looks at each image once: 0.9 MB of f16 an image for BLIP base.
//!
//! Why a cache and not part of the index: it holds nothing that cannot be made again from the image files, it belongs to a matcher and
//! not to the index's model, and it has a budget. Entries are found by the matcher's fingerprint and the hash of the image's bytes, so
//! images that are alike share one, and several matchers share one cache. Of what was not used for longest as much goes as is over the
//! budget (`lru.rs`). The bytes are in RocksDB or in memory (`values.rs`), laid out by `codec.rs`.
//!
//! What must stay true: a lookup gives features that this matcher made of these bytes, rounded as [`round_features`] does, or none;
//! after every call the entries together are within the budget; whatever is wrong with an entry, it is a miss.
//!
//! What is approximate: a crash loses the entries of the last few megabytes, and uses since the last write. The budget counts entries;
//! what is deleted leaves the disk in the background, so the directory may be larger: up to twice the budget and 64 MiB.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pictor_core::{ContentHash, ImageFeatures, MatcherSpec};
use serde::Serialize;

use crate::StorageError;

mod codec;
mod lru;
#[cfg(test)]
mod tests;
mod values;

pub use codec::round_features;
use lru::{Key, Lru};
use values::{Change, Disk, Values};

/// What an entry counts besides its features: its keys, and room for RocksDB's own books.
const ENTRY_BYTES: u64 = 160;

/// The hash under which an image's bytes are known: BLAKE3, as the indexer writes it into records.
pub fn content_hash(bytes: &[u8]) -> ContentHash {
    ContentHash(*blake3::hash(bytes).as_bytes())
}

/// Features of images by their content, for one matcher. Shared by reference between threads; a directory is one process's at a time.
pub struct FeatureCache {
    spec: MatcherSpec,
    budget: u64,
    lru: Mutex<Lru>,
    /// Held while books and values change together, so that both change in one order. Lookups do without.
    writing: Mutex<()>,
    values: Values,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    damaged: AtomicU64,
}

/// What a cache holds, and what it was good for since it was opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureCacheStats {
    /// Whether it outlives the process.
    pub on_disk: bool,
    /// Lookups that found features.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// `hits` of all lookups, 0..=1; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<f64>,
    /// Images whose features are held, of every matcher.
    pub entries: usize,
    /// What they count.
    pub bytes: u64,
    /// What they may count.
    pub budget: u64,
    /// Entries that went to keep the budget.
    pub evictions: u64,
    /// Entries that could not be read, or were of another shape: misses too.
    pub damaged: u64,
}

impl FeatureCache {
    /// Opens the cache in `dir`, or makes one, for the features of `spec`'s matcher, which may count at most `budget` bytes with those of
    /// all other matchers there. What is above the budget already goes now.
    ///
    /// # Errors
    /// [`StorageError::FeatureCacheBusy`] when another process, or another cache of this one, has it open;
    /// [`StorageError::FeatureCacheNotWritable`]; [`StorageError::FeatureCache`] when it is damaged or the folder holds something else.
    pub fn open(dir: &Path, spec: MatcherSpec, budget: u64) -> Result<Self, StorageError> {
        let (disk, entries) = Disk::open(dir)?;
        let cache = Self::over(Values::Disk(disk), Lru::restore(entries), spec, budget);
        let gone = cache.lru().evict(budget);
        cache.count(&cache.counts.evictions, gone.len());
        cache.values.apply(&Change { gone: &gone, ..Change::default() })?;
        Ok(cache)
    }

    /// A cache that ends with the process.
    pub fn in_memory(spec: MatcherSpec, budget: u64) -> Self {
        Self::over(Values::Memory(Mutex::default()), Lru::default(), spec, budget)
    }

    fn over(values: Values, lru: Lru, spec: MatcherSpec, budget: u64) -> Self {
        let (lru, writing, counts) = (Mutex::new(lru), Mutex::default(), Counts::default());
        Self { spec, budget, lru, writing, values, counts }
    }

    /// The matcher whose features this one gives.
    pub fn spec(&self) -> &MatcherSpec {
        &self.spec
    }

    /// The features of the image whose bytes have this hash.
    pub fn get(&self, image: ContentHash) -> Option<ImageFeatures> {
        let key = self.key(image);
        let found = if self.lru().touch(&key) { self.read(&key) } else { None };
        self.count(if found.is_some() { &self.counts.hits } else { &self.counts.misses }, 1);
        found
    }

    /// Whether [`FeatureCache::get`] would look for it; no lookup, so nothing is counted.
    pub fn holds(&self, image: ContentHash) -> bool {
        self.lru().contains(&self.key(image))
    }

    fn read(&self, key: &Key) -> Option<ImageFeatures> {
        let read = || codec::decode(&self.values.get(key).ok()??, &self.spec);
        read().or_else(|| {
            // Either just being written or evicted, or damaged: nothing is under way while this is held.
            let _writing = lock(&self.writing);
            if !self.lru().contains(key) {
                return None;
            }
            read().or_else(|| {
                self.lru().remove(key);
                self.count(&self.counts.damaged, 1);
                // When this fails too, the entry is out of the books at least.
                let _ = self.values.apply(&Change { gone: &[*key], ..Change::default() });
                None
            })
        })
    }

    /// Keeps an image's features; false when they cannot be kept: larger than the budget, of another matcher's shape, or with a number
    /// that f16 does not hold.
    ///
    /// # Errors
    /// [`StorageError::FeatureCache`] when RocksDB fails, as on a full disk; nothing is kept then.
    pub fn put(&self, image: ContentHash, features: &ImageFeatures) -> Result<bool, StorageError> {
        let Some(bytes) = codec::encode(features, &self.spec) else { return Ok(false) };
        let (key, counted) = (self.key(image), bytes.len() as u64 + ENTRY_BYTES);
        if counted > self.budget {
            return Ok(false);
        }
        let _writing = lock(&self.writing);
        let (gone, used) = {
            let mut lru = self.lru();
            lru.insert(key, counted);
            (lru.evict(self.budget), lru.take_touched())
        };
        self.count(&self.counts.evictions, gone.len());
        let change = Change { put: Some((key, &bytes)), gone: &gone, used: &used };
        self.values.apply(&change).inspect_err(|_| self.lru().remove(&key))?;
        Ok(true)
    }

    /// What it holds and what it was good for.
    pub fn stats(&self) -> FeatureCacheStats {
        let Counts { hits, misses, evictions, damaged } = &self.counts;
        let [hits, misses, evictions, damaged] =
            [hits, misses, evictions, damaged].map(|count| count.load(Ordering::Relaxed));
        let lru = self.lru();
        let lookups = hits + misses;
        FeatureCacheStats {
            on_disk: matches!(self.values, Values::Disk(_)),
            hits,
            misses,
            hit_rate: (lookups > 0).then(|| hits as f64 / lookups as f64),
            entries: lru.len(),
            bytes: lru.bytes(),
            budget: self.budget,
            evictions,
            damaged,
        }
    }

    fn key(&self, image: ContentHash) -> Key {
        let mut key = [0; 40];
        key[..8].copy_from_slice(&blake3::hash(self.spec.fingerprint.as_bytes()).as_bytes()[..8]);
        key[8..].copy_from_slice(&image.0);
        key
    }

    fn lru(&self) -> MutexGuard<'_, Lru> {
        lock(&self.lru)
    }

    fn count(&self, counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl Drop for FeatureCache {
    /// Puts the order of use on disk, and what is not there yet.
    fn drop(&mut self) {
        let used = self.lru().take_touched();
        if let Values::Disk(disk) = &self.values {
            // Nobody is left to be told, and a cache loses nothing that cannot be made again.
            let _ = self.values.apply(&Change { used: &used, ..Change::default() });
            let _ = disk.flush();
        }
    }
}

/// A panic elsewhere leaves books that may count too much, which eviction puts right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
