//! `pictor embed`.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use npyz::WriterBuilder;
use pictor_core::{EmbeddingBatch, Encoder};
use pictor_encoders::DecodeOptions;
use serde::Serialize;

use crate::args::{EmbedCommand, EmbedImagesArgs, EmbedTarget, EmbedTextsArgs};
use crate::bar::bar;
use crate::embed_files::{self, BadFile};
use crate::exit::Outcome;
use crate::fast_decode::FastDecodeCost;
use crate::output::Output;
use crate::wiring;

/// What was written.
#[derive(Serialize)]
struct Written {
    out: PathBuf,
    rows: usize,
    dim: usize,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_decode: Option<FastDecodeCost>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<SkippedFile>,
}

#[derive(Serialize)]
struct SkippedFile {
    file: PathBuf,
    reason: String,
}

pub fn run(command: EmbedCommand, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        EmbedCommand::Images(args) => images(args, output),
        EmbedCommand::Texts(args) => texts(args, output),
    }
}

fn images(args: EmbedImagesArgs, output: &Output) -> anyhow::Result<Outcome> {
    let encoder = wiring::encoder(&args.target.model, args.decode.options(), output)?;
    let progress = bar(Some(args.files.len() as u64), "images", output);
    let batch = wiring::batch(args.target.batch, &encoder);
    let (rows, bad) = embed_files::images(&*encoder, &args.files, batch, &progress)?;
    progress.finish_and_clear();
    if !bad.is_empty() && !args.skip_bad {
        let list: Vec<_> = bad.iter().map(|b| format!("\n  {}: {}", b.path.display(), b.reason)).collect();
        bail!(
            "{} of {} files gave no vector, so nothing was written; --skip-bad leaves them out:{}",
            bad.len(),
            args.files.len(),
            list.concat()
        );
    }
    let fast_decode = FastDecodeCost::measure(&encoder, &args.files, &args.decode.options(), output)?;
    finish(&args.target, &*encoder, &rows, bad, fast_decode, output)
}

fn texts(args: EmbedTextsArgs, output: &Output) -> anyhow::Result<Outcome> {
    let lines: Vec<String> = read_text(&args.file)?.lines().map(str::to_owned).collect();
    let encoder = wiring::encoder(&args.target.model, DecodeOptions::default(), output)?;
    let progress = bar(Some(lines.len() as u64), "texts", output);
    let batch = wiring::batch(args.target.batch, &encoder);
    let rows = embed_files::texts(&*encoder, &lines, batch, &progress)?;
    progress.finish_and_clear();
    finish(&args.target, &*encoder, &rows, Vec::new(), None, output)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return Ok(fs_err::read_to_string(path)?);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("failed to read standard input as UTF-8")?;
    Ok(text)
}

fn finish(
    target: &EmbedTarget,
    encoder: &dyn Encoder,
    rows: &EmbeddingBatch,
    bad: Vec<BadFile>,
    fast_decode: Option<FastDecodeCost>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    write_npy(&target.out, rows).with_context(|| format!("failed to write {}", target.out.display()))?;
    let written = Written {
        out: target.out.clone(),
        rows: rows.len(),
        dim: rows.dim(),
        fingerprint: encoder.spec().fingerprint.clone(),
        fast_decode,
        skipped: bad.into_iter().map(|b| SkippedFile { file: b.path, reason: b.reason }).collect(),
    };
    output.result(&written, |w| {
        let mut text = String::new();
        for skipped in &w.skipped {
            text += &format!("skipped {}: {}\n", skipped.file.display(), skipped.reason);
        }
        text + &format!("{}: {} × {} float32, unit rows\n", w.out.display(), w.rows, w.dim)
    })?;
    Ok(Outcome::Done)
}

fn write_npy(path: &Path, rows: &EmbeddingBatch) -> anyhow::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[rows.len() as u64, rows.dim() as u64])
        .writer(&mut file)
        .begin_nd()?;
    writer.extend(rows.as_slice().iter().copied())?;
    writer.finish()?;
    file.flush()?;
    Ok(())
}
