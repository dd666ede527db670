//! What a user gets wrong: exit code 2 and words that say what to do, never a panic.

use crate::support::Desk;

#[test]
fn sources_that_hold_nothing() {
    let desk = Desk::empty();
    desk.run("index photos --index idx").exited(2).complains(&["photos", "no image"]);
    desk.run("index nowhere --index idx").exited(2).complains(&["nowhere"]);
    assert!(!desk.path("idx").exists(), "no index of nothing is left behind");
}

#[test]
fn a_folder_that_is_no_index() {
    let desk = Desk::with_photos(1);
    desk.run("search --index nowhere dogs").exited(2).complains(&["nowhere", "pictor index"]);
    desk.run("search --index photos dogs").exited(2).complains(&["photos"]);
    desk.run("index photos --index photos").exited(2).complains(&["photos"]);
}

#[test]
fn a_query_that_asks_nothing() {
    let desk = Desk::with_photos(1);
    desk.json("index photos --index idx");
    desk.run("search --index idx").exited(2).complains(&["nothing to search for"]);
    desk.run("search --index idx -k 0 dogs").exited(2).complains(&["k"]);
    desk.run("search --index idx --image photos/gone.jpg").exited(2).complains(&["gone.jpg"]);
    let text = desk.file("words.jpg", b"not a picture");
    desk.run(&format!("search --index idx --image {}", text.display()))
        .exited(2)
        .complains(&["not an image"]);
}

#[test]
fn a_filter_that_cannot_be_meant() {
    let desk = Desk::with_photos(2);
    std::fs::write(desk.path("known.tsv"), "file\tstars\nphoto-00.png\t3\n").unwrap();
    desk.json("index photos --index idx --attributes known.tsv");
    let search = |filter: &str| {
        let line = ["search", "--index", "idx", "--filter", filter, "dogs"];
        crate::support::Run(desk.command(line).output().unwrap())
    };
    search("sters:3").exited(2).complains(&["no image has the attribute 'sters'", "stars", "caption"]);
    search("stars:three").exited(2).complains(&["'stars' holds numbers", "'three'"]);
    search("stars:3 dogs").exited(2).complains(&["AND or OR"]);
    search("(stars:3").exited(2).complains(&["not closed"]);
    search("").exited(0);
    let none = search("stars:>3").exited(1);
    assert!(none.stdout().contains("no image matches the filter"), "{}", none.stdout());

    std::fs::write(desk.path("bad.csv"), "file,stars\nphoto-00.png\n").unwrap();
    desk.run("index photos --index idx --attributes bad.csv").exited(2).complains(&["bad.csv", "line 2"]);
    std::fs::write(desk.path("bad.csv"), "file,width\nphoto-00.png,1\n").unwrap();
    desk.run("index photos --index idx --attributes bad.csv").exited(2).complains(&["'width'", "rename"]);
}

#[test]
fn a_damaged_index_is_named_not_believed() {
    for (file, what) in
        [("manifest.json", "manifest.json"), ("vectors.bin", "vectors.bin"), ("ids.bin", "ids.bin")]
    {
        let desk = Desk::with_photos(4);
        desk.json("index photos --index idx");
        let path = find(&desk.path("idx"), file).unwrap_or_else(|| panic!("no {file} in the index"));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        desk.run("search --index idx dogs").exited(2).complains(&[what]);
        std::fs::write(&path, b"").unwrap();
        desk.run("search --index idx dogs").exited(2).complains(&[what]);
        std::fs::remove_file(&path).unwrap();
        desk.run("search --index idx dogs").exited(2).complains(&["idx"]);
    }
}

#[test]
fn a_model_that_is_not_there_or_not_the_one() {
    let desk = Desk::with_photos(2);
    desk.run("index photos --index idx --model no-such-model").exited(2).complains(&["no-such-model"]);
    desk.json("index photos --index idx");

    // The same towers with another mean: not comparable, whatever the file sizes say.
    let other = desk.path("other");
    copy_bundled_model(&other);
    let description = std::fs::read_to_string(other.join("pictor.json")).unwrap();
    std::fs::write(other.join("pictor.json"), description.replacen("0.5", "0.25", 1)).unwrap();
    desk.run("search --index idx --model other dogs").exited(2).complains(&["fingerprint"]);
    desk.run("index photos --index idx --model other").exited(2).complains(&["fingerprint"]);

    std::fs::remove_file(other.join("tokenizer.json")).unwrap();
    desk.run("index photos --index idx2 --model other").exited(2).complains(&["tokenizer.json"]);
}

#[test]
fn a_runtime_that_is_not_there() {
    let desk = Desk::with_photos(1);
    let absent = desk
        .command(["doctor", "--runtime", "onnxruntime", "--json"])
        .env("ORT_DYLIB_PATH", "/no/lib.so")
        .output();
    let absent = crate::support::Run(absent.unwrap()).exited(2);
    assert!(absent.stdout().contains("/no/lib.so"), "{}", absent.stdout());
    let broken = desk.file("lib.so", b"no library");
    let run = desk
        .command(["index", "photos", "--index", "idx", "--runtime", "onnxruntime"])
        .env("ORT_DYLIB_PATH", &broken)
        .output();
    crate::support::Run(run.unwrap()).exited(2).complains(&["lib.so"]);
}

#[test]
fn an_index_kind_that_does_not_exist() {
    let desk = Desk::with_photos(2);
    desk.run("index photos --index idx --index-kind banana").exited(2).complains(&["banana"]);
    desk.run("index photos --index idx --index-kind faiss:Banana12").exited(2).complains(&["Banana12"]);
    desk.json("index photos --index idx --index-kind flat");
    desk.run("index photos --index idx --index-kind hnsw").exited(2).complains(&["flat", "hnsw"]);
}

#[test]
fn an_evaluation_that_lacks_images() {
    let desk = Desk::with_photos(2);
    std::fs::write(desk.path("captions.txt"), "photo-00.png#0\ta\nphoto-01.jpg#0\tb\ngone.jpg#0\tc\n")
        .unwrap();
    desk.run("eval retrieval --images photos --captions captions.txt").exited(2).complains(&["gone.jpg"]);
    std::fs::write(desk.path("captions.txt"), "one two three").unwrap();
    desk.run("eval retrieval --images photos --captions captions.txt").exited(2).complains(&["captions.txt"]);
}

#[test]
fn embedding_a_bad_file_writes_nothing() {
    let desk = Desk::with_photos(1);
    desk.file("bad.jpg", b"bad");
    desk.run("embed images photos/photo-00.png photos/bad.jpg --out x.npy").exited(2).complains(&["bad.jpg"]);
    assert!(!desk.path("x.npy").exists());
    let written = desk.json("embed images photos/bad.jpg photos/photo-00.png --skip-bad --out x.npy");
    assert_eq!((&written["rows"], written["skipped"].as_array().map(Vec::len)), (&1.into(), Some(1)));
}

fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        if entry.path().is_dir() {
            find(&entry.path(), name)
        } else {
            (entry.file_name() == *name).then(|| entry.path())
        }
    })
}

fn copy_bundled_model(to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pictor-mini");
    for file in ["pictor.json", "image.onnx", "text.onnx", "matcher.onnx", "tokenizer.json"] {
        std::fs::copy(bundled.join(file), to.join(file)).unwrap();
    }
}
