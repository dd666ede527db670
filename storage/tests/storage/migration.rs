//! From one model to another and back, and a process that dies at every step of either.

use std::path::Path;

use pictor_core::testing::HashEncoder;
use pictor_core::{Encoder, ImageId};
use pictor_storage::{Migration, StorageError, Store};

use crate::{child, record, store_of, uris, vector};

const DIR: &str = "PICTOR_TEST_MIGRATION_DIR";
const WAY: &str = "PICTOR_TEST_MIGRATION_WAY";

/// The model that the tests migrate to: another dimension, so that a mixed-up vector cannot go unseen.
fn newer() -> HashEncoder {
    HashEncoder::new(16)
}

/// Makes the successor of the index in `dir`, of the same images.
fn prepare(migration: &Migration) {
    let store = migration.successor(newer().spec()).unwrap();
    let mut writer = store.writer().unwrap();
    for name in uris(&migration.old().unwrap()) {
        if writer.find(&name).unwrap().is_none() {
            writer.put(record(&name, &name), &newer().vector(name.as_bytes())).unwrap();
        }
    }
    writer.finish().unwrap();
}

/// What an index of either model must be: the same images, findable by that model's vectors and by words.
fn check(dir: &Path, migrated: bool, names: &[&str], when: &str) {
    let store = Store::open(dir).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(uris(&snapshot), names, "{when}");
    assert_eq!(snapshot.spec().dim, if migrated { 16 } else { 8 }, "{when}");
    for name in names {
        let query = if migrated { newer().vector(name.as_bytes()) } else { vector(name) };
        let best = snapshot.search_vectors(&query, 1, None, None).unwrap()[0].id;
        assert_eq!(snapshot.record(best).unwrap().unwrap().uri, *name, "{when}");
        assert_eq!(snapshot.search_text(name, 1, None).unwrap()[0].id, best, "{when}");
    }
    snapshot.verify().unwrap();
    match pictor_storage::verify(dir, &|_, _| {}) {
        Ok(verified) => assert_eq!(verified.findings, [], "{when}"),
        Err(error) => assert!(matches!(error, StorageError::Busy { .. }), "{when}: {error}"),
    }
}

#[test]
fn there_and_back_and_on() {
    let names = ["red car", "brown dog", "white horse"];
    let (_dir, store) = store_of("auto", &names);
    let dir = store.dir();
    let before = store.snapshot().unwrap();
    let highest = before.ids().into_iter().max().unwrap();

    let migration = Migration::begin(dir).unwrap();
    assert!(matches!(store.writer(), Err(StorageError::Busy { .. })), "nobody changes what is copied");
    prepare(&migration);
    check(dir, false, &names, "made beside");
    migration.switch().unwrap();
    check(dir, true, &names, "switched");
    assert!(store.snapshot().unwrap().ids().iter().all(|id| *id > highest), "ids go on counting");
    // Who still has the old index keeps it; who asks for its vectors anew is told.
    assert_eq!(before.search_vectors(&vector("brown dog"), 1, None, None).unwrap()[0].id, ImageId(1));
    assert!(Store::open(dir).unwrap().check_encoder(HashEncoder::new(8).spec()).is_err());

    // It is an index like any other.
    let mut writer = Store::open(dir).unwrap().writer().unwrap();
    let owl = writer.put(record("owl", "owl"), &newer().vector(b"owl")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    check(dir, true, &["red car", "brown dog", "white horse", "owl"], "written to");

    Migration::begin(dir).unwrap().rollback().unwrap();
    check(dir, false, &names, "rolled back");
    let mut writer = Store::open(dir).unwrap().writer().unwrap();
    assert!(writer.put(record("cow", "cow"), &vector("cow")).unwrap() > owl, "no id is given twice");
    drop(writer);
    Migration::begin(dir).unwrap().rollback().unwrap();
    check(dir, true, &["red car", "brown dog", "white horse", "owl"], "and on again");

    assert!(Migration::begin(dir).unwrap().forget_previous().unwrap());
    assert!(!Migration::begin(dir).unwrap().forget_previous().unwrap());
    assert!(matches!(Migration::begin(dir).unwrap().rollback(), Err(StorageError::NoPrevious)));
    assert!(!dir.join("catalog").exists() && !dir.join("segments").exists(), "the old stores are gone");
    check(dir, true, &["red car", "brown dog", "white horse", "owl"], "without the old stores");
}

#[test]
fn a_successor_is_gone_on_with_refused_or_thrown_away() {
    let (_dir, store) = store_of("auto", &["a", "b"]);
    let dir = store.dir();
    assert!(matches!(Migration::begin(dir).unwrap().switch(), Err(StorageError::NoSuccessor)));
    prepare(&Migration::begin(dir).unwrap());
    let migration = Migration::begin(dir).unwrap();
    let again = migration.successor(newer().spec()).unwrap();
    assert_eq!(again.snapshot().unwrap().len(), 2, "what an earlier run made is there");
    let other = migration.successor(HashEncoder::new(4).spec()).unwrap_err();
    assert!(
        matches!(&other, StorageError::OtherSuccessor { .. }) && other.to_string().contains("--discard"),
        "{other}"
    );
    assert!(migration.discard().unwrap() && !migration.discard().unwrap());
    migration.successor(HashEncoder::new(4).spec()).unwrap();
}

/// Not a test: what the child does. Without the variables, which only the test below sets, it does nothing.
#[test]
fn script_of_the_child() {
    let (Ok(dir), Ok(way)) = (std::env::var(DIR), std::env::var(WAY)) else { return };
    let migration = Migration::begin(Path::new(&dir)).unwrap();
    match way.as_str() {
        "switch" => {
            prepare(&migration);
            migration.switch().unwrap();
        }
        _ => migration.rollback().unwrap(),
    }
}

#[test]
fn a_death_at_any_step_leaves_the_one_model_or_the_other() {
    let names = ["kept", "other"];
    for (way, failpoint, migrated) in [
        // While the successor is made, it is an index that dies like any other.
        ("switch", "after-vectors", false),
        ("switch", "after-catalog", false),
        ("switch", "after-manifest", false),
        ("switch", "after-switch-previous", false),
        ("switch", "after-switch-manifest", true),
        ("rollback", "after-rollback-undone", true),
        ("rollback", "after-rollback-manifest", false),
    ] {
        for kill in ["", ":1:kill"] {
            let when = format!("{way}, {failpoint}{kill}");
            let (_guard, store) = store_of("auto", &names);
            let dir = store.dir();
            if way == "rollback" {
                let migration = Migration::begin(dir).unwrap();
                prepare(&migration);
                migration.switch().unwrap();
            }
            let output = child("migration::script_of_the_child")
                .env(DIR, dir)
                .env(WAY, way)
                .env("PICTOR_FAILPOINT", format!("{failpoint}{kill}"))
                .output()
                .unwrap();
            assert!(!output.status.success(), "{when}: the child lived");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{when}: {said}");
            check(dir, migrated, &names, &when);

            // Whoever does it again gets to the end, and can go back from there.
            let migration = Migration::begin(dir).unwrap();
            if !migrated && way == "switch" {
                prepare(&migration);
                migration.switch().unwrap();
            } else if migrated && way == "rollback" {
                migration.rollback().unwrap();
            } else {
                drop(migration);
            }
            check(dir, way == "switch", &names, &format!("{when}, again"));
            Migration::begin(dir).unwrap().rollback().unwrap();
            check(dir, way == "rollback", &names, &format!("{when}, and back"));
        }
    }
}
