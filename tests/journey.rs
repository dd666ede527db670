//! The commands as a user runs them, with the bundled model.

use crate::support::{Desk, names};

#[test]
fn index_then_search_finds_the_image_itself_first() {
    let desk = Desk::with_photos(9);
    let report = desk.json("index photos --index idx");
    assert_eq!((&report["indexed"], &report["generation"]), (&9.into(), &1.into()));

    let answer = desk.json("search --index idx --image photos/photo-04.jpg -k 3");
    assert_eq!(names(&answer)[0], "photo-04.jpg");
    assert_eq!(answer["hits"].as_array().map(Vec::len), Some(3));
    assert_eq!(answer["hits"][0]["rank"], 1);
    assert!(answer["hits"][0]["score"].as_f64().is_some_and(|s| (s - 1.0).abs() < 1e-3), "{answer}");
    assert!(answer["timings_ms"]["total"].as_f64().is_some_and(|ms| ms > 0.0));
    assert_eq!(answer["generation"], 1);

    let scores: Vec<f64> =
        answer["hits"].as_array().unwrap().iter().map(|h| h["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert!(scores.iter().all(|s| (-1.001..=1.001).contains(s)), "{scores:?}");
}

#[test]
fn words_need_no_quotes_and_join_an_image() {
    let desk = Desk::with_photos(5);
    desk.json("index photos --index idx");
    let quoted = Desk::json(&desk, "search --index idx two dogs");
    assert_eq!(quoted["hits"].as_array().map(Vec::len), Some(5));
    let both = desk.json("search --index idx --image photos/photo-01.jpg two dogs");
    let text_scores: Vec<_> = quoted["hits"].as_array().unwrap().iter().map(|h| h["score"].clone()).collect();
    let both_scores: Vec<_> = both["hits"].as_array().unwrap().iter().map(|h| h["score"].clone()).collect();
    assert_ne!(text_scores, both_scores, "the image counts");
}

#[test]
fn a_second_run_skips_what_did_not_change() {
    let desk = Desk::with_photos(6);
    desk.json("index photos --index idx");
    let again = desk.json("index photos --index idx");
    assert_eq!((&again["indexed"], &again["unchanged"]), (&0.into(), &6.into()));
    assert_eq!(again["generation"], 1, "nothing to commit");

    desk.photo("photo-01.jpg", 40); // same name, other picture
    desk.photo("new.png", 41);
    std::fs::remove_file(desk.path("photos/photo-02.jpg")).unwrap();
    let third = desk.json("index photos --index idx --prune");
    assert_eq!(
        (&third["indexed"], &third["unchanged"], &third["removed"]),
        (&2.into(), &4.into(), &1.into())
    );
    let answer = desk.json("search --index idx --image photos/photo-01.jpg -k 100");
    let found = names(&answer);
    assert_eq!((found.len(), found[0].as_str()), (6, "photo-01.jpg"));
    assert!(!found.contains(&"photo-02.jpg".into()));
}

#[test]
fn bad_files_are_listed_and_the_rest_is_indexed() {
    let desk = Desk::with_photos(3);
    desk.file("empty.jpg", b"");
    desk.file("notes.png", b"this is not a picture");
    let whole = std::fs::read(desk.path("photos/photo-00.png")).unwrap();
    desk.file("cut.png", &whole[..whole.len() / 2]);
    let report = desk.json("index photos --index idx");
    assert_eq!(report["indexed"], 3);
    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    assert!(skipped.iter().all(|s| s["reason"].as_str().is_some_and(|r| !r.is_empty())));
    desk.run("index photos --index idx --strict").exited(3);

    let listed = desk.run("inspect --index idx --skipped").succeeded().stdout();
    for name in ["empty.jpg", "notes.png", "cut.png"] {
        assert!(listed.contains(name), "{listed}");
    }
}

#[test]
fn captions_are_found_by_their_words() {
    let desk = Desk::with_photos(4);
    let lines =
        "photo-01.jpg#0\tA heron wades through shallow water .\nphoto-02.jpg#0\tTwo children fly a kite .\n";
    std::fs::write(desk.path("captions.txt"), lines).unwrap();
    desk.json("index photos --index idx --captions captions.txt");
    assert_eq!(names(&desk.json("search --index idx --mode text herons wading"))[0], "photo-01.jpg");
    let hybrid = desk.json("search --index idx --mode hybrid kite --explain");
    assert_eq!(names(&hybrid)[0], "photo-02.jpg");
    desk.run("search --index idx --mode text submarine").exited(1);
}

#[test]
fn attributes_are_read_kept_and_filtered_by() {
    let desk = Desk::with_photos(6);
    let csv = "file,camera,iso,taken\nphoto-01.jpg,Canon EOS,100,2020-05-17\nphoto-02.jpg,Nikon,200.5,2021-01-01\nphoto-03.png,Canon EOS,,\n";
    std::fs::write(desk.path("known.csv"), csv).unwrap();
    let report = desk.json("index photos --index idx --attributes known.csv");
    assert_eq!((&report["indexed"], &report["attributed"]), (&6.into(), &3.into()));
    let search = |filter: &str| {
        let line = ["search", "--index", "idx", "--json", "--filter", filter, "a red car"];
        let answer = crate::support::Run(desk.command(line).output().unwrap()).succeeded().json();
        let mut found = names(&answer);
        found.sort();
        assert_eq!(answer["matches"], found.len());
        found
    };
    assert_eq!(search("camera:\"canon eos\""), ["photo-01.jpg", "photo-03.png"]);
    assert_eq!(search("iso:[100 TO 200.5]"), ["photo-01.jpg", "photo-02.jpg"]);
    assert_eq!(search("taken:<2020-12-31 AND width:>0"), ["photo-01.jpg"]);
    assert_eq!(search("NOT camera:* AND iso:200.5 OR iso:100"), ["photo-01.jpg"]);

    // Other bytes keep them; another file adds to them; nothing is encoded for it.
    desk.photo("photo-01.jpg", 60);
    std::fs::write(desk.path("more.jsonl"), "{\"image\": \"photo-01.jpg\", \"stars\": 5, \"iso\": null}\n")
        .unwrap();
    let report = desk.json("index photos --index idx --attributes more.jsonl");
    assert_eq!((&report["indexed"], &report["unchanged"]), (&1.into(), &5.into()));
    assert_eq!(search("stars:5 AND camera:canon*"), ["photo-01.jpg"]);
    assert_eq!(search("iso:*"), ["photo-02.jpg"]);
    let known = desk.json("inspect --index idx --attributes");
    let camera =
        known["attributes"].as_array().unwrap().iter().find(|known| known["name"] == "camera").unwrap();
    assert_eq!((&camera["holds"], &camera["images"]), (&serde_json::json!(["text"]), &3.into()));
    assert!(
        desk.run("inspect --index idx --attributes").succeeded().stdout().contains("taken: dates, 2 images")
    );
    let text = desk.run("search --index idx --filter stars:5 a red car").succeeded().stdout();
    assert!(text.contains("1 of 6 images match") && text.contains("camera Canon EOS, stars 5"), "{text}");
}

#[test]
fn images_of_equal_bytes_are_listed() {
    let desk = Desk::with_photos(3);
    desk.json("index photos --index idx");
    assert!(desk.run("inspect --index idx --duplicates").succeeded().stdout().contains("no two images"));
    std::fs::copy(desk.path("photos/photo-01.jpg"), desk.path("photos/again.jpg")).unwrap();
    desk.json("index photos --index idx");
    let groups = desk.json("inspect --index idx --duplicates")["duplicates"].clone();
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    let uris: Vec<&str> =
        groups[0]["uris"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
    assert!(
        uris.len() == 2 && uris[0].ends_with("photo-01.jpg") && uris[1].ends_with("again.jpg"),
        "{uris:?}"
    );
    std::fs::remove_file(desk.path("photos/again.jpg")).unwrap();
    desk.json("index photos --index idx --prune");
    assert_eq!(desk.json("inspect --index idx --duplicates")["duplicates"], serde_json::json!([]));
}

#[test]
fn every_index_kind_gives_the_same_ranking_here() {
    let desk = Desk::with_photos(24);
    let mut rankings = Vec::new();
    for (i, kind) in ["flat", "hnsw", "faiss:Flat", "faiss:HNSW32", "faiss:IVF2,Flat"].iter().enumerate() {
        desk.json(&format!("index photos --index idx{i} --index-kind {kind}"));
        rankings.push(names(&desk.json(&format!("search --index idx{i} --effort 64 -k 5 a red car"))));
    }
    assert!(rankings.iter().all(|r| r == &rankings[0]), "{rankings:#?}");
}

#[test]
fn a_contact_sheet_shows_the_images() {
    let desk = Desk::with_photos(4);
    desk.json("index photos --index idx");
    std::fs::write(desk.path("queries.txt"), "a <red> car\n\nclimbing rocks\n").unwrap();
    desk.run("search --index idx --queries queries.txt -k 2 --html sheet.html").succeeded();
    let sheet = std::fs::read_to_string(desk.path("sheet.html")).unwrap();
    assert_eq!(sheet.matches("data:image/jpeg;base64,").count(), 4);
    assert!(sheet.contains("a &lt;red&gt; car") && !sheet.contains("<red>"));
}

#[test]
fn embed_writes_unit_rows_in_order() {
    let desk = Desk::with_photos(3);
    let files = "photos/photo-02.jpg photos/photo-00.png photos/photo-02.jpg";
    let written = desk.json(&format!("embed images {files} --out images.npy"));
    assert_eq!((&written["rows"], &written["dim"]), (&3.into(), &256.into()));
    let rows = read_npy(&desk.path("images.npy"), [3, 256]);
    assert_eq!(rows[0], rows[2]);
    assert_ne!(rows[0], rows[1]);
    for row in &rows {
        let norm: f32 = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    }

    std::fs::write(desk.path("texts.txt"), "a dog\n\nein Hund 🐕\n").unwrap();
    desk.json("embed texts texts.txt --out texts.npy");
    read_npy(&desk.path("texts.npy"), [3, 256]); // an empty line is a text too: rows stay aligned with lines
}

/// A float32 C-order `.npy` file of version 1, read by hand: the header is what another program will parse.
fn read_npy(path: &std::path::Path, shape: [usize; 2]) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    assert!(header.contains(&format!("({}, {}", shape[0], shape[1])), "{header}");
    let numbers: Vec<f32> =
        bytes[header_end..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(numbers.len(), shape[0] * shape[1]);
    numbers.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect()
}

#[test]
fn compaction_makes_one_segment_and_changes_no_answer() {
    let desk = Desk::with_photos(6);
    desk.json("index photos --index idx");
    std::fs::remove_file(desk.path("photos/photo-01.jpg")).unwrap();
    desk.photo("late.png", 60);
    desk.json("index photos --index idx --prune");
    let question = "search --index idx --image photos/late.png -k 100";
    let before = desk.json(question);

    let done = desk.json("compact --index idx");
    assert_eq!(done["compacted"], true, "{done}");
    let of = |when: &str, what: &str| done[when][what].as_u64().unwrap();
    assert_eq!((of("before", "segments"), of("before", "rows"), of("before", "deleted")), (2, 7, 1));
    assert_eq!((of("after", "segments"), of("after", "rows"), of("after", "deleted")), (1, 6, 0));
    assert!(of("after", "bytes") > 0);
    let after = desk.json(question);
    assert_eq!((&after["hits"], &after["generation"]), (&before["hits"], &before["generation"]));
    desk.run("verify --index idx").succeeded();

    let again = desk.run("compact --index idx").succeeded();
    assert!(again.stdout().starts_with("nothing to do: 1 segments, 6 rows"), "{}", again.stdout());
    assert_eq!(desk.json("compact --index idx")["compacted"], false);
    desk.run("compact --index nowhere").exited(2).complains(&["nowhere", "pictor index"]);
}

#[test]
fn doctor_completions_and_help_answer() {
    let desk = Desk::empty();
    let checkup = desk.json("doctor");
    assert_eq!(checkup["model"]["works"], true, "{checkup}");
    assert!(desk.run("doctor").succeeded().stdout().contains("tract"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.run(&format!("completions {shell}")).succeeded().stdout().contains("pictor"));
    }
    for command in [
        "",
        "index",
        "search",
        "serve",
        "eval retrieval",
        "eval zeroshot",
        "eval pope",
        "eval hard-negatives",
        "embed images",
        "import",
        "export",
        "inspect",
        "verify",
        "repair",
        "compact",
        "doctor",
    ] {
        assert!(desk.run(&format!("{command} --help")).succeeded().stdout().contains("Usage:"), "{command}");
    }
}
