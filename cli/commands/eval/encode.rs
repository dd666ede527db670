//! All images and all captions of a dataset as embeddings.

use std::sync::mpsc::sync_channel;

use anyhow::bail;
use pictor_core::{EmbeddingBatch, Encoder, PreparedImage};
use pictor_eval::ImageRef;
use rayon::prelude::*;

use crate::bar::bar;
use crate::embed_files;
use crate::output::Output;

/// One row per image, in order; while the model encodes a batch the next is decoded on all cores.
///
/// An image that cannot be used is an error: R@K over the readable part of a set would pass for R@K over the set.
pub fn images(
    encoder: &dyn Encoder,
    images: &[ImageRef],
    batch: usize,
    output: &Output,
) -> anyhow::Result<EmbeddingBatch> {
    let progress = bar(Some(images.len() as u64), "images", output);
    let (send, receive) = sync_channel::<anyhow::Result<Vec<PreparedImage>>>(1);
    let rows = std::thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in images.chunks(batch) {
                // Whoever listens stops at the first error.
                if send.send(prepare(chunk, |bytes| encoder.prepare_image(bytes))).is_err() {
                    return;
                }
            }
        });
        let mut rows = EmbeddingBatch::new(encoder.spec().dim, Vec::new())?;
        for prepared in receive {
            let prepared = prepared?;
            rows.extend(&encoder.encode_images(&prepared)?)?;
            progress.inc(prepared.len() as u64);
        }
        anyhow::Ok(rows)
    })?;
    progress.finish_and_clear();
    Ok(rows)
}

/// Reads and prepares images on all cores; all of them, or the first error with how many there are.
pub fn prepare(
    images: &[ImageRef],
    prepare: impl Fn(&[u8]) -> Result<PreparedImage, pictor_core::DecodeError> + Sync,
) -> anyhow::Result<Vec<PreparedImage>> {
    let prepared: Vec<Result<PreparedImage, String>> = images
        .par_iter()
        .map(|image| {
            let failed = |reason: String| format!("{}: {reason}", image.name());
            let bytes = image.read().map_err(|error| failed(error.to_string()))?;
            prepare(&bytes).map_err(|error| failed(error.to_string()))
        })
        .collect();
    if let Some(first) = prepared.iter().find_map(|result| result.as_ref().err()) {
        bail!("an image of the set cannot be used, so there is no figure over the set: {first}");
    }
    Ok(prepared.into_iter().flatten().collect())
}

/// One row per caption, in order.
pub fn texts(
    encoder: &dyn Encoder,
    texts: &[&str],
    batch: usize,
    output: &Output,
) -> anyhow::Result<EmbeddingBatch> {
    let progress = bar(Some(texts.len() as u64), "captions", output);
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    let rows = embed_files::texts(encoder, &texts, batch, &progress)?;
    progress.finish_and_clear();
    Ok(rows)
}
