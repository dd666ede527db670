//! A process that dies between the steps of a commit, of a merge and of a compaction, for each step: RocksDB and tantivy do
//! their own I/O, so only a real death shows what they leave. What is then true is I1 to I5.
//!
//! The child is this test binary again, told by the environment to run the one test that is a script.

use std::path::Path;

use pictor_core::{Generation, ImageId};
use pictor_storage::{Skipped, Store};

use crate::{check_consistent, child, put, record, store_of, uris, vector};

const DIR: &str = "PICTOR_TEST_CRASH_DIR";

/// Not a test: what the child does. Without the variable, which only [`crash`] sets, it does nothing.
#[test]
fn script_of_the_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mut writer = Store::open(Path::new(&dir)).unwrap().writer().unwrap();
    put(&mut writer, "new");
    writer.put(record("replaced", "other words"), &vector("other bytes")).unwrap();
    let (id, _) = writer.find("deleted").unwrap().unwrap();
    writer.delete(id).unwrap();
    let (id, known) = writer.find("updated").unwrap().unwrap();
    writer.update_record(id, record(&known.uri, "updated caption")).unwrap();
    writer.skip(Skipped { uri: "bad".into(), reason: "damaged".into(), bytes: 0, modified_ns: None });
    writer.commit().unwrap();
    // Half of the first segment is deleted by now, so a merge is due.
    writer.finish().unwrap();
    assert!(writer.compact().unwrap());
}

/// Every failpoint the script comes by, in this order: a commit; the merge of one segment; the merge of all by the compaction,
/// and the rest of that. With it whether the commit has happened by then.
const FAILPOINTS: [(&str, bool); 19] = [
    ("after-deleted", false),
    ("after-vectors", false),
    ("after-ann", false),
    ("after-text", false),
    ("after-catalog", false),
    ("after-manifest", true),
    ("after-garbage", true),
    ("after-merge-rows", true),
    ("after-merge-ann", true),
    ("after-merge-deleted", true),
    ("after-merge-manifest", true),
    ("after-merge-garbage", true),
    ("after-merge-rows:2", true),
    ("after-merge-ann:2", true),
    ("after-merge-deleted:2", true),
    ("after-merge-manifest:2", true),
    ("after-merge-garbage:2", true),
    ("after-compact-catalog", true),
    ("after-compact-text", true),
];

/// Runs the script against the index in `dir`; `failpoint` says where it dies.
fn crash(dir: &Path, failpoint: &str) {
    let output = child("crash::script_of_the_child")
        .env(DIR, dir)
        .env("PICTOR_FAILPOINT", failpoint)
        .output()
        .unwrap();
    assert!(!output.status.success(), "the child reached {failpoint} and lived");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{failpoint}: {said}");
}

const BEFORE: [&str; 4] = ["kept", "replaced", "deleted", "updated"];
const AFTER: [&str; 4] = ["kept", "updated", "new", "replaced"];

/// What the index must show; `committed` when the manifest was in place.
fn check(dir: &Path, committed: bool, when: &str) {
    let snapshot = Store::open(dir).unwrap().snapshot().unwrap();
    let (shown, generation) = match committed {
        true => (AFTER, Generation(2)),
        false => (BEFORE, Generation(1)),
    };
    assert_eq!(uris(&snapshot), shown, "{when}");
    assert_eq!(snapshot.generation(), generation, "{when}");
    let replaced =
        snapshot.records().find(|e| e.as_ref().is_ok_and(|(_, r)| r.uri == "replaced")).unwrap().unwrap();
    assert_eq!(replaced.1.captions, [if committed { "other words" } else { "replaced" }], "{when}");
    assert_eq!(
        snapshot.vector(replaced.0).unwrap().unwrap(),
        vector(if committed { "other bytes" } else { "replaced" })
    );
    assert_eq!(snapshot.search_text("deleted", 9, None).unwrap().len(), usize::from(!committed), "{when}");
    check_consistent(dir);
}

/// Readers come first: they see the last commit, whole, with nobody having recovered it for them.
#[test]
fn a_reader_after_a_crash_at_each_point() {
    for (failpoint, committed) in FAILPOINTS {
        let (_guard, store) = store_of("hnsw", &BEFORE);
        crash(store.dir(), failpoint);
        check(store.dir(), committed, failpoint);
    }
}

/// A writer recovers, finds images by uri as the manifest has them, and goes on. These deaths are by SIGKILL.
#[test]
fn a_writer_after_a_crash_at_each_point() {
    for (failpoint, committed) in FAILPOINTS {
        let (_guard, store) = store_of("hnsw", &BEFORE);
        let nth = if failpoint.contains(':') { "" } else { ":1" };
        crash(store.dir(), &format!("{failpoint}{nth}:kill"));
        let mut writer = store.writer().unwrap();
        for uri in ["kept", "replaced", "deleted", "updated", "new"] {
            let shown = if committed { AFTER } else { BEFORE };
            assert_eq!(writer.find(uri).unwrap().is_some(), shown.contains(&uri), "{failpoint}: {uri}");
        }
        // I5: of what no manifest names nothing is left, neither a half-made segment nor one that was merged into another.
        let segments = fs_err::read_dir(store.dir().join("segments")).unwrap();
        let mut found: Vec<_> =
            segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort_unstable();
        let named = store.snapshot().unwrap().describe().unwrap().segments;
        let mut named: Vec<_> = named.into_iter().map(|segment| segment.name).collect();
        named.sort_unstable();
        assert_eq!(found, named, "{failpoint}");
        check(store.dir(), committed, failpoint);

        // I4: 0 to 3 were committed; 4 and 5 were given to a commit that reached the catalog.
        let id = put(&mut writer, "later");
        let reached_catalog = committed || failpoint == "after-catalog";
        assert!(id >= ImageId(if reached_catalog { 6 } else { 4 }), "{failpoint}: {id}");
        writer.commit().unwrap();
        drop(writer);
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.len(), 5, "{failpoint}");
        assert_eq!(snapshot.search_text("later", 1, None).unwrap()[0].id, id);
        check_consistent(store.dir());
    }
}

#[test]
fn crashes_in_a_row() {
    let (_guard, store) = store_of("auto", &BEFORE);
    for failpoint in ["after-catalog", "after-text", "after-catalog", "after-ann", "after-vectors"] {
        crash(store.dir(), failpoint);
    }
    check(store.dir(), false, "after five crashes");
    crash(store.dir(), "after-manifest");
    check(store.dir(), true, "and a sixth");
}

/// tantivy writes the list of deleted documents before the file that names it, and dies in between: the same commit, done
/// again, comes to the same name.
#[test]
fn what_a_text_commit_left_is_not_in_the_way_of_the_next() {
    let delete = |dir: &Path| {
        let mut writer = Store::open(dir).unwrap().writer().unwrap();
        let (id, _) = writer.find("deleted").unwrap().unwrap();
        writer.delete(id).unwrap();
        writer.commit().unwrap();
    };
    let lists = |dir: &Path| -> Vec<_> {
        let files = fs_err::read_dir(dir.join("text")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "del")).collect()
    };
    let (_guard, store) = store_of("flat", &BEFORE);
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(store.dir()).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    delete(&copy.path().join("index"));
    let left = lists(&copy.path().join("index"));
    assert_eq!((left.len(), lists(store.dir()).len()), (1, 0));
    let twin = store.dir().join("text").join(left[0].file_name().unwrap());
    fs_err::write(&twin, "half of a list").unwrap();

    delete(store.dir());
    assert!(
        fs_err::read(&twin).unwrap() == fs_err::read(&left[0]).unwrap(),
        "the same name, as it was feared"
    );
    assert_eq!(uris(&store.snapshot().unwrap()), ["kept", "replaced", "updated"]);
    check_consistent(store.dir());
}
