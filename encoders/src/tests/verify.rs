//! That a verification notices what it is there to notice: every slip is made on purpose once.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::layouts::fixtures;
use crate::install::files_below;
use crate::{
    MANIFEST_FILE, ModelError, ModelFolder, RuntimeChoice, RuntimeOptions, Verification, verify_model,
};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// A copy of a small model whose golden values are changed.
fn copy(change: impl FnOnce(&mut Value)) -> TempDir {
    copy_of("siglip", change)
}

fn copy_of(model: &str, change: impl FnOnce(&mut Value)) -> TempDir {
    let (copy, from) = (tempfile::tempdir().unwrap(), fixtures().join(model));
    fs_err::create_dir(copy.path().join("golden")).unwrap();
    for file in files_below(&from).unwrap() {
        fs_err::copy(from.join(&file), copy.path().join(&file)).unwrap();
    }
    let mut golden = read(&copy.path().join("golden.json"));
    change(&mut golden);
    fs_err::write(copy.path().join("golden.json"), golden.to_string()).unwrap();
    copy
}

fn verify(folder: &TempDir) -> Result<Verification, ModelError> {
    let folder = ModelFolder::find(folder.path().to_str().unwrap())?;
    verify_model(&folder, &[RuntimeOptions::new(RuntimeChoice::Tract, 2)])
}

#[test]
fn a_slip_in_any_step_is_noticed() {
    assert!(verify(&copy(|_| {})).unwrap().passed);

    let verification = verify(&copy(|golden| {
        golden["images"][0]["raster"] = golden["images"][1]["raster"].clone();
    }))
    .unwrap();
    assert!(!verification.passed && verification.pixels.unwrap().worst_difference > 1);

    let verification = verify(&copy(|golden| golden["texts"][1]["ids"][0] = 7.into())).unwrap();
    assert!(!verification.passed);
    assert_eq!(verification.token_ids.unwrap().mismatches.len(), 1);

    let verification = verify(&copy(|golden| {
        golden["texts"][0]["embedding"] = golden["texts"][1]["embedding"].clone();
    }))
    .unwrap();
    let texts = verification.runtimes[0].texts.clone().unwrap();
    assert!(!verification.passed && texts.batch_to_alone.cosine > 0.9999);
    assert!(texts.alone.unwrap().cosine < 0.9999 && texts.batch.unwrap().cosine < 0.9999);
}

#[test]
fn a_matchers_slips_are_noticed() {
    let checked = |change: fn(&mut Value)| {
        let verification = verify(&copy_of("blip", change)).unwrap();
        (verification.passed, verification.runtimes[0].matches.clone().unwrap())
    };
    let (passed, right) = checked(|_| {});
    assert!(passed && right.holds() && right.swapped == 0, "{right:?}");

    // An ITC cosine that is off alone.
    let (passed, check) = checked(|golden| golden["matches"][3]["itc_cosine"] = 0.999.into());
    assert!(!passed && check.worst_difference > 1e-3, "{check:?}");

    // Two pairs of one image the wrong way round.
    let (passed, check) = checked(|golden| {
        let logits = [0, 1].map(|i| golden["matches"][i]["itm_logit"].clone());
        let [first, second] = logits;
        (golden["matches"][0]["itm_logit"], golden["matches"][1]["itm_logit"]) = (second, first);
    });
    assert!(!passed && check.swapped > 0 && check.pairs == right.pairs, "{check:?}");
}

#[test]
fn golden_files_that_are_not_right_say_so() {
    type Change = fn(&mut Value);
    let wrong: [(&str, Change); 5] = [
        ("missing field `reference`", |golden| drop(golden.as_object_mut().unwrap().remove("reference"))),
        ("neither images nor texts", |golden| *golden = json!({ "reference": "x" })),
        ("has 2 numbers, expected", |golden| golden["texts"][0]["embedding"] = json!([1.0, 0.0])),
        ("is not a file name inside", |golden| golden["images"][0]["file"] = "../secret.png".into()),
        ("gone.png", |golden| golden["images"][0]["file"] = "gone.png".into()),
    ];
    for (expected, change) in wrong {
        let error = verify(&copy(change)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn without_golden_values_the_towers_and_their_batches_are_checked() {
    let folder = copy(|_| {});
    let manifest = folder.path().join(MANIFEST_FILE);
    let mut json = read(&manifest);
    json.as_object_mut().unwrap().remove("golden");
    fs_err::write(&manifest, json.to_string()).unwrap();
    let verification = verify(&folder).unwrap();
    assert!(verification.passed && verification.reference.is_none() && verification.pixels.is_none());
    let images = verification.runtimes[0].images.clone().unwrap();
    assert!(images.alone.is_none() && images.batch_to_alone.cosine > 0.9999 && images.inputs == 3);
}
