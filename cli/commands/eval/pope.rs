//! `pictor eval pope`.

use std::time::Instant;

use anyhow::ensure;
use pictor_eval::pope::{PopeReport, Questions, report};
use pictor_eval::{ModelSummary, Provenance};
use serde::Serialize;

use super::{matching, provenance};
use crate::args::EvalPopeArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// The report with what is needed to repeat it.
#[derive(Serialize)]
struct Pope {
    #[serde(flatten)]
    report: PopeReport,
    matcher: ModelSummary,
    provenance: Provenance,
}

pub fn run(args: EvalPopeArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    ensure!((0.0..=1.0).contains(&args.threshold), "--threshold is {}, expected 0 to 1", args.threshold);
    ensure!(args.template.contains("{c}"), "--template has no {{c}} for the object to stand in");
    let questions = Questions::read(&args.questions, &args.images)?;
    let matcher = &args.matcher;
    let matcher =
        wiring::matcher_named(&matcher.matcher, &matcher.runtime, matcher.decode.options(), output)?;

    // Every question is a text of its own: image and place in the image's list, in the order of the subsets.
    let all: Vec<_> = questions.subsets.iter().flat_map(|subset| &subset.questions).collect();
    let captions: Vec<String> = all.iter().map(|question| question.caption(&args.template)).collect();
    let texts: Vec<&str> = captions.iter().map(String::as_str).collect();
    let mut texts_of_image = vec![Vec::new(); questions.images.len()];
    for (text, question) in all.iter().enumerate() {
        texts_of_image[question.image].push(text as u32);
    }
    let progress = bar(Some(texts.len() as u64), "questions", output);
    let scores = matching::score(&*matcher, &questions.images, &texts, &texts_of_image, &progress)?;
    progress.finish_and_clear();
    let mut probabilities = vec![0.0; texts.len()];
    for (texts, scores) in texts_of_image.iter().zip(&scores) {
        for (&text, score) in texts.iter().zip(scores) {
            probabilities[text as usize] = score.itm_probability;
        }
    }
    let mut rest = probabilities.as_slice();
    let of_subsets: Vec<Vec<f32>> = questions
        .subsets
        .iter()
        .map(|subset| {
            let (own, others) = rest.split_at(subset.questions.len());
            rest = others;
            own.to_vec()
        })
        .collect();
    let pope = Pope {
        report: report(&questions.subsets, &of_subsets, &args.template, args.threshold)?,
        matcher: provenance::model(matcher.towers()),
        provenance: provenance::provenance(start),
    };
    output.result(&pope, |said| {
        format!("{}{} on {}\n", said.report, said.matcher.name, said.matcher.runtime)
    })?;
    Ok(Outcome::Done)
}
