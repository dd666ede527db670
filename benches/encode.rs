//! How fast photographs become vectors, stage by stage, on this machine: preparation alone (decode + resize, one core), and
//! the model alone (prepared images in memory, batch 32) on each runtime that is here.
//!
//! Corpus: the folder in `PICTOR_BENCH_PHOTOS`, up to 512 files of it. Prints one JSON document.
//!
//! These are the rates that `pictor index` is held against: its encode stage should come close to the model alone.

use std::path::PathBuf;
use std::time::Instant;

use pictor_core::Encoder;
use pictor_encoders::{DualEncoder, ModelFolder, RuntimeChoice, RuntimeOptions};
use serde_json::json;

const BATCH: usize = 32;
/// Each figure is the best of this many rounds: the machine's other work only ever slows a round down.
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let folder = std::env::var_os("PICTOR_BENCH_PHOTOS")
        .map(PathBuf::from)
        .ok_or_else(|| anyhow::anyhow!("set PICTOR_BENCH_PHOTOS to a folder of photographs"))?;
    let mut files: Vec<PathBuf> =
        fs_err::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    files.truncate(512);
    let photographs: Vec<Vec<u8>> = files.iter().map(fs_err::read).collect::<Result<_, _>>()?;

    let folder = ModelFolder::find("pictor-mini")?;
    let mut results = Vec::new();
    for choice in [RuntimeChoice::Tract, RuntimeChoice::OnnxRuntime] {
        let encoder = match DualEncoder::open(&folder, &RuntimeOptions { choice, threads: 0 }) {
            Ok(encoder) => encoder,
            Err(error) => {
                eprintln!("not measured: {error}");
                continue;
            }
        };
        let start = Instant::now();
        let prepared: Vec<_> =
            photographs.iter().filter_map(|bytes| encoder.prepare_image(bytes).ok()).collect();
        let prepare_seconds = start.elapsed().as_secs_f64();
        let encode_seconds = best(|| {
            for batch in prepared.chunks(BATCH) {
                encoder.encode_images(batch)?;
            }
            Ok(())
        })?;
        let texts = vec!["two dogs play in the snow near a wooden fence"; 256];
        let text_seconds = best(|| {
            for batch in texts.chunks(BATCH) {
                encoder.encode_texts(batch)?;
            }
            Ok(())
        })?;
        let query_seconds = best(|| encoder.encode_texts(&texts[..1]).map(drop).map_err(Into::into))?;
        results.push(json!({
            "runtime": format!("{} {}", encoder.runtime().name, encoder.runtime().version),
            "images": prepared.len(),
            "prepare_images_per_second_per_core": prepared.len() as f64 / prepare_seconds,
            "encode_images_per_second": prepared.len() as f64 / encode_seconds,
            "encode_texts_per_second": texts.len() as f64 / text_seconds,
            "one_query_ms": query_seconds * 1000.0,
        }));
    }
    println!("{:#}", json!(results));
    Ok(())
}

/// Seconds of the fastest round of `work`, after one round to warm up.
fn best(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    work()?;
    let mut seconds = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds)
}
