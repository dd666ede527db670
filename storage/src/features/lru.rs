//! Which entries there are, how long each is, and in which order they were last used. Pure: no value is here, and no disk.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Eight bytes for the matcher, then the hash of the image's bytes.
pub(super) type Key = [u8; 40];

/// The books of a cache.
#[derive(Default)]
pub(super) struct Lru {
    entries: HashMap<Key, Entry>,
    /// Keys by the tick of their last use; no two entries share one.
    order: BTreeMap<u64, Key>,
    bytes: u64,
    tick: u64,
    /// Keys used since [`Lru::take_touched`].
    touched: HashSet<Key>,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// When it was last used, in uses of the cache.
    pub used: u64,
    /// What it counts against the budget.
    pub bytes: u64,
}

impl Lru {
    /// The books as they were kept: `(key, entry)` in any order.
    pub(super) fn restore(entries: impl IntoIterator<Item = (Key, Entry)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|(key, entry)| (entry.used, *key));
        let mut lru = Self::default();
        for (key, Entry { used, bytes }) in entries {
            // Ticks are not shared, whatever a crash left.
            lru.tick = used.min(u64::MAX / 2).max(lru.tick + 1);
            lru.add(key, bytes);
        }
        lru
    }

    /// Whether `key` is there.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Bytes of all entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Marks `key` as used now; false when it is not there.
    pub(super) fn touch(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        self.order.remove(&entry.used);
        self.tick += 1;
        entry.used = self.tick;
        self.order.insert(self.tick, *key);
        self.touched.insert(*key);
        true
    }

    /// Adds `key`, used now, or gives it another length.
    pub(super) fn insert(&mut self, key: Key, bytes: u64) {
        self.remove(&key);
        self.tick += 1;
        self.add(key, bytes);
        self.touched.insert(key);
    }

    fn add(&mut self, key: Key, bytes: u64) {
        self.entries.insert(key, Entry { used: self.tick, bytes });
        self.order.insert(self.tick, key);
        self.bytes += bytes;
    }

    /// Takes `key` out, if it is there.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
            self.touched.remove(key);
        }
    }

    /// Takes out what was not used for longest until the rest is within `budget`.
    pub(super) fn evict(&mut self, budget: u64) -> Vec<Key> {
        let mut gone = Vec::new();
        while self.bytes > budget
            && let Some((_, &key)) = self.order.first_key_value()
        {
            self.remove(&key);
            gone.push(key);
        }
        gone
    }

    /// The entries used since the last call, as they are now.
    pub(super) fn take_touched(&mut self) -> Vec<(Key, Entry)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|key| Some((key, *self.entries.get(&key)?))).collect()
    }
}
