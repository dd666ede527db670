//! A cache against a slow twin, in memory and on disk; and what may be wrong on disk.

use std::collections::VecDeque;
use std::path::PathBuf;

use proptest::prelude::*;
use rocksdb::{DB, IteratorMode, Options};
use tempfile::TempDir;

use super::*;

fn spec(width: usize) -> MatcherSpec {
    MatcherSpec { name: "test".into(), fingerprint: "abc".into(), image_tokens: [3, width], dim: 2 }
}

/// Features of image `number`, exact in f16.
fn features(number: u32, spec: &MatcherSpec) -> ImageFeatures {
    let [tokens, width] = spec.image_tokens;
    let tokens = (0..tokens * width).map(|i| (number % 512 + i as u32 % 7) as f32).collect();
    ImageFeatures { tokens, embedding: vec![0.1 + number as f32, -0.7] }
}

fn image(number: u32) -> ContentHash {
    content_hash(&number.to_le_bytes())
}

fn entry(spec: &MatcherSpec) -> u64 {
    codec::length(spec) as u64 + ENTRY_BYTES
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn held(cache: &FeatureCache) -> Vec<u32> {
    (0..100).filter(|&number| cache.holds(image(number))).collect()
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    files.sum()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32),
    Get(u32),
    /// Closed and opened again with room for so many.
    Reopen(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..12_u32).prop_map(Step::Put),
        4 => (0..12_u32).prop_map(Step::Get),
        1 => (0..8_u64).prop_map(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The twin: numbers from the one unused for longest to the newest, at most `room` of them.
fn play(steps: &[Step], dir: Option<&Path>) {
    let spec = spec(5);
    let open = |room: u64| {
        let budget = room * entry(&spec);
        dir.map_or_else(
            || FeatureCache::in_memory(spec.clone(), budget),
            |dir| FeatureCache::open(dir, spec.clone(), budget).unwrap(),
        )
    };
    let mut room = 4;
    let mut cache = open(room);
    let mut twin = VecDeque::new();
    let forget = |twin: &mut VecDeque<u32>, number| twin.retain(|&known| known != number);
    for step in steps {
        match *step {
            Step::Put(number) => {
                assert_eq!(cache.put(image(number), &features(number, &spec)).unwrap(), room > 0);
                forget(&mut twin, number);
                twin.push_back(number);
            }
            Step::Get(number) => {
                let known = twin.contains(&number);
                assert_eq!(cache.get(image(number)), known.then(|| features(number, &spec)));
                if known {
                    forget(&mut twin, number);
                    twin.push_back(number);
                }
            }
            Step::Reopen(other) => {
                drop(cache);
                if dir.is_none() {
                    twin.clear();
                }
                room = other;
                cache = open(room);
            }
        }
        while twin.len() as u64 > room {
            twin.pop_front();
        }
        let mut expected: Vec<_> = twin.iter().copied().collect();
        expected.sort_unstable();
        assert_eq!(held(&cache), expected, "{step:?}");
        let stats = cache.stats();
        assert!(stats.bytes <= stats.budget && stats.bytes == twin.len() as u64 * entry(&spec));
        assert_eq!((stats.entries, stats.damaged), (twin.len(), 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn in_memory_is_what_was_used_last(steps in steps()) {
        play(&steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn on_disk_is_what_was_used_last_across_restarts(steps in steps()) {
        play(&steps, Some(&folder().path().join("features")));
    }
}

#[test]
fn rounds_to_f16_and_keeps_embeddings_whole() {
    let spec = spec(4);
    let cache = FeatureCache::in_memory(spec.clone(), 1 << 20);
    let tokens: Vec<f32> = (0..12).map(|i| (i as f32 - 5.5) / 3.0 + 1e-4).collect();
    let mut made = ImageFeatures { tokens, embedding: vec![0.123_456_79, -0.987_654_3] };
    assert!(cache.put(image(1), &made).unwrap());
    let kept = cache.get(image(1)).unwrap();
    assert_ne!(kept, made);
    round_features(&mut made);
    assert_eq!(kept, made);

    for odd in [f32::NAN, f32::INFINITY, 7e4] {
        let mut wild = features(2, &spec);
        wild.tokens[3] = odd;
        assert!(!cache.put(image(2), &wild).unwrap(), "{odd}");
        let as_it_was = wild.tokens.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        round_features(&mut wild);
        assert_eq!(wild.tokens.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), as_it_was);
    }
    assert!(!cache.put(image(3), &features(3, &self::spec(9))).unwrap(), "another shape");
    assert_eq!(held(&cache), [1]);
}

#[test]
fn matchers_share_a_folder_and_no_features() {
    let dir = folder();
    let (one, mut two) = (spec(4), spec(4));
    two.fingerprint = "def".into();
    let open = |spec: &MatcherSpec| FeatureCache::open(dir.path(), spec.clone(), 1 << 20).unwrap();
    open(&one).put(image(1), &features(1, &one)).unwrap();
    let cache = open(&two);
    assert_eq!(cache.get(image(1)), None);
    cache.put(image(1), &features(9, &two)).unwrap();
    assert_eq!(cache.stats().entries, 2);
    drop(cache);
    assert_eq!(open(&one).get(image(1)), Some(features(1, &one)));
    let budget = entry(&one);
    let narrow = FeatureCache::open(dir.path(), two.clone(), budget).unwrap();
    assert_eq!((narrow.stats().entries, narrow.get(image(1))), (1, None), "the other one was used last");
}

#[test]
fn many_threads_at_once() {
    let dir = folder();
    let spec = spec(3000);
    let room = 6;
    let cache = FeatureCache::open(dir.path(), spec.clone(), room * entry(&spec)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (cache, spec) = (&cache, &spec);
            scope.spawn(move || {
                for turn in 0..150_u32 {
                    let number = (turn * 7 + thread * 3) % 10;
                    match cache.get(image(number)) {
                        Some(found) => assert_eq!(found, features(number, spec)),
                        None => assert!(cache.put(image(number), &features(number, spec)).unwrap()),
                    }
                    assert!(cache.stats().bytes <= room * entry(spec));
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!((stats.hits + stats.misses, stats.damaged, stats.entries), (1200, 0, room as usize));
    let before = held(&cache);
    drop(cache);
    let cache = FeatureCache::open(dir.path(), spec.clone(), room * entry(&spec)).unwrap();
    assert_eq!(held(&cache), before);
    for number in before {
        assert_eq!(cache.get(image(number)), Some(features(number, &spec)));
    }
}

type Bytes = Box<[u8]>;

/// Everything in the RocksDB of a closed cache.
fn contents(dir: &Path) -> (DB, Vec<(Bytes, Bytes)>) {
    let db = DB::open(&Options::default(), dir.join("db")).unwrap();
    let entries = db.iterator(IteratorMode::Start).map(Result::unwrap).collect();
    (db, entries)
}

#[test]
fn an_entry_that_is_not_ours_is_a_miss() {
    let dir = folder();
    let spec = spec(4);
    let open = || FeatureCache::open(dir.path(), spec.clone(), 1 << 20).unwrap();
    let cache = open();
    for number in 0..8 {
        cache.put(image(number), &features(number, &spec)).unwrap();
    }
    drop(cache);
    let (db, entries) = contents(dir.path());
    assert_eq!(entries.len(), 16);
    let values: Vec<_> = entries.iter().filter(|(key, _)| key[0] == b'f').collect();
    let mut infinite = values[3].1.to_vec();
    infinite[16..18].copy_from_slice(&[0x00, 0x7c]);
    let wrong: [&[u8]; 4] = [b"", b"PFT1", &values[2].1[1..], &infinite];
    for ((key, _), bytes) in values.iter().zip(wrong) {
        db.put(key, bytes).unwrap();
    }
    db.delete(&values[4].0).unwrap();
    // Books that make no sense.
    db.put([b"u", &values[5].0[1..]].concat(), b"short").unwrap();
    db.put([b"u", &values[6].0[1..]].concat(), [0xff; 16]).unwrap();
    db.put(b"u", b"").unwrap();
    db.put(b"x", b"foreign").unwrap();
    drop(db);

    let cache = open();
    let found = (0..8).filter(|&number| match cache.get(image(number)) {
        Some(found) => found == features(number, &spec),
        None => false,
    });
    assert_eq!(found.count(), 1);
    assert_eq!((cache.stats().damaged, cache.stats().entries), (5, 1));
    for number in 0..8 {
        cache.put(image(number), &features(number, &spec)).unwrap();
        assert_eq!(cache.get(image(number)), Some(features(number, &spec)), "written anew");
    }

    // The same fingerprint with another shape, as of a program that counts tokens otherwise.
    drop(cache);
    let other = self::spec(6);
    let cache = FeatureCache::open(dir.path(), other.clone(), 1 << 20).unwrap();
    assert_eq!(cache.get(image(1)), None);
    assert!(cache.put(image(1), &features(1, &other)).unwrap());
    assert_eq!(cache.get(image(1)), Some(features(1, &other)));
}

#[test]
fn damaged_files_are_misses_or_an_error_that_says_what_to_do() {
    let dir = folder();
    let spec = spec(3000);
    let open = || FeatureCache::open(dir.path(), spec.clone(), 1 << 20);
    let cache = open().unwrap();
    for number in 0..5 {
        cache.put(image(number), &features(number, &spec)).unwrap();
    }
    drop(cache);
    let files = |extension: &str| -> Vec<PathBuf> {
        let files = std::fs::read_dir(dir.path().join("db")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    };
    for blob in files("blob") {
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes.iter_mut().skip(100).step_by(5000).for_each(|byte| *byte ^= 0x55);
        std::fs::write(&blob, bytes).unwrap();
    }
    let cache = open().unwrap();
    assert!((0..5).all(|number| cache.get(image(number)).is_none()));
    assert_eq!(cache.stats().damaged, 5);
    assert!(cache.put(image(0), &features(0, &spec)).unwrap());
    assert_eq!(cache.get(image(0)), Some(features(0, &spec)));
    drop(cache);

    std::fs::write(dir.path().join("db/CURRENT"), "nonsense").unwrap();
    let error = open().err().unwrap();
    assert!(matches!(error, StorageError::FeatureCache { .. }), "{error}");
    assert!(error.to_string().contains("delete that folder"), "{error}");
}

#[test]
fn a_folder_is_one_processs_and_holds_nothing_else() {
    let dir = folder();
    let spec = spec(4);
    let open = |dir: &Path| FeatureCache::open(dir, spec.clone(), 1 << 20);
    let first = open(dir.path()).unwrap();
    match open(dir.path()).err().unwrap() {
        StorageError::FeatureCacheBusy { holder, .. } => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other}"),
    }
    drop(first);
    open(dir.path()).unwrap();

    std::fs::write(dir.path().join("holiday.jpg"), "mine").unwrap();
    let error = open(dir.path()).err().unwrap();
    let StorageError::FeatureCache { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("holiday.jpg"), "{source}");
    let file = dir.path().join("holiday.jpg");
    assert!(matches!(open(&file), Err(StorageError::FeatureCache { .. })), "a file");
}

/// What the module says of space: features of a hundred budgets through a cache of one.
#[test]
fn what_is_deleted_leaves_the_disk() {
    let dir = folder();
    let spec = spec(60_000);
    let budget = 16 << 20;
    let cache = FeatureCache::open(dir.path(), spec.clone(), budget).unwrap();
    for number in 0..1200 {
        cache.put(image(number), &features(number, &spec)).unwrap();
        assert!(cache.stats().bytes <= budget);
    }
    let stats = cache.stats();
    assert_eq!(stats.evictions as usize + stats.entries, 1200);
    let limit = 2 * budget + (64 << 20);
    // Compactions run in the background and may be behind on a busy machine.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while disk_bytes(&dir.path().join("db")) > limit && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let bytes = disk_bytes(&dir.path().join("db"));
    assert!(bytes <= limit, "{bytes} bytes for a budget of {budget}");
}
