//! `pictor model` with the real binary against a hub on loopback: what arrives, what an interruption leaves, who gets the token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub_server::{COMMIT, Hub, hex_sha256};
use crate::support::{Desk, Run};

const ID: &str = "someone/mini";
const NAME: &str = "someone--mini";
/// The largest file of the model that is served.
const LARGE: &str = "text.onnx";

/// The bundled model's files, with some that a model has no use for.
fn repository() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pictor-mini");
    let mut files = BTreeMap::new();
    for file in [
        "README.md",
        "pictor.json",
        "image.onnx",
        "text.onnx",
        "matcher.onnx",
        "tokenizer.json",
        "golden.json",
    ] {
        files.insert(file.to_owned(), std::fs::read(folder.join(file)).unwrap());
    }
    for entry in std::fs::read_dir(folder.join("golden")).unwrap() {
        let entry = entry.unwrap();
        let name = format!("golden/{}", entry.file_name().to_str().unwrap());
        files.insert(name, std::fs::read(entry.path()).unwrap());
    }
    for useless in ["model.safetensors", "pytorch_model.bin", "onnx/other.onnx", ".gitattributes"] {
        files.insert(useless.to_owned(), b"of no use here".to_vec());
    }
    files
}

/// A desk with a hub, a cache and a models directory of its own.
struct Bench {
    desk: Desk,
    hub: Hub,
}

impl Bench {
    fn new() -> Self {
        Self { desk: Desk::with_photos(2), hub: Hub::serve(ID, repository()) }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.desk.command(line.split_whitespace());
        for name in
            ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", "XDG_DATA_HOME"]
        {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
            .env("HOME", self.desk.path("home"))
            .env("HF_HOME", self.desk.path("hf"))
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("PICTOR_MODELS", self.models());
        command
    }

    fn run(&self, line: &str) -> Run {
        Run(self.command(line).output().expect("pictor starts"))
    }

    fn run_with(&self, line: &str, name: &str, value: &str) -> Run {
        Run(self.command(line).env(name, value).output().expect("pictor starts"))
    }

    fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).succeeded().json()
    }

    fn models(&self) -> PathBuf {
        self.desk.path("models")
    }

    /// Everything in the models directory, hidden or not.
    fn in_models(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.models()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let folder = self.desk.path("hf/hub/models--someone--mini/blobs");
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// What there is of a large file's download.
    fn part(&self) -> Option<PathBuf> {
        static PART: LazyLock<String> =
            LazyLock::new(|| format!("{}.part", hex_sha256(&repository()[LARGE])));
        self.blobs().into_iter().find(|path| path.ends_with(&*PART))
    }

    /// The installed files are those of the repository.
    fn is_whole(&self, name: &str) {
        for (file, content) in repository() {
            let installed = std::fs::read(self.models().join(name).join(&file));
            match file.as_str() {
                "model.safetensors" | "pytorch_model.bin" | "onnx/other.onnx" | ".gitattributes" => {
                    assert!(installed.is_err(), "{file} is of no use")
                }
                _ => assert!(installed.unwrap() == content, "{file}"),
            }
        }
    }
}

#[test]
fn add_use_show_verify_remove() {
    let bench = Bench::new();
    let added = bench.json(&format!("model add {ID}"));
    assert_eq!((&added["name"], &added["origin"]["commit"]), (&NAME.into(), &COMMIT.into()));
    bench.is_whole(NAME);
    assert_eq!(bench.in_models(), [NAME]);
    let asked = bench.hub.take_file_requests();
    assert!(asked.iter().all(|a| !a.path.contains("safetensors") && !a.path.contains("other")), "{asked:#?}");
    assert!(asked.iter().any(|a| a.storage && a.path.ends_with(LARGE)), "large files come from the storage");

    // By the name of its directory, by its hub id, and by the name that an index remembers.
    for name in [NAME, ID] {
        let shown = bench.json(&format!("model show {name}"));
        assert_eq!((&shown["name"], &shown["manifest"]["dim"]), (&NAME.into(), &256.into()));
        assert_eq!(shown["installation"]["origin"]["id"], ID);
    }
    bench.run(&format!("index photos --index idx --model {ID}")).succeeded();
    bench.run(&format!("model show {NAME}")).succeeded();
    let listed = bench.json("model list --installed");
    let names: Vec<_> = listed["installed"].as_array().unwrap().iter().map(|m| m["name"].clone()).collect();
    assert_eq!(names, ["pictor-mini", NAME]);

    let verified = bench.json(&format!("model verify {NAME} --runtime tract"));
    assert_eq!(verified["passed"], true, "{verified:#}");
    assert!(verified["pixels"]["worst_difference"].as_u64().is_some_and(|worst| worst <= 1));
    assert_eq!(verified["files"]["changed"].as_array().map(Vec::len), Some(0));
    let worst = verified["runtimes"][0]["images"]["batch"]["cosine"].as_f64().unwrap();
    assert!(worst > 0.9999, "{verified:#}");
    // Beside the fingerprint's files, the others are checked too.
    std::fs::remove_file(bench.models().join(NAME).join("README.md")).unwrap();
    let failed = bench.run(&format!("model verify {NAME} --runtime tract")).exited(2);
    assert!(
        failed.stdout().contains("README.md") && failed.stdout().contains("NOT VERIFIED"),
        "{}",
        failed.stdout()
    );

    bench.run(&format!("model add {ID}")).exited(2).complains(&["installed already", "--force"]);
    bench.run(&format!("model add {ID} --name other")).succeeded();
    bench.run(&format!("model add {ID} --force")).succeeded();
    bench.is_whole(NAME);
    // Which of the two the id means is told by the names.
    bench.run(&format!("model remove {ID}")).succeeded();
    assert_eq!(bench.in_models(), ["other"]);
    bench.run(&format!("model remove {ID}")).succeeded();
    assert!(bench.in_models().is_empty(), "{:?}", bench.in_models());
    bench
        .run(&format!("model remove {ID}"))
        .exited(2)
        .complains(&["no installed model", "pictor model list"]);
    bench.run("model remove pictor-mini").exited(2).complains(&["inside the binary"]);
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    let bench = Bench::new();
    let half = repository()[LARGE].len() / 2;
    {
        let mut state = bench.hub.state();
        (state.cut, state.down_after_cut) = (Some((LARGE.into(), half)), true);
    }
    let run = bench.run(&format!("model add {ID}")).exited(2);
    run.complains(&[LARGE, &half.to_string(), "run the same command again"]);
    assert!(bench.in_models().is_empty(), "{:?}", bench.in_models());
    assert_eq!(std::fs::metadata(bench.part().expect("a part is kept")).unwrap().len(), half as u64);

    bench.hub.state().down = false;
    bench.hub.take_file_requests();
    bench.run(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);
    let asked = bench.hub.take_file_requests();
    let of = |file: &str| asked.iter().filter(|a| a.path.ends_with(file)).collect::<Vec<_>>();
    assert!(of("image.onnx").is_empty(), "what was complete is not fetched again");
    let resumed = of(LARGE);
    assert!(
        !resumed.is_empty() && resumed.iter().all(|a| a.headers["range"] == format!("bytes={half}-")),
        "{resumed:#?}"
    );
    assert!(bench.part().is_none());
}

#[test]
fn passing_faults_are_ridden_out() {
    let bench = Bench::new();
    let half = repository()[LARGE].len() / 2;
    {
        let mut state = bench.hub.state();
        (state.cut, state.busy) = (Some((LARGE.into(), half)), 1);
    }
    bench.run(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);

    // A server that cannot resume sends the file from the start.
    let bench = Bench::new();
    {
        let mut state = bench.hub.state();
        (state.cut, state.ignores_range) = (Some((LARGE.into(), half)), true);
    }
    bench.run(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);
}

#[test]
fn a_corrupt_file_is_never_installed() {
    for file in [LARGE, "tokenizer.json", "pictor.json"] {
        let bench = Bench::new();
        bench.hub.state().corrupt = Some(file.into());
        bench.run(&format!("model add {ID}")).exited(2).complains(&[
            file,
            "damaged",
            "run the same command again",
        ]);
        assert!(bench.in_models().is_empty(), "{:?}", bench.in_models());
        let parts = bench.blobs().into_iter().filter(|path| path.extension().is_some_and(|e| e == "part"));
        assert_eq!(parts.count(), 0, "the damaged copy is gone");
        bench.hub.state().corrupt = None;
        bench.run(&format!("model add {ID}")).succeeded();
        bench.is_whole(NAME);
    }
    // A blob that went bad in the cache is fetched again.
    let bench = Bench::new();
    bench.run(&format!("model add {ID}")).succeeded();
    bench.run(&format!("model remove {ID}")).succeeded();
    let blob = bench.blobs().into_iter().max_by_key(|path| path.metadata().map_or(0, |m| m.len())).unwrap();
    std::fs::write(&blob, b"rotten").unwrap();
    bench.run(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::new();
    bench.run("model add someone/else").exited(2).complains(&["someone/else", "spelling", "HF_TOKEN"]);
    bench.run(&format!("model add {ID}@v9")).exited(2).complains(&[ID, "v9"]);
    bench.hub.state().gone = Some("tokenizer.json".into());
    bench.run(&format!("model add {ID}")).exited(2).complains(&["tokenizer.json", "404"]);
    bench.hub.state().gone = None;
    bench.run(&format!("model add {ID} --precision fp16,banana")).exited(2).complains(&["banana", "int8"]);
    bench.run("model add mini").exited(2).complains(&["organisation/name", "pictor model list"]);
    bench.run(&format!("model add {ID} --name ../x")).exited(2).complains(&["../x", "--name"]);

    // Listed whole, and yet no model: the manifest names a file that the repository lacks.
    bench.hub.state().files.remove("text.onnx");
    bench.run(&format!("model add {ID}")).exited(2).complains(&["text.onnx", "nothing was installed"]);
    bench.hub.state().files.remove("pictor.json");
    bench.run(&format!("model add {ID}")).exited(2).complains(&["visual/model.onnx", "models/export"]);
    assert!(bench.in_models().is_empty(), "{:?}", bench.in_models());
    bench
        .run_with(&format!("model add {ID}"), "HF_ENDPOINT", "ftp://x")
        .exited(2)
        .complains(&["HF_ENDPOINT", "ftp://x"]);
    let nobody = "http://127.0.0.1:1";
    bench
        .run_with(&format!("model add {ID}"), "HF_ENDPOINT", nobody)
        .exited(2)
        .complains(&[nobody, "HF_ENDPOINT"]);
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let bench = Bench::new();
    bench.hub.state().token = Some("hf_secret".into());
    bench.run(&format!("model add {ID}")).exited(2).complains(&["gated", "HF_TOKEN", "none was sent"]);
    let wrong = bench.run_with(&format!("model add {ID}"), "HF_TOKEN", "hf_wrong").exited(2);
    let wrong = wrong.complains(&["gated", "one was sent"]);
    assert!(!wrong.stderr().contains("hf_wrong"));
    bench
        .run_with(&format!("model add {ID}"), "HF_TOKEN", "hf_wr\u{f6}ng")
        .exited(2)
        .complains(&["HF_TOKEN"]);
    bench.hub.state().asked.clear();

    bench.run_with(&format!("model add {ID}"), "HF_TOKEN", "hf_secret").succeeded();
    bench.is_whole(NAME);
    let asked = bench.hub.state().asked.clone();
    let (storage, endpoint): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.storage);
    assert!(!storage.is_empty() && storage.iter().all(|asked| !asked.headers.contains_key("authorization")));
    assert!(endpoint.iter().all(|asked| asked.headers["authorization"] == "Bearer hf_secret"));

    // The file that `hf auth login` leaves.
    std::fs::write(bench.desk.path("hf/token"), "hf_secret\n").unwrap();
    bench.run(&format!("model add {ID} --force")).succeeded();
}

#[test]
fn offline_is_offline() {
    let bench = Bench::new();
    let offline = |line: &str| bench.run_with(line, "HF_HUB_OFFLINE", "1");
    offline(&format!("model add {ID}")).exited(2).complains(&["HF_HUB_OFFLINE", ID]);
    bench.run(&format!("model add {ID}")).succeeded();
    bench.run(&format!("model remove {ID}")).succeeded();
    bench.hub.state().asked.clear();
    offline(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);
    offline(&format!("model add {ID}@{COMMIT} --force")).succeeded();
    offline(&format!("model add {ID}@v9 --name v9")).exited(2).complains(&["HF_HUB_OFFLINE", "v9"]);
    offline(&format!("model add {}/files/m.tar", bench.hub.endpoint))
        .exited(2)
        .complains(&["HF_HUB_OFFLINE"]);
    assert!(bench.hub.state().asked.is_empty(), "not one request");
}

#[test]
fn a_killed_installation_leaves_no_model() {
    let bench = Bench::new();
    bench.hub.state().stall = Some((LARGE.into(), 1_000_000));
    let line = format!("model add {ID}");
    let mut child = bench.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !bench.part().is_some_and(|part| part.metadata().is_ok_and(|m| m.len() >= 1_000_000)) {
        assert!(Instant::now() < deadline, "the download does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A second one does not touch the first one's part.
    bench.run(&format!("{line} --name other")).exited(2).complains(&["another process", LARGE]);
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(bench.in_models().iter().all(|name| name.starts_with('.')), "{:?}", bench.in_models());
    let listed = bench.json("model list --installed");
    assert_eq!(listed["installed"].as_array().map(Vec::len), Some(1), "the bundled one alone");
    bench.hub.state().stall = None;
    bench.hub.take_file_requests();
    bench.run(&line).succeeded();
    bench.is_whole(NAME);
    assert_eq!(bench.in_models(), [NAME], "what the dead process left is gone");
    let asked = bench.hub.take_file_requests();
    let range = |a: &crate::hub_server::Asked| {
        a.path.ends_with(LARGE) && a.headers.get("range").is_some_and(|r| r == "bytes=1000000-")
    };
    assert!(asked.iter().any(range), "{asked:#?}");
}

#[test]
fn a_mirror_without_checksums_in_its_listing() {
    let bench = Bench::new();
    bench.hub.state().bare_listing = true;
    bench.run(&format!("model add {ID}")).succeeded();
    bench.is_whole(NAME);
    bench.hub.state().corrupt = Some("image.onnx".into());
    bench.run(&format!("model remove {ID}")).succeeded();
    for blob in bench.blobs() {
        std::fs::remove_file(blob).unwrap();
    }
    bench.run(&format!("model add {ID}")).exited(2).complains(&["image.onnx", "damaged"]);
}

/// The files of a small model folder as another tool lays it out.
fn fixture(name: &str) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), files);
            } else {
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("encoders/tests/models").join(name), "", &mut files);
    files
}

#[test]
fn repositories_of_other_tools() {
    for layout in ["transformersjs-clip", "immich-siglip", "open-clip", "optimum-clip", "external"] {
        let bench = Bench::new();
        bench.hub.state().files = fixture(layout);
        bench.hub.state().files.insert("onnx/model_q4.onnx".into(), b"unused".to_vec());
        let added = bench.json(&format!("model add {ID}"));
        if layout != "external" {
            assert_eq!(
                added["license"], "mit",
                "of the model's page, since the folder of {layout} states none"
            );
        }
        assert!(!bench.models().join(NAME).join("onnx/model_q4.onnx").exists());
        let verified = bench.json(&format!("model verify {ID} --runtime tract"));
        assert_eq!(verified["passed"], true, "{layout}: {verified:#}");
        // An index remembers the model by the name that its folder has.
        bench.run(&format!("index photos --index idx --model {ID}")).succeeded();
        bench.run("search --index idx -k 1 a dog").succeeded();
    }
    // Weights under a name that only the graph tells.
    let bench = Bench::new();
    let mut files = fixture("external");
    let hidden = files.remove("image.onnx.data").unwrap();
    let graph = files.get_mut("image.onnx").unwrap();
    let (old, new) = (b"image.onnx.data", b"weights-of-it-1");
    let places: Vec<usize> =
        (0..graph.len() - old.len()).filter(|&at| graph[at..].starts_with(old)).collect();
    places.into_iter().for_each(|at| graph[at..at + new.len()].copy_from_slice(new));
    files.remove("pictor.json");
    let other = fixture("open-clip");
    files.insert("open_clip_config.json".into(), other["open_clip_config.json"].clone());
    files.insert("weights-of-it-1".into(), hidden);
    bench.hub.state().files = files;
    bench.run(&format!("model add {ID}"));
    let asked = bench.hub.take_file_requests();
    assert!(asked.iter().any(|asked| asked.path.ends_with("weights-of-it-1")), "{asked:#?}");
}

#[test]
fn the_precisions_asked_for_and_no_others() {
    let bench = Bench::new();
    bench.hub.state().files = fixture("transformersjs-clip");
    let graphs = |name: &str| {
        let entries = std::fs::read_dir(bench.models().join(name).join("onnx")).unwrap().flatten();
        let mut graphs: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        graphs.sort();
        graphs
    };
    bench.run(&format!("model add {ID}")).succeeded();
    assert_eq!(graphs(NAME), ["text_model.onnx", "vision_model.onnx"]);
    bench.run(&format!("model add {ID} --precision fp16 --name half")).succeeded();
    assert_eq!(graphs("half"), ["text_model_fp16.onnx", "vision_model_fp16.onnx"]);
    bench.run(&format!("model add {ID} --precision fp32,int8 --name both")).succeeded();
    assert_eq!(graphs("both").len(), 4);
    let shown = bench.json("model show both");
    assert_eq!(shown["precisions"], serde_json::json!(["fp32", "int8"]));
    bench.hub.state().files.retain(|name, _| !name.contains("fp16"));
    bench
        .run(&format!("model add {ID} --precision fp16 --name n"))
        .exited(2)
        .complains(&["no fp16", "fp32, int8"]);
}

#[test]
fn folders_and_archives() {
    let bench = Bench::new();
    let folder = bench.desk.path("exported");
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (file, content) in repository() {
        let path = folder.join(&file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    archive.append_dir_all("wrapped", &folder).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();

    let added = bench.json("model add ./exported");
    assert_eq!(added["name"], "exported");
    bench.is_whole("exported");
    std::fs::remove_dir_all(&folder).unwrap();
    bench.run("model show exported").succeeded();

    let (address, sum) = (format!("{}/files/m.tar.gz", bench.hub.endpoint), hex_sha256(&archive));
    let half = archive.len() / 2;
    {
        let mut state = bench.hub.state();
        state.files.insert("m.tar.gz".into(), archive);
        (state.cut, state.down_after_cut) = (Some(("m.tar.gz".into(), half)), true);
    }
    bench
        .run(&format!("model add {address}"))
        .exited(2)
        .complains(&["m.tar.gz", "run the same command again"]);
    bench.hub.state().down = false;
    bench.hub.state().asked.clear();
    let added = bench.json(&format!("model add {address}#sha256={sum}"));
    assert_eq!((&added["name"], &added["origin"]["url"]), (&"m".into(), &address.as_str().into()));
    let headers = bench.hub.state().asked[0].headers.clone();
    assert_eq!(headers["range"], format!("bytes={half}-"));
    assert!(headers.contains_key("if-range"));
    bench.run("model verify m --runtime tract").succeeded();
    let wrong = format!("model add {address}#sha256={} --name n", "0".repeat(64));
    bench.run(&wrong).exited(2).complains(&["m.tar.gz", "SHA-256", &sum]);
    bench
        .run(&format!("model add {}/files/gone.tar", bench.hub.endpoint))
        .exited(2)
        .complains(&["gone.tar", "404"]);
    bench.run("model add ./photos").exited(2).complains(&["photos", "no ONNX file"]);
}

#[test]
fn the_catalogue_names_figures_and_sources() {
    let bench = Bench::new();
    let listed = bench.json("model list");
    let models = listed["catalogue"]["models"].as_array().unwrap();
    let clip = models.iter().find(|model| model["id"] == "Xenova/clip-vit-base-patch32").unwrap();
    assert_eq!(
        (&clip["dim"], &clip["license"], &clip["layout"]),
        (&512.into(), &"MIT".into(), &"transformers.js".into())
    );
    assert_eq!(clip["coco_r1"]["source"], "open_clip");
    assert!(listed["catalogue"]["sources"]["open_clip"].as_str().is_some());
    let text = bench.run("model list").succeeded().stdout();
    assert!(text.contains("pictor-mini") && text.contains("immich-app/ViT-B-32__openai"), "{text}");
    bench
        .run("model add ViT-B-32__openai")
        .exited(2)
        .complains(&["did you mean immich-app/ViT-B-32__openai"]);
    assert!(bench.hub.state().asked.is_empty(), "a list asks no one");
    let verified = bench.json("model verify --runtime tract");
    assert_eq!((&verified["model"], &verified["passed"]), (&"pictor-mini".into(), &true.into()));
}
