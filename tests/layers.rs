//! The dependency edges of ARCHITECTURE.md, held by `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may use (outside its tests). The root package, `pictor`, may use all.
const EDGES: &[(&str, &[&str])] = &[
    ("pictor-core", &[]),
    ("pictor-encoders", &["pictor-core"]),
    ("pictor-ann", &["pictor-core"]),
    ("pictor-storage", &["pictor-core", "pictor-ann"]),
    ("pictor-indexer", &["pictor-core", "pictor-storage"]),
    ("pictor-query", &["pictor-core", "pictor-storage"]),
    ("pictor-eval", &["pictor-core", "pictor-query"]),
    ("pictor-web-ui", &["pictor-core", "pictor-storage", "pictor-query"]),
];

/// Heavy dependencies and the one crate that each lives in.
const HOMES: &[(&str, &str)] = &[
    ("gif", "pictor-encoders"),
    ("image", "pictor-encoders"),
    ("tokenizers", "pictor-encoders"),
    ("tract-onnx", "pictor-encoders"),
    ("ort", "pictor-encoders"),
    ("turbojpeg-sys", "pictor-encoders"),
    ("hf-hub", "pictor-encoders"),
    ("ureq", "pictor-encoders"),
    ("hnsw_rs", "pictor-ann"),
    ("faiss-sys", "pictor-ann"),
    ("rocksdb", "pictor-storage"),
    ("tantivy", "pictor-storage"),
    ("parquet", "pictor-indexer"),
    ("axum", "pictor-web-ui"),
    ("tokio", "pictor-web-ui"),
    ("anyhow", "pictor"),
    ("clap", "pictor"),
];

/// Package name → names of its normal and build dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo metadata is JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().expect("dependencies");
            (name(package), all.iter().filter(|d| d["kind"] != "dev").map(name).collect())
        })
        .collect()
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let dependencies = dependencies();
    let known: BTreeSet<&str> = EDGES.iter().map(|(krate, _)| *krate).chain(["pictor"]).collect();
    assert_eq!(
        dependencies.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "a crate without a rule"
    );
    for (krate, allowed) in EDGES {
        let ours = dependencies[*krate].iter().filter(|name| name.starts_with("pictor"));
        for used in ours {
            assert!(allowed.contains(&used.as_str()), "{krate} may not depend on {used}");
        }
    }
}

#[test]
fn each_heavy_dependency_has_one_home() {
    let dependencies = dependencies();
    for (heavy, home) in HOMES {
        let users: Vec<_> =
            dependencies.iter().filter(|(_, uses)| uses.contains(*heavy)).map(|(k, _)| k).collect();
        assert_eq!(users, [home], "{heavy} belongs in {home} alone");
    }
}
