//! Missing, truncated and altered files: typed errors that name the file and the next step, or, for what can be made again
//! from vectors and catalog (I3), a repair by the next writer. Never a panic, never another answer.

use std::path::{Path, PathBuf};

use pictor_core::ImageId;
use pictor_storage::{Snapshot, StorageError, Store};
use tempfile::TempDir;

use crate::{check_consistent, put, store_of, uris, vector};

fn open(dir: &Path) -> Result<std::sync::Arc<Snapshot>, StorageError> {
    Store::open(dir)?.snapshot()
}

fn expect_damaged(dir: &Path, file: &Path) -> String {
    match open(dir).unwrap_err() {
        error @ StorageError::Damaged { .. } => {
            let text = error.to_string();
            assert!(text.contains(file.to_str().unwrap()), "{text}");
            assert!(text.ends_with("restore the index from a copy, or delete it and index again"), "{text}");
            text
        }
        error => panic!("{error}"),
    }
}

/// An HNSW index of two segments, the first with a deleted row; and the path of the first.
fn sample() -> (TempDir, Store, PathBuf) {
    let (dir, store) = store_of("hnsw", &["a", "b", "c", "d"]);
    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(1)).unwrap();
    put(&mut writer, "e");
    writer.commit().unwrap();
    let segment = store.dir().join("segments/00000001");
    (dir, store, segment)
}

/// Replaces a file by a changed copy, as another inode: a mapped file must not change.
fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs_err::read(path).unwrap();
    change(&mut bytes);
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn no_index_there() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(&dir.path().join("none")), Err(StorageError::Missing { .. })));
    assert!(matches!(open(dir.path()), Err(StorageError::NotAnIndex { .. })));
    let file = dir.path().join("file");
    fs_err::write(&file, "text").unwrap();
    assert!(matches!(open(&file), Err(StorageError::NotAnIndex { .. })));
}

#[test]
fn manifests() {
    let (_dir, store, _) = sample();
    let path = store.dir().join("manifest.json");
    let intact = fs_err::read_to_string(&path).unwrap();

    fs_err::write(&path, &intact[..intact.len() / 2]).unwrap();
    expect_damaged(store.dir(), &path);
    fs_err::write(&path, "").unwrap();
    expect_damaged(store.dir(), &path);
    fs_err::write(&path, intact.replace("\"next_id\": 5", "\"next_id\": 4")).unwrap();
    assert!(expect_damaged(store.dir(), &path).contains("checksum"));
    fs_err::write(&path, intact.replace("\"format\": 2", "\"format\": 9")).unwrap();
    let error = open(store.dir()).unwrap_err();
    assert!(matches!(error, StorageError::Version { expected: 2, received: 9, .. }), "{error}");
    // A store that is open says the same, and is well again when the file is.
    assert!(matches!(store.snapshot(), Err(StorageError::Version { .. })));
    fs_err::write(&path, &intact).unwrap();
    assert_eq!(store.snapshot().unwrap().len(), 4);
}

#[test]
fn every_truncation_of_a_segment_file() {
    let (_dir, store, segment) = sample();
    for name in ["vectors.bin", "ids.bin", "deleted-2.bin"] {
        let path = segment.join(name);
        let intact = fs_err::read(&path).unwrap();
        for len in 0..intact.len() {
            alter(&path, |bytes| bytes.truncate(len));
            expect_damaged(store.dir(), &path);
            alter(&path, |bytes| *bytes = intact.clone());
        }
        alter(&path, |bytes| bytes.push(0));
        expect_damaged(store.dir(), &path);
        fs_err::remove_file(&path).unwrap();
        assert!(expect_damaged(store.dir(), &path).contains("gone"));
        fs_err::write(&path, &intact).unwrap();
        check_consistent(store.dir());
    }
}

#[test]
fn every_flipped_bit_of_a_segment_file() {
    let (_dir, store, segment) = sample();
    for name in ["vectors.bin", "ids.bin", "deleted-2.bin"] {
        let path = segment.join(name);
        let intact = fs_err::read(&path).unwrap();
        for bit in 0..intact.len() * 8 {
            alter(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match open(store.dir()) {
                Err(StorageError::Damaged { .. }) => {}
                Err(StorageError::Version { .. }) => assert!((8..12).contains(&(bit / 8))),
                Err(error) => panic!("{name}, bit {bit}: {error}"),
                // Opening checks all but the vectors themselves, which are checked when they are used.
                Ok(snapshot) => {
                    assert_eq!(name, "vectors.bin", "bit {bit} went unseen");
                    assert!(matches!(snapshot.vector(ImageId(0)), Err(StorageError::Damaged { .. })));
                    let found = snapshot.search_vectors(&vector("a"), 1, None, None);
                    assert!(matches!(found, Err(StorageError::Damaged { .. })));
                    assert!(matches!(snapshot.verify(), Err(StorageError::Damaged { .. })));
                }
            }
            alter(&path, |bytes| *bytes = intact.clone());
        }
        check_consistent(store.dir());
    }
}

#[test]
fn a_missing_segment() {
    let (_dir, store, segment) = sample();
    fs_err::remove_dir_all(&segment).unwrap();
    expect_damaged(store.dir(), &segment);
    assert!(matches!(store.writer(), Err(StorageError::Damaged { .. })));
}

#[test]
fn nearest_neighbour_indexes_are_made_again_by_the_next_writer() {
    let cases: [fn(&Path); 3] = [
        |path| alter(path, |bytes| bytes.truncate(100)),
        |path| alter(path, |bytes| *bytes.last_mut().unwrap() ^= 1),
        |path| fs_err::remove_file(path).unwrap(),
    ];
    for damage in cases {
        let (_dir, store, segment) = sample();
        damage(&segment.join("ann.bin"));
        let error = open(store.dir()).unwrap_err();
        assert!(matches!(error, StorageError::DamagedNeighbors { .. }), "{error}");
        assert!(error.to_string().contains("run `pictor repair` on this index"), "{error}");
        drop(store.writer().unwrap());
        check_consistent(store.dir());
        let hits = open(store.dir()).unwrap().search_vectors(&vector("c"), 1, None, None).unwrap();
        assert_eq!(hits[0].id, ImageId(2));
    }
}

#[test]
fn the_text_index_is_made_again_by_the_next_writer_or_reader() {
    let cases: [fn(&Path); 3] = [
        |text| fs_err::remove_dir_all(text).unwrap(),
        |text| alter(&text.join("meta.json"), |bytes| bytes.truncate(20)),
        |text| {
            alter(&text.join("meta.json"), |bytes| {
                *bytes =
                    String::from_utf8_lossy(bytes).replace("\"payload\":\"2\"", "\"payload\":\"1\"").into()
            })
        },
    ];
    for (i, damage) in cases.iter().enumerate() {
        let (_dir, store, _) = sample();
        damage(&store.dir().join("text"));
        drop(store.writer().unwrap());
        check_consistent(store.dir());

        let writer = store.writer().unwrap();
        damage(&store.dir().join("text"));
        let snapshot = open(store.dir()).unwrap();
        if i < 2 {
            let error = snapshot.search_text("a", 1, None).unwrap_err();
            assert!(matches!(error, StorageError::Text { .. }), "while somebody writes: {error}");
        }
        drop(writer);
        assert_eq!(snapshot.search_text("a", 1, None).unwrap()[0].id, ImageId(0));
        check_consistent(store.dir());
    }
}

#[test]
fn a_flipped_bit_in_the_text_index_is_found_by_verify() {
    let (_dir, store, _) = sample();
    let files = fs_err::read_dir(store.dir().join("text")).unwrap().map(|entry| entry.unwrap().path());
    let longest = files.max_by_key(|path| fs_err::metadata(path).unwrap().len()).unwrap();
    alter(&longest, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    assert!(open(store.dir()).unwrap().verify().is_err());
}

#[test]
fn a_catalog_that_is_gone_or_altered() {
    let (_dir, store, _) = sample();
    let catalog = store.dir().join("catalog");
    for entry in fs_err::read_dir(&catalog).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "sst") {
            alter(&path, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
        }
    }
    let snapshot = open(store.dir()).unwrap();
    assert_eq!(
        snapshot.search_vectors(&vector("a"), 1, None, None).unwrap()[0].id,
        ImageId(0),
        "needs no catalog"
    );
    assert!(matches!(snapshot.record(ImageId(0)), Err(StorageError::Catalog { .. })));
    assert!(snapshot.records().any(|entry| entry.is_err()));
    assert!(matches!(store.writer(), Err(StorageError::Catalog { .. })));
    fs_err::remove_dir_all(&catalog).unwrap();
    let error = open(store.dir()).unwrap().record(ImageId(0)).unwrap_err();
    assert!(matches!(error, StorageError::Catalog { .. }), "{error}");
}

#[test]
fn a_mapped_segment_outlives_its_name() {
    let (_dir, store, segment) = sample();
    let snapshot = store.snapshot().unwrap();
    fs_err::remove_dir_all(&segment).unwrap();
    assert_eq!(snapshot.vector(ImageId(0)).unwrap().unwrap(), vector("a"));
    assert_eq!(uris(&snapshot), ["a", "c", "d", "e"]);
}
