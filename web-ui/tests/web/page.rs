//! The page in a real browser, used as a person would.

use serde_json::{Value, json};

use crate::server::{FILES, Server};
use crate::webdriver::{Browser, ENTER};

/// Ids of the tiles, in the order of the page.
const TILES: &str = "[...document.querySelectorAll('.tile')].map(tile => Number(tile.dataset.id))";

#[test]
fn a_person_searches() {
    let server = Server::start();
    let browser = Browser::start();

    // The start page says what it can do, and waits for words.
    browser.open(&server.url("/"));
    browser.wait_for("document.querySelector('#message h1')");
    assert_eq!(browser.eval("document.activeElement.id"), "query");
    assert_eq!(
        browser.eval("document.querySelector('#status').textContent"),
        "5 images · hash on nothing at all"
    );

    // Words and Enter give tiles in the engine's order.
    browser.type_into("#query", &format!("BM two dogs on grass{ENTER}"));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    let (_, answer) = server.search(json!({"text": "BM two dogs on grass"}));
    let expected: Vec<&Value> = answer["hits"].as_array().unwrap().iter().map(|hit| &hit["id"]).collect();
    assert_eq!(browser.eval(TILES), json!(expected));
    assert_eq!(expected[0], 0);
    let text = |selector: &str| browser.eval(&format!("document.querySelector('{selector}').textContent"));
    assert_eq!((text(".tile .name"), text(".tile .score")), (json!("dogs.bmp"), json!("1.000")));
    assert!(text("#status").as_str().unwrap().ends_with(" ms · 5 images · hash on nothing at all"));
    assert!(browser.eval("document.querySelector('#message').hidden").as_bool().unwrap());
    assert_eq!(browser.eval("location.search"), "?q=BM+two+dogs+on+grass");
    assert_eq!(browser.eval("document.querySelector('.tile img').alt"), FILES[0].2);
    assert_eq!(browser.eval("document.querySelector('.tile a').pathname"), "/api/image/0");
    browser.wait_for("[...document.querySelectorAll('.tile img')].every(image => image.naturalWidth === 48)");

    // More like the second: it is shown in the search box and not among its own likes.
    let second = expected[1];
    browser.click(".tile:nth-child(2) .like");
    browser.wait_for(&format!(
        "location.search === '?like={second}' && document.querySelectorAll('.tile').length === 4"
    ));
    let like = browser.eval(TILES);
    assert!(!like.as_array().unwrap().contains(second), "{like}");
    assert_eq!(browser.eval("document.querySelector('#chip').hidden"), false);

    // Back to the words, which the address still knew; so does a reload.
    browser.call("/back", json!({}));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    assert_eq!(browser.eval("document.querySelector('#query').value"), "BM two dogs on grass");
    browser.call("/refresh", json!({}));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    assert_eq!(browser.eval(TILES), json!(expected));
    assert_eq!(browser.eval("document.querySelector('#chip').hidden"), true);

    // "/" leads to the search box from anywhere, and is not typed.
    browser.eval("document.activeElement.blur()");
    browser.type_into("body", "/");
    assert_eq!(browser.eval("document.activeElement.id"), "query");
    assert_eq!(browser.eval("document.querySelector('#query').value"), "BM two dogs on grass");

    // Captions: a word that is there, and one that is not.
    browser.open(&server.url("/?q=swing&mode=text"));
    browser.wait_for("document.querySelectorAll('.tile').length === 1");
    assert_eq!(browser.eval(TILES), json!([3]));
    assert_eq!(browser.eval("document.querySelector('#mode').value"), "text");
    browser.clear("#query");
    browser.type_into("#query", &format!("zeppelin{ENTER}"));
    browser.wait_for("document.querySelector('#message h1')?.textContent === 'Nothing found'");
    assert_eq!(browser.eval(TILES), json!([]));

    // A filter narrows what is found, says how many match, stays when more like one is asked for, and is in the address.
    browser.open(&server.url("/?q=BM+a+red+car"));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    browser.type_into("#filter", &format!("stars:>=3{ENTER}"));
    browser.wait_for("document.querySelectorAll('.tile').length === 2");
    assert!(text("#status").as_str().unwrap().contains("2 of 5 images match"));
    assert_eq!(browser.eval("location.search"), "?q=BM+a+red+car&filter=stars%3A%3E%3D3");
    let first = browser.eval(TILES)[0].clone();
    assert_eq!(text(".tile .attributes"), json!(format!("stars{first}")));
    browser.click(".tile:nth-child(1) .like");
    browser.wait_for("document.querySelectorAll('.tile').length === 1");
    assert_eq!(browser.eval("document.querySelector('#filter').value"), "stars:>=3");
    browser.open(&server.url("/?q=dog&filter=stars%3A99"));
    browser.wait_for("document.querySelector('#message p')?.textContent === 'No image matches the filter.'");
    browser.open(&server.url("/?q=dog&filter=colour%3Ared"));
    browser.wait_for("document.querySelector('#message.wrong p')?.textContent.includes('stars')");
    let complaints = browser.console_errors();
    assert!(complaints.iter().all(|complaint| complaint.contains("/api/search")), "{complaints:?}");

    // Reranked: the probability stands on the tile, the choice in the address, and the status says how many were looked at.
    browser.open(&server.url("/?q=a+dog+jumps+in+snow"));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    assert!(browser.eval("document.querySelector('.tile .match').hidden").as_bool().unwrap());
    browser.click("#rerank");
    browser.wait_for(
        "location.search.endsWith('&rerank=1') && document.querySelector('.tile .match')?.hidden === false",
    );
    assert_eq!((text(".tile .name"), text(".tile .match")), (json!("snow.bmp"), json!("95 % match")));
    assert!(text("#status").as_str().unwrap().contains("5 of 5 reranked"));
    browser.call("/refresh", json!({}));
    browser.wait_for("document.querySelector('.tile .match')?.hidden === false");
    assert_eq!(browser.eval("document.querySelector('#rerank').checked"), true);
    browser.click("#rerank");
    browser.wait_for("!location.search.includes('rerank') && document.querySelector('.tile .match')?.hidden");
    let complaints = browser.console_errors();
    assert!(complaints.is_empty(), "{complaints:?}");

    // An image finds itself, and words can be added to it.
    let picture = server.folder.path().join("mine.bmp");
    fs_err::write(&picture, FILES[4].1).unwrap();
    browser.open(&server.url("/"));
    browser.type_into("#file", picture.to_str().unwrap());
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    assert_eq!(browser.eval(TILES)[0], 4);
    browser.click("#chip-remove");
    browser.wait_for("document.querySelectorAll('.tile').length === 0");

    // An error of the server is said in its words.
    browser.open(&server.url("/?q=x&mode=magic"));
    browser.wait_for("document.querySelector('#message.wrong p')");
    assert!(
        browser.eval("document.querySelector('#message p').textContent").as_str().unwrap().contains("magic")
    );
    let complaints = browser.console_errors();
    assert!(
        complaints.iter().all(|complaint| complaint.contains("/api/search") && complaint.contains("400")),
        "only the refused search may complain: {complaints:?}"
    );

    // Nothing sticks out of a telephone's screen.
    let screen = json!({"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true});
    browser.call("/goog/cdp/execute", json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": screen}));
    browser.open(&server.url("/?q=BM+a+red+car"));
    browser.wait_for("document.querySelectorAll('.tile').length === 5");
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 390);
    let complaints = browser.console_errors();
    assert!(complaints.is_empty(), "{complaints:?}");

    // A photo that went away says so in its place, and the others stay.
    fs_err::remove_file(server.file("rocks.bmp")).unwrap();
    browser.open(&server.url("/?q=BM+people+climbing+rocks"));
    browser.wait_for("document.querySelector('.tile a.gone')?.textContent.includes('gone')");
    browser.wait_for("document.querySelectorAll('.tile img').length === 4");

    // And could not be reranked, which is said.
    browser.click("#rerank");
    browser.wait_for("document.querySelector('#warnings li')?.textContent.includes('rocks.bmp')");
}
