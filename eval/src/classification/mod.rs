//! Zero-shot classification: how often the class whose prompts are nearest to an image is its own.
//!
//! The figures are CLIP_benchmark's (`zeroshot_classification.py`): the embedding of a class is the mean of its normalised prompt
//! embeddings, normalised again; an image belongs to the class of the highest cosine. `prompts` are the sentences, `images` reads the
//! images with their classes and `names` what the classes are called. What must stay true: every figure is a function of the vectors
//! and the labels, and scores are computed for a block of images at a time, so memory does not grow with the set.

mod images;
mod names;
mod prompts;
mod report;
mod templates;

use std::cmp::Ordering;

use pictor_core::{EmbeddingBatch, EmbeddingError};
use rayon::prelude::*;

use crate::EvalError;

pub use images::{LabelledImages, LabelledOptions};
pub use names::{ClassNames, parse_class_names};
pub use prompts::Prompts;
pub use report::{ClassFigures, ClassificationReport, Confusion, report};

/// Images whose scores are in memory at a time, on each core.
const BLOCK: usize = 16;

/// The embedding of each class: the mean of its `per_class` prompt embeddings, which follow one another, normalised.
///
/// # Errors
/// [`EvalError::Rows`] when the prompts do not divide into classes, or the prompts of a class cancel each other out.
pub fn class_embeddings(prompts: &EmbeddingBatch, per_class: usize) -> Result<EmbeddingBatch, EvalError> {
    if per_class == 0 || prompts.is_empty() || !prompts.len().is_multiple_of(per_class) {
        let reason = format!("{} prompt embeddings do not divide into classes of {per_class}", prompts.len());
        return Err(EvalError::Rows { reason });
    }
    let dim = prompts.dim();
    let mut means = Vec::with_capacity(prompts.len() / per_class * dim);
    for class in prompts.as_slice().chunks_exact(per_class * dim) {
        let mean = |i: usize| {
            class.iter().skip(i).step_by(dim).map(|&x| f64::from(x)).sum::<f64>() / per_class as f64
        };
        means.extend((0..dim).map(|i| mean(i) as f32));
    }
    EmbeddingBatch::normalise(dim, means).map_err(|error| EvalError::Rows {
        reason: match error {
            EmbeddingError::NotUnit { row, .. } => {
                format!("the prompts of class {row} cancel each other out; use other templates")
            }
            other => other.to_string(),
        },
    })
}

/// The first `keep` classes of each image, nearest first; of equal scores the class with the lower index comes first.
///
/// `progress` is told how many images were done since it was told last.
///
/// # Errors
/// [`EvalError::Dimensions`] when images and classes are not of one space.
pub fn nearest_classes(
    images: &EmbeddingBatch,
    classes: &EmbeddingBatch,
    keep: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<u32>>, EvalError> {
    let (dim, count) = (classes.dim(), classes.len());
    if images.dim() != dim {
        return Err(EvalError::Dimensions { images: images.dim(), texts: dim });
    }
    // Component by component, so that the inner loop runs over classes and needs no sum across a register.
    let mut by_component = vec![0.0; dim * count];
    for (class, row) in classes.rows().enumerate() {
        for (component, &value) in row.iter().enumerate() {
            by_component[component * count + class] = value;
        }
    }
    let blocks: Vec<Vec<Vec<u32>>> = images
        .as_slice()
        .par_chunks(BLOCK * dim)
        .map(|block| {
            let mut scores = vec![0.0f32; block.len() / dim * count];
            for (component, weights) in by_component.chunks_exact(count.max(1)).enumerate() {
                for (image, scores) in block.chunks_exact(dim).zip(scores.chunks_exact_mut(count.max(1))) {
                    let value = image[component];
                    scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += value * weight);
                }
            }
            let nearest = match count {
                0 => vec![Vec::new(); block.len() / dim],
                count => scores.chunks_exact(count).map(|scores| first(scores, keep)).collect(),
            };
            progress(nearest.len());
            nearest
        })
        .collect();
    Ok(blocks.into_iter().flatten().collect())
}

/// Indices of the `keep` highest scores, highest first, ties by index.
fn first(scores: &[f32], keep: usize) -> Vec<u32> {
    let order =
        |a: &u32, b: &u32| -> Ordering { scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)) };
    let mut all: Vec<u32> = (0..scores.len() as u32).collect();
    if keep < all.len() && keep > 0 {
        all.select_nth_unstable_by(keep - 1, order);
    }
    all.truncate(keep);
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use pictor_core::dot;

    use super::*;

    /// Rows of small whole numbers, normalised: many ties.
    fn batch(rows: usize, dim: usize, seed: u32) -> EmbeddingBatch {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((state >> 24) as u8 % 3) - 1.0
        };
        let mut data: Vec<f32> = (0..rows * dim).map(|_| next()).collect();
        data.chunks_exact_mut(dim).for_each(|row| row[0] = 2.0);
        EmbeddingBatch::normalise(dim, data).unwrap()
    }

    #[test]
    fn nearest_classes_are_those_of_the_plain_loop() {
        for (images, classes, keep) in [(1, 1, 5), (40, 7, 5), (33, 100, 3), (17, 5, 5), (3, 4, 0)] {
            let (images, classes) = (batch(images, 6, 1), batch(classes, 6, 2));
            let done = std::sync::atomic::AtomicUsize::new(0);
            let progress = |n: usize| {
                done.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            };
            let fast = nearest_classes(&images, &classes, keep, &progress).unwrap();
            assert_eq!(done.into_inner(), images.len());
            for (image, fast) in images.rows().zip(fast) {
                let scores: Vec<f32> = classes.rows().map(|class| dot(image, class)).collect();
                let mut slow: Vec<u32> = (0..classes.len() as u32).collect();
                slow.sort_by(|&a, &b| scores[b as usize].partial_cmp(&scores[a as usize]).unwrap());
                slow.truncate(keep);
                assert_eq!(fast, slow);
            }
        }
        assert!(nearest_classes(&batch(1, 3, 1), &batch(1, 4, 1), 1, &|_| ()).is_err());
    }

    #[test]
    fn a_class_is_the_mean_of_its_prompts() {
        let prompts = EmbeddingBatch::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, 0.6, 0.8]).unwrap();
        let classes = class_embeddings(&prompts, 2).unwrap();
        let half = 0.5f32.sqrt();
        for (got, wanted) in classes.as_slice().iter().zip([half, half, 0.6, 0.8]) {
            assert!((got - wanted).abs() < 1e-6);
        }
        let opposite = EmbeddingBatch::new(1, vec![1.0, -1.0]).unwrap();
        assert!(class_embeddings(&opposite, 2).unwrap_err().to_string().contains("cancel"));
        for per_class in [0, 3] {
            assert!(class_embeddings(&prompts, per_class).is_err());
        }
    }
}
