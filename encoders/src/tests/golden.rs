//! The bundled model against its golden values, which `models/train/golden.py` wrote with Pillow, the Python tokenizer and ONNX
//! Runtime; and that a verification notices what it is there to notice.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{bundled_model, runtimes};
use crate::install::files_below;
use crate::{
    MANIFEST_FILE, ModelError, ModelFolder, RuntimeChoice, RuntimeOptions, Verification, verify_model,
};

const TRACT: RuntimeOptions = RuntimeOptions { choice: RuntimeChoice::Tract, threads: 2 };

#[test]
fn the_bundled_model_is_the_references_on_each_runtime() {
    let choose = |name: &str| RuntimeOptions { choice: name.parse().unwrap(), threads: 2 };
    let choices: Vec<_> = runtimes().iter().map(|encoder| choose(encoder.runtime().name)).collect();
    let verification = verify_model(&ModelFolder::bundled(), &choices).unwrap();
    assert!(verification.passed, "{verification:#?}");
    assert_eq!(verification.runtimes.len(), choices.len());
    let pixels = verification.pixels.unwrap();
    assert_eq!((pixels.images, pixels.worst_difference), (4, 0), "Pillow's resize, bit by bit");
    assert_eq!(verification.token_ids.unwrap().texts, 12);

    let golden = read(&bundled_model().join("golden.json"));
    let context =
        read(&bundled_model().join(MANIFEST_FILE))["text"]["context_length"].as_u64().unwrap() as usize;
    let truncated = |text: &Value| text["ids"].as_array().unwrap().len() == context;
    assert!(golden["texts"].as_array().unwrap().iter().any(truncated), "no text is truncated");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// A copy of the bundled model whose golden values are changed.
fn copy(change: impl FnOnce(&mut Value)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs_err::create_dir(copy.path().join("golden")).unwrap();
    for file in files_below(&bundled_model()).unwrap() {
        fs_err::copy(bundled_model().join(&file), copy.path().join(&file)).unwrap();
    }
    let mut golden = read(&copy.path().join("golden.json"));
    change(&mut golden);
    fs_err::write(copy.path().join("golden.json"), golden.to_string()).unwrap();
    copy
}

fn verify(folder: &TempDir) -> Result<Verification, ModelError> {
    verify_model(&ModelFolder::find(folder.path().to_str().unwrap())?, &[TRACT])
}

#[test]
fn a_slip_in_any_step_is_noticed() {
    // A raster that a crop would have given instead of a squash.
    let verification = verify(&copy(|golden| {
        golden["images"][0]["raster"] = "golden/tall.raster.png".into();
    }));
    let pixels = verification.as_ref().unwrap().pixels.clone().unwrap();
    assert!(
        pixels.worst_difference > 1
            && pixels.worst_image == "golden/wide.png"
            && !verification.unwrap().passed
    );

    let verification = verify(&copy(|golden| golden["texts"][1]["ids"][0] = 7.into())).unwrap();
    assert!(!verification.passed);
    assert_eq!(verification.token_ids.unwrap().mismatches.len(), 1);

    let verification = verify(&copy(|golden| {
        let other = golden["texts"][1]["embedding"].clone();
        golden["texts"][0]["embedding"] = other;
    }))
    .unwrap();
    let texts = verification.runtimes[0].texts.clone().unwrap();
    assert!(!verification.passed && texts.alone.unwrap().cosine < 0.9 && texts.batch.unwrap().cosine < 0.9);
    assert!(texts.batch_to_alone.cosine > 0.9999 && verification.runtimes[0].images.is_some());
}

#[test]
fn golden_files_that_are_not_right_say_so() {
    for (expected, change) in [
        (
            "missing field `reference`",
            (|golden| drop(golden.as_object_mut().unwrap().remove("reference"))) as fn(&mut Value),
        ),
        ("neither images nor texts", |golden| *golden = json!({"reference": "x"})),
        ("has 2 numbers, expected 256", |golden| golden["texts"][0]["embedding"] = json!([1.0, 0.0])),
        ("is not a file name inside", |golden| golden["images"][0]["file"] = "../secret.png".into()),
        ("gone.png", |golden| golden["images"][0]["file"] = "gone.png".into()),
    ] {
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
