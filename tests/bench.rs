//! What `pictor bench ann` and `pictor bench match` print: every documented field, and figures that no speed of a machine changes.

use std::fs::File;
use std::path::Path;

use npyz::WriterBuilder;
use npyz::half::f16;
use serde_json::Value;

use crate::support::Desk;

const ROWS: usize = 3000;
const DIM: usize = 16;

/// Unit vectors that look drawn by lot, the same for the same seed.
fn unit_vectors(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let unit = |_| {
        let row: Vec<f32> = (0..DIM).map(|_| next()).collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.into_iter().map(move |x| x / norm)
    };
    (0..count).flat_map(unit).collect()
}

fn write<T: npyz::AutoSerialize>(path: &Path, shape: &[u64], numbers: Vec<T>) {
    let file = File::create(path).expect("a writable temporary folder");
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().expect("a header");
    writer.extend(numbers).expect("numbers");
    writer.finish().expect("as many as the shape says");
}

/// A desk with `base.npy` in f16 and `queries.npy` in f32.
fn desk() -> Desk {
    let desk = Desk::empty();
    let base = unit_vectors(ROWS, 1).into_iter().map(f16::from_f32).collect();
    write::<f16>(&desk.path("base.npy"), &[ROWS as u64, DIM as u64], base);
    write(&desk.path("queries.npy"), &[20, DIM as u64], unit_vectors(20, 2));
    desk
}

const FILES: &str = "bench ann --base base.npy --queries queries.npy --dir .";

/// Whether all of these are there, and numbers.
fn has_numbers(object: &Value, names: &[&str]) {
    for name in names {
        assert!(object[name].is_number(), "no number {name} in {object}");
    }
}

#[test]
fn every_documented_figure_is_there() {
    let desk = desk();
    let line = format!(
        "{FILES} --kinds flat hnsw faiss:IVF16,PQ4x4fs -k 10,100 --efforts 16,64 --threads 1,2 \
         --queries-limit 15 --filter-queries 4 --rounds 1 --truth truth.npy"
    );
    let document = desk.json(&line);
    has_numbers(&document, &["rows", "dim", "vector_bytes", "queries", "cpu_cores", "rounds"]);
    assert_eq!((&document["rows"], &document["queries"]), (&ROWS.into(), &15.into()));
    assert_eq!(document["dtype"], "f16", "as the file has them");
    for limit in document["read_bandwidth"].as_array().expect("one for each number of threads") {
        has_numbers(limit, &["threads", "gigabytes_per_second"]);
    }
    let kinds = document["kinds"].as_array().expect("kinds");
    let names: Vec<&str> = kinds.iter().filter_map(|kind| kind["kind"].as_str()).collect();
    assert_eq!(names, ["flat", "hnsw:16:200", "faiss:IVF16,PQ4x4fs"]);
    for kind in kinds {
        let exact = kind["kind"] == "flat";
        has_numbers(kind, &["build_seconds", "index_bytes"]);
        assert_eq!(kind["index_bytes"] == 0, exact, "only the exact kind needs no file");
        for opened in [&kind["open_cold"], &kind["open_warm"]] {
            has_numbers(opened, &["open_ms", "first_result_ms"]);
            for memory in ["memory_opened", "memory_searched"] {
                has_numbers(&opened[memory], &["anonymous_bytes", "file_bytes"]);
            }
        }
        let searches = kind["searches"].as_array().expect("searches");
        assert_eq!(searches.len(), if exact { 2 } else { 6 }, "each k with the default and with each effort");
        for search in searches {
            has_numbers(search, &["k", "recall", "mean_ms", "p50_ms", "p99_ms"]);
            assert!(!exact || search["recall"] == 1.0, "{search}");
            let rates = search["rates"].as_array().expect("rates");
            assert_eq!(
                rates.iter().map(|rate| rate["threads"].as_u64()).collect::<Vec<_>>(),
                [Some(1), Some(2)]
            );
            rates.iter().for_each(|rate| has_numbers(rate, &["queries_per_second"]));
        }
        assert!(searches[0]["effort"].is_null(), "the default comes first");
        let filtered = kind["filtered"].as_array().expect("filtered");
        assert_eq!(filtered.len(), 15, "three correlations, five selectivities");
        for case in filtered {
            has_numbers(
                case,
                &["selectivity", "allowed", "k", "recall", "worst_recall", "mean_ms", "p99_ms"],
            );
            assert!(case["correlation"].is_string());
            assert_eq!(case["incomplete"], 0, "{case}");
            assert!(!exact || case["worst_recall"] == 1.0, "{case}");
        }
        let scans = kind["scans"].as_array().expect("scans");
        assert_eq!(scans.len(), if exact { 2 } else { 0 });
        scans
            .iter()
            .for_each(|scan| has_numbers(scan, &["threads", "bytes", "mean_ms", "limit_ms", "to_limit"]));
    }
    assert!(desk.path("truth.npy").is_file());
    let left = std::fs::read_dir(desk.path("")).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "photos").collect();
    assert_eq!(left.len(), 3, "only base, queries and truth: {left:?}");
}

#[test]
fn people_get_a_table() {
    let line = format!("{FILES} --kinds flat --efforts 16 --queries-limit 5 --filter-queries 2 --rounds 1");
    let text = desk().run(&line).succeeded().stdout();
    for word in ["3,000 rows", "recall", "uncorrelated", "0.01 %", "one scan of", "cold: open"] {
        assert!(text.contains(word), "no '{word}' in:\n{text}");
    }
}

#[test]
fn a_matchers_figures_come_with_its_scores() {
    let desk = Desk::with_photos(5);
    std::fs::write(desk.path("texts.txt"), "a dog runs\na red car under a tree\n")
        .expect("a writable folder");
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/encoders/tests/models");
    let line = format!(
        "bench match --photos photos --images 4 --texts texts.txt --batches 1,3 --rounds 1 --runtime tract --model {models}/blip"
    );
    let document = desk.json(&line);
    has_numbers(&document, &["images", "texts", "cpu_cores", "rounds"]);
    assert_eq!((&document["images"], &document["texts"]), (&4.into(), &2.into()));
    let [figures] = document["runtimes"].as_array().expect("runtimes").as_slice() else {
        panic!("{document}")
    };
    has_numbers(figures, &["image_features_per_second", "text_features_per_second"]);
    let batches = figures["batches"].as_array().expect("batches");
    assert_eq!(batches.iter().map(|of| of["batch"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(3)]);
    batches.iter().for_each(|of| has_numbers(of, &["pairs_per_second", "ms_per_pair"]));
    let scores = figures["scores"].as_array().expect("a row for each text");
    assert!(scores.len() == 2 && scores.iter().all(|row| row.as_array().is_some_and(|row| row.len() == 4)));
    assert_ne!(scores[0], scores[1]);

    let text = desk.run(&line).succeeded().stdout();
    assert!(text.contains("pairs, 3 at a time") && text.contains("2 texts with 4 images"), "{text}");
    desk.run(&format!("bench match --photos photos --model {models}/clip")).exited(2).complains(&["matcher"]);
    desk.run("bench match --photos none").exited(2).complains(&["none"]);
}

#[test]
fn mistakes_say_what_to_do() {
    let desk = desk();
    write(&desk.path("other.npy"), &[20, 8], unit_vectors(10, 3));
    write(&desk.path("line.npy"), &[160], unit_vectors(10, 3));
    desk.run("bench ann --base base.npy --queries other.npy").exited(2).complains(&["8 components", "16"]);
    desk.run("bench ann --base line.npy --queries other.npy")
        .exited(2)
        .complains(&["line.npy", "(rows, dim)"]);
    desk.run("bench ann --base none.npy --queries other.npy").exited(2).complains(&["none.npy"]);
    desk.run(&format!("{FILES} --kinds tree")).exited(2).complains(&["tree", "write flat"]);
    desk.run(&format!("{FILES} --truth line.npy")).exited(2).complains(&["line.npy"]);
    write(&desk.path("stale.npy"), &[20, 100], vec![0.5_f32; 2000]);
    desk.run(&format!("{FILES} --truth stale.npy")).exited(2).complains(&["stale.npy", "delete it"]);
}
