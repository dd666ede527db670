//! Second half of the way: tensors in source order become batches, batches become vectors, on the one thread that owns the model.

use std::collections::BTreeMap;
use std::mem;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use pictor_core::{EmbeddingBatch, EncodeError, Encoder, ImageId, ImageRecord, PreparedImage};
use pictor_storage::Skipped;

use super::prepare::{Ready, catch};
use crate::progress::Counters;

/// How one job, or a batch of them, ended.
pub(super) enum Outcome {
    /// Encoded: row `i` of the vectors belongs to record `i`.
    Encoded(Vec<ImageRecord>, EmbeddingBatch),
    /// The bytes are those of the index, so nothing was encoded; `record` is what it should say now.
    SameBytes { id: ImageId, record: ImageRecord, is_updated: bool },
    /// It cannot be indexed.
    Skipped(Skipped),
    /// This many jobs were given up because the job as a whole stops.
    Abandoned(usize),
    /// The model failed on this many images, all of a batch.
    ModelFailed(EncodeError, usize),
}

/// Puts what the prepare threads finish back into source order and passes it on in batches of `size`, the last one smaller.
pub(super) fn gather(prepared: &Receiver<(u64, Option<Ready>)>, batches: &Sender<Vec<Ready>>, size: usize) {
    // What came before its turn: never more than a window.
    let mut early = BTreeMap::new();
    let mut next = 0;
    let mut batch = Vec::with_capacity(size);
    for (number, ready) in prepared {
        early.insert(number, ready);
        while let Some(ready) = early.remove(&next) {
            next += 1;
            batch.extend(ready);
            if batch.len() == size
                && batches.send(mem::replace(&mut batch, Vec::with_capacity(size))).is_err()
            {
                return;
            }
        }
    }
    if !batch.is_empty() {
        // Refused only when the model's thread is gone, and then nobody wants it.
        let _ = batches.send(batch);
    }
}

/// Encodes batches until none comes.
///
/// A batch on which the model fails is tried again image by image, so only those images that it refuses are skipped. When it refuses
/// all of several images, or the first image of all, it is the model that is broken and the job ends.
pub(super) fn run(
    batches: &Receiver<Vec<Ready>>,
    outcomes: &Sender<Outcome>,
    encoder: &dyn Encoder,
    counters: &Counters,
    stop: &AtomicBool,
) {
    let mut has_worked = false;
    for batch in batches {
        let (records, images): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|ready| (ready.record, ready.image)).unzip();
        let ended = if stop.load(Relaxed) {
            vec![Outcome::Abandoned(records.len())]
        } else {
            match encode(encoder, &images, counters) {
                Ok(vectors) => vec![Outcome::Encoded(records, vectors)],
                Err(error) => {
                    let each = encode_each(encoder, records, &images, counters);
                    let any_worked = each.iter().any(|outcome| matches!(outcome, Outcome::Encoded(..)));
                    // A single refused image says nothing of a model that has worked before.
                    if any_worked || (has_worked && each.len() == 1) {
                        each
                    } else {
                        vec![Outcome::ModelFailed(error, each.len())]
                    }
                }
            }
        };
        has_worked |= ended.iter().any(|outcome| matches!(outcome, Outcome::Encoded(..)));
        if ended.into_iter().any(|outcome| outcomes.send(outcome).is_err()) {
            return;
        }
    }
}

/// One outcome per image, in order.
fn encode_each(
    encoder: &dyn Encoder,
    records: Vec<ImageRecord>,
    images: &[PreparedImage],
    counters: &Counters,
) -> Vec<Outcome> {
    let one = |(record, image): (ImageRecord, &PreparedImage)| match encode(
        encoder,
        slice::from_ref(image),
        counters,
    ) {
        Ok(vectors) => Outcome::Encoded(vec![record], vectors),
        Err(error) => {
            let ImageRecord { uri, bytes, modified_ns, .. } = record;
            Outcome::Skipped(Skipped { uri, reason: error.to_string(), bytes, modified_ns })
        }
    };
    records.into_iter().zip(images).map(one).collect()
}

/// The model's answer, timed; one row per image is made sure of, since records are matched to rows by position.
fn encode(
    encoder: &dyn Encoder,
    images: &[PreparedImage],
    counters: &Counters,
) -> Result<EmbeddingBatch, EncodeError> {
    let start = Instant::now();
    let panicked = |reason| Err(EncodeError::Runtime { runtime: "the runtime", batch: images.len(), reason });
    let vectors = catch(|| encoder.encode_images(images)).unwrap_or_else(panicked)?;
    let (received, expected) = ([vectors.len(), vectors.dim()], [images.len(), encoder.spec().dim]);
    if received != expected {
        return Err(EncodeError::Shape { received: received.into(), expected: expected.into() });
    }
    counters.encode.add(start.elapsed());
    counters.encoded.fetch_add(images.len() as u64, Relaxed);
    Ok(vectors)
}
