//! The pipeline from outside: folders in, an index out. With [`HashEncoder`], an image is any bytes, and `bad…` is damaged.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use pictor_core::testing::HashEncoder;
use pictor_core::{
    DecodeError, EmbeddingBatch, EncodeError, EncoderSpec, Generation, ImageRecord, PreparedImage,
    parse_captions,
};
use pictor_storage::KindChoice;
use tempfile::TempDir;

use super::*;

const DIM: usize = 16;

/// Photographs, an index, and the options of the next run.
struct Home {
    root: TempDir,
    store: Store,
    options: IndexOptions,
    cancel: Arc<AtomicBool>,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::create(&root.path().join("index"), HashEncoder::new(DIM).spec(), KindChoice::Auto)
            .unwrap();
        let options = IndexOptions { batch: 4, prepare_threads: 3, ..Default::default() };
        let home = Self { root, store, options, cancel: Arc::default() };
        fs_err::create_dir(home.photos()).unwrap();
        files.iter().for_each(|(name, bytes)| home.write(name, bytes));
        home
    }

    /// Many files, named in order.
    fn with_many(count: usize) -> Self {
        let home = Self::new(&[]);
        (0..count).for_each(|i| home.write(&format!("{i:04}.jpg"), &format!("photo {i}")));
        home
    }

    fn photos(&self) -> PathBuf {
        self.root.path().join("photos")
    }

    fn write(&self, name: &str, bytes: &str) {
        fs_err::write(self.photos().join(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        fs_err::remove_file(self.photos().join(name)).unwrap();
    }

    fn index_with(&self, encoder: impl Encoder + 'static) -> Result<IndexReport, IndexError> {
        index(&[self.photos()], &self.store, Arc::new(encoder), &self.options, &(), &self.cancel)
    }

    fn index(&self) -> IndexReport {
        self.index_with(HashEncoder::new(DIM)).unwrap()
    }

    fn records(&self) -> Vec<(u64, ImageRecord)> {
        let snapshot = self.store.snapshot().unwrap();
        let mut records: Vec<_> =
            snapshot.records().map(|entry| entry.map(|(id, record)| (id.0, record)).unwrap()).collect();
        records.sort_by_key(|(id, _)| *id);
        records
    }

    /// File names by ascending id.
    fn names(&self) -> Vec<String> {
        let name =
            |record: ImageRecord| Path::new(&record.uri).file_name().unwrap().to_str().unwrap().to_owned();
        self.records().into_iter().map(|(_, record)| name(record)).collect()
    }
}

/// A hash encoder that does something else first.
struct Rigged<P, E> {
    inner: HashEncoder,
    on_prepare: P,
    on_encode: E,
}

impl<P: Fn(&[u8]), E: Fn(&[PreparedImage]) -> Result<(), EncodeError>> Rigged<P, E> {
    fn new(on_prepare: P, on_encode: E) -> Self {
        Self { inner: HashEncoder::new(DIM), on_prepare, on_encode }
    }
}

impl<P, E> Encoder for Rigged<P, E>
where
    P: Fn(&[u8]) + Send + Sync,
    E: Fn(&[PreparedImage]) -> Result<(), EncodeError> + Send + Sync,
{
    fn spec(&self) -> &EncoderSpec {
        self.inner.spec()
    }

    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        (self.on_prepare)(bytes);
        self.inner.prepare_image(bytes)
    }

    fn encode_images(&self, batch: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError> {
        (self.on_encode)(batch)?;
        self.inner.encode_images(batch)
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        self.inner.encode_texts(batch)
    }
}

fn broken(batch: &[PreparedImage]) -> EncodeError {
    EncodeError::Runtime { runtime: "test", batch: batch.len(), reason: "out of order".into() }
}

/// Whether a photograph's bytes start with `letter`.
fn starts_with(image: &PreparedImage, letter: u8) -> bool {
    image.pixels[0] == f32::from(letter)
}

#[test]
fn indexes_what_is_good_and_lists_what_is_not() {
    let home = Home::new(&[
        ("a.jpg", "dog"),
        ("bad.jpg", "bad bytes"),
        ("copy-of-a.JPG", "dog"),
        ("empty.png", ""),
        ("notes.txt", "no image"),
        ("z.webp", "cat"),
    ]);
    let report = home.index();
    assert_eq!((report.found, report.indexed, report.unchanged, report.skipped.len()), (5, 3, 0, 2));
    assert_eq!(home.names(), ["a.jpg", "copy-of-a.JPG", "z.webp"]);
    let mut skipped = report.skipped.clone();
    skipped.sort_by(|a, b| a.uri.cmp(&b.uri));
    assert!(skipped[0].uri.ends_with("/bad.jpg") && skipped[0].reason.contains("starts with 'bad'"));
    assert!(skipped[1].uri.ends_with("/empty.png") && skipped[1].reason == "the file is empty");
    assert_eq!((skipped[0].bytes, skipped[1].bytes), (9, 0));

    let snapshot = home.store.snapshot().unwrap();
    assert_eq!(snapshot.generation(), report.generation);
    let mut ledger = snapshot.skipped().unwrap();
    ledger.sort_by(|a, b| a.uri.cmp(&b.uri));
    assert_eq!(ledger, skipped);
    let hits = snapshot.search_vectors(&HashEncoder::new(DIM).vector(b"dog"), 2, None, None).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id.0).collect::<Vec<_>>(), [0, 1], "a copy is an image of its own");
    assert!(hits.iter().all(|hit| hit.score.get() > 0.999));

    let again = home.index();
    assert_eq!(
        (again.unchanged, again.skipped.len(), again.generation),
        (3, 2, report.generation),
        "nothing new"
    );
}

#[test]
fn a_second_run_finds_everything_unchanged() {
    let home = Home::with_many(30);
    assert_eq!(home.index().indexed, 30);
    let before = home.records();
    let again = home.index();
    assert_eq!(
        (again.found, again.indexed, again.unchanged, again.bytes),
        (30, 0, 30, 0),
        "nothing is even read"
    );
    assert_eq!((home.records(), again.generation), (before, Generation(1)));
}

#[test]
fn changed_bytes_replace_an_image_and_a_touched_file_does_not() {
    let home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "cat")]);
    home.index();
    home.write("a.jpg", "a longer dog");
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    fs_err::File::options()
        .write(true)
        .open(home.photos().join("b.jpg"))
        .unwrap()
        .set_modified(later)
        .unwrap();

    let report = home.index();
    assert_eq!((report.indexed, report.unchanged), (1, 1));
    let records = home.records();
    assert_eq!(records.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2], "new bytes, new id");
    assert_eq!(records[1].1.bytes, 12);
    assert_eq!(home.index().bytes, 0, "the new time was noted");
}

#[test]
fn a_repaired_file_is_indexed_and_a_damaged_one_keeps_its_record() {
    let home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "bad cat")]);
    home.index();
    home.write("a.jpg", "bad dog");
    home.write("b.jpg", "good cat");
    let report = home.index();
    assert_eq!((report.indexed, report.skipped.len()), (1, 1));
    assert_eq!(home.names(), ["a.jpg", "b.jpg"]);
    let ledger = home.store.snapshot().unwrap().skipped().unwrap();
    assert!(matches!(&ledger[..], [only] if only.uri.ends_with("a.jpg")), "{ledger:?}");

    home.write("a.jpg", "dog");
    assert_eq!(home.index().unchanged, 2, "the bytes of its record are back");
    assert!(home.store.snapshot().unwrap().skipped().unwrap().is_empty());
}

#[test]
fn captions_are_attached_and_follow_their_file() {
    let mut home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "cat"), ("c.jpg", "cow")]);
    let captions = |text| Some(Captions::from(parse_captions(text).unwrap()));
    home.options.captions =
        captions("a.jpg#0\tA dog .\na.jpg#1\tThe dog .\nb.jpg#0\tA cat .\nx.jpg#0\tNobody .\n");
    let report = home.index();
    assert_eq!((report.indexed, report.captioned), (3, 2));
    let said =
        |home: &Home| home.records().into_iter().map(|(_, record)| record.captions).collect::<Vec<_>>();
    assert_eq!(said(&home), [vec!["A dog .", "The dog ."], vec!["A cat ."], vec![]]);

    home.options.captions = captions("a.jpg\tA brown dog .\n");
    let report = home.index();
    assert_eq!((report.indexed, report.updated, report.unchanged), (0, 1, 2));
    assert_eq!(said(&home), [vec!["A brown dog ."], vec!["A cat ."], vec![]], "not named, not changed");

    home.options.captions = None;
    home.write("a.jpg", "another dog");
    assert_eq!(home.index().indexed, 1);
    assert_eq!(said(&home), [vec!["A cat ."], vec![], vec!["A brown dog ."]], "new bytes keep them too");
    let hits = home.store.snapshot().unwrap().search_text("brown", 10, None).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn ids_follow_the_order_of_the_source_whatever_the_threads_do() {
    let mut home = Home::with_many(150);
    home.options = IndexOptions { batch: 7, prepare_threads: 8, ..Default::default() };
    let dawdle =
        |bytes: &[u8]| thread::sleep(Duration::from_micros(u64::from(blake3::hash(bytes).as_bytes()[0]) * 8));
    let report = home.index_with(Rigged::new(dawdle, |_: &_| Ok(()))).unwrap();
    assert_eq!(report.indexed, 150);
    assert_eq!(home.names(), (0..150).map(|i| format!("{i:04}.jpg")).collect::<Vec<_>>());
    for (id, record) in home.records() {
        let expected = HashEncoder::new(DIM).vector(format!("photo {id}").as_bytes());
        let stored = home.store.snapshot().unwrap().vector(pictor_core::ImageId(id)).unwrap().unwrap();
        assert!(stored.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-3), "{}", record.uri);
    }
}

/// The claim of the module: never more than a window of images between the file and the index.
#[test]
fn memory_is_bounded_by_the_window() {
    let mut home = Home::with_many(200);
    home.options = IndexOptions { batch: 5, prepare_threads: 4, ..Default::default() };
    let alive = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (prepare, encode) = (Arc::clone(&alive), Arc::clone(&alive));
    let on_prepare = move |_: &[u8]| {
        let now = prepare[0].fetch_add(1, Relaxed) + 1;
        prepare[1].fetch_max(now, Relaxed);
    };
    let on_encode = move |batch: &[PreparedImage]| {
        thread::sleep(Duration::from_millis(2));
        encode[0].fetch_sub(batch.len(), Relaxed);
        Ok(())
    };
    assert_eq!(home.index_with(Rigged::new(on_prepare, on_encode)).unwrap().indexed, 200);
    let most = alive[1].load(Relaxed);
    assert!(most <= home.options.window(4), "{most} images at once");
    assert!(most > home.options.batch, "and yet the stages overlap");
}

#[test]
fn commits_come_every_so_many_changes() {
    let mut home = Home::with_many(25);
    home.options.commit_every = 10;
    assert_eq!(home.index().generation, Generation(3));
}

#[test]
fn cancelling_commits_what_is_done_and_the_next_run_goes_on() {
    let home = Home::with_many(100);
    let (cancel, batches) = (Arc::clone(&home.cancel), AtomicUsize::new(0));
    let cancel_in_third = move |_: &[PreparedImage]| {
        cancel.store(batches.fetch_add(1, Relaxed) == 2, Relaxed);
        // Long enough for the other side to look.
        thread::sleep(coordinate::CANCEL_POLL * 2);
        Ok(())
    };
    let report = home.index_with(Rigged::new(|_: &_| (), cancel_in_third)).unwrap();
    assert!(report.cancelled);
    assert!((1..100).contains(&report.indexed), "{}", report.indexed);
    assert_eq!(home.records().len() as u64, report.indexed);

    home.cancel.store(false, Relaxed);
    let rest = home.index();
    assert_eq!((rest.indexed + report.indexed, rest.unchanged, rest.cancelled), (100, report.indexed, false));
    assert_eq!(home.names(), (0..100).map(|i| format!("{i:04}.jpg")).collect::<Vec<_>>());
}

#[test]
fn one_image_that_the_model_refuses_costs_only_itself() {
    let home = Home::new(&[
        ("a.jpg", "dog"),
        ("b.jpg", "x-ray"),
        ("c.jpg", "cat"),
        ("d.jpg", "cow"),
        ("e.jpg", "x"),
    ]);
    let refuse_x = |batch: &[PreparedImage]| match batch.iter().any(|image| starts_with(image, b'x')) {
        true => Err(broken(batch)),
        false => Ok(()),
    };
    // The last batch is `e.jpg` alone: one refused image is no broken model.
    let report = home.index_with(Rigged::new(|_: &_| (), refuse_x)).unwrap();
    assert_eq!((report.indexed, report.skipped.len()), (3, 2));
    assert!(report.skipped.iter().all(|skipped| skipped.reason.contains("out of order")));
    assert_eq!(home.names(), ["a.jpg", "c.jpg", "d.jpg"]);
}

#[test]
fn a_broken_model_stops_the_job_and_keeps_what_is_done() {
    let home = Home::with_many(40);
    let calls = AtomicUsize::new(0);
    let break_after_two = move |batch: &[PreparedImage]| match calls.fetch_add(1, Relaxed) {
        0 | 1 => Ok(()),
        _ => Err(broken(batch)),
    };
    let error = home.index_with(Rigged::new(|_: &_| (), break_after_two)).unwrap_err();
    assert!(matches!(error, IndexError::Encode { indexed: 8, generation: Generation(1), .. }), "{error}");
    assert_eq!(home.records().len(), 8);
    assert!(home.store.snapshot().unwrap().skipped().unwrap().is_empty(), "no image is to blame");

    let single = Home::new(&[("a.jpg", "dog")]);
    let error =
        single.index_with(Rigged::new(|_: &_| (), |batch: &[PreparedImage]| Err(broken(batch)))).unwrap_err();
    assert!(matches!(error, IndexError::Encode { indexed: 0, .. }), "{error}");
}

#[test]
fn panics_of_decoder_and_model_are_failures_of_an_image() {
    let home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "panic now"), ("c.jpg", "x"), ("d.jpg", "cow")]);
    let decoder = |bytes: &[u8]| assert!(!bytes.starts_with(b"panic"), "index out of range");
    let model = |batch: &[PreparedImage]| {
        assert!(!batch.iter().any(|image| starts_with(image, b'x')), "overflow");
        Ok(())
    };
    let report = home.index_with(Rigged::new(decoder, model)).unwrap();
    assert_eq!(home.names(), ["a.jpg", "d.jpg"]);
    let reasons: String = report.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert!(reasons.contains("index out of range") && reasons.contains("overflow"), "{reasons}");
}

#[test]
fn files_that_vanish_on_the_way_or_may_not_be_read_are_skipped() {
    let mut home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "cat")]);
    home.options.prepare_threads = 1;
    let gone = home.photos().join("b.jpg");
    let unlink_b = move |_: &[u8]| fs_err::remove_file(&gone).unwrap_or_default();
    let report = home.index_with(Rigged::new(unlink_b, |_: &_| Ok(()))).unwrap();
    assert_eq!((report.indexed, report.skipped.len()), (1, 1));
    assert!(report.skipped[0].reason.contains("No such file"), "{:?}", report.skipped);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        home.write("c.jpg", "secret");
        let path = home.photos().join("c.jpg");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser may read everything, so there the file counts as readable.
        let readable = std::fs::File::open(&path).is_ok();
        let report = home.index();
        assert_eq!(report.skipped.len(), usize::from(!readable));
        assert!(
            report.skipped.iter().all(|skipped| skipped.reason.contains("ermission")),
            "{:?}",
            report.skipped
        );
    }
}

#[test]
fn files_over_the_limit_are_skipped_until_it_is_raised() {
    let mut home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "a long cat")]);
    home.options.max_file_bytes = 9;
    let report = home.index();
    assert_eq!((report.indexed, report.skipped.len()), (1, 1));
    assert_eq!(report.skipped[0].reason, "10 bytes is over the limit of 9 bytes");
    home.options.max_file_bytes = 10;
    assert_eq!(home.index().indexed, 1);
}

#[test]
fn images_that_are_gone_stay_until_pruned() {
    let mut home = Home::new(&[
        ("a.jpg", "dog"),
        ("b.jpg", "cat"),
        ("c.jpg", "cow"),
        ("d.jpg", "bad"),
        ("e.jpg", "bad"),
    ]);
    let elsewhere = home.root.path().join("elsewhere.jpg");
    fs_err::write(&elsewhere, "owl").unwrap();
    let sources = [home.photos(), elsewhere.clone()];
    index(&sources, &home.store, Arc::new(HashEncoder::new(DIM)), &home.options, &(), &home.cancel).unwrap();
    home.remove("b.jpg");
    home.remove("d.jpg");
    fs_err::remove_file(elsewhere).unwrap();
    let ledger = |home: &Home| home.store.snapshot().unwrap().skipped().unwrap().len();

    assert_eq!((home.index().removed, ledger(&home)), (0, 2));
    assert_eq!(home.names(), ["a.jpg", "b.jpg", "c.jpg", "elsewhere.jpg"]);
    home.options.prune = true;
    assert_eq!((home.index().removed, ledger(&home)), (1, 1));
    assert_eq!(home.names(), ["a.jpg", "c.jpg", "elsewhere.jpg"], "only below the sources of the job");
    assert_eq!(home.index().removed, 0);
}

#[test]
fn refuses_what_cannot_work() {
    let mut home = Home::new(&[("a.jpg", "dog")]);
    let error = home.index_with(HashEncoder::new(DIM + 1)).unwrap_err();
    assert!(
        matches!(error, IndexError::Storage(pictor_storage::StorageError::EncoderMismatch { .. })),
        "{error}"
    );
    home.options.batch = 0;
    let error = home.index_with(HashEncoder::new(DIM)).unwrap_err();
    assert!(matches!(error, IndexError::Option { name: "batch", received: 0 }), "{error}");
}

#[test]
fn progress_ends_with_everything_done() {
    struct Last(Mutex<crate::ProgressState>);
    impl Progress for Last {
        fn update(&self, state: &crate::ProgressState) {
            *self.0.lock().unwrap() = state.clone();
        }
    }
    let home = Home::new(&[("a.jpg", "dog"), ("b.jpg", "bad"), ("c.jpg", "cow")]);
    let last = Last(Mutex::default());
    let encoder = Arc::new(HashEncoder::new(DIM));
    let report = index(&[home.photos()], &home.store, encoder, &home.options, &last, &home.cancel).unwrap();
    let state = last.0.into_inner().unwrap();
    assert_eq!((state.found, state.done, state.indexed, state.skipped), (Some(3), 3, 2, 1));
    assert_eq!((state.bytes, report.bytes, state.prepare_threads), (9, 9, 3));
    assert!(report.encode_images_per_second > 0.0 && report.stages.commit > 0.0);
}
