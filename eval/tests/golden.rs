//! Committed score matrices with answers that were worked out by hand: `golden/hand.json` says how.

use pictor_eval::{Candidate, Clusters, Direction, Outcome, Ranked, Relevance};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Texts × images.
    scores: Vec<Vec<f32>>,
    images_of_text: Vec<Vec<u32>>,
    texts_of_image: Vec<Vec<u32>>,
    text_to_image: Answer,
    image_to_text: Answer,
}

#[derive(Deserialize)]
struct Answer {
    ranks: Vec<u32>,
    average_precision: Vec<Number>,
    r_precision: Vec<Number>,
    #[serde(rename = "R@1")]
    r1: Number,
    #[serde(rename = "R@5")]
    r5: Number,
    median: f64,
    mean: Number,
}

/// A number, or a fraction in two.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(f64),
    Fraction(f64, f64),
}

impl Number {
    fn value(self) -> f64 {
        match self {
            Self::Whole(number) => number,
            Self::Fraction(above, below) => above / below,
        }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/hand.json")).unwrap()
}

fn close(received: f64, expected: f64) -> bool {
    (received - expected).abs() < 1e-12
}

fn check(name: &str, ranked: &[Ranked], answer: &Answer) {
    let ranks: Vec<u32> = ranked.iter().map(|r| r.outcome.rank.unwrap()).collect();
    assert_eq!(ranks, answer.ranks, "{name}");
    for (i, Ranked { outcome, .. }) in ranked.iter().enumerate() {
        let Outcome { average_precision, r_precision, .. } = outcome;
        assert!(
            close(average_precision.unwrap(), answer.average_precision[i].value()),
            "{name} {i}: {outcome:?}"
        );
        assert!(close(r_precision.unwrap(), answer.r_precision[i].value()), "{name} {i}: {outcome:?}");
    }
    let Direction { metrics, intervals, .. } =
        pictor_eval::direction(ranked, &Clusters::single(ranked.len())).unwrap();
    let mean = |numbers: &[Number]| numbers.iter().map(|n| n.value()).sum::<f64>() / numbers.len() as f64;
    for (received, expected) in [
        (metrics.r1, 100.0 * answer.r1.value()),
        (metrics.r5, 100.0 * answer.r5.value()),
        (metrics.r10, 100.0),
        (metrics.median_rank.unwrap(), answer.median),
        (metrics.mean_rank.unwrap(), answer.mean.value()),
        (metrics.map_at_r.unwrap(), 100.0 * mean(&answer.average_precision)),
        (metrics.r_precision.unwrap(), 100.0 * mean(&answer.r_precision)),
    ] {
        assert!((received - expected).abs() < 1e-9, "{name}: {received} is not {expected}: {metrics:?}");
    }
    assert_eq!(intervals.len(), 7, "an interval for each figure");
    let [low, high] = intervals["R@1"];
    assert!(low <= metrics.r1 && metrics.r1 <= high, "{low} {high}");
}

#[test]
fn score_matrices_have_the_answers_worked_out_by_hand() {
    let cases = cases();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let relevance = Relevance::new(case.images_of_text, case.texts_of_image).unwrap();
        let rankings = pictor_eval::from_scores(&case.scores.concat(), &relevance, 2).unwrap();
        check(&case.name, &rankings.text_to_image, &case.text_to_image);
        check(&case.name, &rankings.image_to_text, &case.image_to_text);
        assert!(
            rankings.text_to_image.iter().all(|r| r.top.len() == 2 && !r.complete),
            "two were to be kept"
        );

        // The same from a matrix for each direction, and from lists.
        let rows = |keep| {
            let scores = case.scores.concat();
            let images = relevance.images();
            pictor_eval::from_score_rows(&scores, images, |t| relevance.images_of_text(t), keep).unwrap()
        };
        assert_eq!(rows(2), rankings.text_to_image);
        let whole = rows(99);
        let mut lists = vec![Vec::new(); relevance.texts()];
        whole.iter().for_each(|r| lists[r.query as usize] = r.top.clone());
        let listed = pictor_eval::from_lists(&lists, |t| relevance.images_of_text(t), true).unwrap();
        assert_eq!(listed, whole);
    }
}

#[test]
fn an_index_may_stop_early_and_may_hold_other_images() {
    let list = |items: &[u32]| items.iter().map(|&item| Candidate { item, score: 0.5 }).collect::<Vec<_>>();
    let other = u32::MAX;
    let lists = [
        list(&[other, 7, 0, 1, 2, 3, 4, 5, 6, 8]),
        list(&[9, 8, 6, 5, 4, 3, 2, 1, 0, other]),
        list(&[3, other, other, 5, 1, 2, 4, 6, 7, 8]),
    ];
    let positives = |query: u32| [[7].as_slice(), &[7], &[3, 5]][query as usize];
    let ranked = pictor_eval::from_lists(&lists, positives, false).unwrap();
    assert_eq!(ranked.iter().map(|r| r.outcome.rank).collect::<Vec<_>>(), [Some(2), None, Some(1)]);
    assert_eq!(ranked[2].outcome.average_precision, Some(0.5), "1 at place 1, nothing at 2, of R = 2");

    let direction = pictor_eval::direction(&ranked, &Clusters::single(3)).unwrap();
    assert_eq!(direction.metrics.r10, 200.0 / 3.0, "what was not met is a miss");
    assert_eq!((direction.metrics.median_rank, direction.metrics.mean_rank), (None, None));
    assert!(!direction.intervals.contains_key("mean_rank"));

    // More positives than the list is long: AP@R is not known, unless that was all.
    let many: Vec<u32> = (0..12).collect();
    let ranked = |complete| pictor_eval::from_lists(&lists[..1], |_| &many, complete).unwrap()[0].outcome;
    assert_eq!((ranked(false).rank, ranked(false).average_precision), (Some(2), None));
    assert_eq!(ranked(true).r_precision, Some(9.0 / 12.0));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let relevance = Relevance::from_captions(&[0, 1], 2).unwrap();
    let error = |result: Result<_, pictor_eval::EvalError>| -> String {
        let result: Result<Vec<Ranked>, _> = result;
        result.unwrap_err().to_string()
    };
    let short = vec![vec![Candidate { item: 0, score: 1.0 }; 9]; 2];
    let lists = |complete| pictor_eval::from_lists(&short, |t| relevance.images_of_text(t), complete);
    assert_eq!(error(lists(false)), "the ranking of query 0 has 9 items, 10 are needed; keep more of it");
    assert!(lists(true).is_ok(), "two images rank in a short list");
    let matrix = pictor_eval::from_scores(&[1.0; 5], &relevance, 2).map(|r| r.text_to_image);
    assert!(error(matrix).starts_with("5 scores are not a matrix of 2 × 2"));
    assert!(pictor_eval::from_score_rows(&[1.0; 5], 2, |_| &[], 2).is_err());
    assert!(pictor_eval::from_score_rows(&[], 0, |_| &[], 2).is_err());
    let ranked = pictor_eval::from_scores(&[1.0; 4], &relevance, 2).unwrap().text_to_image;
    assert!(pictor_eval::direction(&ranked, &Clusters::single(3)).is_err());
    let nothing = pictor_eval::direction(&[], &Clusters::single(0)).unwrap();
    assert_eq!((nothing.metrics.r1, nothing.metrics.map_at_r, nothing.intervals.len()), (0.0, None, 0));
}
