//! `pictor eval hard-negatives`.

use std::time::Instant;

use pictor_core::dot;
use pictor_eval::hard_negatives::{HardNegatives, HardNegativesReport, report};
use pictor_eval::{ModelSummary, Provenance};
use serde::Serialize;

use super::{encode, matching, provenance};
use crate::args::EvalHardNegativesArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// One report for each way of scoring, with what is needed to repeat them.
#[derive(Serialize)]
struct Compared {
    runs: Vec<Scored>,
    provenance: Provenance,
}

/// What one model's scores came to.
#[derive(Serialize)]
struct Scored {
    /// `matcher score` or `cosine`.
    scored_by: &'static str,
    model: ModelSummary,
    #[serde(flatten)]
    report: HardNegativesReport,
}

pub fn run(args: EvalHardNegativesArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let set = HardNegatives::read(&args.pairs, &args.images)?;
    // Text 2i is the caption of pair i, text 2i + 1 its edited twin.
    let pairs: Vec<_> = set.categories.iter().flat_map(|category| &category.pairs).collect();
    let texts: Vec<&str> =
        pairs.iter().flat_map(|pair| [pair.caption.as_str(), pair.negative.as_str()]).collect();
    let mut runs = Vec::new();

    let matcher = &args.matcher;
    let options = matcher.decode.options();
    let opened = wiring::matcher_named(&matcher.matcher, &matcher.runtime, options, output)?;
    let mut texts_of_image = vec![Vec::new(); set.images.len()];
    for (i, pair) in pairs.iter().enumerate() {
        texts_of_image[pair.image].extend([2 * i as u32, 2 * i as u32 + 1]);
    }
    let progress = bar(Some(texts.len() as u64), "texts", output);
    let scores = matching::score(&*opened, &set.images, &texts, &texts_of_image, &progress)?;
    progress.finish_and_clear();
    let mut by_text = vec![0.0; texts.len()];
    for (texts, scores) in texts_of_image.iter().zip(&scores) {
        for (&text, score) in texts.iter().zip(scores) {
            by_text[text as usize] = score.score;
        }
    }
    let model = provenance::model(opened.towers());
    runs.push(Scored { scored_by: "matcher score", model, report: report(&categories(&set, &by_text))? });

    if let Some(named) = &args.model {
        let encoder = wiring::encoder_named(named, &matcher.runtime, options, output)?;
        let batch = wiring::batch(None, &encoder);
        let text_rows = encode::texts(&*encoder, &texts, batch, output)?;
        let image_rows = encode::images(&*encoder, &set.images, batch, output)?;
        let cosine = |text: usize| {
            let (text_row, image_row) = (text_rows.row(text), image_rows.row(pairs[text / 2].image));
            text_row.zip(image_row).map_or(f32::NAN, |(text, image)| dot(text, image))
        };
        let by_text: Vec<f32> = (0..texts.len()).map(cosine).collect();
        let model = provenance::model(&encoder);
        runs.push(Scored { scored_by: "cosine", model, report: report(&categories(&set, &by_text))? });
    }
    let compared = Compared { runs, provenance: provenance::provenance(start) };
    output.result(&compared, |said| {
        let run = |run: &Scored| {
            format!("{} of {} on {}\n{}", run.scored_by, run.model.name, run.model.runtime, run.report)
        };
        said.runs.iter().map(run).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Outcome::Done)
}

/// The scores of each category's pairs: caption and twin.
fn categories(set: &HardNegatives, by_text: &[f32]) -> Vec<(String, Vec<(f32, f32)>)> {
    let mut scores = by_text.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let of = |category: &pictor_eval::hard_negatives::Category| {
        (category.name.clone(), scores.by_ref().take(category.pairs.len()).collect())
    };
    set.categories.iter().map(of).collect()
}
