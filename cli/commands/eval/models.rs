//! The models that an evaluation of retrieval is of.

use std::sync::Arc;

use anyhow::{Context, ensure};
use pictor_encoders::{DualEncoder, ImageTextMatcher};

use super::provenance;
use crate::args::EvalRetrievalArgs;
use crate::output::Output;
use crate::wiring;

/// A model that takes part, its graphs not loaded yet.
pub struct Opened {
    pub encoder: Arc<DualEncoder>,
    pub matcher: Option<Arc<ImageTextMatcher>>,
}

/// Opens all models, and the matchers that will rerank, so that a name that is wrong is said before anything is encoded.
pub fn open_models(args: &EvalRetrievalArgs, output: &Output) -> anyhow::Result<Vec<Opened>> {
    let mut opened: Vec<Opened> = Vec::with_capacity(args.model.len());
    for model in &args.model {
        let encoder = wiring::encoder_named(model, &args.runtime, args.decode.options(), output)?;
        let summary = provenance::model(&encoder);
        ensure!(
            opened.iter().all(|other| provenance::model(&other.encoder) != summary),
            "the model {} was given twice; leave one --model out",
            summary.name
        );
        let matcher = args.rerank.map(|_| {
            let named = args.matcher.as_deref().unwrap_or(model);
            wiring::matcher_named(named, &args.runtime, args.decode.options(), output).with_context(|| {
                match &args.matcher {
                    Some(_) => "--matcher",
                    None => "--rerank takes the model's own matcher unless --matcher names one",
                }
            })
        });
        opened.push(Opened { encoder, matcher: matcher.transpose()? });
    }
    Ok(opened)
}
