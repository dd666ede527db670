//! `pictor eval`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use pictor_core::{EmbeddingBatch, Encoder, ImageId};
use pictor_eval::{Dataset, DatasetOptions, ImageRef, RetrievalReport};
use pictor_storage::{Snapshot, Store};
use rayon::prelude::*;
use serde::Serialize;

use crate::args::EvalRetrievalArgs;
use crate::bar::bar;
use crate::embed_files;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// The report with what is needed to repeat it.
#[derive(Serialize)]
struct Evaluation {
    #[serde(flatten)]
    report: RetrievalReport,
    model: String,
    fingerprint: String,
    runtime: String,
    captions_file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through_index: Option<ThroughIndex>,
    seconds: f64,
}

/// What ranked in place of exact search over freshly encoded images.
#[derive(Serialize)]
struct ThroughIndex {
    index: PathBuf,
    index_kind: String,
    images_in_index: usize,
}

pub fn run(args: EvalRetrievalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let options = DatasetOptions {
        captions: args.captions.clone(),
        images: Some(args.images.clone()),
        split: args.split.clone(),
    };
    let dataset = Dataset::read(&options)?;
    let encoder = wiring::encoder(&args.model, args.decode.options(), output)?;
    let batch = wiring::batch(args.batch, &encoder);
    let texts = encode_texts(&dataset, &*encoder, batch, output)?;
    let (report, through_index) = match &args.index {
        None => {
            let images = encode_images(&dataset, &*encoder, batch, output)?;
            (pictor_eval::retrieval(&images, &texts, &dataset.image_of_text())?, None)
        }
        Some(index) => {
            let (report, through) = through_index(index, &dataset, &texts, &*encoder, args.effort)?;
            (report, Some(through))
        }
    };
    let evaluation = Evaluation {
        report,
        model: encoder.spec().name.clone(),
        fingerprint: encoder.spec().fingerprint.clone(),
        runtime: encoder.runtime().to_string(),
        captions_file: args.captions,
        split: args.split,
        through_index,
        seconds: start.elapsed().as_secs_f64(),
    };
    output.result(&evaluation, |e| {
        let mut text = format!("{}\n", e.report);
        if let Some(through) = &e.through_index {
            text += &format!(
                "text → image ranked by the {} index {} ({} images)\n",
                through.index_kind,
                through.index.display(),
                through.images_in_index
            );
        }
        text + &format!("{} on {}, {:.1} s\n", e.model, e.runtime, e.seconds)
    })?;
    Ok(Outcome::Done)
}

fn encode_texts(
    dataset: &Dataset,
    encoder: &dyn Encoder,
    batch: usize,
    output: &Output,
) -> anyhow::Result<EmbeddingBatch> {
    let captions: Vec<String> = dataset.texts().map(str::to_owned).collect();
    let progress = bar(Some(captions.len() as u64), "captions", output);
    let texts = embed_files::texts(encoder, &captions, batch, &progress)?;
    progress.finish_and_clear();
    Ok(texts)
}

fn encode_images(
    dataset: &Dataset,
    encoder: &dyn Encoder,
    batch: usize,
    output: &Output,
) -> anyhow::Result<EmbeddingBatch> {
    let progress = bar(Some(dataset.images.len() as u64), "images", output);
    let (images, bad) = embed_files::images(encoder, &files(dataset)?, batch, &progress)?;
    progress.finish_and_clear();
    // R@K over the readable part of a set would pass for R@K over the set.
    if let Some(first) = bad.first() {
        bail!(
            "{} images of the set cannot be used, the first is {}: {}",
            bad.len(),
            first.path.display(),
            first.reason
        );
    }
    Ok(images)
}

/// The files of the images.
fn files(dataset: &Dataset) -> anyhow::Result<Vec<PathBuf>> {
    let file = |image: &ImageRef| {
        image.file().map(Path::to_owned).with_context(|| format!("{image} is part of an archive; unpack it"))
    };
    dataset.images.iter().map(file).collect()
}

/// Text → image as the index ranks it, image → text by exact search over the vectors that the index holds.
fn through_index(
    index: &Path,
    dataset: &Dataset,
    texts: &EmbeddingBatch,
    encoder: &dyn Encoder,
    effort: Option<usize>,
) -> anyhow::Result<(RetrievalReport, ThroughIndex)> {
    let store = Store::open(index)?;
    store.check_encoder(encoder.spec())?;
    let snapshot = store.snapshot()?;
    let ids = ids_of(dataset, &snapshot, index)?;

    let mut data = Vec::with_capacity(ids.len() * encoder.spec().dim);
    for &id in &ids {
        data.extend(
            snapshot
                .vector(id)?
                .with_context(|| format!("image {id} has no vector in {}", index.display()))?,
        );
    }
    let images = EmbeddingBatch::new(encoder.spec().dim, data)?;
    let image_of_text = dataset.image_of_text();
    let mut report = pictor_eval::retrieval(&images, texts, &image_of_text)?;

    // An image of the index that is not in the set still competes; no caption names it, so any number past the set will do.
    let place: HashMap<ImageId, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let rankings: Vec<Vec<usize>> = (0..texts.len())
        .into_par_iter()
        .map(|t| {
            let text = texts.row(t).context("fewer text vectors than captions, this is a bug")?;
            let hits = snapshot.search_vectors(text, 10, effort, None)?;
            Ok(hits.iter().map(|hit| place.get(&hit.id).copied().unwrap_or(usize::MAX)).collect())
        })
        .collect::<anyhow::Result<_>>()?;
    report.text_to_image = pictor_eval::recall_from_rankings(&rankings, &image_of_text, ids.len())?;
    let through = ThroughIndex {
        index: index.into(),
        index_kind: store.kind()?.to_string(),
        images_in_index: snapshot.len(),
    };
    Ok((report, through))
}

/// The id of every image of the set, in its order.
fn ids_of(dataset: &Dataset, snapshot: &Snapshot, index: &Path) -> anyhow::Result<Vec<ImageId>> {
    let mut by_uri = HashMap::with_capacity(snapshot.len());
    for record in snapshot.records() {
        let (id, record) = record?;
        by_uri.insert(record.uri, id);
    }
    let found: Vec<Option<ImageId>> = files(dataset)?
        .iter()
        .map(|path| Ok(by_uri.get(fs_err::canonicalize(path)?.to_string_lossy().as_ref()).copied()))
        .collect::<anyhow::Result<_>>()?;
    let missing = found.iter().filter(|id| id.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        bail!(
            "{missing} of {} images are not in {}, the first is {}; index them with: pictor index IMAGES --index {}",
            found.len(),
            index.display(),
            dataset.images[first],
            index.display()
        );
    }
    Ok(found.into_iter().flatten().collect())
}
