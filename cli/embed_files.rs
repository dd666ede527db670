//! Many files or texts through an encoder, in order, for the commands that want vectors and no index.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use indicatif::ProgressBar;
use pictor_core::{EmbeddingBatch, Encoder, PreparedImage};
use rayon::prelude::*;

/// A file that gave no vector, and why.
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// Embeds `files`, `batch` at a time; files that cannot be read or decoded are returned beside the rows of the others,
/// which stay in order.
///
/// While the model encodes one batch the next is decoded on all cores; at most two batches are in memory.
pub fn images(
    encoder: &dyn Encoder,
    files: &[PathBuf],
    batch: usize,
    bar: &ProgressBar,
) -> anyhow::Result<(EmbeddingBatch, Vec<BadFile>)> {
    let (send, receive) = sync_channel::<Vec<Result<PreparedImage, BadFile>>>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in files.chunks(batch) {
                let prepared = chunk.par_iter().map(|path| prepare(encoder, path)).collect();
                if send.send(prepared).is_err() {
                    return; // the encoder failed and nobody listens
                }
            }
        });
        let mut rows = EmbeddingBatch::new(encoder.spec().dim, Vec::new())?;
        let mut bad = Vec::new();
        for results in receive {
            let count = results.len();
            let mut good = Vec::with_capacity(count);
            for result in results {
                match result {
                    Ok(image) => good.push(image),
                    Err(file) => bad.push(file),
                }
            }
            rows.extend(&encoder.encode_images(&good)?)?;
            bar.inc(count as u64);
        }
        Ok((rows, bad))
    })
}

fn prepare(encoder: &dyn Encoder, path: &PathBuf) -> Result<PreparedImage, BadFile> {
    let bad = |reason: String| BadFile { path: path.clone(), reason };
    let bytes = fs_err::read(path).map_err(|e| bad(e.to_string()))?;
    encoder.prepare_image(&bytes).map_err(|e| bad(e.to_string()))
}

/// Embeds `texts`, `batch` at a time.
pub fn texts(
    encoder: &dyn Encoder,
    texts: &[String],
    batch: usize,
    bar: &ProgressBar,
) -> anyhow::Result<EmbeddingBatch> {
    let mut rows = EmbeddingBatch::new(encoder.spec().dim, Vec::new())?;
    for chunk in texts.chunks(batch) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        rows.extend(&encoder.encode_texts(&chunk)?)?;
        bar.inc(chunk.len() as u64);
    }
    Ok(rows)
}
