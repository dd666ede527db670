//! `pictor eval zeroshot`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use pictor_eval::classification::{
    ClassificationReport, LabelledImages, LabelledOptions, Prompts, class_embeddings, nearest_classes, report,
};
use pictor_eval::{ModelSummary, Provenance};
use serde::Serialize;

use super::{encode, provenance};
use crate::args::EvalZeroshotArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// Classes that are kept of each image: top-5.
const KEEP: usize = 5;

/// The report with what is needed to repeat it.
#[derive(Serialize)]
struct Zeroshot {
    #[serde(flatten)]
    report: ClassificationReport,
    model: ModelSummary,
    sources: BTreeMap<String, PathBuf>,
    /// Files in the class folders that are no images by their names.
    other_files: usize,
    provenance: Provenance,
}

pub fn run(args: EvalZeroshotArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let labelled = LabelledImages::read(&LabelledOptions {
        images: args.images,
        class_names: args.class_names,
        split: args.split,
    })?;
    let prompts = prompts(&args.prompts)?;
    let encoder = wiring::encoder(&args.model, args.decode.options(), output)?;
    let batch = wiring::batch(args.batch, &encoder);
    let texts: Vec<String> = labelled.classes.iter().flat_map(|class| prompts.of(class)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let classes = class_embeddings(&encode::texts(&*encoder, &texts, batch, output)?, prompts.len())?;
    let images = encode::images(&*encoder, &labelled.images, batch, output)?;
    let progress = bar(Some(images.len() as u64), "images", output);
    let nearest = nearest_classes(&images, &classes, KEEP, &|done| progress.inc(done as u64))?;
    progress.finish_and_clear();
    let zeroshot = Zeroshot {
        report: report(&nearest, &labelled.labels, &labelled.classes, &prompts)?,
        model: provenance::model(&encoder),
        sources: labelled.sources,
        other_files: labelled.other_files,
        provenance: provenance::provenance(start),
    };
    output.result(&zeroshot, |said| {
        format!("{}{} on {}\n", said.report, said.model.name, said.model.runtime)
    })?;
    Ok(Outcome::Done)
}

/// A set of Pictor's by name, or a file.
fn prompts(named: &str) -> anyhow::Result<Prompts> {
    Ok(match named {
        "plain" => Prompts::plain(),
        "openai" => Prompts::openai(),
        "siglip" => Prompts::siglip(),
        path => {
            let text = fs_err::read_to_string(Path::new(path))
                .context("--prompts is plain, openai, siglip or a file of prompts")?;
            Prompts::parse(path, &text).with_context(|| path.to_owned())?
        }
    })
}
