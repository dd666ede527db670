//! From arguments to a reranker: which matcher, and where features of images are kept.

use std::path::Path;

use anyhow::{Context, bail};
use pictor_core::{Matcher, MatcherSpec};
use pictor_encoders::{DecodeOptions, ModelFolder, installed_models};
use pictor_query::Reranker;
use pictor_storage::{FeatureCache, StorageError};

use crate::args::{RerankArgs, RuntimeArgs};
use crate::output::Output;
use crate::wiring;

/// Bytes of features that are kept unless --rerank-cache-size says otherwise.
const CACHE_SIZE: u64 = 1 << 30;

/// Most memory for features when the place for them on disk is another process's, in bytes.
const IN_MEMORY: u64 = 256 << 20;

/// What a command says of its index.
pub struct Place<'a> {
    /// The index folder.
    pub index: &'a Path,
    /// The index's own model, by name or folder.
    pub model: &'a str,
    /// How images are decoded and models are run.
    pub decode: DecodeOptions,
    pub runtime: &'a RuntimeArgs,
}

/// Opens the matcher that is named, or that of the index's own model; `None` when none is named and that model has none.
///
/// With `warm` its graphs are loaded now rather than when the first candidate is looked at.
pub fn reranker(
    args: &RerankArgs,
    place: &Place<'_>,
    warm: bool,
    output: &Output,
) -> anyhow::Result<Option<Reranker>> {
    let name = args.matcher.as_deref().unwrap_or(place.model);
    if ModelFolder::find(name)?.manifest()?.matcher.is_none() {
        return match &args.matcher {
            Some(name) => bail!("model '{name}' has no matcher; {}", with_matchers()),
            None => Ok(None),
        };
    }
    let matcher = wiring::matcher_named(name, place.runtime, place.decode, output)?;
    if warm {
        matcher
            .warm_up()
            .with_context(|| format!("the matcher of '{name}' does not run; see `pictor model verify`"))?;
    }
    let cache = cache(args, place, matcher.spec().clone(), output)?;
    let reranker = Reranker::new(matcher);
    Ok(Some(match cache {
        Some(cache) => reranker.with_cache(cache),
        None => reranker,
    }))
}

/// What to do about a model without a matcher.
pub fn with_matchers() -> String {
    let installed = installed_models().into_iter().filter_map(|model| {
        let folder = ModelFolder::find(model.path.to_str()?).ok()?;
        Some((model.name, folder))
    });
    let bundled = ModelFolder::bundled();
    let name = bundled.manifest().map(|manifest| manifest.name).unwrap_or_default();
    let has_matcher =
        |folder: &ModelFolder| folder.manifest().is_ok_and(|manifest| manifest.matcher.is_some());
    let names: Vec<String> = std::iter::once((name, bundled))
        .chain(installed)
        .filter(|(_, folder)| has_matcher(folder))
        .map(|(name, _)| name)
        .collect();
    match names.as_slice() {
        [] => "name the folder of one that has with --matcher DIR; models/export makes them from BLIP".into(),
        names => format!("name one that has with --matcher: {}", names.join(", ")),
    }
}

/// Where features are kept: as asked; or in the index, if this process may have that place, and otherwise in memory.
fn cache(
    args: &RerankArgs,
    place: &Place<'_>,
    mut spec: MatcherSpec,
    output: &Output,
) -> anyhow::Result<Option<FeatureCache>> {
    let budget = args.rerank_cache_size.unwrap_or(CACHE_SIZE);
    if budget == 0 {
        return Ok(None);
    }
    // Pixels that were decoded otherwise are other features.
    for (otherwise, word) in [(!place.decode.exif, "-no-exif"), (place.decode.fast, "-fast-decode")] {
        if otherwise {
            spec.fingerprint += word;
        }
    }
    if let Some(dir) = &args.rerank_cache {
        return Ok(Some(FeatureCache::open(dir, spec, budget)?));
    }
    match FeatureCache::open(&place.index.join("features"), spec.clone(), budget) {
        Err(
            error @ (StorageError::FeatureCacheBusy { .. }
            | StorageError::FeatureCacheNotWritable { .. }
            | StorageError::FeatureCache { .. }),
        ) => {
            output.note(format_args!("{error}; features are kept in memory for now"));
            Ok(Some(FeatureCache::in_memory(spec, budget.min(IN_MEMORY))))
        }
        opened => Ok(Some(opened?)),
    }
}
