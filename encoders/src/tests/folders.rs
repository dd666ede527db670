//! Model folders that are not right: every error names the file and what to do.

use std::path::Path;

use pictor_core::Encoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bundled_model;
use crate::{DualEncoder, MANIFEST_FILE, ModelError, ModelFolder, RuntimeChoice, RuntimeOptions};

const TRACT: RuntimeOptions = RuntimeOptions::new(RuntimeChoice::Tract, 1);

/// A copy of the bundled model as a directory, with its manifest changed and its fingerprint made right again.
fn copy(change: impl FnOnce(&mut Value)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in [MANIFEST_FILE, "image.onnx", "text.onnx", "matcher.onnx", "tokenizer.json"] {
        fs_err::copy(bundled_model().join(file), copy.path().join(file)).unwrap();
    }
    rewrite(copy.path(), change);
    copy
}

fn rewrite(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join(MANIFEST_FILE);
    let mut json: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs_err::write(&path, json.to_string()).unwrap();
    if let Err(ModelError::Fingerprint { computed, .. }) = open(folder) {
        json["fingerprint"] = computed.into();
        fs_err::write(&path, json.to_string()).unwrap();
    }
}

fn open(folder: &Path) -> Result<DualEncoder, ModelError> {
    DualEncoder::open(&ModelFolder::find(folder.to_str().unwrap())?, &TRACT)
}

#[test]
fn a_directory_works_as_the_bundled_model_does() {
    let folder = copy(|_| {});
    let ours = open(folder.path()).unwrap();
    let bundled = DualEncoder::open(&ModelFolder::find("pictor-mini").unwrap(), &TRACT).unwrap();
    assert_eq!(ours.spec(), bundled.spec());
    let text = ["a dog in the snow"];
    assert_eq!(ours.encode_texts(&text).unwrap(), bundled.encode_texts(&text).unwrap());
}

#[test]
fn what_is_not_there_is_named() {
    match ModelFolder::find("no-such-model") {
        Err(error @ ModelError::NotFound { .. }) => assert!(error.to_string().contains("PICTOR_MODELS")),
        other => panic!("{other:?}"),
    }
    for file in ["image.onnx", "text.onnx", "matcher.onnx", "tokenizer.json"] {
        let folder = copy(|_| {});
        fs_err::remove_file(folder.path().join(file)).unwrap();
        let error = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, ModelError::Read(_)) && error.to_string().contains(file), "{error}");
    }
}

#[test]
fn other_bytes_or_parameters_have_another_fingerprint() {
    let folder = copy(|_| {});
    let path = folder.path().join("text.onnx");
    let mut bytes = fs_err::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let error = open(folder.path()).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, ModelError::Fingerprint { .. }) && error.to_string().contains("text.onnx"),
        "{error}"
    );

    let bundled = ModelFolder::bundled().manifest().unwrap().fingerprint;
    let other = copy(|json| json["image"]["preprocess"]["filter"] = "bilinear".into());
    assert_ne!(open(other.path()).unwrap().spec().fingerprint, bundled);
    // Neither name nor licence nor golden values change a vector.
    let renamed = copy(|json| {
        json["name"] = "mine".into();
        json["license"] = "MIT".into();
        json.as_object_mut().unwrap().remove("golden");
    });
    assert_eq!(open(renamed.path()).unwrap().spec().fingerprint, bundled);
}

#[test]
fn manifests_are_read_strictly() {
    type Change = fn(&mut Value);
    let wrong: [(&str, Change); 11] = [
        ("format is 2", |json| json["format"] = 2.into()),
        ("unknown field `filtre`", |json| json["image"]["preprocess"]["filtre"] = "bicubic".into()),
        ("unknown variant `lanczos`", |json| json["image"]["preprocess"]["filter"] = "lanczos".into()),
        ("unknown variant `stretch`", |json| json["image"]["preprocess"]["resize"] = "stretch".into()),
        ("missing field `input`", |json| drop(json["image"].as_object_mut().unwrap().remove("input"))),
        ("image.preprocess.height is 0", |json| json["image"]["preprocess"]["height"] = 0.into()),
        ("image.preprocess.width is 1000000", |json| json["image"]["preprocess"]["width"] = 1_000_000.into()),
        (".std not zero", |json| json["image"]["preprocess"]["std"] = json!([0.5, 0.0, 0.5])),
        ("cannot crop 256 × 224", |json| {
            json["image"]["preprocess"]["resize"] = "shortest-edge-center-crop".into();
            json["image"]["preprocess"]["width"] = 256.into();
        }),
        ("text.context_length is 0", |json| json["text"]["context_length"] = 0.into()),
        ("'../text.onnx' is not a file name inside the folder", |json| {
            json["text"]["file"] = "../text.onnx".into()
        }),
    ];
    let folder = copy(|_| {});
    let sound = fs_err::read(folder.path().join(MANIFEST_FILE)).unwrap();
    for (expected, change) in wrong {
        fs_err::write(folder.path().join(MANIFEST_FILE), &sound).unwrap();
        rewrite(folder.path(), change);
        let error = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, ModelError::Manifest { .. }), "{error}");
        assert!(error.to_string().contains(expected) && error.to_string().contains(MANIFEST_FILE), "{error}");
    }
    fs_err::write(folder.path().join(MANIFEST_FILE), "{").unwrap();
    assert!(matches!(open(folder.path()), Err(ModelError::Manifest { .. })));
}

#[test]
fn towers_that_do_not_fit_the_manifest_say_how() {
    let load = |folder: &TempDir| {
        let failed = open(folder.path()).and_then(|encoder| encoder.warm_up(1, 1));
        failed.unwrap_err().to_string()
    };
    let error = load(&copy(|json| json["image"]["input"] = "images".into()));
    assert!(error.contains("pixel_values") && error.contains("images"), "{error}");
    let error = load(&copy(|json| json["text"]["output"] = "pooled".into()));
    assert!(error.contains("text_embeds") && error.contains("pooled"), "{error}");
    let error = load(&copy(|json| drop(json["text"].as_object_mut().unwrap().remove("attention_mask"))));
    assert!(error.contains("attention_mask"), "{error}");
    let error = load(&copy(|json| json["dim"] = 512.into()));
    assert!(error.contains("512") && error.contains("256"), "{error}");
    let error = load(&copy(|json| json["text"]["context_length"] = 2.into()));
    assert!(error.contains("special tokens"), "{error}");
    let folder = copy(|_| {});
    for (file, content) in [("tokenizer.json", "not what it should be"), ("image.onnx", "nor is this")] {
        fs_err::write(folder.path().join(file), content).unwrap();
        rewrite(folder.path(), |_| {});
        let error = load(&folder);
        assert!(error.contains(file), "{error}");
    }
}
