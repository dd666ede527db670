//! What each call does.

use pictor_core::{ContentHash, Encoder, Generation, ImageId, ImageRecord, testing::HashEncoder};
use pictor_storage::{KindChoice, Skipped, StorageError, Store};

use crate::{DIM, check_consistent, encoder, new_store, put, record, store_of, uris, vector};

fn skipped(uri: &str, reason: &str) -> Skipped {
    Skipped { uri: uri.into(), reason: reason.into(), bytes: 9, modified_ns: None }
}

#[test]
fn an_empty_index_answers_with_nothing() {
    let (_dir, store) = new_store("auto");
    let snapshot = store.snapshot().unwrap();
    assert_eq!((snapshot.generation(), snapshot.len()), (Generation(0), 0));
    assert_eq!(snapshot.search_vectors(&vector("x"), 10, None, None).unwrap(), []);
    assert_eq!(snapshot.search_text("dog", 10, None).unwrap(), []);
    assert_eq!(snapshot.record(ImageId(0)).unwrap(), None);
    assert_eq!(snapshot.vector(ImageId(0)).unwrap(), None);
    check_consistent(store.dir());
}

#[test]
fn finds_what_was_put_by_vector_text_and_uri() {
    for kind in ["auto", "flat", "hnsw", "faiss:Flat"] {
        let (_dir, store) = store_of(kind, &["red car", "brown dog", "white dog"]);
        let snapshot = store.snapshot().unwrap();
        let hits = snapshot.search_vectors(&vector("brown dog"), 2, None, None).unwrap();
        assert_eq!((hits[0].id, hits.len()), (ImageId(1), 2), "{kind}");
        assert!((hits[0].score.get() - 1.0).abs() < 1e-3);
        assert_eq!(snapshot.vector(ImageId(1)).unwrap().unwrap(), vector("brown dog"));
        let dogs = snapshot.search_text("dogs", 10, None).unwrap();
        assert_eq!(dogs.iter().map(|hit| hit.id.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(snapshot.record(ImageId(0)).unwrap().unwrap(), record("red car", "red car"));
        drop(store.writer().unwrap().find("white dog").unwrap().unwrap());
        check_consistent(store.dir());
    }
}

#[test]
fn nothing_shows_before_the_commit_and_a_commit_of_nothing_is_none() {
    let (_dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    assert_eq!(writer.commit().unwrap(), Generation(0));
    put(&mut writer, "a");
    assert_eq!((writer.pending(), writer.find("a").unwrap().unwrap().0), (1, ImageId(0)));
    assert_eq!(store.snapshot().unwrap().len(), 0);
    assert_eq!(writer.commit().unwrap(), Generation(1));
    assert_eq!((writer.pending(), store.snapshot().unwrap().len()), (0, 1));
    assert_eq!(writer.commit().unwrap(), Generation(1));
    put(&mut writer, "b");
    drop(writer);
    assert_eq!(uris(&store.snapshot().unwrap()), ["a"], "a dropped writer forgets");
}

#[test]
fn a_put_at_the_same_uri_replaces_under_a_new_id() {
    let (_dir, store) = store_of("auto", &["a", "b"]);
    let mut writer = store.writer().unwrap();
    let first = writer.put(record("a", "a cat"), &vector("cat")).unwrap();
    let second = writer.put(record("a", "a horse"), &vector("horse")).unwrap();
    assert_eq!((first, second, writer.pending()), (ImageId(2), ImageId(3), 1));
    writer.commit().unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.ids(), [ImageId(1), ImageId(3)]);
    assert_eq!(snapshot.search_text("cat", 10, None).unwrap(), []);
    assert_eq!(snapshot.search_text("horses", 10, None).unwrap()[0].id, second);
    assert_eq!(writer.find("a").unwrap().unwrap().0, second);
    check_consistent(store.dir());
}

#[test]
fn deletes_committed_and_pending_images() {
    let (_dir, store) = store_of("auto", &["a", "b", "c"]);
    let mut writer = store.writer().unwrap();
    let pending = put(&mut writer, "d");
    assert!(writer.delete(ImageId(1)).unwrap());
    assert!(!writer.delete(ImageId(1)).unwrap());
    assert!(writer.delete(pending).unwrap());
    assert!(!writer.delete(ImageId(99)).unwrap());
    assert_eq!(writer.find("b").unwrap(), None);
    writer.commit().unwrap();
    assert_eq!(uris(&store.snapshot().unwrap()), ["a", "c"]);
    let back = put(&mut writer, "b");
    writer.commit().unwrap();
    assert_eq!(uris(&store.snapshot().unwrap()), ["a", "c", "b"]);
    assert!(back > pending, "ids are not used again");
    for uri in ["a", "b", "c"] {
        let (id, _) = writer.find(uri).unwrap().unwrap();
        writer.delete(id).unwrap();
    }
    writer.commit().unwrap();
    drop(writer);
    assert!(store.snapshot().unwrap().is_empty());
    assert_eq!(store.snapshot().unwrap().describe().unwrap().segments.len(), 0);
    check_consistent(store.dir());
}

#[test]
fn an_updated_record_keeps_id_and_vector() {
    let (_dir, store) = store_of("auto", &["a", "b"]);
    let mut writer = store.writer().unwrap();
    assert!(writer.update_record(ImageId(0), record("a", "a sleeping fox")).unwrap());
    let pending = put(&mut writer, "c");
    assert!(writer.update_record(pending, record("c", "an owl")).unwrap());
    assert!(!writer.update_record(ImageId(99), record("z", "")).unwrap());
    assert!(matches!(
        writer.update_record(ImageId(0), record("b", "")),
        Err(StorageError::OtherImage { id: ImageId(0), .. })
    ));
    assert_eq!(writer.find("a").unwrap().unwrap().1.captions, ["a sleeping fox"]);
    writer.commit().unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.search_text("foxes", 9, None).unwrap()[0].id, ImageId(0));
    assert_eq!(snapshot.search_text("owl", 9, None).unwrap()[0].id, pending);
    assert_eq!(snapshot.vector(ImageId(0)).unwrap().unwrap(), vector("a"));
    check_consistent(store.dir());
}

#[test]
fn keeps_a_ledger_of_what_was_skipped() {
    let (_dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    writer.skip(skipped("bad", "not an image"));
    writer.skip(skipped("bad", "the file is empty"));
    writer.skip(skipped("gone", "no such file"));
    assert_eq!(writer.commit().unwrap(), Generation(1));
    let ledger = store.snapshot().unwrap().skipped().unwrap();
    assert_eq!(ledger, [skipped("bad", "the file is empty"), skipped("gone", "no such file")]);
    assert!(writer.find_skipped("bad").unwrap().is_some());
    put(&mut writer, "bad");
    writer.clear_skipped("gone").unwrap();
    assert_eq!(writer.find_skipped("bad").unwrap(), None);
    writer.commit().unwrap();
    assert_eq!(store.snapshot().unwrap().skipped().unwrap(), []);
    writer.clear_skipped("never there").unwrap();
    assert_eq!(writer.commit().unwrap(), Generation(2), "nothing to write");
}

#[test]
fn many_commits_stay_few_segments() {
    let (_dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    let names: Vec<String> = (0..30).map(|i| format!("image{i}")).collect();
    for name in &names {
        put(&mut writer, name);
        writer.commit().unwrap();
    }
    writer.finish().unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(uris(&snapshot), names);
    assert!(snapshot.describe().unwrap().segments.len() <= 8);
    assert_eq!(
        fs_err::read_dir(store.dir().join("segments")).unwrap().count(),
        snapshot.describe().unwrap().segments.len()
    );
    for name in &names {
        let hits = snapshot.search_vectors(&vector(name), 1, None, None).unwrap();
        assert_eq!(snapshot.record(hits[0].id).unwrap().unwrap().uri, *name);
    }
    drop(writer);
    check_consistent(store.dir());
}

#[test]
fn a_trained_kind_starts_flat_and_is_built_by_a_merge() {
    let (_dir, store) = store_of("faiss:IVF8,Flat", &["a", "b"]);
    let kinds = |store: &Store| {
        let segments = store.snapshot().unwrap().describe().unwrap().segments;
        segments.iter().map(|segment| segment.kind.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&store), ["flat"], "two rows train nothing");
    let mut writer = store.writer().unwrap();
    for name in (0..400).map(|i| format!("image{i}")) {
        put(&mut writer, &name);
    }
    writer.commit().unwrap();
    assert_eq!(kinds(&store), ["flat", "faiss:IVF8,Flat"]);
    drop(writer);
    check_consistent(store.dir());
}

#[test]
fn refuses_vectors_that_cannot_be_compared() {
    let (_dir, store) = store_of("auto", &["a"]);
    store.check_encoder(encoder().spec()).unwrap();
    let error = store.check_encoder(HashEncoder::new(4).spec()).unwrap_err();
    insta::assert_snapshot!(
        error.to_string().replace(store.dir().to_str().unwrap(), "INDEX"),
        @"INDEX was made with hash (dim 8, fingerprint hash-8), and the encoder given is hash (dim 4, fingerprint hash-4); choose the model that made the index with --model and --precision, or move the index to the other one with `pictor reindex`"
    );
    let mut writer = store.writer().unwrap();
    let mut put = |vector: &[f32]| writer.put(record("b", ""), vector);
    assert!(matches!(put(&[1.0]), Err(StorageError::Dimension { expected: DIM, received: 1 })));
    assert!(matches!(put(&[1.0; DIM]), Err(StorageError::Embedding(_))));
    assert!(matches!(put(&[f32::NAN; DIM]), Err(StorageError::Embedding(_))));
    let snapshot = store.snapshot().unwrap();
    assert!(matches!(snapshot.search_vectors(&[1.0], 1, None, None), Err(StorageError::Dimension { .. })));
    assert!(matches!(snapshot.search_vectors(&[f32::NAN; DIM], 1, None, None), Err(StorageError::Ann(_))));
}

#[test]
fn create_takes_only_an_empty_place() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, kind: &str| {
        Store::create(&dir.path().join(name), encoder().spec(), kind.parse::<KindChoice>().unwrap())
    };
    create("deep/inside", "auto").unwrap();
    assert!(matches!(create("deep/inside", "auto"), Err(StorageError::AlreadyExists { .. })));
    assert!(matches!(create("deep", "auto"), Err(StorageError::NotEmpty { .. })));
    // A `create` that died.
    fs_err::remove_file(dir.path().join("deep/inside/manifest.json")).unwrap();
    create("deep/inside", "auto").unwrap();
    // A factory FAISS does not know, or cannot make for 8 components.
    assert!(matches!(create("a", "faiss:Nonsense"), Err(StorageError::Ann(_))));
    assert!(matches!(create("b", "faiss:PQ3"), Err(StorageError::Ann(_))));
    create("b", "flat").unwrap();
}

#[test]
fn two_writers_are_one_too_many() {
    let (_dir, store) = store_of("auto", &["a"]);
    let writer = store.writer().unwrap();
    let error = store.writer().unwrap_err();
    assert!(
        matches!(error, StorageError::Busy { holder: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(writer);
    store.writer().unwrap();
}

#[test]
fn describes_itself() {
    let (_dir, store) = store_of("auto", &["a", "b", "c", "d"]);
    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(2)).unwrap();
    put(&mut writer, "e");
    writer.skip(skipped("bad", "not an image"));
    writer.commit().unwrap();
    let description = store.snapshot().unwrap().describe().unwrap();
    assert_eq!((description.images, description.generation, description.format), (4, Generation(2), 2));
    // The record of the image that died with the last commit goes with the next one.
    assert_eq!((description.records, description.skipped), (5, 1));
    let segments = &description.segments;
    let rows: Vec<_> = segments.iter().map(|s| (s.name.as_str(), s.rows, s.deleted)).collect();
    assert_eq!(rows, [("00000001", 4, 1), ("00000002", 1, 0)]);
    for segment in segments {
        let bytes = segment.bytes;
        assert_eq!(bytes.total, bytes.vectors + bytes.ids + bytes.deleted, "flat: no file of neighbours");
        assert!(bytes.vectors > 0 && bytes.ids > 0 && (bytes.deleted > 0) == (segment.deleted > 0));
        assert!(segment.resident.is_none_or(|resident| resident > 0), "ids are read when it is opened");
    }
    let bytes = description.bytes;
    assert_eq!(bytes.segments, segments.iter().map(|segment| segment.bytes.total).sum::<u64>());
    assert!(bytes.catalog > 0 && bytes.text > 0);
    assert_eq!(bytes.total, bytes.segments + bytes.catalog + bytes.text);
}

#[test]
fn finds_images_by_their_bytes() {
    let (_dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    let hash = |byte: u8| ContentHash([byte; 32]);
    let with = |uri: &str, byte: Option<u8>| ImageRecord { content_hash: byte.map(hash), ..record(uri, uri) };
    for (uri, byte) in
        [("a", Some(1)), ("b", Some(2)), ("c", Some(1)), ("d", None), ("e", None), ("f", Some(1))]
    {
        writer.put(with(uri, byte), &vector(uri)).unwrap();
    }
    writer.commit().unwrap();
    let first = store.snapshot().unwrap();
    assert_eq!(first.same_content(hash(1)).unwrap(), [0, 2, 5].map(ImageId));
    assert_eq!(first.same_content(hash(9)).unwrap(), []);
    assert_eq!(first.duplicates().unwrap(), [(hash(1), [0, 2, 5].map(ImageId).to_vec())]);

    // Deleted, of other bytes by an update, and replaced.
    writer.delete(ImageId(0)).unwrap();
    writer.update_record(ImageId(2), with("c", Some(2))).unwrap();
    writer.put(with("f", Some(3)), &vector("f")).unwrap();
    writer.commit().unwrap();
    let second = store.snapshot().unwrap();
    assert_eq!(second.same_content(hash(1)).unwrap(), []);
    assert_eq!(second.duplicates().unwrap(), [(hash(2), [1, 2].map(ImageId).to_vec())]);
    assert_eq!(first.same_content(hash(1)).unwrap(), [0, 2, 5].map(ImageId), "a snapshot stays what it was");
    writer.delete(ImageId(3)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(store.snapshot().unwrap().same_content(hash(3)).unwrap(), [ImageId(6)]);
    check_consistent(store.dir());
}
