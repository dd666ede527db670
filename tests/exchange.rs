//! Vectors from elsewhere and to elsewhere, and what becomes of an index that was damaged: as a user does it.

use std::io::BufWriter;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use npyz::WriterBuilder;
use serde_json::Value;

use crate::support::{Desk, Run, names};

/// Dimension of the bundled model.
const DIM: usize = 256;

/// Row `i` of made-up vectors, of length 1 when there are no further components.
fn row(i: u64) -> Vec<f32> {
    let angle = |j: u64| ((i * 31 + j * 17) % 1000) as f32 / 500.0 - 1.0;
    let row: Vec<f32> = (0..DIM as u64).map(angle).collect();
    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.into_iter().map(|x| x / norm).collect()
}

fn write_npy(path: &Path, rows: &[Vec<f32>]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = BufWriter::new(std::fs::File::create(path).unwrap());
    let shape = [rows.len() as u64, rows[0].len() as u64];
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd().unwrap();
    writer.extend(rows.iter().flatten().copied()).unwrap();
    writer.finish().unwrap();
}

/// The metadata of six images, as pandas writes it.
fn pandas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("indexer/tests/data/metadata_0.parquet")
}

/// A desk with `source/` in clip-retrieval's layout: six images, these vectors.
fn with_source(rows: &[Vec<f32>]) -> Desk {
    let desk = Desk::empty();
    write_npy(&desk.path("source/img_emb/img_emb_0.npy"), rows);
    std::fs::create_dir(desk.path("source/metadata")).unwrap();
    std::fs::copy(pandas(), desk.path("source/metadata/metadata_0.parquet")).unwrap();
    desk
}

fn rows(count: u64) -> Vec<Vec<f32>> {
    (0..count).map(row).collect()
}

fn counts(report: &Value) -> [u64; 4] {
    ["imported", "unchanged", "replaced", "skipped"].map(|name| report[name].as_u64().unwrap())
}

#[test]
fn vectors_from_elsewhere_are_searched_by_words_and_by_meaning() {
    let mut rows = rows(6);
    rows[5].iter_mut().for_each(|x| *x *= 10.0);
    let desk = with_source(&rows);
    let report = desk.json("import source --index idx --model pictor-mini");
    assert_eq!((counts(&report), &report["normalised"]), ([6, 0, 0, 0], &1.into()));
    let ignored = report["ignored_columns"].as_object().unwrap();
    assert_eq!(ignored.keys().collect::<Vec<_>>(), ["exif", "tags"]);
    assert_eq!(names(&desk.json("search --index idx --mode text snow")), ["café.jpg"]);
    assert_eq!(names(&desk.json("search --index idx dog -k 100")).len(), 6);
    desk.run("verify --index idx").succeeded();

    // The index has a model now; a second run needs none and changes nothing.
    let again = desk.json("import source --index idx");
    assert_eq!((counts(&again), &again["generation"]), ([0, 6, 0, 0], &report["generation"]));
}

#[test]
fn what_does_not_belong_together_is_refused_and_nothing_is_made() {
    let desk = with_source(&rows(5));
    desk.run("import source --index idx --model pictor-mini").exited(2).complains(&[
        "img_emb_0.npy has 5 rows",
        "metadata_0.parquet has 6",
        "nothing is imported",
    ]);
    assert!(!desk.path("idx").exists());
    desk.run("import source --index idx").exited(2).complains(&["--model"]);
    desk.run("import nowhere --index idx --model pictor-mini").exited(2).complains(&["nowhere"]);
    desk.run("import source --index idx --model no-such").exited(2).complains(&["no-such"]);
    std::fs::remove_file(desk.path("source/metadata/metadata_0.parquet")).unwrap();
    desk.run("import source --index idx --model pictor-mini")
        .exited(2)
        .complains(&["img_emb_0.npy", "--no-metadata"]);

    let desk = with_source(&vec![vec![1.0; 3]; 6]);
    desk.run("import source --index idx --model pictor-mini").exited(2).complains(&["3 components", "256"]);
    assert!(!desk.path("idx").exists());
}

#[test]
fn rows_without_a_direction_are_skipped_with_their_reason() {
    let mut rows = rows(6);
    rows[0] = vec![0.0; DIM];
    rows[4][7] = f32::INFINITY;
    let desk = with_source(&rows);
    let run = desk.run("import source --index idx --model pictor-mini --strict --json").exited(3);
    assert_eq!(counts(&run.json()), [4, 0, 0, 2]);
    let listed = desk.run("inspect --index idx --skipped").succeeded().stdout();
    assert!(listed.contains("row 0 of") && listed.contains("is zero"), "{listed}");
    assert!(listed.contains("row 4 of") && listed.contains("not finite"), "{listed}");
}

#[test]
fn an_export_imports_to_the_same_index() {
    let desk = Desk::with_photos(7);
    std::fs::write(
        desk.path("captions.csv"),
        "image,caption\nphoto-01.jpg,a red one\nphoto-01.jpg,another\n",
    )
    .unwrap();
    desk.json("index photos --index idx --captions captions.csv");
    let report = desk.json("export --index idx --out out --rows-per-file 3");
    assert_eq!((&report["images"], &report["parts"]), (&7.into(), &3.into()));
    desk.run("export --index idx --out out").exited(2).complains(&["out is there already"]);

    desk.json("import out --index copy --model pictor-mini");
    desk.run("verify --index copy").succeeded();
    for query in
        ["--image photos/photo-04.jpg -k 100", "red -k 100", "--mode text another", "--mode hybrid photo"]
    {
        let strip = |mut answer: Value| answer["hits"].take();
        let [old, new] =
            ["idx", "copy"].map(|index| strip(desk.json(&format!("search --index {index} {query}"))));
        assert_eq!(old, new, "{query}");
    }
    // The photographs are those that were indexed.
    let report = desk.json("index photos --index copy");
    assert_eq!((&report["indexed"], &report["unchanged"]), (&0.into(), &7.into()));

    // Vectors of another model, by what the export says of itself.
    let other = desk.path("other");
    std::fs::create_dir(&other).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pictor-mini");
    for file in ["pictor.json", "image.onnx", "text.onnx", "matcher.onnx", "tokenizer.json"] {
        std::fs::copy(bundled.join(file), other.join(file)).unwrap();
    }
    let description = std::fs::read_to_string(other.join("pictor.json")).unwrap();
    let description: Value = serde_json::from_str(&description).unwrap();
    let fingerprint = description["fingerprint"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(other.join("pictor.json")).unwrap();
    let text = text.replacen("0.5", "0.25", 1).replace(&fingerprint, "");
    std::fs::write(other.join("pictor.json"), text).unwrap();
    desk.run("import out --index elsewhere --model other").exited(2).complains(&["made with pictor-mini"]);
    assert!(!desk.path("elsewhere").exists());
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let desk = Desk::empty();
    let total = 20_000;
    write_npy(&desk.path("source/img_emb_0.npy"), &rows(total));
    let line = "import source --index idx --model pictor-mini --no-metadata --commit-every 1000 --quiet";
    for milliseconds in [150, 300, 600] {
        let child = desk.command(line.split_whitespace()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        if desk.path("idx/manifest.json").exists() {
            desk.run("repair --index idx").succeeded();
        }
    }
    let report = desk.json(line);
    let [imported, unchanged, replaced, skipped] = counts(&report);
    assert_eq!((imported + unchanged, replaced, skipped), (total, 0, 0), "{report}");
    let description = desk.json("inspect --index idx");
    assert_eq!(description["images"], total);
    desk.run("verify --index idx").succeeded();
    assert_eq!(counts(&desk.json(line)), [0, total, 0, 0]);
}

#[test]
fn verify_says_everything_and_repair_does_what_it_can() {
    let desk = Desk::with_photos(5);
    desk.json("index photos --index idx --index-kind hnsw");
    desk.run("verify --index idx").succeeded();
    let run = desk.run("repair --index idx").succeeded();
    assert!(run.stdout().contains("nothing to repair"), "{}", run.stdout());
    let answer = |desk: &Desk| desk.json("search --index idx --image photos/photo-02.jpg")["hits"].take();
    let before = answer(&desk);

    std::fs::remove_dir_all(desk.path("idx/text")).unwrap();
    std::fs::write(desk.path("idx/segments/00000001/ann.bin"), "none").unwrap();
    let found = desk.run("verify --index idx --json").exited(2).json();
    let remedies: Vec<_> = found["findings"].as_array().unwrap().iter().map(|f| &f["remedy"]).collect();
    assert_eq!(remedies, ["repair", "repair"]);
    let shown = desk.run("verify --index idx").exited(2);
    assert!(shown.stdout().contains("pictor repair --index idx"), "{}", shown.stdout());
    let repair = desk.json("repair --index idx");
    assert_eq!(repair["repaired"].as_array().map(Vec::len), Some(2), "{repair}");
    desk.run("verify --index idx").succeeded();
    assert_eq!(answer(&desk), before);

    let vectors = desk.path("idx/segments/00000001/vectors.bin");
    let mut bytes = std::fs::read(&vectors).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&vectors).unwrap();
    std::fs::write(&vectors, bytes).unwrap();
    let found = desk.run("verify --index idx --json").exited(2).json();
    assert_eq!(found["findings"][0]["remedy"], "restore", "{found}");
    let left: Run = desk.run("repair --index idx").exited(2);
    assert!(left.stdout().contains("vectors.bin") && left.stdout().contains("restore"), "{}", left.stdout());
    assert!(vectors.exists());
    desk.run("verify --index photos").exited(2).complains(&["photos"]);
    desk.run("repair --index nowhere").exited(2).complains(&["nowhere"]);
}
