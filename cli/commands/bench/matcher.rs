//! `pictor bench match`: how fast a matcher makes features of images and texts, and scores pairs of them, in one run on the same inputs.
//!
//! Features are made once, as reranking does it, and every text is then scored with all images in batches of several sizes; the rounds of
//! the sizes alternate. The scores are in the JSON, so that whoever measures something else beside it can see that both computed the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use pictor_core::{ImageFeatures, Matcher, PreparedImage, TextFeatures};
use pictor_encoders::ImageTextMatcher;
use serde::Serialize;

use super::{Measured, on_runtimes, photographs, timed};
use crate::args::BenchMatchArgs;
use crate::exit::Outcome;
use crate::output::Output;

/// Captions of COCO's usual lengths; pairs with longer texts take longer.
const CAPTIONS: [&str; 4] = [
    "a man riding a wave on top of a surfboard",
    "two dogs play with a stick in the snow near a wooden fence",
    "a kitchen with a stove",
    "a young girl in a yellow dress is sitting on a bench under a large tree and reading a book",
];

/// What was measured, and on what.
#[derive(Serialize)]
struct Benchmark {
    photos: PathBuf,
    images: usize,
    texts: usize,
    cpu_cores: usize,
    rounds: u32,
    runtimes: Vec<Figures>,
    /// Runtimes that are not here, with the reason.
    not_measured: Vec<String>,
}

/// Of one runtime.
#[derive(Serialize)]
struct Figures {
    model: String,
    runtime: String,
    devices: Vec<String>,
    precision: String,
    /// Tokens of an image's features, and numbers in each.
    image_tokens: [usize; 2],
    /// From prepared tensors, one image at a time, once after the warm-up.
    image_features_per_second: f64,
    /// One text at a time, once.
    text_features_per_second: f64,
    batches: Vec<Pairs>,
    /// The ranking score of every text (row) with every image.
    scores: Vec<Vec<f32>>,
}

/// Scoring candidates of a text, so many at a time.
#[derive(Serialize)]
struct Pairs {
    batch: usize,
    pairs_per_second: f64,
    ms_per_pair: f64,
}

pub fn run(args: BenchMatchArgs, output: &Output) -> anyhow::Result<Outcome> {
    let files = photographs(&args.photos, args.images)?;
    let texts = texts(args.texts.as_deref())?;
    let measured = on_runtimes(&args.model, &args.on, output, ImageTextMatcher::open, |matcher| {
        output.note(format_args!("measuring {} ({})", matcher.runtime(), matcher.towers().precision()));
        measure(&matcher, &files, &texts, &args)
    })?;
    let Measured { runtimes, not_measured } = measured;
    let cpu_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (photos, images, texts, rounds) = (args.photos, files.len(), texts.len(), args.rounds);
    let benchmark = Benchmark { photos, images, texts, cpu_cores, rounds, runtimes, not_measured };
    output.result(&benchmark, describe)?;
    Ok(Outcome::Done)
}

fn texts(file: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let Some(file) = file else { return Ok(CAPTIONS.map(str::to_owned).into()) };
    let texts: Vec<String> = fs_err::read_to_string(file)?.lines().map(str::to_owned).collect();
    if texts.is_empty() {
        bail!("{} is empty; write one text on each line", file.display());
    }
    Ok(texts)
}

fn measure(
    matcher: &ImageTextMatcher,
    files: &[PathBuf],
    texts: &[String],
    args: &BenchMatchArgs,
) -> anyhow::Result<Figures> {
    let prepare = |file: &PathBuf| {
        matcher.prepare_image(&fs_err::read(file)?).with_context(|| file.display().to_string())
    };
    let prepared: Vec<PreparedImage> = files.iter().map(prepare).collect::<anyhow::Result<_>>()?;
    matcher.warm_up()?;
    let (mut images, mut queries) = (Vec::new(), Vec::new());
    let image_time = timed(|| {
        images = prepared
            .iter()
            .map(|image| Ok(matcher.encode_images(std::slice::from_ref(image))?))
            .collect::<anyhow::Result<Vec<_>>>()?
            .concat();
        Ok(())
    })?;
    let text_time = timed(|| {
        queries = texts
            .iter()
            .map(|text| Ok(matcher.encode_texts(&[text])?))
            .collect::<anyhow::Result<Vec<_>>>()?
            .concat();
        Ok(())
    })?;
    let mut best = vec![Duration::MAX; args.batches.len()];
    // The first round warms up.
    for round in 0..=args.rounds {
        for (best, batch) in best.iter_mut().zip(&args.batches) {
            let time = timed(|| scores(matcher, &queries, &images, (*batch).into()).map(drop))?;
            if round > 0 {
                *best = time.min(*best);
            }
        }
    }
    let rate = |items: usize, time: Duration| items as f64 / time.as_secs_f64();
    let pairs = queries.len() * images.len();
    let batches = args.batches.iter().zip(best).map(|(batch, time)| Pairs {
        batch: (*batch).into(),
        pairs_per_second: rate(pairs, time),
        ms_per_pair: time.as_secs_f64() * 1e3 / pairs as f64,
    });
    let info = matcher.runtime();
    Ok(Figures {
        model: matcher.spec().name.clone(),
        runtime: format!("{} {}", info.name, info.version),
        devices: info.devices.iter().map(ToString::to_string).collect(),
        precision: matcher.towers().precision().to_string(),
        image_tokens: matcher.spec().image_tokens,
        image_features_per_second: rate(images.len(), image_time),
        text_features_per_second: rate(queries.len(), text_time),
        batches: batches.collect(),
        scores: scores(matcher, &queries, &images, images.len())?,
    })
}

/// A row for each text; `batch` images of it at a time.
fn scores(
    matcher: &ImageTextMatcher,
    texts: &[TextFeatures],
    images: &[ImageFeatures],
    batch: usize,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let row = |text| {
        let mut row = Vec::with_capacity(images.len());
        for some in images.chunks(batch) {
            let pairs: Vec<_> = some.iter().map(|image| (text, image)).collect();
            row.extend(matcher.score(&pairs)?.into_iter().map(|score| score.score));
        }
        Ok(row)
    };
    texts.iter().map(row).collect()
}

fn describe(benchmark: &Benchmark) -> String {
    let mut text = format!(
        "{} texts with {} images of {}, {} cores, best of {} rounds\n",
        benchmark.texts,
        benchmark.images,
        benchmark.photos.display(),
        benchmark.cpu_cores,
        benchmark.rounds
    );
    for f in &benchmark.runtimes {
        let [tokens, width] = f.image_tokens;
        text += &format!("\n{} on {} ({}, {})\n", f.model, f.runtime, f.devices.join(","), f.precision);
        text += &format!(
            "  {:32} {:9.2} images/s, {tokens} × {width} numbers each\n",
            "image features", f.image_features_per_second
        );
        text += &format!("  {:32} {:9.2} texts/s\n", "text features", f.text_features_per_second);
        for b in &f.batches {
            let what = format!("pairs, {} at a time", b.batch);
            text +=
                &format!("  {what:32} {:9.2} pairs/s, {:.2} ms each\n", b.pairs_per_second, b.ms_per_pair);
        }
    }
    for why in &benchmark.not_measured {
        text += &format!("\nnot measured: {why}\n");
    }
    text
}
