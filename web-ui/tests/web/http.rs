//! The routes over HTTP.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pictor_web_ui::{ServeError, ServeOptions, Shutdown, serve};
use serde_json::{Value, json};

use crate::server::{FILES, Server, TILE, agent, index};

fn ids(answer: &Value) -> Vec<u64> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
}

#[test]
fn searches_by_words_image_and_likeness() {
    let server = Server::start();

    let (status, answer) = server.search(json!({"text": "BM a dog in snow", "k": 3}));
    assert_eq!(status, 200, "{answer}");
    let first = &answer["hits"][0];
    assert_eq!((&first["rank"], &first["id"]), (&json!(1), &json!(2)));
    assert_eq!(first["uri"], server.file("snow.bmp").to_str().unwrap());
    assert!((first["score"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{first}");
    assert_eq!(first["captions"], json!(["A dog jumps in the snow ."]));
    assert_eq!((&first["width"], &first["height"]), (&json!(300), &json!(200)));
    assert_eq!((ids(&answer).len(), &answer["images"]), (3, &json!(5)));
    assert!(answer["timings_ms"]["total"].as_f64().unwrap() > 0.0 && answer["generation"] == 1);

    let image = BASE64_STANDARD.encode("BM a red car");
    let (status, answer) = server.search(json!({"image": image}));
    assert_eq!((status, ids(&answer)[0]), (200, 1));

    let (status, answer) = server.search(json!({"like": 1}));
    assert_eq!(status, 200);
    assert!(!ids(&answer).contains(&1) && ids(&answer).len() == 4, "{answer}");

    let (status, answer) = server.search(json!({"text": "dog", "mode": "text", "explain": true}));
    assert_eq!(status, 200);
    assert!(ids(&answer).contains(&2) && answer["hits"][0]["explain"].is_object(), "{answer}");

    let (status, answer) = server.search(json!({"text": "zeppelin", "mode": "text"}));
    assert_eq!((status, ids(&answer).len()), (200, 0));
    assert_eq!(server.search(json!({"text": "dog", "mode": "hybrid"})).0, 200);
}

#[test]
fn filters_what_may_be_found() {
    let server = Server::start();
    let (status, answer) =
        server.search(json!({"text": "BM a red car", "filter": "stars:>=2 AND NOT caption:swing"}));
    assert_eq!((status, &answer["matches"], &answer["images"]), (200, &json!(2), &json!(5)), "{answer}");
    let mut found = ids(&answer);
    found.sort_unstable();
    assert_eq!(found, [2, 4]);
    let of = |id: u64| {
        answer["hits"].as_array().unwrap().iter().find(|hit| hit["id"] == id).unwrap()["attributes"].clone()
    };
    assert_eq!(of(4), json!({"stars": 4}));
    let (status, answer) = server.search(json!({"text": "dog", "mode": "text", "filter": "stars:2"}));
    assert_eq!((status, ids(&answer)), (200, vec![2]));
    let (status, answer) = server.search(json!({"text": "dog", "filter": "stars:>100"}));
    assert_eq!((status, ids(&answer).len(), &answer["matches"]), (200, 0, &json!(0)));
    assert!(server.search(json!({"text": "dog"})).1.get("matches").is_none());
}

#[test]
fn reranks_on_request_and_counts() {
    let server = Server::start();
    let metrics = || -> Value { server.get("/api/metrics").body_mut().read_json().unwrap() };
    let before = metrics();
    assert_eq!((&before["searches"], &before["rerank"]["requests"]), (&json!(0), &json!(0)));
    assert_eq!(before["rerank"]["cache"]["hit_rate"], Value::Null);

    // As many words of the text as there are are in "BM a dog in snow".
    let body = json!({"text": "a dog jumps in snow", "rerank": 128, "k": 3});
    let (status, answer) = server.search(body.clone());
    assert_eq!((status, ids(&answer)[0], ids(&answer).len()), (200, 2, 3), "{answer}");
    assert_eq!(
        (&answer["reranked"]["scored"], &answer["reranked"]["outcome"]),
        (&json!(5), &json!("complete"))
    );
    let said = &answer["hits"][0]["rerank"];
    assert_eq!(said["itm_logit"], 3.0);
    assert!((said["itm_probability"].as_f64().unwrap() - 0.9526).abs() < 1e-3, "{said}");
    assert!(answer["timings_ms"]["rerank"].as_f64().unwrap() > 0.0);
    let (_, again) = server.search(body.clone());
    assert_eq!((&again["hits"], &again["reranked"]["cache_hits"]), (&answer["hits"], &json!(5)));

    let (status, cut) = server.search(json!({"text": "a dog jumps in snow", "rerank": 5, "deadline_ms": 0}));
    assert_eq!(
        (status, &cut["reranked"]["scored"], &cut["reranked"]["outcome"]),
        (200, &json!(0), &json!("deadline"))
    );
    let (_, plain) = server.search(json!({"text": "a dog jumps in snow"}));
    assert_eq!(ids(&cut), ids(&plain));
    assert!(plain.get("reranked").is_none() && plain.get("warnings").is_none());

    fs_err::remove_file(server.file("rocks.bmp")).unwrap();
    let (_, gone) = server.search(body);
    assert!(gone["warnings"][0].as_str().unwrap().contains("rocks.bmp"), "{gone}");

    let after = metrics();
    assert_eq!((&after["searches"], &after["failed"]), (&json!(5), &json!(0)), "{after}");
    let rerank = &after["rerank"];
    assert_eq!((&rerank["requests"], &rerank["scored"], &rerank["cut"]), (&json!(4), &json!(14), &json!(1)));
    let cache = &rerank["cache"];
    assert_eq!(
        (&cache["entries"], &cache["on_disk"], &cache["evictions"]),
        (&json!(5), &json!(false), &json!(0))
    );
    assert!(cache["hit_rate"].as_f64().is_some_and(|rate| rate > 0.0 && rate < 1.0), "{cache}");

    let info: Value = server.get("/api/info").body_mut().read_json().unwrap();
    assert_eq!(info["matcher"], json!({"name": "hash-matcher", "rerank": 128, "deadline_ms": 5000}));
}

#[test]
fn bad_searches_say_what_is_wrong() {
    let server = Server::start();
    let cases = [
        (json!({}), 400, "bad_query"),
        (json!({"text": "   "}), 400, "bad_query"),
        (json!({"text": "x", "k": 0}), 400, "bad_query"),
        (json!({"text": "x", "k": 1001}), 400, "bad_query"),
        (json!({"text": "x", "effort": 0}), 400, "bad_query"),
        (json!({"text": "x".repeat(5000)}), 400, "bad_query"),
        (json!({"like": 1, "mode": "hybrid"}), 400, "bad_query"),
        (json!({"text": "x", "rerank": 0}), 400, "bad_query"),
        (json!({"text": "x", "rerank": 1001}), 400, "bad_query"),
        (json!({"like": 1, "rerank": 3}), 400, "bad_query"),
        (json!({"text": "x", "deadline_ms": 3}), 400, "bad_query"),
        (json!({"text": "x", "rerank": true}), 400, "bad_json"),
        (json!({"text": "x", "rerank": 3, "deadline_ms": -1}), 400, "bad_json"),
        (json!({"like": 99}), 404, "no_such_image"),
        (json!({"text": "x", "filter": "stars:>"}), 400, "bad_filter"),
        (json!({"text": "x", "filter": "colour:red"}), 400, "bad_filter"),
        (json!({"text": "x", "filter": "stars:many"}), 400, "bad_filter"),
        (json!({"text": "x", "filter": "x".repeat(20_000)}), 400, "bad_filter"),
        (json!({"text": "x", "filter": "(".repeat(10_000)}), 400, "bad_filter"),
        (json!({"image": ""}), 422, "bad_image"),
        (json!({"image": BASE64_STANDARD.encode("bad data")}), 422, "bad_image"),
        (json!({"image": "not base64!"}), 400, "bad_base64"),
        (json!({"text": "x", "mode": "magic"}), 400, "bad_json"),
        (json!({"text": "x", "k": -1}), 400, "bad_json"),
        (json!({"txet": "x"}), 400, "bad_json"),
        (json!([1, 2]), 400, "bad_json"),
    ];
    for (body, status, code) in cases {
        let (received, answer) = server.search(body.clone());
        assert_eq!((received, &answer["error"]["code"]), (status, &json!(code)), "{body} → {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().len() > 20, "{answer}");
    }

    let mut response =
        agent().post(server.url("/api/search")).content_type("application/json").send("{\"text\": ").unwrap();
    let answer: Value = response.body_mut().read_json().unwrap();
    assert_eq!((response.status().as_u16(), &answer["error"]["code"]), (400, &json!("bad_json")));
    let response = agent().post(server.url("/api/search")).content_type("text/plain").send("{}").unwrap();
    assert_eq!(response.status(), 415);
    assert_eq!(server.get("/api/search").status(), 405);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let server = Server::start();
    let head = "POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let answer = server.raw(&format!("{head}content-length: 50000000\r\n\r\n{{"));
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"too_large\""), "{answer}");
    // Just below it the image is read, and found to be none.
    let image = BASE64_STANDARD.encode(b"bad".repeat((16 << 20) / 3));
    let (status, answer) = server.search(json!({"image": image}));
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("bad_image")));
}

#[test]
fn pictures_come_from_the_index_alone() {
    let server = Server::start();

    let mut thumb = server.get("/api/thumb/0?side=64");
    assert_eq!(
        (thumb.status().as_u16(), &thumb.headers()["content-type"]),
        (200, &"image/jpeg".parse().unwrap())
    );
    assert_eq!(thumb.body_mut().read_to_vec().unwrap(), TILE);
    let etag = thumb.headers()["etag"].clone();
    let again =
        agent().get(server.url("/api/thumb/0?side=64")).header("if-none-match", &etag).call().unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag));
    let other =
        agent().get(server.url("/api/thumb/0?side=65")).header("if-none-match", &etag).call().unwrap();
    assert_eq!(other.status(), 200, "another size is another picture");
    assert_eq!(server.get("/api/thumb/0").status(), 200);
    fs_err::write(server.file("dogs.bmp"), "BM other bytes").unwrap();
    let changed =
        agent().get(server.url("/api/thumb/0?side=64")).header("if-none-match", &etag).call().unwrap();
    assert_eq!(changed.status(), 200, "other bytes are another picture");

    let mut image = server.get("/api/image/1");
    assert_eq!(image.headers()["content-type"], "image/bmp");
    assert_eq!(image.headers()["x-content-type-options"], "nosniff");
    assert_eq!(image.headers()["cross-origin-resource-policy"], "same-origin");
    assert_eq!(image.body_mut().read_to_vec().unwrap(), FILES[1].1.as_bytes());

    let error = |path: &str| {
        let mut response = server.get(path);
        let answer: Value = response.body_mut().read_json().unwrap();
        (response.status().as_u16(), answer["error"]["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(error("/api/image/5"), (404, "no_such_image".into()));
    assert_eq!(error("/api/image/dogs.bmp"), (400, "bad_id".into()));
    assert_eq!(error("/api/thumb/-1"), (400, "bad_id".into()));
    assert_eq!(error("/api/thumb/0?side=1"), (400, "bad_parameter".into()));
    assert_eq!(error("/api/thumb/0?side=99999"), (400, "bad_parameter".into()));
    assert_eq!(error("/api/thumb/0?side=big"), (400, "bad_parameter".into()));
    assert_eq!(error("/nothing"), (404, "no_route".into()));

    fs_err::remove_file(server.file("dogs.bmp")).unwrap();
    assert_eq!(error("/api/thumb/0"), (404, "file_gone".into()));
    assert_eq!(error("/api/image/0"), (404, "file_gone".into()));
    fs_err::write(server.file("car.bmp"), "<!doctype html><script>alert(1)</script>").unwrap();
    assert_eq!(error("/api/image/1"), (404, "not_an_image".into()));
    fs_err::write(server.file("snow.bmp"), "BM damaged").unwrap();
    assert_eq!(error("/api/thumb/2"), (422, "no_preview".into()));
    fs_err::remove_file(server.file("rocks.bmp")).unwrap();
    fs_err::create_dir(server.file("rocks.bmp")).unwrap();
    assert_eq!(error("/api/image/4"), (404, "not_an_image".into()));
}

#[test]
fn no_path_leads_out() {
    let server = Server::start();
    for path in [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/app/../../../../etc/passwd",
        "/api/image/../../../../etc/passwd",
        "/api/image/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/api/image/%2fetc%2fpasswd",
        "/api/image/0%00",
        "/api/image/0/../../../etc/passwd",
        "/api/thumb//etc/passwd",
        "/api/thumb/0?side=320&path=/etc/passwd/..%2f",
        "//etc/passwd",
        "/api/image/18446744073709551616",
    ] {
        let answer =
            server.raw(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        assert!(!answer.contains("root:"), "{path}: {answer}");
        // Parameters that nobody asked for change nothing; all the others are errors.
        let expected = if path.contains("path=") { "HTTP/1.1 200" } else { "HTTP/1.1 4" };
        assert!(answer.starts_with(expected), "{path}: {answer}");
    }
}

#[test]
fn only_this_machine_is_answered() {
    let server = Server::start();
    for (host, status) in [("localhost:7878", 200), ("evil.example", 403), ("192.168.0.7:80", 403)] {
        let request = format!("GET /api/info HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = server.raw(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
}

#[test]
fn serves_its_page_and_says_what_it_is() {
    let server = Server::start();
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = server.get(path);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &media_type.parse().unwrap())
        );
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{policy}");
    }
    let info: Value = server.get("/api/info").body_mut().read_json().unwrap();
    assert_eq!((&info["images"], &info["generation"]), (&json!(5), &json!(1)));
    assert_eq!((&info["model"]["name"], &info["runtime"]), (&json!("hash"), &json!("nothing at all")));
}

#[test]
fn many_at_once_get_the_same_answer() {
    let server = Server::start();
    let answers: Vec<Vec<u64>> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..24).map(|_| scope.spawn(|| ids(&server.search(json!({"text": "BM a red car"})).1))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer[0] == 1), "{answers:?}");
}

#[test]
fn stops_when_told_and_says_when_it_cannot_start() {
    let server = Server::start();
    let idle = std::net::TcpStream::connect(server.addr).unwrap();
    server.stop().unwrap();
    drop(idle);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = ServeOptions { addr: taken.local_addr().unwrap(), ..Default::default() };
    let thumbnails = Arc::new(|_: &[u8], _: u32| Ok(Vec::new()));
    let error = serve(index(&folder), thumbnails, options, |_| panic!("must not start"), &Shutdown::new());
    assert!(matches!(error, Err(ServeError::Bind { addr, .. }) if addr == taken.local_addr().unwrap()));
}
