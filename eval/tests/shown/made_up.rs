//! Made-up reports with what is hard to show: names that look like HTML, empty runs, rankings that ended.

use std::collections::BTreeMap;

use pictor_eval::*;

/// What a caption may hold.
pub const HARD: &str = "<script>alert('x')</script> & \"quotes\" | `code` \u{1}日本語 ümlaut 🦜";

/// A number that looks drawn at random, 0..1, the same every time.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Figures of ranks that spread over powers of ten, better for a larger `skill`.
pub fn direction(queries: usize, skill: f64, ended: bool) -> Direction {
    let ranks: Vec<Option<u32>> = (0..queries)
        .map(|query| {
            let rank = 1
                + (10_f64.powf((noise(query) * (4.0 - skill)).max(0.0)) - 1.0 + 3.0 * noise(query + 7))
                    as u32;
            (!ended || rank <= 500).then_some(rank)
        })
        .collect();
    let percent =
        |k| 100.0 * ranks.iter().flatten().filter(|rank| **rank <= k).count() as f64 / queries.max(1) as f64;
    let mean = ranks.iter().flatten().map(|rank| f64::from(*rank)).sum::<f64>() / queries.max(1) as f64;
    let metrics = Metrics {
        r1: percent(1),
        r5: percent(5),
        r10: percent(10),
        median_rank: (!ended && queries > 0).then_some(12.5),
        mean_rank: (!ended && queries > 0).then_some(mean),
        map_at_r: Some(percent(2)),
        r_precision: Some(percent(3)),
    };
    let around = |name: &str, value: f64| (name.to_owned(), [value - 1.2, value + 1.1]);
    let intervals = [("R@1", metrics.r1), ("R@5", metrics.r5), ("R@10", metrics.r10), ("mAP@R", percent(2))];
    Direction { metrics, intervals: intervals.map(|(name, value)| around(name, value)).into(), ranks }
}

fn model(i: usize) -> ModelSummary {
    ModelSummary {
        name: if i == 0 { "ViT-B-32__openai".into() } else { format!("tower-{i}") },
        fingerprint: format!("fingerprint-{i}"),
        dim: 512,
        precision: "fp32".into(),
        runtime: "ONNX Runtime 1.22 on cpu".into(),
    }
}

fn failures(i: usize) -> Vec<Failure> {
    let image = |n: usize| format!("val2014/COCO_{n:04}.jpg");
    let received = |n| (0..5).map(|place| (image(n * 3 + place + i), 0.31 - 0.01 * place as f32)).collect();
    let caption = |n: usize| match n {
        0 => HARD.to_owned(),
        n => format!("a person who carries {n} umbrellas across a wet street"),
    };
    let by_text = (0..3).map(|n| Failure {
        direction: "text_to_image".into(),
        query: caption(n),
        rank: (n != 1).then_some(4000 - n as u32),
        expected: vec![image(n + 50)],
        received: received(n),
    });
    let by_image = (0..2).map(|n| Failure {
        direction: "image_to_text".into(),
        query: image(n),
        rank: Some(900),
        expected: (0..5).map(&caption).collect(),
        received: (5..8).map(|n| (caption(n), 0.25)).collect(),
    });
    by_text.chain(by_image).collect()
}

/// One run for each of `queries`; every second one reranks the one before, and a run of 0 queries has one direction.
pub fn report(queries: &[usize]) -> RetrievalReport {
    let runs: Vec<Run> = queries
        .iter()
        .enumerate()
        .map(|(i, &queries)| Run {
            label: if i % 2 == 1 { format!("model {i}, rerank 128") } else { format!("model {i}") },
            model: model(i),
            ranking: match i % 2 {
                0 => Ranking::Exact,
                _ => Ranking::Rerank {
                    matcher: model(i + 10),
                    k_test: 128,
                    first_stage: format!("model {}", i - 1),
                },
            },
            text_to_image: direction(queries, 0.9 + 0.25 * i as f64, i % 3 == 2),
            image_to_text: (i % 4 != 3).then(|| direction(queries / 5, 1.4 + 0.2 * i as f64, false)),
            stages: [
                ("encode images", "images", 1000, 14.2),
                ("encode texts", "captions", 5000, 9.4),
                ("rank", "queries", 6000, 0.61),
            ]
            .map(|(name, unit, items, seconds)| Stage {
                name: name.into(),
                unit: unit.into(),
                items,
                seconds: seconds * (1.0 + 0.3 * i as f64),
            })
            .into(),
            failures: failures(i),
        })
        .collect();
    let comparisons = runs.windows(2).flat_map(|pair| {
        let metrics = [
            ("R@1", 1.31, [0.42, 2.2]),
            ("R@5", -0.2, [-0.9, 0.5]),
            ("R@10", -1.5, [-2.5, -0.5]),
            ("mean_rank", -14.2, [-20.0, -9.0]),
        ];
        metrics.map(|(metric, difference, interval)| Comparison {
            base: pair[0].label.clone(),
            run: pair[1].label.clone(),
            direction: "text_to_image".into(),
            metric: metric.into(),
            difference,
            interval,
            p: if difference > 0.0 { 0.0005 } else { 0.31 },
        })
    });
    RetrievalReport {
        format: REPORT_FORMAT,
        protocol: "R@K = percent of queries with at least one positive among the first K; every caption of every image; no prompt.".into(),
        provenance: Provenance {
            pictor: "0.1.0".into(),
            command: ["pictor", "eval", "retrieval", "--images", "my photos"].map(String::from).into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "2 × a processor".into(),
            seconds: 28.4,
        },
        dataset: DatasetSummary {
            name: "made <up> & \"true\"".into(),
            sources: BTreeMap::from([("captions".into(), "flickr30k/<captions>.json".into()), ("images".into(), "my photos".into())]),
            hash: "5f1d".repeat(16),
            images: 1000,
            captions: 5000,
            images_without_captions: 3,
            relevance: "captions".into(),
        },
        comparisons: comparisons.collect(),
        runs,
    }
}
