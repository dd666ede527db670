//! Many pairs through a matcher, image by image: an image's features are made once, scored against every text that wants them, and
//! dropped, so memory does not grow with the images.

use anyhow::Context;
use indicatif::ProgressBar;
use pictor_core::{ImageFeatures, MatchScore, Matcher, TextFeatures};
use pictor_eval::ImageRef;

use super::encode;

/// Images whose features are in memory together: enough for the cores to decode side by side, and with BLIP's 1.8 MB (f32) of an
/// image little.
const IMAGES: usize = 16;
/// Pairs of one batch of the model: as many as a search reranks at once (`query/src/rerank.rs`).
const PAIRS: usize = 16;
/// Texts of one batch of the text tower.
const TEXTS: usize = 64;

/// The scores of pairs: `texts_of_image[i]` are indices into `texts`, and the answer has their scores in the same places. `progress`
/// counts pairs.
pub fn score(
    matcher: &dyn Matcher,
    images: &[ImageRef],
    texts: &[&str],
    texts_of_image: &[Vec<u32>],
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Vec<MatchScore>>> {
    let mut features: Vec<TextFeatures> = Vec::with_capacity(texts.len());
    for batch in texts.chunks(TEXTS) {
        features.extend(matcher.encode_texts(batch)?);
    }
    let mut scores = Vec::with_capacity(images.len());
    for (images, wanted) in images.chunks(IMAGES).zip(texts_of_image.chunks(IMAGES)) {
        let used: Vec<usize> = (0..images.len()).filter(|&i| !wanted[i].is_empty()).collect();
        let chosen: Vec<ImageRef> = used.iter().map(|&i| images[i].clone()).collect();
        let prepared = encode::prepare(&chosen, |bytes| matcher.prepare_image(bytes))?;
        let mut encoded = matcher.encode_images(&prepared)?;
        // As a search has them, so that what is evaluated is what is served.
        encoded.iter_mut().for_each(pictor_storage::round_features);
        let mut of_images = encoded.iter();
        for texts in wanted {
            if texts.is_empty() {
                scores.push(Vec::new());
                continue;
            }
            let image = of_images.next().context("fewer features than images; this is a bug")?;
            scores.push(score_image(matcher, image, &features, texts)?);
            progress.inc(texts.len() as u64);
        }
    }
    Ok(scores)
}

fn score_image(
    matcher: &dyn Matcher,
    image: &ImageFeatures,
    features: &[TextFeatures],
    texts: &[u32],
) -> anyhow::Result<Vec<MatchScore>> {
    // Texts of one length are one batch: the longest-common order, and every score back in its place.
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&place| features[texts[place] as usize].ids.len());
    let mut scores = vec![None; texts.len()];
    for batch in order.chunks(PAIRS) {
        let pairs: Vec<_> = batch.iter().map(|&place| (&features[texts[place] as usize], image)).collect();
        for (&place, score) in batch.iter().zip(matcher.score(&pairs)?) {
            scores[place] = Some(score);
        }
    }
    Ok(scores.into_iter().flatten().collect())
}
