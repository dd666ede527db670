//! Every model folder here against the reference library's own outputs: the bundled model, and a tiny one of each family and layout
//! (`models/export/fixtures.py`), whose golden values come from open_clip and transformers on the same weights.

use std::path::PathBuf;

use super::layouts::fixtures;
use crate::{
    ModelFolder, Precision, RuntimeChoice, RuntimeInfo, RuntimeOptions, Verification, runtime_info,
    verify_model,
};

/// Each runtime of this machine at a precision; says so when that is tract alone.
fn runtimes(precision: Precision) -> Vec<RuntimeOptions> {
    let options = |choice| RuntimeOptions { precision, ..RuntimeOptions::new(choice, 2) };
    let mut all = vec![options(RuntimeChoice::Tract)];
    match runtime_info(&options(RuntimeChoice::OnnxRuntime)) {
        Ok(RuntimeInfo { .. }) => all.push(options(RuntimeChoice::OnnxRuntime)),
        Err(error) => eprintln!("note: {error}, so this test ran on tract alone"),
    }
    all
}

fn verified(name: &str, precision: Precision) -> Verification {
    let path: PathBuf = fixtures().join(name);
    let folder = ModelFolder::find(path.to_str().unwrap()).unwrap();
    let verification =
        verify_model(&folder, &runtimes(precision)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(verification.reference.is_some(), "{name} has no golden values");
    verification
}

#[test]
fn every_layout_gives_the_references_vectors() {
    let mut failed = Vec::new();
    for entry in fs_err::read_dir(fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let verification = verified(&name, Precision::Fp32);
        assert!(verification.pixels.as_ref().unwrap().images >= 3, "{name}");
        assert!(verification.token_ids.as_ref().unwrap().texts >= 3, "{name}");
        if !verification.passed {
            failed.push(format!("{name}: {}", serde_json::to_string_pretty(&verification).unwrap()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_matcher_gives_the_references_scores_in_the_references_order() {
    for model in ["blip", "blip2"] {
        for runtime in verified(model, Precision::Fp32).runtimes {
            let matches = runtime.matches.expect("golden pairs");
            assert!(matches.pairs >= 20 && matches.swapped == 0, "{model}: {matches:?}");
            assert!(matches.worst_difference <= 1e-4, "{model}: {matches:?}");
        }
    }
}

#[test]
fn lower_precisions_stay_within_their_bounds() {
    for precision in [Precision::Fp16, Precision::Int8] {
        for runtime in verified("transformersjs-clip", precision).runtimes {
            // tract reads neither 16-bit nor quantised graphs of every exporter, and says so.
            if runtime.runtime.starts_with("onnxruntime") || runtime.failed.is_empty() {
                let (images, texts) = (runtime.images.expect("images"), runtime.texts.expect("texts"));
                for worst in [images.alone, images.batch, texts.alone, texts.batch].into_iter().flatten() {
                    assert!(worst.cosine >= runtime.cosine_floor, "{}: {worst:?}", runtime.precision);
                }
            }
        }
    }
}

#[test]
fn the_bundled_model_is_what_its_recipe_made() {
    let verification = verify_model(&ModelFolder::bundled(), &runtimes(Precision::Fp32)).unwrap();
    assert!(verification.passed, "{}", serde_json::to_string_pretty(&verification).unwrap());
}
