//! The gate: what drops, what is noise, what cannot be compared.

use pictor_eval::{Clusters, EvalError, RetrievalReport, Verdict, read_report};

use crate::made_up::{direction, report};

/// [`pictor_eval::hold_against`], each query by itself.
fn hold_against(
    baseline: &RetrievalReport,
    report: &RetrievalReport,
    tolerance: f64,
) -> Result<Verdict, EvalError> {
    let run = &baseline.runs[0];
    let texts = Clusters::single(run.text_to_image.ranks.len());
    let images = Clusters::single(run.image_to_text.as_ref().map_or(0, |direction| direction.ranks.len()));
    pictor_eval::hold_against(baseline, report, tolerance, [&texts, &images])
}

/// The same queries, each `steps` places further down.
fn worse(of: &RetrievalReport, steps: u32) -> RetrievalReport {
    let mut worse = of.clone();
    for rank in worse.runs[0].text_to_image.ranks.iter_mut().flatten() {
        *rank += steps;
    }
    worse
}

#[test]
fn the_same_report_passes() {
    let report = report(&[2000, 2000]);
    let verdict = hold_against(&report, &report, 0.0).unwrap();
    assert!(verdict.passed() && verdict.missing.is_empty());
    assert!(verdict.comparisons.iter().all(|c| c.difference == 0.0));
    // A reranked run, of text → image alone, makes three directions.
    assert!(verdict.comparisons.iter().filter(|c| c.metric == "R@1").count() >= 3);
    assert!(verdict.to_string().ends_with("no R@K has dropped beyond noise"), "{verdict}");
}

#[test]
fn a_drop_of_one_direction_is_found_and_named() {
    let before = report(&[2000]);
    let verdict = hold_against(&before, &worse(&before, 3), 0.0).unwrap();
    assert!(!verdict.passed());
    assert!(
        verdict
            .dropped
            .iter()
            .all(|c| c.direction == "text_to_image" && c.difference < 0.0 && c.interval[1] < 0.0)
    );
    assert!(verdict.to_string().contains("DROPPED"), "{verdict}");
    // What rises by as much passes.
    assert!(hold_against(&worse(&before, 3), &before, 0.0).unwrap().passed());
}

#[test]
fn a_tolerance_lets_small_drops_pass() {
    let before = report(&[2000]);
    let after = worse(&before, 1);
    assert!(!hold_against(&before, &after, 0.0).unwrap().passed());
    let verdict = hold_against(&before, &after, 100.0).unwrap();
    assert!(verdict.passed() && verdict.to_string().contains("within tolerance"), "{verdict}");
}

#[test]
fn one_query_is_noise() {
    let before = report(&[2000]);
    let mut after = before.clone();
    let first = after.runs[0].text_to_image.ranks.iter_mut().find(|rank| **rank == Some(1)).unwrap();
    *first = Some(900);
    assert!(hold_against(&before, &after, 0.0).unwrap().passed());
}

#[test]
fn what_is_missing_is_said() {
    let before = report(&[500, 500]);
    let mut after = before.clone();
    after.runs.truncate(1);
    after.runs[0].image_to_text = None;
    let verdict = hold_against(&before, &after, 0.0).unwrap();
    assert_eq!(verdict.missing, ["model 0, image → text", "model 1, rerank 128"]);
    assert!(verdict.to_string().contains("not compared: model 0, image → text; model 1"), "{verdict}");
}

#[test]
fn what_does_not_compare_is_an_error_that_says_what_to_do() {
    let before = report(&[500]);
    let error = |change: &dyn Fn(&mut RetrievalReport)| {
        let mut after = before.clone();
        change(&mut after);
        hold_against(&before, &after, 0.0).unwrap_err().to_string()
    };
    let all = [
        (error(&|r| r.dataset.hash = "0".into()), "make the baseline again"),
        (error(&|r| r.protocol = "first caption".into()), "make the baseline again"),
        (error(&|r| r.runs[0].label = "other".into()), "evaluate at least one of the baseline's"),
    ];
    for (error, says) in all {
        assert!(error.contains(says), "{error}");
    }
    let mut after = before.clone();
    after.runs[0].text_to_image = direction(499, 0.9, false);
    assert!(hold_against(&before, &after, 0.0).is_err());
}

#[test]
fn only_reports_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.json");
    let read = |text: &str| {
        fs_err::write(&path, text).unwrap();
        read_report(&path)
    };
    let report = report(&[20]);
    assert_eq!(read(&serde_json::to_string(&report).unwrap()).unwrap(), report);
    for (text, says) in [
        ("", "no report"),
        ("{}", "no report"),
        ("{\"format\": 1}", "no report"),
        ("{\"format\": 7}", "has format 7, this version reads 1"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("old.json") && error.contains(says), "{error}");
    }
    fs_err::remove_file(&path).unwrap();
    assert!(read_report(&path).unwrap_err().to_string().contains("old.json"));
}
