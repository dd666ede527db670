//! Indexes that earlier versions wrote, kept under `fixtures/`: this version opens them and finds in them what was there.

use std::path::Path;

use pictor_core::{Generation, ImageId};
use pictor_storage::{Dtype, StorageError, Store};

/// A copy of a fixture, to be written to.
fn copy(name: &str) -> tempfile::TempDir {
    fn copy_tree(from: &Path, to: &Path) {
        fs_err::create_dir_all(to).unwrap();
        for entry in fs_err::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy_tree(&entry.path(), &to),
                false => drop(fs_err::copy(entry.path(), to).unwrap()),
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), dir.path());
    dir
}

/// What the index in every fixture holds: six images indexed in one commit, of which the second commit deleted one.
fn check_contents(dir: &Path, dtype: Dtype) {
    let snapshot = Store::open(dir).unwrap().snapshot().unwrap();
    let names: Vec<_> =
        snapshot.records().map(|entry| entry.unwrap()).map(|(id, record)| (id.0, record.uri)).collect();
    let expected = ["blue-sea", "green-field", "grey-wall", "red-square", "white-noise"];
    assert_eq!(
        names,
        (0..).zip(expected).map(|(id, name)| (id, format!("/photos/{name}.png"))).collect::<Vec<_>>()
    );
    assert_eq!(snapshot.generation(), Generation(2));
    assert_eq!(snapshot.spec().name, "pictor-mini");
    assert_eq!(snapshot.describe().unwrap().dtype, dtype);
    assert_eq!(snapshot.skipped().unwrap()[0].uri, "/photos/broken.png");
    let captioned = snapshot.record(ImageId(1)).unwrap().unwrap();
    assert_eq!(captioned.captions, ["a green field in spring"]);
    assert_eq!(snapshot.search_text("springs", 9, None).unwrap()[0].id, ImageId(1));
    for id in 0..5 {
        let vector = snapshot.vector(ImageId(id)).unwrap().unwrap();
        let hits = snapshot.search_vectors(&vector, 5, None, None).unwrap();
        assert_eq!((hits[0].id, hits.len()), (ImageId(id), 5));
        assert!((hits[0].score.get() - 1.0).abs() < 2e-3);
    }
    snapshot.verify().unwrap();
}

#[test]
fn format_1_is_upgraded_when_it_is_opened() {
    let dir = copy("format-1");
    let path = dir.path();
    check_contents(path, Dtype::F32);
    assert_eq!(fs_err::read_dir(path.join("segments")).unwrap().count(), 1, "the old segment is gone");
    // Then it is an index like any other.
    let store = Store::open(path).unwrap();
    let mut writer = store.writer().unwrap();
    assert_eq!(writer.find("/photos/grey-wall.png").unwrap().unwrap().0, ImageId(2));
    assert!(writer.delete(ImageId(2)).unwrap());
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(store.snapshot().unwrap().len(), 4);
}

#[test]
fn an_upgrade_that_was_cut_short_is_done_again() {
    let dir = copy("format-1");
    let path = dir.path();
    // What it may leave: some of the new files, and a manifest that is still the old one.
    let leftover = path.join("segments/00000003");
    fs_err::create_dir(&leftover).unwrap();
    fs_err::write(leftover.join("vectors.bin"), "half a file").unwrap();
    check_contents(path, Dtype::F32);
}

#[test]
fn a_damaged_index_of_format_1_is_not_upgraded() {
    for file in [
        "manifest.json",
        "segments/00000001/vectors.bin",
        "segments/00000001/ids.bin",
        "segments/00000001/deleted-2.bin",
    ] {
        let dir = copy("format-1");
        let path = dir.path().join(file);
        let mut bytes = fs_err::read(&path).unwrap();
        for at in [bytes.len() / 2, bytes.len() - 20] {
            bytes[at] ^= 1;
            fs_err::write(&path, &bytes).unwrap();
            let error = Store::open(dir.path()).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "{file}: {error}");
            bytes[at] ^= 1;
        }
        fs_err::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StorageError::Damaged { .. })), "{file}");
        fs_err::write(&path, &bytes).unwrap();
        check_contents(dir.path(), Dtype::F32);
    }
}

#[test]
fn format_2_is_read_as_it_is() {
    let dir = copy("format-2");
    let path = dir.path();
    let before = fs_err::read(path.join("manifest.json")).unwrap();
    check_contents(path, Dtype::F16);
    let snapshot = Store::open(path).unwrap().snapshot().unwrap();
    let filter = "camera:canon AND iso:<150".parse().unwrap();
    let query = snapshot.vector(ImageId(0)).unwrap().unwrap();
    let hits = snapshot.search_vectors(&query, 5, None, Some(&filter)).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [ImageId(3)]);
    assert_eq!(pictor_storage::verify(path, &|_, _| {}).unwrap().findings, []);
    assert_eq!(fs_err::read(path.join("manifest.json")).unwrap(), before);
}
