//! Readers beside a writer: what they have does not change under them, and what they take next is never half a commit.

use std::sync::atomic::{AtomicBool, Ordering};

use pictor_core::{Generation, ImageId};
use pictor_storage::{Snapshot, Store};

use crate::{check_consistent, naive_best, new_store, put, store_of, uris, vector};

#[test]
fn a_snapshot_stays_what_it_was() {
    let (_dir, store) = store_of("auto", &["a", "b", "c"]);
    let before = store.snapshot().unwrap();
    assert_eq!(uris(&before), ["a", "b", "c"]);
    assert_eq!(before.search_text("b", 9, None).unwrap().len(), 1);

    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(1)).unwrap();
    for name in ["d", "e", "f", "g", "h", "i", "j", "k", "l", "m"] {
        put(&mut writer, name);
        writer.commit().unwrap();
    }
    writer.finish().unwrap();
    // Its segment has been merged into another and deleted, its record dropped.
    assert_eq!((before.generation(), before.len()), (Generation(1), 3));
    assert_eq!(uris(&before), ["a", "b", "c"]);
    assert_eq!(before.search_vectors(&vector("b"), 1, None, None).unwrap()[0].id, ImageId(1));
    assert_eq!(before.search_text("b", 9, None).unwrap()[0].id, ImageId(1));
    assert_eq!(before.search_text("d", 9, None).unwrap(), []);

    let after = store.snapshot().unwrap();
    assert_eq!((after.generation(), after.len()), (Generation(11), 12));
    assert!(!after.contains(ImageId(1)));
}

#[test]
fn a_snapshot_first_asked_after_a_commit_shows_nothing_of_it() {
    let (_dir, store) = store_of("auto", &["a", "b"]);
    let before = store.snapshot().unwrap();
    let mut writer = store.writer().unwrap();
    put(&mut writer, "c");
    writer.delete(ImageId(0)).unwrap();
    writer.commit().unwrap();
    // Catalog and text index are opened only now, one generation on.
    assert_eq!(uris(&before), ["a", "b"]);
    assert_eq!(
        before.record(ImageId(0)).unwrap().unwrap().uri,
        "a",
        "a record outlives its image by one commit"
    );
    assert_eq!(before.record(ImageId(2)).unwrap(), None);
    assert_eq!(before.search_text("c", 9, None).unwrap(), []);
    assert_eq!(before.search_text("b", 9, None).unwrap()[0].id, ImageId(1));
}

#[test]
fn snapshots_of_one_generation_are_one() {
    let (_dir, store) = store_of("auto", &["a"]);
    let first = store.snapshot().unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &store.snapshot().unwrap()));
    let other = Store::open(store.dir()).unwrap();
    let mut writer = other.writer().unwrap();
    put(&mut writer, "b");
    writer.commit().unwrap();
    assert_eq!(store.snapshot().unwrap().len(), 2, "another store's commit is seen");
}

#[test]
fn reading_while_a_writer_commits_and_merges() {
    let (_dir, store) = new_store("auto");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Generation(0);
                    while !done.load(Ordering::SeqCst) {
                        // A fresh store each time: nothing is open yet when the writer deletes files.
                        let snapshot = Store::open(store.dir()).unwrap().snapshot().unwrap();
                        assert!(snapshot.generation() >= seen, "time went back");
                        seen = snapshot.generation();
                        // Commit n holds images 0 to n - 1 except every third.
                        let n = seen.0;
                        assert_eq!(snapshot.len() as u64, n - n.div_ceil(3) + u64::from(n % 3 == 1));
                        let shown = snapshot.ids();
                        let hits = snapshot.search_text("image", 1000, None).unwrap();
                        assert!(hits.iter().all(|hit| shown.contains(&hit.id)));
                        for entry in snapshot.records() {
                            assert!(shown.contains(&entry.unwrap().0));
                        }
                    }
                    seen
                })
            })
            .collect();
        let mut writer = store.writer().unwrap();
        for n in 0..40_u64 {
            put(&mut writer, &format!("image {n}"));
            // The image before the last one goes when it is a multiple of three.
            if n % 3 == 1 {
                writer.delete(ImageId(n - 1)).unwrap();
            }
            writer.commit().unwrap();
        }
        writer.finish().unwrap();
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.join().unwrap() > Generation(0));
        }
    });
    check_consistent(store.dir());
}

/// Searches of many threads beside commits, merges and a compaction: each answer is the exact one for its snapshot.
#[test]
fn searches_beside_a_writer_are_exact_for_their_snapshot() {
    fn check(snapshot: &Snapshot, query: &str) {
        let (query, k) = (vector(query), 7);
        let hits = snapshot.search_vectors(&query, k, None, None).unwrap();
        let best = naive_best(snapshot, &query, k);
        assert_eq!(hits.len(), best.len());
        for (hit, (score, _)) in hits.iter().zip(best) {
            assert!((hit.score.get() - score).abs() < 1e-5, "another image would be nearer");
            assert!(snapshot.contains(hit.id));
        }
    }
    let (_dir, store) = new_store("flat");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut kept = store.snapshot().unwrap();
                let mut searches = 0;
                while !done.load(Ordering::SeqCst) {
                    let snapshot = store.snapshot().unwrap();
                    check(&snapshot, &format!("query {reader} {searches}"));
                    // An old one, whose files may be gone by now.
                    check(&kept, "an old question");
                    if searches % 16 == 0 {
                        kept = snapshot;
                    }
                    searches += 1;
                }
            });
        }
        let mut writer = store.writer().unwrap();
        for n in 0..60 {
            for image in 0..5 {
                put(&mut writer, &format!("image {}", (n * 3 + image) % 90));
            }
            writer.commit().unwrap();
            if n == 40 {
                writer.compact().unwrap();
            }
        }
        writer.finish().unwrap();
        done.store(true, Ordering::SeqCst);
    });
    check_consistent(store.dir());
}
