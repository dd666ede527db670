//! From rankings to a run of the report: figures, worst queries, the second stage.

use anyhow::Context;
use indicatif::ProgressBar;
use pictor_core::{EmbeddingBatch, Matcher};
use pictor_eval::{
    Candidate, Clusters, Direction, EvalError, Failure, ImageRef, Ranked, Rankings, Relevance,
};

use super::matching;

/// Queries of each direction that the gallery of failures shows.
const FAILURES: usize = 12;
/// Results, and positives, that it shows of each.
const SHOWN: usize = 5;

/// What is ranked: names for people, positives, and which queries belong together.
pub struct Task {
    /// Empty when there are embeddings only.
    pub image_names: Vec<String>,
    /// Captions; empty when there are embeddings only.
    pub texts: Vec<String>,
    pub relevance: Relevance,
    /// Captions of one image are not independent queries.
    pub text_clusters: Clusters,
    pub image_clusters: Clusters,
}

impl Task {
    pub fn new(
        image_names: Vec<String>,
        texts: Vec<String>,
        image_of_text: Vec<usize>,
        relevance: Relevance,
    ) -> Self {
        let queries = (0..relevance.texts() as u32).filter(|&t| !relevance.images_of_text(t).is_empty());
        let text_clusters =
            Clusters::of_queries(queries, |t| image_of_text.get(t as usize).map_or(t, |&i| i as u32));
        let image_clusters = Clusters::single(relevance.image_queries());
        Self { image_names, texts, relevance, text_clusters, image_clusters }
    }

    /// The figures of text → image.
    pub fn text_to_image(&self, ranked: &[Ranked]) -> Result<Direction, EvalError> {
        pictor_eval::direction(ranked, &self.text_clusters)
    }

    /// The figures of image → text.
    pub fn image_to_text(&self, ranked: &[Ranked]) -> Result<Direction, EvalError> {
        pictor_eval::direction(ranked, &self.image_clusters)
    }

    /// The queries whose best positives rank lowest, worst first, text → image and then image → text.
    pub fn failures(&self, rankings: &Rankings) -> Vec<Failure> {
        let image =
            |i: u32| self.image_names.get(i as usize).cloned().unwrap_or_else(|| format!("image {i}"));
        let text = |t: u32| self.texts.get(t as usize).cloned().unwrap_or_else(|| format!("text {t}"));
        let relevance = &self.relevance;
        let mut failures =
            worst("text_to_image", &rankings.text_to_image, &text, &image, |t| relevance.images_of_text(t));
        failures.extend(worst("image_to_text", &rankings.image_to_text, &image, &text, |i| {
            relevance.texts_of_image(i)
        }));
        failures
    }
}

fn worst<'a>(
    direction: &str,
    ranked: &[Ranked],
    query: &dyn Fn(u32) -> String,
    item: &dyn Fn(u32) -> String,
    positives: impl Fn(u32) -> &'a [u32],
) -> Vec<Failure> {
    let mut order: Vec<&Ranked> = ranked.iter().filter(|ranked| ranked.outcome.rank != Some(1)).collect();
    order.sort_by_key(|ranked| std::cmp::Reverse(ranked.outcome.rank.unwrap_or(u32::MAX)));
    let failure = |ranked: &Ranked| Failure {
        direction: direction.into(),
        query: query(ranked.query),
        rank: ranked.outcome.rank,
        expected: positives(ranked.query).iter().take(SHOWN).map(|&positive| item(positive)).collect(),
        received: ranked.top.iter().take(SHOWN).map(|found| (item(found.item), found.score)).collect(),
    };
    order.into_iter().take(FAILURES).map(failure).collect()
}

/// Ranks by inner product, with a progress bar over the queries of both directions.
pub fn exact(
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    relevance: &Relevance,
    keep: usize,
    progress: &ProgressBar,
) -> Result<Rankings, EvalError> {
    progress.set_length((relevance.text_queries() + relevance.image_queries()) as u64);
    let rankings =
        pictor_eval::exact(images, texts, relevance, keep, &|queries| progress.inc(queries as u64));
    progress.finish_and_clear();
    rankings
}

/// The pairs that reranking the first `k_test` of both directions needs: for each image its texts, ascending.
pub fn pairs(first: &Rankings, k_test: usize, images: usize) -> Vec<Vec<u32>> {
    let mut texts_of_image: Vec<Vec<u32>> = vec![Vec::new(); images];
    let head = |ranked: &Ranked| -> Vec<Candidate> { ranked.top.iter().take(k_test).copied().collect() };
    for ranked in &first.text_to_image {
        for candidate in head(ranked) {
            if let Some(texts) = texts_of_image.get_mut(candidate.item as usize) {
                texts.push(ranked.query);
            }
        }
    }
    for ranked in &first.image_to_text {
        if let Some(texts) = texts_of_image.get_mut(ranked.query as usize) {
            texts.extend(head(ranked).iter().map(|candidate| candidate.item));
        }
    }
    for texts in &mut texts_of_image {
        texts.sort_unstable();
        texts.dedup();
    }
    texts_of_image
}

/// Both directions with their first `k_test` in the order of the matcher's scores: BLIP's two-stage evaluation. `pairs` are those of
/// [`pairs`].
pub fn rerank(
    first: &Rankings,
    k_test: usize,
    task: &Task,
    images: &[ImageRef],
    matcher: &dyn Matcher,
    pairs: &[Vec<u32>],
    progress: &ProgressBar,
) -> anyhow::Result<Rankings> {
    let texts: Vec<&str> = task.texts.iter().map(String::as_str).collect();
    let scores = matching::score(matcher, images, &texts, pairs, progress)?;
    let score = |text: u32, image: u32| -> anyhow::Result<f32> {
        let place = pairs[image as usize].binary_search(&text).ok();
        let score = place.and_then(|place| scores[image as usize].get(place));
        Ok(score.context("a pair was not scored; this is a bug")?.score)
    };
    let relevance = &task.relevance;
    Ok(Rankings {
        text_to_image: pictor_eval::rerank(
            &first.text_to_image,
            k_test,
            |text| relevance.images_of_text(text),
            |text, images| images.iter().map(|&image| score(text, image)).collect::<anyhow::Result<_>>(),
        )?,
        image_to_text: pictor_eval::rerank(
            &first.image_to_text,
            k_test,
            |image| relevance.texts_of_image(image),
            |image, texts| texts.iter().map(|&text| score(text, image)).collect::<anyhow::Result<_>>(),
        )?,
    })
}
