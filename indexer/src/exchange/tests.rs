//! What is written is read back, and imports over it: records equal, vectors equal.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use npyz::WriterBuilder;
use pictor_core::testing::HashEncoder;
use pictor_core::{Attribute, ContentHash, Encoder, ImageId, ImageRecord, RasterSize};
use pictor_storage::{Dtype, KindChoice, Store};
use tempfile::TempDir;

use super::Described;
use crate::{ExportOptions, ImportOptions, ImportReport, ImportSource, IndexError, export, import};

const DIM: usize = 8;

fn encoder() -> HashEncoder {
    HashEncoder::new(DIM)
}

fn store(dir: &Path, name: &str) -> Store {
    Store::create(&dir.join(name), encoder().spec(), KindChoice::Auto).unwrap()
}

fn bare(uri: &str) -> ImageRecord {
    ImageRecord {
        uri: uri.into(),
        content_hash: None,
        bytes: 0,
        modified_ns: None,
        size: None,
        captions: vec![],
        attributes: Default::default(),
    }
}

/// Records with everything that a column could lose.
fn records() -> Vec<ImageRecord> {
    let full = ImageRecord {
        uri: "/photos/ä 雪.jpg".into(),
        content_hash: Some(ContentHash([0xa5; 32])),
        bytes: 1 << 40,
        modified_ns: Some(1_700_000_000_123_456_789),
        size: Some(RasterSize { width: 4000, height: 3000 }),
        captions: vec!["a \"dog\"".into(), "second, \n line".into(), String::new()],
        attributes: [
            ("rating", Attribute::Integer(i64::MIN)),
            ("mixed", Attribute::Integer(1)),
            ("share", Attribute::Float(0.1)),
            ("private", Attribute::Bool(true)),
            ("place", Attribute::Text("Zürich".into())),
            // Called like columns that mean something.
            ("bytes", Attribute::Text("not a length".into())),
            ("id", Attribute::Integer(7)),
            ("url", Attribute::Text("https://a.example".into())),
            ("original_width", Attribute::Integer(9)),
            ("attributes.bytes", Attribute::Float(-0.0)),
            ("", Attribute::Text("no name".into())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    };
    let mixed =
        |uri: &str, value| ImageRecord { attributes: [("mixed".to_owned(), value)].into(), ..bare(uri) };
    vec![
        full,
        bare("relative"),
        mixed("float", Attribute::Float(1.0)),
        mixed("text", Attribute::Text("1".into())),
        mixed("bool", Attribute::Bool(false)),
        ImageRecord { modified_ns: Some(-1), captions: vec!["one".into()], ..bare("early") },
    ]
}

/// All of an index: records and vectors, by uri.
fn contents(store: &Store) -> Vec<(ImageRecord, Vec<f32>)> {
    let snapshot = store.snapshot().unwrap();
    let mut all: Vec<_> = snapshot
        .records()
        .map(|entry| entry.map(|(id, record)| (record, snapshot.vector(id).unwrap().unwrap())).unwrap())
        .collect();
    all.sort_by(|a, b| a.0.uri.cmp(&b.0.uri));
    all
}

fn run(source: &Path, metadata: bool, store: &Store) -> Result<ImportReport, IndexError> {
    let source = ImportSource::open(source, metadata, store.spec())?;
    import(&source, store, &ImportOptions { commit_every: 3 }, &|_| {}, &AtomicBool::new(false))
}

fn write_npy(path: &Path, rows: &[Vec<f32>]) {
    let dim = rows.first().map_or(DIM, Vec::len) as u64;
    let file = std::io::BufWriter::new(fs_err::File::create(path).unwrap());
    let options = npyz::WriteOptions::new().default_dtype().shape(&[rows.len() as u64, dim]);
    let mut writer = options.writer(file).begin_nd().unwrap();
    writer.extend(rows.iter().flatten().copied()).unwrap();
    writer.finish().unwrap();
}

/// The fixture of six rows, beside these vectors.
fn fixture(rows: &[Vec<f32>]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs_err::create_dir(&source).unwrap();
    let metadata = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metadata_0.parquet");
    fs_err::copy(metadata, source.join("metadata_0.parquet")).unwrap();
    write_npy(&source.join("img_emb_0.npy"), rows);
    (dir, source)
}

fn vectors(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|i| encoder().vector(&[i as u8])).collect()
}

#[test]
fn an_export_imports_to_the_same_index() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path(), "first");
        let mut writer = first.writer().unwrap();
        for record in records() {
            writer.put(record, &encoder().vector(b"x")).unwrap();
        }
        writer.delete(ImageId(1)).unwrap();
        writer.commit().unwrap();
        drop(writer);

        let out = dir.path().join("out");
        let options = ExportOptions { rows_per_file: 2, dtype };
        let report = export(&first.snapshot().unwrap(), &out, &options, &|_| {}).unwrap();
        assert_eq!((report.images, report.parts, report.attributes), (5, 3, 11));
        assert!(!dir.path().join("out.partial").exists());
        let again = export(&first.snapshot().unwrap(), &out, &options, &|_| {}).unwrap_err();
        assert!(matches!(again, IndexError::Exists { .. }), "{again}");

        let second = store(dir.path(), "second");
        let report = run(&out, true, &second).unwrap();
        assert_eq!((report.imported, report.normalised, report.ignored_columns.len()), (5, 0, 0));
        let (old, new) = (contents(&first), contents(&second));
        for ((old, old_vector), (new, new_vector)) in old.iter().zip(&new) {
            assert_eq!(old, new);
            let close = |a: f32, b: f32| match dtype {
                Dtype::F32 => a == b,
                Dtype::F16 => (a - b).abs() < 1e-3,
            };
            assert!(old_vector.iter().zip(new_vector).all(|(&a, &b)| close(a, b)));
        }
        assert_eq!(old.len(), new.len());
        let again = run(&out, true, &second).unwrap();
        assert_eq!((again.unchanged, again.generation), (5, report.generation));
    }
}

#[test]
fn an_empty_index_exports_and_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = store(dir.path(), "empty");
    let out = dir.path().join("out");
    let report = export(&empty.snapshot().unwrap(), &out, &ExportOptions::default(), &|_| {}).unwrap();
    assert_eq!((report.images, report.parts), (0, 0));

    let mut writer = empty.writer().unwrap();
    writer.put(bare("a"), &encoder().vector(b"a")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let out = dir.path().join("one");
    export(&empty.snapshot().unwrap(), &out, &ExportOptions::default(), &|_| {}).unwrap();
    let mut spec = encoder().spec().clone();
    spec.fingerprint += "0";
    let error = ImportSource::open(&out, true, &spec).unwrap_err();
    assert!(matches!(error, IndexError::VectorModel { .. }), "{error}");
    assert!(error.to_string().contains("--model"));
}

#[test]
fn a_row_too_few_is_refused_before_anything_is_written() {
    let (dir, source) = fixture(&vectors(5));
    let index = store(dir.path(), "index");
    let error = run(&source, true, &index).unwrap_err().to_string();
    for words in ["img_emb_0.npy has 5 rows", "metadata_0.parquet has 6", "nothing is imported"] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(index.snapshot().unwrap().generation().0, 0);

    let (_dir, source) = fixture(&vec![vec![1.0; 3]; 6]);
    let error = run(&source, true, &index).unwrap_err();
    assert!(matches!(error, IndexError::VectorDimension { expected: DIM, received: 3, .. }), "{error}");
}

#[test]
fn rows_are_brought_to_unit_length_or_skipped_and_a_second_run_changes_nothing() {
    let mut rows = vectors(6);
    rows[0].iter_mut().for_each(|x| *x *= 3.0);
    rows[1] = vec![0.0; DIM];
    rows[2][3] = f32::NAN;
    let (dir, source) = fixture(&rows);
    let index = store(dir.path(), "index");
    let report = run(&source, true, &index).unwrap();
    assert_eq!((report.rows, report.imported, report.normalised, report.skipped), (6, 4, 1, 2));
    let snapshot = index.snapshot().unwrap();
    let ledger: Vec<_> = snapshot.skipped().unwrap().into_iter().map(|s| (s.uri, s.reason)).collect();
    assert!(
        ledger[0].0 == "https://a.example/3"
            && ledger[0].1.contains("row 2 of")
            && ledger[0].1.contains("finite")
    );
    assert!(ledger[1].0 == "relative/b.jpg" && ledger[1].1.contains("zero"));
    let first = snapshot.records().next().unwrap().unwrap();
    assert_eq!(first.1.captions, ["a dog in the snow"]);
    let norm: f32 = snapshot.vector(first.0).unwrap().unwrap().iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-3);

    let again = run(&source, true, &index).unwrap();
    assert_eq!((again.unchanged, again.skipped, again.generation), (4, 2, report.generation));

    // Another vector replaces, another description updates.
    rows[4] = encoder().vector(b"other");
    write_npy(&source.join("img_emb_0.npy"), &rows);
    let mut writer = index.writer().unwrap();
    let (id, known) = writer.find("/photos/f.jpg").unwrap().unwrap();
    writer.update_record(id, ImageRecord { captions: vec![], ..known }).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let changed = run(&source, true, &index).unwrap();
    assert_eq!((changed.unchanged, changed.replaced, changed.updated, changed.skipped), (2, 1, 1, 2));
}

#[test]
fn without_metadata_rows_are_named_after_their_file() {
    let (dir, source) = fixture(&vectors(4));
    let index = store(dir.path(), "index");
    let report = run(&source, false, &index).unwrap();
    assert_eq!(report.imported, 4);
    let file = source.canonicalize().unwrap().join("img_emb_0.npy");
    assert_eq!(contents(&index)[3].0, bare(&format!("{}#3", file.display())));
    assert_eq!(run(&source.join("img_emb_0.npy"), false, &index).unwrap().unchanged, 4);
}

#[test]
fn the_first_row_of_a_uri_counts() {
    let dir = tempfile::tempdir().unwrap();
    let from = store(dir.path(), "from");
    let mut writer = from.writer().unwrap();
    writer.put(bare("same"), &encoder().vector(b"1")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let out = dir.path().join("out");
    let options = ExportOptions { dtype: Dtype::F32, ..ExportOptions::default() };
    export(&from.snapshot().unwrap(), &out, &options, &|_| {}).unwrap();
    fs_err::copy(out.join("metadata/metadata_0.parquet"), out.join("metadata/metadata_1.parquet")).unwrap();
    write_npy(&out.join("img_emb/img_emb_1.npy"), &[encoder().vector(b"2")]);

    let index = store(dir.path(), "index");
    for unchanged in [0, 1, 1] {
        let report = run(&out, true, &index).unwrap();
        assert_eq!((report.unchanged, report.duplicates), (unchanged, 1));
        assert_eq!(contents(&index)[0].1, contents(&from)[0].1);
    }
}

#[test]
fn a_file_that_is_here_is_looked_at_so_that_indexing_passes_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let index = store(dir.path(), "index");
    let photo = dir.path().canonicalize().unwrap().join("photo.jpg");
    fs_err::write(&photo, "12345").unwrap();
    // Only a file written elsewhere is looked after; one of our own says what it knew.
    let described = Described { uri: Some(photo.to_str().unwrap().into()), ..Default::default() };
    let record = import::record(described, String::new);
    assert_eq!((record.bytes, record.modified_ns.is_some()), (5, true));
    let mut writer = index.writer().unwrap();
    writer.put(record, &encoder().vector(b"x")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let encoder = std::sync::Arc::new(encoder());
    let report = crate::index(&[photo], &index, encoder, &Default::default(), &(), &AtomicBool::new(false));
    assert_eq!(report.unwrap().unchanged, 1);
}
