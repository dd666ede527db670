//! Figures on real photographs, with floors that a preprocessing slip or a wrong tokenizer falls through.

use std::path::PathBuf;

use crate::support::{Desk, names, shared};

/// The photographs that `make test` fetches; a run without them says so.
fn sample_photos() -> Option<PathBuf> {
    let folder = std::env::var_os("PICTOR_SAMPLE_PHOTOS").map(PathBuf::from).filter(|f| f.is_dir());
    if folder.is_none() {
        eprintln!("NOT RUN: PICTOR_SAMPLE_PHOTOS names no folder; `make test` fetches one");
    }
    folder
}

#[test]
fn plain_words_find_plain_photographs() {
    let Some(photos) = sample_photos() else { return };
    let desk = Desk::empty();
    desk.json(&format!("index {} --index idx", photos.display()));
    for (query, expected) in [
        ("a motorcycle", "motorcycle_left.png"),
        ("a man with a camera", "camera.png"),
        ("mountains with snow", "picosdeeuropa_by_Aitzol_Berasategi.jpg"),
    ] {
        let found = names(&desk.json(&format!("search --index idx -k 3 {query}")));
        assert!(found.contains(&expected.to_owned()), "{query}: {found:?}");
    }
}

#[test]
fn recall_on_coco_photographs_in_their_own_shapes() {
    let Some(coco) = shared("coco-val2017-sample") else { return };
    let desk = Desk::empty();
    let set = format!("--images {0}/images --captions {0}/captions.json", coco.display());
    let report = desk.json(&format!("eval retrieval {set}"));
    assert_eq!(report["dataset"]["images"], 141);
    let r10 = |run: &serde_json::Value, way: &str| run[way]["metrics"]["R@10"].as_f64().unwrap();
    let exact = &report["runs"][0];
    assert!(r10(exact, "text_to_image") > 40.0 && r10(exact, "image_to_text") > 40.0, "{exact}");

    desk.json(&format!("index {}/images --index idx", coco.display()));
    let through = desk.json(&format!("eval retrieval {set} --through-index idx --rerank 64"));
    let [exact, stored, index, reranked] = [0, 1, 2, 3].map(|run| &through["runs"][run]);
    for run in [stored, index] {
        assert!((r10(exact, "text_to_image") - r10(run, "text_to_image")).abs() <= 0.2, "{run}");
    }
    assert!(r10(reranked, "image_to_text") >= r10(exact, "image_to_text"), "{reranked}");
}
