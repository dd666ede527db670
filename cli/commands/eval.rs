//! `pictor eval`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use pictor_core::{EmbeddingBatch, Encoder, ImageId};
use pictor_eval::{Candidate, Clusters, Dataset, EvalError, Metrics, PROTOCOL, Ranked, Rankings, Relevance};
use pictor_storage::{Snapshot, Store};
use rayon::prelude::*;
use serde::Serialize;

use crate::args::EvalRetrievalArgs;
use crate::bar::bar;
use crate::embed_files;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// The figures with what is needed to repeat them.
#[derive(Serialize)]
struct Evaluation {
    text_to_image: Metrics,
    image_to_text: Metrics,
    images: usize,
    captions: usize,
    images_without_captions: usize,
    protocol: String,
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
    let dataset = Dataset::read(&args.captions, &args.images, args.split.as_deref())?;
    let encoder = wiring::encoder(&args.model, args.decode.options(), output)?;
    let batch = wiring::batch(args.batch, &encoder);
    let texts = encode_texts(&dataset, &*encoder, batch, output)?;
    let image_of_text = dataset.image_of_text();
    let relevance = Relevance::from_captions(&image_of_text, dataset.images.len())?;
    let (rankings, through_index) = match &args.index {
        None => {
            let images = encode_images(&dataset, &*encoder, batch, output)?;
            (pictor_eval::exact(&images, &texts, &relevance, 0, &|_| ())?, None)
        }
        Some(index) => {
            let (rankings, through) =
                through_index(index, &dataset, &relevance, &texts, &*encoder, args.effort)?;
            (rankings, Some(through))
        }
    };
    let figures = |ranked: &[Ranked], cluster_of: &dyn Fn(u32) -> u32| {
        Ok::<_, EvalError>(pictor_eval::direction(ranked, &Clusters::new(ranked, cluster_of))?.metrics)
    };
    let evaluation = Evaluation {
        text_to_image: figures(&rankings.text_to_image, &|text| image_of_text[text as usize] as u32)?,
        image_to_text: figures(&rankings.image_to_text, &|image| image)?,
        images: relevance.images(),
        captions: relevance.texts(),
        images_without_captions: relevance.images() - relevance.image_queries(),
        protocol: PROTOCOL.into(),
        model: encoder.spec().name.clone(),
        fingerprint: encoder.spec().fingerprint.clone(),
        runtime: encoder.runtime().to_string(),
        captions_file: args.captions,
        split: args.split,
        through_index,
        seconds: start.elapsed().as_secs_f64(),
    };
    output.result(&evaluation, |e| {
        let mut text = table(e);
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

fn table(e: &Evaluation) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.1}"));
    let mut text =
        format!("{:<14}{:>7}{:>7}{:>7}{:>14}{:>12}\n", "", "R@1", "R@5", "R@10", "median rank", "mean rank");
    for (name, m) in [("text → image", &e.text_to_image), ("image → text", &e.image_to_text)] {
        let (median, mean) = (number(m.median_rank), number(m.mean_rank));
        text += &format!("{name:<14}{:>7.1}{:>7.1}{:>7.1}{median:>14}{mean:>12}\n", m.r1, m.r5, m.r10);
    }
    text += &format!("{} images, {} captions", e.images, e.captions);
    if e.images_without_captions > 0 {
        text +=
            &format!("; {} images without captions are ranked but are no queries", e.images_without_captions);
    }
    text + "\n" + &e.protocol + "\n"
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
    let (images, bad) = embed_files::images(encoder, &dataset.images, batch, &progress)?;
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

/// Text → image as the index ranks it, image → text by exact search over the vectors that the index holds.
fn through_index(
    index: &Path,
    dataset: &Dataset,
    relevance: &Relevance,
    texts: &EmbeddingBatch,
    encoder: &dyn Encoder,
    effort: Option<usize>,
) -> anyhow::Result<(Rankings, ThroughIndex)> {
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
    let mut rankings = pictor_eval::exact(&images, texts, relevance, 0, &|_| ())?;

    // An image of the index that is not in the set still competes; no caption names it, so any number past the set will do.
    let place: HashMap<ImageId, u32> = (0..).zip(&ids).map(|(i, &id)| (id, i)).collect();
    let lists: Vec<Vec<Candidate>> = (0..texts.len())
        .into_par_iter()
        .map(|t| {
            let text = texts.row(t).context("fewer text vectors than captions, this is a bug")?;
            let hits = snapshot.search_vectors(text, 10, effort, None)?;
            let item = |id| place.get(&id).copied().unwrap_or(u32::MAX);
            Ok(hits.iter().map(|hit| Candidate { item: item(hit.id), score: hit.score.get() }).collect())
        })
        .collect::<anyhow::Result<_>>()?;
    let complete = snapshot.len() <= 10;
    rankings.text_to_image =
        pictor_eval::from_lists(&lists, |text| relevance.images_of_text(text), complete)?;
    let through = ThroughIndex {
        index: index.into(),
        index_kind: store.kind()?.to_string(),
        images_in_index: snapshot.len(),
    };
    Ok((rankings, through))
}

/// The id of every image of the set, in its order.
fn ids_of(dataset: &Dataset, snapshot: &Snapshot, index: &Path) -> anyhow::Result<Vec<ImageId>> {
    let mut by_uri = HashMap::with_capacity(snapshot.len());
    for record in snapshot.records() {
        let (id, record) = record?;
        by_uri.insert(record.uri, id);
    }
    let found: Vec<Option<ImageId>> = dataset
        .images
        .iter()
        .map(|path| Ok(by_uri.get(fs_err::canonicalize(path)?.to_string_lossy().as_ref()).copied()))
        .collect::<anyhow::Result<_>>()?;
    let missing = found.iter().filter(|id| id.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        bail!(
            "{missing} of {} images are not in {}, the first is {}; index them with: pictor index IMAGES --index {}",
            found.len(),
            index.display(),
            dataset.images[first].display(),
            index.display()
        );
    }
    Ok(found.into_iter().flatten().collect())
}
