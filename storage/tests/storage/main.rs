//! The storage crate from outside, in one binary:
//!
//! - `basics`: what each call does, one small test each; add yours here
//! - `model`: random histories against a `BTreeMap`
//! - `merges`: merges in the background, and compaction
//! - `crash`: a child process that dies between the steps of a commit, and what is true afterwards (I1 to I5)
//! - `kills`: a child process that works at random and is killed at random, hundreds of times
//! - `disk`: a disk that is full, a disk that cannot be written, a second process that wants to write
//! - `damage`: missing, truncated and altered files are typed errors that say what to do, or are repaired
//! - `filter`: what filters match and refuse, against an obvious evaluator
//! - `formats`: indexes that earlier versions wrote
//! - `migration`: from one model to another and back, and a process that dies between the steps
//! - `readers`: readers beside a writer
//! - `verify`: whatever is wrong is found, and what can be made again is

mod basics;
mod crash;
mod damage;
mod disk;
mod filter;
mod formats;
mod kills;
mod merges;
mod migration;
mod model;
mod readers;
mod verify;

use std::path::Path;
use std::process::Command;

use pictor_core::testing::HashEncoder;
use pictor_core::{Attributes, ContentHash, Encoder, ImageId, ImageRecord, RasterSize};
use pictor_storage::{KindChoice, Snapshot, Store, Writer};
use tempfile::TempDir;

/// Dimension of the vectors in these tests.
const DIM: usize = 8;

fn encoder() -> HashEncoder {
    HashEncoder::new(DIM)
}

/// The vector of an image whose content is `content`, rounded as it is stored.
fn vector(content: &str) -> Vec<f32> {
    encoder().vector(content.as_bytes()).into_iter().map(|x| half::f16::from_f32(x).to_f32()).collect()
}

/// A record of an image at `uri` with one caption.
fn record(uri: &str, caption: &str) -> ImageRecord {
    ImageRecord {
        uri: uri.into(),
        content_hash: Some(ContentHash([3; 32])),
        bytes: 1234,
        modified_ns: Some(1_700_000_000_123_456_789),
        size: Some(RasterSize { width: 640, height: 480 }),
        captions: vec![caption.into()],
        attributes: Attributes::new(),
    }
}

/// Puts an image whose content, caption and uri are all `name`.
fn put(writer: &mut Writer, name: &str) -> ImageId {
    writer.put(record(name, name), &vector(name)).unwrap()
}

/// A new index, in a directory that goes with the guard.
fn new_store(kind: &str) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::create(&dir.path().join("index"), encoder().spec(), kind.parse::<KindChoice>().unwrap())
            .unwrap();
    (dir, store)
}

/// A new index of the images named, in one commit.
fn store_of(kind: &str, names: &[&str]) -> (TempDir, Store) {
    let (dir, store) = new_store(kind);
    let mut writer = store.writer().unwrap();
    for name in names {
        put(&mut writer, name);
    }
    writer.commit().unwrap();
    (dir, store)
}

/// The uris that a snapshot shows, by ascending id.
fn uris(snapshot: &Snapshot) -> Vec<String> {
    snapshot.records().map(|entry| entry.unwrap().1.uri).collect()
}

/// The scores and ids of the `k` images nearest to `query`, by looking at each; the slow twin of a search.
fn naive_best(snapshot: &Snapshot, query: &[f32], k: usize) -> Vec<(f32, ImageId)> {
    let score = |id| pictor_core::dot(query, &snapshot.vector(id).unwrap().unwrap());
    let mut all: Vec<_> = snapshot.ids().into_iter().map(|id| (score(id), id)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

/// This test binary again, to run the one test called `script`, which is no test but what a child process does.
fn child(script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([script, "--exact", "--nocapture", "--test-threads=1"]);
    command
}

/// Checks that all parts of a snapshot tell the same story about the images it shows (I1), and that every byte is as written.
fn check_consistent(dir: &Path) {
    let snapshot = Store::open(dir).unwrap().snapshot().unwrap();
    snapshot.verify().unwrap();
    let ids = snapshot.ids();
    assert_eq!(ids.len(), snapshot.len());
    let by_scan: Vec<ImageId> = snapshot.records().map(|entry| entry.unwrap().0).collect();
    assert_eq!(by_scan, ids);
    for &id in &ids {
        let record = snapshot.record(id).unwrap().unwrap();
        assert!(snapshot.vector(id).unwrap().is_some());
        let found = snapshot.search_text(&record.captions.join(" "), usize::MAX, None).unwrap();
        assert!(found.iter().any(|hit| hit.id == id), "the text index lost {id}");
        assert!(
            found.iter().all(|hit| ids.contains(&hit.id)),
            "the text index shows what the manifest does not"
        );
    }
    let all = snapshot.search_vectors(&vector("anything"), usize::MAX, None, None).unwrap();
    let mut found: Vec<ImageId> = all.iter().map(|hit| hit.id).collect();
    found.sort_unstable();
    assert_eq!(found, ids);
}
