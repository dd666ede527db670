//! Merges in the background, and compaction: what is shown does not change, what is on disk does.

use pictor_core::ImageId;
use pictor_storage::{SegmentDescription, Store};

use crate::{check_consistent, new_store, put, store_of, uris, vector};

fn segments(store: &Store) -> Vec<SegmentDescription> {
    store.snapshot().unwrap().describe().unwrap().segments
}

#[test]
fn the_writer_goes_on_beside_a_merge() {
    // HNSW over some thousand rows, so that the merge is still at work when the writer deletes from what it merges.
    let (_dir, store) = new_store("hnsw");
    let mut writer = store.writer().unwrap();
    let mut expected = vec![];
    for n in 0..9 {
        for image in 0..300 {
            let name = format!("image {n} {image}");
            put(&mut writer, &name);
            expected.push(name);
        }
        writer.commit().unwrap();
    }
    for (n, image) in [(0, 0), (3, 77), (8, 299)] {
        let name = format!("image {n} {image}");
        let (id, _) = writer.find(&name).unwrap().unwrap();
        assert!(writer.delete(id).unwrap());
        expected.retain(|other| *other != name);
        writer.commit().unwrap();
    }
    put(&mut writer, "later");
    expected.push("later".into());
    writer.finish().unwrap();
    assert_eq!(uris(&store.snapshot().unwrap()), expected);
    assert!(segments(&store).len() <= 8);
    for gone in ["image 0 0", "image 3 77", "image 8 299"] {
        assert_eq!(writer.find(gone).unwrap(), None);
        let best = store.snapshot().unwrap().search_vectors(&vector(gone), 1, None, None).unwrap()[0];
        assert!(best.score.get() < 0.9999, "{gone} is still found");
    }
    drop(writer);
    store.snapshot().unwrap().verify().unwrap();
}

#[test]
fn segments_never_pile_up() {
    let (_dir, store) = new_store("flat");
    let mut writer = store.writer().unwrap();
    for n in 0..60 {
        put(&mut writer, &format!("image {n}"));
        writer.commit().unwrap();
        assert!(segments(&store).len() <= 16);
    }
    // A merge at work is given up with its writer, and leaves nothing behind.
    drop(writer);
    let on_disk = fs_err::read_dir(store.dir().join("segments")).unwrap().count();
    assert_eq!(on_disk, segments(&store).len());
    store.writer().unwrap().finish().unwrap();
    assert!(segments(&store).len() <= 8, "the next writer does what is due");
    check_consistent(store.dir());
}

#[test]
fn a_merge_is_no_commit() {
    let (_dir, store) = store_of("auto", &["a", "b", "c"]);
    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(0)).unwrap();
    writer.delete(ImageId(1)).unwrap();
    let generation = writer.commit().unwrap();
    let before = store.snapshot().unwrap();
    assert_eq!(writer.finish().unwrap(), generation);
    let after = store.snapshot().unwrap();
    assert_eq!((after.generation(), uris(&after)), (generation, uris(&before)));
    let SegmentDescription { rows, deleted, name, .. } = segments(&store).remove(0);
    assert_eq!((rows, deleted), (1, 0));
    assert_ne!(name, "00000001", "another directory, since a reader may have the first");
}

#[test]
fn compaction_makes_one_segment_of_all() {
    let (_dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    assert!(!writer.compact().unwrap(), "an empty index is compact");
    for n in 0..5 {
        for image in 0..4 {
            put(&mut writer, &format!("image {n} {image}"));
        }
        writer.commit().unwrap();
    }
    writer.delete(ImageId(7)).unwrap();
    // What is pending is committed by it.
    put(&mut writer, "pending");
    assert!(writer.compact().unwrap());
    let found = segments(&store);
    assert_eq!((found.len(), found[0].rows, found[0].deleted), (1, 20, 0));
    assert_eq!(fs_err::read_dir(store.dir().join("segments")).unwrap().count(), 1);
    assert!(!writer.compact().unwrap(), "once is enough");
    assert_eq!(store.snapshot().unwrap().search_text("pending", 9, None).unwrap().len(), 1);

    for id in store.snapshot().unwrap().ids() {
        writer.delete(id).unwrap();
    }
    writer.compact().unwrap();
    assert_eq!(segments(&store).len(), 0);
    assert_eq!(fs_err::read_dir(store.dir().join("segments")).unwrap().count(), 0);
    put(&mut writer, "again");
    writer.finish().unwrap();
    drop(writer);
    check_consistent(store.dir());
}
