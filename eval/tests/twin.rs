//! Exact search and its figures against the slow and obvious way: every score in a matrix, every ranking sorted whole.

use std::sync::atomic::{AtomicUsize, Ordering};

use pictor_core::EmbeddingBatch;
use pictor_eval::{Clusters, EvalError, Metrics, Ranked, Relevance};

/// A fixed sequence of numbers that look random.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX generator; its high bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// Rows of four components ±1/2 and zeros: of norm 1, and every inner product a multiple of 1/4 without rounding in
    /// whatever order it is added, so that most scores tie.
    fn rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        assert!(dim >= 4);
        let mut data = vec![0.0; rows * dim];
        for row in data.chunks_exact_mut(dim) {
            let mut left = 4;
            while left > 0 {
                let component = &mut row[self.below(dim)];
                if *component == 0.0 {
                    *component = if self.below(2) == 0 { 0.5 } else { -0.5 };
                    left -= 1;
                }
            }
        }
        data
    }

    /// Up to `most` positives for each of `queries`, in any order, some twice, some none.
    fn judgements(&mut self, queries: usize, items: usize, most: usize) -> Vec<Vec<u32>> {
        (0..queries).map(|_| (0..self.below(most + 1)).map(|_| self.below(items) as u32).collect()).collect()
    }
}

/// What the slow way says of one query: its whole order, best rank, AP@R and R-precision.
fn slowly(scores: &[f32], positives: &[u32]) -> (Vec<u32>, u32, f64, f64) {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    // A stable sort: equal scores stay in the order of their index.
    order.sort_by(|&a, &b| scores[b as usize].partial_cmp(&scores[a as usize]).unwrap());
    let rank = order.iter().position(|item| positives.contains(item)).unwrap() as u32 + 1;
    let r = positives.len();
    let precision =
        |k: usize| order[..k].iter().filter(|item| positives.contains(item)).count() as f64 / k as f64;
    let average =
        (1..=r).filter(|&k| positives.contains(&order[k - 1])).map(precision).sum::<f64>() / r as f64;
    let r_precision = precision(r);
    (order, rank, average, r_precision)
}

fn check(
    ranked: &[Ranked],
    row: impl Fn(usize) -> Vec<f32>,
    positives: &dyn Fn(u32) -> Vec<u32>,
    keep: usize,
) {
    let mut outcomes = Vec::new();
    for Ranked { query, outcome, top, complete } in ranked {
        let scores = row(*query as usize);
        let (order, rank, average, r_precision) = slowly(&scores, &positives(*query));
        assert_eq!(outcome.rank, Some(rank));
        assert!((outcome.average_precision.unwrap() - average).abs() < 1e-12, "{outcome:?} {average}");
        assert!((outcome.r_precision.unwrap() - r_precision).abs() < 1e-12, "{outcome:?} {r_precision}");
        let kept: Vec<u32> = top.iter().map(|candidate| candidate.item).collect();
        assert_eq!(kept, order[..keep.min(order.len())]);
        assert_eq!(*complete, keep >= order.len());
        assert!(top.iter().all(|candidate| candidate.score == scores[candidate.item as usize]));
        outcomes.push((rank, average, r_precision));
    }
    // Figures are made of outcomes, whatever is kept beside them.
    if outcomes.is_empty() || keep != 10 {
        return;
    }
    let Metrics { r1, r5, r10, median_rank, mean_rank, map_at_r, r_precision } =
        pictor_eval::direction(ranked, &Clusters::single(ranked.len())).unwrap().metrics;
    let n = outcomes.len() as f64;
    let within = |k| 100.0 * outcomes.iter().filter(|o| o.0 <= k).count() as f64 / n;
    assert_eq!((r1, r5, r10), (within(1), within(5), within(10)));
    let mut ranks: Vec<f64> = outcomes.iter().map(|o| f64::from(o.0)).collect();
    ranks.sort_by(f64::total_cmp);
    let middle = (ranks[(ranks.len() - 1) / 2] + ranks[ranks.len() / 2]) / 2.0;
    assert_eq!((median_rank, mean_rank), (Some(middle), Some(ranks.iter().sum::<f64>() / n)));
    let mean = |figure: fn(&(u32, f64, f64)) -> f64| 100.0 * outcomes.iter().map(figure).sum::<f64>() / n;
    assert!((map_at_r.unwrap() - mean(|o| o.1)).abs() < 1e-9);
    assert!((r_precision.unwrap() - mean(|o| o.2)).abs() < 1e-9);
}

/// All scores by the plain loop, texts × images.
fn matrix(images: &EmbeddingBatch, texts: &EmbeddingBatch) -> Vec<f32> {
    texts.rows().flat_map(|text| images.rows().map(|image| pictor_core::dot(text, image))).collect()
}

fn check_both(
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    relevance: &Relevance,
    scores: &[f32],
    keep: usize,
) {
    let done = AtomicUsize::new(0);
    let progress = |queries| {
        done.fetch_add(queries, Ordering::Relaxed);
    };
    let rankings = pictor_eval::exact(images, texts, relevance, keep, &progress).unwrap();
    let queries = relevance.text_queries() + relevance.image_queries();
    assert_eq!(done.into_inner(), queries, "progress counts each query once");
    assert_eq!(rankings.text_to_image.len() + rankings.image_to_text.len(), queries);

    let width = images.len();
    let row = |t: usize| scores[t * width..][..width].to_vec();
    let column = |i: usize| scores[i..].iter().step_by(width).copied().collect();
    check(&rankings.text_to_image, row, &|t| relevance.images_of_text(t).to_vec(), keep);
    check(&rankings.image_to_text, column, &|i| relevance.texts_of_image(i).to_vec(), keep);
}

/// Around every edge of a tile (4 × 16) and of a task (64 queries), with nearly every score tied.
#[test]
fn equals_sorting_for_all_shapes() {
    let mut noise = Noise(7);
    for images in [1, 2, 15, 16, 17, 33, 64, 65, 131] {
        for texts in [1, 3, 4, 5, 16, 63, 64, 66, 200] {
            let dim = 4 + noise.below(9);
            let image_batch = EmbeddingBatch::new(dim, noise.rows(images, dim)).unwrap();
            let text_batch = EmbeddingBatch::new(dim, noise.rows(texts, dim)).unwrap();
            let scores = matrix(&image_batch, &text_batch);
            let image_of_text: Vec<usize> = (0..texts).map(|_| noise.below(images)).collect();
            let captions = Relevance::from_captions(&image_of_text, images).unwrap();
            let judged =
                Relevance::new(noise.judgements(texts, images, 9), noise.judgements(images, texts, 40));
            for keep in [0, 1, 10, 1_000] {
                check_both(&image_batch, &text_batch, &captions, &scores, keep);
                check_both(&image_batch, &text_batch, judged.as_ref().unwrap(), &scores, keep);
            }
        }
    }
}

/// Scores that all differ, and rows that repeat at far ends: equal vectors tie wherever in a tile they are computed.
#[test]
fn equal_vectors_tie_wherever_they_stand() {
    let (dim, images, texts) = (37, 150, 300);
    let mut noise = Noise(3);
    let mut random = |rows: usize| -> Vec<f32> {
        (0..rows * dim).map(|_| noise.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).collect()
    };
    let (mut image_data, mut text_data) = (random(images), random(texts));
    for copy in [1, 15, 16, 100, 149] {
        image_data.copy_within(0..dim, copy * dim);
        text_data.copy_within(0..dim, 2 * copy * dim);
    }
    let images = EmbeddingBatch::normalise(dim, image_data).unwrap();
    let texts = EmbeddingBatch::normalise(dim, text_data).unwrap();
    let image_of_text: Vec<usize> = (0..300).map(|text| text / 2).collect();
    let relevance = Relevance::from_captions(&image_of_text, 150).unwrap();
    let rankings = pictor_eval::exact(&images, &texts, &relevance, 300, &|_| ()).unwrap();
    let copies = |ranked: &Ranked, copies: &[u32]| {
        let places: Vec<usize> =
            copies.iter().map(|copy| ranked.top.iter().position(|c| c.item == *copy).unwrap()).collect();
        let scores: Vec<f32> = places.iter().map(|&place| ranked.top[place].score).collect();
        assert!(places.windows(2).all(|pair| pair[1] == pair[0] + 1), "side by side, by index: {places:?}");
        assert!(scores.windows(2).all(|pair| pair[0] == pair[1]), "{scores:?}");
    };
    rankings.text_to_image.iter().for_each(|ranked| copies(ranked, &[0, 1, 15, 16, 100, 149]));
    rankings.image_to_text.iter().for_each(|ranked| copies(ranked, &[0, 2, 30, 32, 200, 298]));

    // A pair has one score, whichever side asks.
    for text in &rankings.text_to_image {
        for candidate in &text.top {
            let image = &rankings.image_to_text[candidate.item as usize].top;
            assert!(image.iter().any(|c| c.item == text.query && c.score == candidate.score));
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let batch = |dim, rows| EmbeddingBatch::new(dim, Noise(1).rows(rows, dim)).unwrap();
    let relevance = Relevance::from_captions(&[0, 1, 1], 2).unwrap();
    let exact = |images, texts| pictor_eval::exact(&images, &texts, &relevance, 5, &|_| ());
    assert!(exact(batch(4, 2), batch(4, 3)).is_ok());
    assert!(matches!(exact(batch(4, 2), batch(5, 3)), Err(EvalError::Dimensions { images: 4, texts: 5 })));
    let error = exact(batch(4, 3), batch(4, 3)).unwrap_err().to_string();
    assert!(
        error.starts_with("3 image and 3 text embeddings, but relevance is about 2 images and 3 texts"),
        "{error}"
    );
}
