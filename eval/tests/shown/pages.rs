//! The HTML of hard reports.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::made_up::{HARD, direction, report};

/// Names of the elements, after a check that every one is closed where it must be and that attributes are quoted.
fn elements(html: &str) -> BTreeMap<String, usize> {
    const VOID: [&str; 3] = ["meta", "br", "img"];
    let (mut open, mut seen) = (Vec::new(), BTreeMap::new());
    let mut rest = html.strip_prefix("<!doctype html>\n").expect("a doctype");
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>') || open.last() == Some(&"style".to_owned()), "a bare > in {text}");
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed out of order before {:.80}", rest);
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "unquoted: {tag}");
        let name = tag.split([' ', '/']).next().unwrap().to_owned();
        *seen.entry(name.clone()).or_insert(0) += 1;
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    seen
}

/// Ids are unique, and what refers to one finds it.
fn check_links(html: &str) {
    let values = |attribute: &str| -> Vec<String> {
        html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let ids = values(" id=\"");
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id} twice");
    }
    for link in values(" href=\"#").into_iter().chain(values("aria-labelledby=\"")) {
        assert!(ids.contains(&link), "{link} leads nowhere");
    }
}

fn page(queries: &[usize]) -> String {
    let html = report(queries).to_html(&|name| (!name.contains("0050")).then(|| name.as_bytes().to_vec()));
    check_links(&html);
    html
}

#[test]
fn a_page_is_sound_and_alone() {
    let html = page(&[5000, 5000, 40]);
    let seen = elements(&html);
    for (name, least) in
        [("h1", 1), ("h2", 8), ("table", 5), ("polyline", 6), ("figure", 8), ("use", 20), ("symbol", 8)]
    {
        assert!(seen.get(name).is_some_and(|count| *count >= least), "{name}: {seen:?}");
    }
    for outside in
        ["http:", "https:", "<script", "<link", "@import", "url(", "javascript:", " onload", "<iframe"]
    {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'") && html.contains("prefers-color-scheme: dark"));
}

#[test]
fn words_of_the_data_stay_words() {
    let html = page(&[40]);
    assert!(!html.contains(HARD) && !html.contains("\u{1}"));
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quotes&quot; | `code` \u{fffd}日本語 ümlaut 🦜"));
    assert!(html.contains("<h1>Retrieval on made &lt;up&gt; &amp; &quot;true&quot;</h1>"));
}

#[test]
fn hard_reports_have_pages_too() {
    for queries in [&[][..], &[0], &[1], &[5], &[0, 0], &[1; 40]] {
        let html = page(queries);
        elements(&html);
        assert!(!html.contains("NaN") && !html.contains("inf\""), "{queries:?}");
    }
    let mut bare = report(&[9]);
    bare.comparisons.clear();
    bare.runs[0].failures.clear();
    bare.runs[0].stages.clear();
    bare.runs[0].image_to_text = None;
    bare.runs[0].text_to_image.ranks.fill(None);
    bare.runs[0].text_to_image.intervals.clear();
    let html = bare.to_html(&|_| panic!("no image is shown"));
    elements(&html);
    check_links(&html);
    assert!(
        !html.contains("id=\"failures\"")
            && !html.contains("id=\"time\"")
            && !html.contains("id=\"differences\"")
    );
}

#[test]
fn a_page_does_not_grow_with_its_queries() {
    let small = page(&[2_000]).len();
    let large = page(&[200_000]).len();
    assert!(large < small + 2_000, "{small} {large}");
    assert!(large < 80_000, "{large}");
}

#[test]
fn each_image_is_asked_for_and_kept_once() {
    let asked = Mutex::new(Vec::new());
    let html = report(&[40, 40, 40]).to_html(&|name| {
        asked.lock().unwrap().push(name.to_owned());
        Some(name.as_bytes().to_vec())
    });
    let mut asked = asked.into_inner().unwrap();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!((asked.len(), html.matches("data:image/jpeg").count()), (all, all));
    assert!(html.matches("<use ").count() > all);
}

#[test]
fn every_run_is_told_apart() {
    let html = page(&[50; 30]);
    for key in [">A<", ">Z<", ">27<", ">30<", "k6\"", "k0 dash1", "k0 dash2"] {
        assert!(html.contains(key), "{key}");
    }
}

/// Figures of a page are those of the report.
#[test]
fn recall_curves_pass_through_the_metrics() {
    let report = report(&[5000]);
    let metrics = direction(5000, 0.9, false).metrics;
    let html = report.to_html(&|_| None);
    for (k, value) in [(1, metrics.r1), (5, metrics.r5), (10, metrics.r10)] {
        assert!(html.contains(&format!("model 0: R@{k} {value:.1}")), "{k}");
    }
}
