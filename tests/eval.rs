//! `pictor eval` as a researcher uses it: datasets on disk, reports, baselines, reranking.

use serde_json::Value;

use crate::support::{Desk, shared};

fn write(desk: &Desk, name: &str, bytes: &[u8]) {
    fs_err::write(desk.path(name), bytes).unwrap();
}

/// Three photographs with two captions each.
fn colours(desk: &Desk) {
    let mut captions = String::from("image,caption\n");
    for (seed, name) in ["red", "green", "blue"].into_iter().enumerate() {
        desk.photo(&format!("{name}.png"), seed as u32);
        captions += &format!("{name}.png,a {name} wall\n{name}.png,\"all {name}, nothing else\"\n");
    }
    write(desk, "captions.csv", captions.as_bytes());
}

const SET: &str = "--images photos --captions captions.csv";

#[test]
fn a_report_has_figures_provenance_and_files() {
    let desk = Desk::empty();
    colours(&desk);
    let report = desk.json(&format!("eval retrieval {SET} --report out"));
    let run = &report["runs"][0];
    assert_eq!((&report["format"], &run["label"]), (&1.into(), &"pictor-mini".into()));
    assert_eq!((&report["dataset"]["images"], &report["dataset"]["captions"]), (&3.into(), &6.into()));
    assert_eq!(run["text_to_image"]["metrics"]["R@5"], 100.0, "{run}");
    assert_eq!(run["text_to_image"]["ranks"].as_array().unwrap().len(), 6);
    assert!(run["text_to_image"]["intervals"]["R@1"].is_array());
    assert!(
        report["protocol"].as_str().unwrap().contains("Every caption and every image is ranked"),
        "{}",
        report["protocol"]
    );
    assert_eq!(report["provenance"]["command"][1], "eval");

    let kept: Value = serde_json::from_slice(&fs_err::read(desk.path("out/report.json")).unwrap()).unwrap();
    assert_eq!(kept["runs"], report["runs"]);
    let page = String::from_utf8(fs_err::read(desk.path("out/report.html")).unwrap()).unwrap();
    assert!(page.contains("data:image/jpeg;base64,") || !page.contains("<img"), "self-contained");
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("<script"));
    let markdown = String::from_utf8(fs_err::read(desk.path("out/report.md")).unwrap()).unwrap();
    assert!(markdown.contains("| pictor-mini |"), "{markdown}");
    let text = desk.run(&format!("eval retrieval {SET}")).succeeded().stdout();
    assert!(text.contains("pictor-mini") && text.contains("R@10"), "{text}");
}

#[test]
fn reranking_and_the_index_stand_beside_exact_search() {
    let desk = Desk::empty();
    colours(&desk);
    desk.json("index photos --index idx --index-kind hnsw");
    let report = desk.json(&format!("eval retrieval {SET} --rerank 2 --through-index idx"));
    let labels: Vec<&str> =
        report["runs"].as_array().unwrap().iter().map(|run| run["label"].as_str().unwrap()).collect();
    assert_eq!(
        labels,
        ["pictor-mini", "pictor-mini, stored vectors", "pictor-mini, index", "pictor-mini, rerank 2"]
    );
    let rerank = &report["runs"][3]["ranking"];
    assert_eq!((&rerank["by"], &rerank["k_test"]), (&"rerank".into(), &2.into()));
    let compared = report["comparisons"].as_array().unwrap();
    assert!(compared.iter().any(|c| c["base"] == "pictor-mini" && c["run"] == "pictor-mini, rerank 2"));
    assert!(compared.iter().any(|c| c["base"] == "pictor-mini, stored vectors"));

    write(&desk, "colours.csv", b"file,warm\nred.png,yes\ngreen.png,no\nblue.png,no\n");
    desk.json("index photos --index idx --attributes colours.csv");
    let filtered = desk.json(&format!("eval retrieval {SET} --through-index idx --filter warm:no"));
    assert_eq!((&filtered["dataset"]["images"], &filtered["dataset"]["captions"]), (&2.into(), &4.into()));
    desk.run(&format!("eval retrieval {SET} --through-index idx --filter warm:never"))
        .exited(2)
        .complains(&["no image of", "filter"]);
}

#[test]
fn a_baseline_is_a_gate() {
    let desk = Desk::empty();
    colours(&desk);
    desk.json(&format!("eval retrieval {SET} --report out"));
    let passed = desk.json(&format!("eval retrieval {SET} --baseline out/report.json"));
    assert_eq!(passed["baseline"]["dropped"], serde_json::json!([]));

    // Twelve photographs and captions that say nothing of them; and a past in which every one was found at once.
    let mut captions = String::from("image,caption\n");
    for seed in 0..12 {
        desk.photo(&format!("{seed}.png"), seed);
        captions += &format!("{seed}.png,number {}\n", seed * 7 % 12);
    }
    write(&desk, "swapped.csv", captions.as_bytes());
    let swapped = "eval retrieval --images photos --captions swapped.csv";
    desk.run(&format!("{swapped} --baseline out/report.json")).exited(2).complains(&["baseline"]);
    desk.json(&format!("{swapped} --report swapped"));
    let mut past: Value =
        serde_json::from_slice(&fs_err::read(desk.path("swapped/report.json")).unwrap()).unwrap();
    let ranks = past["runs"][0]["text_to_image"]["ranks"].as_array_mut().unwrap();
    ranks.iter_mut().for_each(|rank| *rank = 1.into());
    write(&desk, "past.json", past.to_string().as_bytes());
    let dropped = desk.run(&format!("{swapped} --baseline past.json")).exited(1);
    assert!(dropped.stdout().contains("DROPPED"), "{}", dropped.stdout());
    desk.run(&format!("{swapped} --baseline past.json --tolerance 100")).exited(0);
    desk.run(&format!("{swapped} --baseline past.json --tolerance -1")).exited(2);
    // A report must not take the place of what it is held against, and a run must not go missing in silence.
    desk.run(&format!("{swapped} --baseline swapped/report.json --report swapped"))
        .exited(2)
        .complains(&["overwrite the baseline"]);
    desk.json(&format!("{swapped} --rerank 2 --report both"));
    desk.run(&format!("{swapped} --baseline both/report.json")).exited(1);
}

#[test]
fn embeddings_alone_are_enough() {
    let Some(folder) = shared("clip-vit-b32-flickr8k-100") else { return };
    let desk = Desk::empty();
    let at = |name: &str| folder.join(name).display().to_string();
    let report = desk.json(&format!(
        "eval retrieval --image-embeddings {} --text-embeddings {}",
        at("image_embeddings.npy"),
        at("text_embeddings.npy")
    ));
    assert_eq!((&report["dataset"]["images"], &report["dataset"]["captions"]), (&100.into(), &500.into()));
    let metrics = &report["runs"][0]["text_to_image"]["metrics"];
    assert_eq!(
        (&metrics["R@1"], &metrics["R@5"], &metrics["R@10"]),
        (&83.2.into(), &99.0.into(), &99.8.into())
    );
}

#[test]
fn classes_objects_and_edited_captions() {
    let desk = Desk::empty();
    for (seed, name) in ["red", "blue"].into_iter().enumerate() {
        fs_err::create_dir_all(desk.path(&format!("photos/classes/{name}_wall"))).unwrap();
        desk.photo(&format!("classes/{name}_wall/1.png"), seed as u32);
        desk.photo(&format!("{name}.png"), seed as u32);
    }
    let zeroshot = desk.json("eval zeroshot --images photos/classes --prompts plain");
    assert_eq!((&zeroshot["images"], &zeroshot["classes"]), (&2.into(), &2.into()));
    assert!(zeroshot["top-1"].is_number() && zeroshot["confusion"].is_array(), "{zeroshot}");
    desk.run("eval zeroshot --images photos/classes --prompts nonsense")
        .exited(2)
        .complains(&["openai", "siglip"]);

    write(
        &desk,
        "random.json",
        br#"{"question_id": 1, "image": "red.png", "text": "Is there a wall in the image?", "label": "yes"}
{"question_id": 2, "image": "blue.png", "text": "Is there a dog in the image?", "label": "no"}
"#,
    );
    let pope = desk.json("eval pope --questions random.json --images photos");
    assert_eq!(pope["all"]["questions"], 2, "{pope}");
    assert_eq!(pope["matcher"]["name"], "pictor-mini");

    write(
        &desk,
        "swap.json",
        br#"{"0": {"filename": "red.png", "caption": "a red wall", "negative_caption": "a blue dog"}}"#,
    );
    let pairs = desk.json("eval hard-negatives --pairs swap.json --images photos --model pictor-mini");
    assert_eq!((&pairs["runs"][0]["pairs"], &pairs["runs"][1]["scored_by"]), (&1.into(), &"cosine".into()));
}

#[test]
fn what_cannot_be_evaluated_says_what_to_do() {
    let desk = Desk::empty();
    colours(&desk);
    desk.run("eval retrieval").exited(2).complains(&["--captions"]);
    desk.run(&format!("eval retrieval {SET} --model pictor-mini --model nowhere"))
        .exited(2)
        .complains(&["nowhere"]);
    desk.run(&format!("eval retrieval {SET} --rerank 5 --matcher nowhere")).exited(2).complains(&["nowhere"]);
    desk.run(&format!("eval retrieval {SET} --model pictor-mini --model pictor-mini"))
        .exited(2)
        .complains(&["twice"]);
    write(&desk, "photos/red.png", b"not a picture");
    desk.run(&format!("eval retrieval {SET}")).exited(2).complains(&["red.png", "no figure"]);
    desk.run(&format!("eval retrieval {SET} --baseline captions.csv")).exited(2).complains(&["captions.csv"]);
}
