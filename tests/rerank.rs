//! Reranking as a user runs it, with a tiny model that has a matcher: `encoders/tests/models/blip`, whose weights are random, so what
//! it ranks first means nothing and that it is the same each time does.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Desk, Run, names};

/// A model folder with a matcher.
const BLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/encoders/tests/models/blip");

/// Photographs in an index of the bundled model.
fn desk(photos: u32) -> Desk {
    let desk = Desk::with_photos(photos);
    desk.json("index photos --index idx");
    desk
}

fn matches(answer: &Value) -> Vec<f64> {
    let hits = answer["hits"].as_array().unwrap().iter();
    hits.filter_map(|hit| hit.get("rerank")?["score"].as_f64()).collect()
}

#[test]
fn a_matcher_orders_the_first_candidates_anew() {
    let desk = desk(9);
    let search = |flags: &str| desk.json(&format!("search --index idx {flags} a red ball"));
    let plain = search("");
    let answer = search(&format!("--rerank=6 --matcher {BLIP}"));
    let reranked = &answer["reranked"];
    assert_eq!(
        (&reranked["asked"], &reranked["scored"], &reranked["outcome"]),
        (&json!(6), &json!(6), &json!("complete"))
    );
    assert_eq!(reranked["matcher"], "blip-tiny");
    let scores = matches(&answer);
    assert!(scores.len() == 6 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let (mut first, mut before) = (names(&answer)[..6].to_vec(), names(&plain)[..6].to_vec());
    assert_eq!(names(&answer)[6..], names(&plain)[6..]);
    first.sort_unstable();
    before.sort_unstable();
    assert_eq!(first, before);
    for hit in answer["hits"].as_array().unwrap().iter().take(6) {
        let was = hit["rerank"]["first_stage_rank"].as_u64().unwrap() as usize;
        assert_eq!(
            (&hit["uri"], &hit["score"]),
            (&plain["hits"][was - 1]["uri"], &plain["hits"][was - 1]["score"])
        );
        assert!((0.0..=1.0).contains(&hit["rerank"]["itm_probability"].as_f64().unwrap()));
    }

    // Again from the index's cache, to the same numbers; and without any cache.
    let again = search(&format!("--rerank=6 --matcher {BLIP}"));
    assert_eq!((&again["hits"], &again["reranked"]["cache_hits"]), (&answer["hits"], &json!(6)));
    assert!(desk.path("idx/features/db/CURRENT").is_file());
    let without = search(&format!("--rerank=6 --matcher {BLIP} --rerank-cache-size 0"));
    assert_eq!((&without["hits"], &without["reranked"]["cache_hits"]), (&answer["hits"], &json!(0)));
    let elsewhere =
        search(&format!("--rerank=6 --matcher {BLIP} --rerank-cache seen --rerank-cache-size 64K"));
    assert_eq!(elsewhere["hits"], answer["hits"]);
    assert!(desk.path("seen/db").is_dir());
    desk.run("verify --index idx").succeeded();

    // 128 unless said otherwise, and the words after it are words.
    let all = search(&format!("--matcher {BLIP} --rerank"));
    assert_eq!((&all["reranked"]["asked"], &all["reranked"]["candidates"]), (&json!(128), &json!(9)));
    assert_eq!(matches(&all).len(), 9);
    let k = search(&format!("-k 2 --rerank --matcher {BLIP}"));
    assert_eq!(names(&k), names(&all)[..2]);

    let cut = search(&format!("--rerank --matcher {BLIP} --deadline 0"));
    assert_eq!((&cut["reranked"]["scored"], &cut["reranked"]["outcome"]), (&json!(0), &json!("deadline")));
    assert_eq!(names(&cut), names(&plain));

    let table = desk.run(&format!("search --index idx --rerank --matcher {BLIP} a red ball")).succeeded();
    let text = table.stdout();
    assert!(
        text.contains("match ") && text.contains("reranked 9 of 9 by blip-tiny, 9 of them seen before"),
        "{text}"
    );
    assert!(table.stderr().contains("matcher"), "what reranks is said: {}", table.stderr());
}

#[test]
fn many_queries_modes_and_filters() {
    let desk = desk(6);
    std::fs::write(desk.path("queries.txt"), "a red ball\ntwo dogs\n").unwrap();
    let answers = desk.json(&format!("search --index idx --rerank --matcher {BLIP} --queries queries.txt"));
    let seen: Vec<_> =
        answers.as_array().unwrap().iter().map(|a| a["reranked"]["cache_hits"].clone()).collect();
    assert_eq!(seen, [json!(0), json!(6)], "the second query has the first one's features");
    let words = desk.json(&format!("search --index idx --rerank --matcher {BLIP} --mode text photo"));
    assert_eq!(matches(&words).len(), 6);
    let some = desk.json(&format!("search --index idx --rerank --matcher {BLIP} --filter width:50 photo"));
    assert_eq!((matches(&some).len(), &some["matches"]), (2, &json!(2)));
    let both =
        desk.json(&format!("search --index idx --rerank --matcher {BLIP} --image photos/photo-01.jpg photo"));
    assert_eq!(matches(&both).len(), 6);

    // A photograph that is gone is scored from what is known of it; one that nothing is known of says so.
    std::fs::remove_file(desk.path("photos/photo-01.jpg")).unwrap();
    let gone = desk.json(&format!("search --index idx --rerank --matcher {BLIP} photo"));
    assert_eq!(matches(&gone).len(), 6);
    let run = desk.run(&format!("search --index idx --rerank --matcher {BLIP} --rerank-cache-size 0 photo"));
    let run = run.succeeded().complains(&["warning: 1 images", "photo-01.jpg"]);
    assert!(run.stdout().contains("reranked 5 of 6"), "{}", run.stdout());
}

#[test]
fn an_index_of_a_model_with_a_matcher_needs_no_name() {
    let desk = Desk::with_photos(4);
    desk.json(&format!("index photos --index idx --model {BLIP}"));
    let answer = desk.json(&format!("search --index idx --model {BLIP} --rerank a red ball"));
    assert_eq!((&answer["reranked"]["matcher"], matches(&answer).len()), (&json!("blip-tiny"), 4));
    let shown = desk.run(&format!("model show {BLIP}")).succeeded().stdout();
    assert!(shown.contains("matcher     yes"), "{shown}");
    assert_eq!(desk.json(&format!("doctor --model {BLIP}"))["model"]["matcher"], true);
}

#[test]
fn what_cannot_be_reranked_says_what_to_do() {
    let desk = desk(2);
    let fails = |line: &str, words: &[&str]| {
        desk.run(&format!("search --index idx {line}")).exited(2).complains(words);
    };
    fails(&format!("--rerank=0 --matcher {BLIP} dog"), &["rerank is 0", "1000"]);
    fails(&format!("--rerank=many --matcher {BLIP} dog"), &["--rerank"]);
    fails(&format!("--rerank --matcher {BLIP} --image photos/photo-00.png"), &["needs a text"]);
    fails("--rerank --matcher nowhere dog", &["nowhere"]);
    fails(&format!("--matcher {BLIP} dog"), &["--rerank"]);
    fails("--deadline 5 dog", &["--rerank"]);
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/encoders/tests/models/clip");
    fails(&format!("--rerank --matcher {clip} dog"), &["has no matcher", "--matcher"]);
    fails(&format!("--rerank --matcher {BLIP} --rerank-cache photos dog"), &["photos", "other files"]);
    std::fs::create_dir_all(desk.path("odd/db")).unwrap();
    std::fs::write(desk.path("odd/db/CURRENT"), "odd").unwrap();
    fails(&format!("--rerank --matcher {BLIP} --rerank-cache odd dog"), &["odd", "delete that folder"]);
}

#[test]
fn two_processes_share_an_index_and_not_its_cache() {
    let desk = desk(5);
    let serve = ["serve", "--index", "idx", "--addr", "127.0.0.1:0", "--json", "--quiet", "--matcher", BLIP];
    let mut child = desk.command(serve).stdout(Stdio::piped()).spawn().expect("pictor starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in '{line}'"));
    let url = ready["listening"].as_str().unwrap();
    let get = |path: &str| -> Value {
        ureq::get(&format!("{url}{path}")).call().unwrap().body_mut().read_json().unwrap()
    };

    let mut answer = ureq::post(&format!("{url}/api/search"))
        .send_json(json!({"text": "a red ball", "rerank": 10}))
        .unwrap();
    let answer: Value = answer.body_mut().read_json().unwrap();
    assert_eq!(answer["reranked"]["candidates"], 5, "{answer}");
    assert_eq!(
        (&get("/api/info")["matcher"]["name"], &get("/api/info")["matcher"]["deadline_ms"]),
        (&json!("blip-tiny"), &json!(5000))
    );
    let cache = get("/api/metrics")["rerank"]["cache"].clone();
    assert_eq!((&cache["on_disk"], &cache["budget"]), (&json!(true), &json!(1_u64 << 30)), "{cache}");

    let beside = desk.run(&format!("search --index idx --rerank --matcher {BLIP} a red ball --json"));
    let beside = beside.succeeded().complains(&[&format!("process {}", child.id()), "in memory"]);
    assert_eq!(matches(&beside.json()).len(), 5);
    let named = desk
        .run(&format!("search --index idx --rerank --matcher {BLIP} --rerank-cache idx/features a red ball"));
    named.exited(2).complains(&["in use by process"]);

    // Killed, it leaves a cache that opens.
    child.kill().unwrap();
    child.wait().unwrap();
    let after = Run(desk
        .command(["search", "--index", "idx", "--rerank", "--matcher", BLIP, "ball", "--json"])
        .output()
        .unwrap());
    assert_eq!(matches(&after.succeeded().json()).len(), 5);
    let again = desk.json(&format!("search --index idx --rerank --matcher {BLIP} ball"));
    assert_eq!(again["reranked"]["cache_hits"], 5);
}
