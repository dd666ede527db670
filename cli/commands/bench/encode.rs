//! `pictor bench encode`: how fast images and texts become vectors here, stage by stage and end to end.
//!
//! Everything is measured in one run on the same photographs, and the rounds of the stages alternate, so that the machine's
//! other work falls on all of them alike and ratios between the figures hold even on a busy machine.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use pictor_core::{Encoder, PreparedImage};
use pictor_encoders::DualEncoder;
use pictor_indexer::IndexOptions;
use pictor_storage::{KindChoice, Store};
use serde::Serialize;

use super::{Measured, on_runtimes, photographs, timed};
use crate::args::BenchEncodeArgs;
use crate::embed_files;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// Queries of one round, each encoded alone, and texts of one batch.
const QUERIES: usize = 32;
const TEXTS: usize = 64;

/// What was measured, and on what.
#[derive(Serialize)]
struct Benchmark {
    photos: PathBuf,
    images: usize,
    /// Of the image files, bytes.
    bytes: u64,
    cpu_cores: usize,
    rounds: u32,
    runtimes: Vec<Figures>,
    /// Runtimes that are not here, with the reason.
    not_measured: Vec<String>,
}

/// Of one runtime. Rates are images or texts a second.
#[derive(Serialize)]
struct Figures {
    model: String,
    runtime: String,
    devices: Vec<String>,
    precision: String,
    batch: usize,
    decode_per_core: f64,
    /// Resize, crop and normalisation.
    resize_per_core: f64,
    /// The bare runtime on prepared tensors.
    bare: f64,
    /// The encoder on the same tensors.
    encode: f64,
    encode_to_bare: f64,
    /// From image files to vectors, as `pictor embed images` does it.
    embed: f64,
    embed_to_bare: f64,
    /// From image files to a committed index, as `pictor index` does it.
    index: f64,
    index_to_bare: f64,
    query_p50_ms: f64,
    query_p95_ms: f64,
    texts: f64,
}

pub fn run(args: BenchEncodeArgs, output: &Output) -> anyhow::Result<Outcome> {
    let files = photographs(&args.photos, args.images)?;
    let sizes = files.iter().map(|file| Ok(fs_err::metadata(file)?.len()));
    let bytes = sizes.sum::<anyhow::Result<u64>>()?;
    let measured = on_runtimes(&args.model, &args.on, output, DualEncoder::open, |encoder| {
        output.note(format_args!("measuring {} ({})", encoder.runtime(), encoder.precision()));
        measure(Arc::new(encoder), &files, &args)
    })?;
    let Measured { runtimes, not_measured } = measured;
    let (images, rounds) = (files.len(), args.rounds);
    let cpu_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let photos = args.photos;
    let benchmark = Benchmark { photos, images, bytes, cpu_cores, rounds, runtimes, not_measured };
    output.result(&benchmark, describe)?;
    Ok(Outcome::Done)
}

fn measure(encoder: Arc<DualEncoder>, files: &[PathBuf], args: &BenchEncodeArgs) -> anyhow::Result<Figures> {
    let batch = wiring::batch(args.batch, &encoder).min(files.len());
    let prepared = files.iter().map(|file| prepare(&encoder, file)).collect::<anyhow::Result<Vec<_>>>()?;
    let queries: Vec<String> =
        (0..QUERIES).map(|i| format!("two dogs play in the snow near fence number {i}")).collect();
    let texts: Vec<&str> = queries.iter().cycle().take(TEXTS).map(String::as_str).collect();

    let mut bare = encoder.bare_images(&prepared[..batch])?;
    let runs = files.len().div_ceil(batch);
    let mut best = [Duration::MAX; 5];
    let mut spent = [Duration::MAX; 2];
    let mut latencies = Vec::new();
    // The first round warms up.
    for round in 0..=args.rounds {
        let stages: [&mut dyn FnMut() -> anyhow::Result<()>; 5] = [
            &mut || Ok((0..runs).try_for_each(|_| bare())?),
            &mut || {
                prepared.chunks(batch).try_for_each(|images| Ok(encoder.encode_images(images).map(drop)?))
            },
            &mut || embed(&encoder, files, batch),
            &mut || index(encoder.clone(), files, batch, args),
            &mut || Ok(encoder.encode_texts(&texts).map(drop)?),
        ];
        for (best, stage) in best.iter_mut().zip(stages) {
            let time = timed(stage)?;
            if round > 0 {
                *best = time.min(*best);
            }
        }
        for query in &queries {
            let time = timed(|| Ok(encoder.encode_texts(&[query]).map(drop)?))?;
            if round > 0 {
                latencies.push(time);
            }
        }
        // Alone, so that a core does nothing else.
        let prepared =
            files.iter().map(|file| prepare(&encoder, file)).collect::<anyhow::Result<Vec<_>>>()?;
        for (i, best) in spent.iter_mut().enumerate() {
            *best = prepared.iter().map(|image| image.spent[i]).sum::<Duration>().min(*best);
        }
    }
    latencies.sort();
    let percentile =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = |items: usize, time: Duration| items as f64 / time.as_secs_f64();
    let bare = rate(runs * batch, best[0]);
    let [encode, embed, index] = [best[1], best[2], best[3]].map(|time| rate(files.len(), time));
    let info = encoder.runtime();
    Ok(Figures {
        model: encoder.spec().name.clone(),
        runtime: format!("{} {}", info.name, info.version),
        devices: info.devices.iter().map(ToString::to_string).collect(),
        precision: encoder.precision().to_string(),
        batch,
        decode_per_core: rate(files.len(), spent[0]),
        resize_per_core: rate(files.len(), spent[1]),
        bare,
        encode,
        encode_to_bare: encode / bare,
        embed,
        embed_to_bare: embed / bare,
        index,
        index_to_bare: index / bare,
        query_p50_ms: percentile(0.5),
        query_p95_ms: percentile(0.95),
        texts: rate(TEXTS, best[4]),
    })
}

fn prepare(encoder: &DualEncoder, file: &PathBuf) -> anyhow::Result<PreparedImage> {
    encoder.prepare_image(&fs_err::read(file)?).with_context(|| file.display().to_string())
}

fn embed(encoder: &DualEncoder, files: &[PathBuf], batch: usize) -> anyhow::Result<()> {
    let (_, bad) = embed_files::images(encoder, files, batch, &ProgressBar::hidden())?;
    match bad.first() {
        Some(bad) => bail!("{}: {}", bad.path.display(), bad.reason),
        None => Ok(()),
    }
}

/// Into an index of its own, which is removed.
fn index(
    encoder: Arc<DualEncoder>,
    files: &[PathBuf],
    batch: usize,
    args: &BenchEncodeArgs,
) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("pictor-bench-{}", std::process::id()));
    let store = Store::create(&dir, encoder.spec(), KindChoice::default())?;
    let options =
        IndexOptions { batch, prepare_threads: args.on.placement.threads, ..IndexOptions::default() };
    let report = pictor_indexer::index(files, &store, encoder, &options, &(), &AtomicBool::new(false));
    drop(store);
    // Removed whatever the outcome was.
    let removed = fs::remove_dir_all(&dir).with_context(|| format!("failed to remove {}", dir.display()));
    report?;
    removed
}

fn describe(benchmark: &Benchmark) -> String {
    let mut text = format!(
        "{} images of {} ({:.0} kB on average), {} cores, best of {} rounds\n",
        benchmark.images,
        benchmark.photos.display(),
        benchmark.bytes as f64 / benchmark.images as f64 / 1e3,
        benchmark.cpu_cores,
        benchmark.rounds
    );
    for figures in &benchmark.runtimes {
        let f = figures;
        text += &format!(
            "\n{} on {} ({}, {}), batches of {}\n",
            f.model,
            f.runtime,
            f.devices.join(","),
            f.precision,
            f.batch
        );
        let rows = [
            ("decode, one core", f.decode_per_core, None),
            ("resize and normalise, one core", f.resize_per_core, None),
            ("bare runtime, prepared tensors", f.bare, None),
            ("encoder, prepared tensors", f.encode, Some(f.encode_to_bare)),
            ("files to vectors", f.embed, Some(f.embed_to_bare)),
            ("files to a committed index", f.index, Some(f.index_to_bare)),
        ];
        for (what, rate, to_bare) in rows {
            let share = to_bare.map_or(String::new(), |share| format!("  {:5.1} % of bare", share * 100.0));
            text += &format!("  {what:32} {rate:9.1} images/s{share}\n");
        }
        text += &format!("  {:32} {:9.1} texts/s\n", "texts", f.texts);
        text += &format!(
            "  {:32} {:9.2} ms at the median, {:.2} ms at the 95th percentile\n",
            "one query", f.query_p50_ms, f.query_p95_ms
        );
    }
    for why in &benchmark.not_measured {
        text += &format!("\nnot measured: {why}\n");
    }
    text
}
