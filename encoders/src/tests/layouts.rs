//! Model folders in the layouts of other tools, as their exporters write them (`models/export/fixtures.py` made these, tiny and with
//! random weights), read unmodified; and folders of that kind that contradict themselves.

use std::path::{Path, PathBuf};

use pictor_core::Encoder;
use serde_json::Value;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::manifest::{Activation, Padding};
use crate::{
    Clean, ConvertRgb, CropOffset, DualEncoder, ModelError, ModelFolder, ResizeMode, RuntimeChoice,
    RuntimeOptions,
};

pub(super) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

fn open(folder: &Path) -> Result<DualEncoder, ModelError> {
    DualEncoder::open(
        &ModelFolder::find(folder.to_str().unwrap())?,
        &RuntimeOptions::new(RuntimeChoice::Tract, 1),
    )
}

/// A copy of a fixture, to be spoilt.
fn copy(name: &str) -> TempDir {
    let (from, to) = (fixtures().join(name), tempfile::tempdir().unwrap());
    for entry in WalkDir::new(&from).into_iter().map(Result::unwrap) {
        let target = to.path().join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&target).unwrap();
        } else {
            fs_err::copy(entry.path(), &target).unwrap();
        }
    }
    to
}

/// The error of opening fixture `name` after `change` to its JSON `file`.
fn refused(name: &str, file: &str, change: impl FnOnce(&mut Value)) -> String {
    let folder = copy(name);
    let path = folder.path().join(file);
    let mut json: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs_err::write(&path, json.to_string()).unwrap();
    let error = open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(folder.path().to_str().unwrap()), "no path in: {error}");
    error
}

#[test]
fn matchers_that_do_not_fit_their_graphs_are_refused() {
    let error = refused("blip2", "pictor.json", |json| json["matcher"]["itc"] = "cosine".into());
    assert!(error.contains("itc_cosine") && error.contains("'cosine'"), "{error}");
    let error = refused("blip2", "pictor.json", |json| json["matcher"]["itc"] = "itm_logits".into());
    assert!(error.contains("'itm_logits'") && error.contains("[?, 1]"), "{error}");
    let error = refused("blip", "pictor.json", |json| {
        json["image"].as_object_mut().unwrap().remove("features");
    });
    assert!(error.contains("image.features"), "{error}");
}

#[test]
fn settings_come_from_the_files_of_each_layout() {
    let manifest = |name: &str| {
        open(&fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).manifest().clone()
    };

    let clip = manifest("transformersjs-clip");
    assert_eq!((clip.family.as_str(), clip.image.output.as_str()), ("clip", "image_embeds"));
    assert_eq!(clip.image.preprocess.resize, ResizeMode::ShortestEdgeCenterCrop);
    assert_eq!(clip.image.preprocess.crop_offset, CropOffset::Floor);
    assert_eq!(clip.image.preprocess.convert_rgb, ConvertRgb::OverWhite);
    assert_eq!(clip.image.variants.fp16.as_deref(), Some("onnx/vision_model_fp16.onnx"));
    assert_eq!(clip.text.variants.int8.as_deref(), Some("onnx/text_model_quantized.onnx"));
    assert_eq!((clip.text.pad, clip.text.clean), (Padding::Longest, Clean::None));

    let single = manifest("optimum-clip");
    assert_eq!(
        (single.image.file.as_str(), single.text.file.as_str()),
        ("onnx/model.onnx", "onnx/model.onnx")
    );

    let siglip = manifest("transformersjs-siglip");
    assert_eq!(
        (siglip.image.preprocess.resize, siglip.image.output.as_str()),
        (ResizeMode::Squash, "pooler_output")
    );
    assert_eq!((siglip.text.pad, siglip.text.pad_id), (Padding::MaxLength, 1));

    let immich = manifest("immich-clip");
    assert_eq!((immich.image.input.as_str(), immich.text.input_ids.as_str()), ("image", "text"));
    assert_eq!(immich.image.preprocess.convert_rgb, ConvertRgb::AfterResize);
    assert_eq!(immich.text.clean, Clean::OpenClipLower);
    assert_eq!(manifest("immich-siglip").text.clean, Clean::OpenClipCanonicalize);
    assert!(matches!(manifest("open-clip").activation, Some(Activation::Gelu | Activation::QuickGelu)));
}

#[test]
fn fingerprints_tell_models_apart_and_are_stable() {
    let mut seen = std::collections::BTreeMap::new();
    for entry in fs_err::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let fingerprint = |path: &Path| open(path).unwrap().spec().fingerprint.clone();
        let first = fingerprint(&path);
        assert_eq!(first, fingerprint(&path));
        assert_eq!(seen.insert(first, path.clone()), None, "{}", path.display());
    }
    assert!(seen.len() >= 8);

    // Preprocessing decides vectors as weights do, wherever it is written.
    let folder = copy("transformersjs-clip");
    let before = open(folder.path()).unwrap().spec().fingerprint.clone();
    let path = folder.path().join("preprocessor_config.json");
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.contains("\"resample\": 3"), "{text}");
    fs_err::write(&path, text.replace("\"resample\": 3", "\"resample\": 2")).unwrap();
    assert_ne!(open(folder.path()).unwrap().spec().fingerprint, before);

    // So do weights that lie beside their graph.
    let folder = copy("external");
    let path = folder.path().join("image.onnx.data");
    let mut weights = fs_err::read(&path).unwrap();
    weights[100] ^= 1;
    fs_err::write(&path, weights).unwrap();
    assert!(matches!(open(folder.path()), Err(ModelError::Fingerprint { .. })));
}

#[test]
fn what_contradicts_is_an_error_that_names_both() {
    let (config, processor) = ("config.json", "preprocessor_config.json");
    let error = refused("transformersjs-clip", config, |json| {
        let other = if json["vision_config"]["hidden_act"] == "gelu" { "quick_gelu" } else { "gelu" };
        json["vision_config"]["hidden_act"] = other.into();
        json["text_config"]["hidden_act"] = other.into();
    });
    assert!(error.contains("activation") && error.contains(config), "{error}");

    let error = refused("immich-clip", config, |json| {
        let quick = json["quick_gelu"] == true;
        json["quick_gelu"] = (!quick).into();
    });
    assert!(error.contains("activation") && error.contains(config), "{error}");

    let error = refused("transformersjs-clip", processor, |json| json["crop_size"] = 48.into());
    assert!(error.contains("48") && error.contains("image_size"), "{error}");
    let error = refused("immich-clip", "visual/preprocess_cfg.json", |json| json["size"] = 999.into());
    assert!(error.contains("999") && error.contains("image_size"), "{error}");
    let error = refused("transformersjs-siglip", processor, |json| json["do_center_crop"] = true.into());
    assert!(error.contains("do_center_crop"), "{error}");
}

#[test]
fn what_is_not_read_is_refused_and_says_what_is() {
    let (config, processor) = ("config.json", "preprocessor_config.json");
    let error = refused("transformersjs-siglip", processor, |json| json["max_num_patches"] = 256.into());
    assert!(error.contains("NaFlex") && error.contains("fixed resolution"), "{error}");
    let error = refused("transformersjs-clip", config, |json| json["model_type"] = "clap".into());
    assert!(error.contains("'clap'") && error.contains("siglip"), "{error}");
    let error = refused("transformersjs-clip", processor, |json| json["resample"] = 1.into());
    assert!(error.contains("resample is 1"), "{error}");
    let error = refused("transformersjs-clip", processor, |json| {
        drop(json.as_object_mut().unwrap().remove("resample"))
    });
    assert!(error.contains("lacks 'resample'"), "{error}");
    let error =
        refused("immich-clip", "visual/preprocess_cfg.json", |json| json["resize_mode"] = "longest".into());
    assert!(error.contains("resize_mode is 'longest'"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_what_supplies_it() {
    let missing = |name: &str, file: &str| {
        let folder = copy(name);
        fs_err::remove_file(folder.path().join(file)).unwrap();
        let error = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, ModelError::Missing { .. }), "{error}");
        error.to_string()
    };
    for (name, file) in [
        ("transformersjs-clip", "config.json"),
        ("transformersjs-clip", "preprocessor_config.json"),
        ("transformersjs-clip", "tokenizer.json"),
        ("transformersjs-siglip", "onnx/text_model.onnx"),
        ("immich-clip", "visual/preprocess_cfg.json"),
        ("immich-clip", "textual/model.onnx"),
        ("external", "text.onnx.data"),
    ] {
        let error = missing(name, file);
        assert!(error.contains(file), "{error}");
    }
    let error = missing("open-clip", "image.onnx");
    assert!(error.contains("models/export/export.py"), "{error}");
}

#[test]
fn files_that_are_not_what_they_should_be_are_typed_errors() {
    let folder = copy("transformersjs-clip");
    let path = folder.path().join("onnx/vision_model.onnx");
    let whole = fs_err::read(&path).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 35\n", "git lfs pull"),
        (&whole[..whole.len() / 2], "partly copied"),
        (b"<html>404</html>", "vision_model.onnx"),
    ];
    for (content, expected) in cases {
        fs_err::write(&path, content).unwrap();
        let error = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, ModelError::Onnx { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A tokenizer with a larger vocabulary than the graph has: no error until an id comes that is past its end, and then an error.
#[test]
fn a_tokenizer_of_another_model_is_an_error_and_no_panic() {
    let folder = copy("transformersjs-clip");
    let tokenizer = super::bundled_model().join("tokenizer.json");
    fs_err::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    fs_err::write(folder.path().join("tokenizer_config.json"), r#"{"pad_token": "[PAD]"}"#).unwrap();
    let encoder = open(folder.path()).unwrap();
    for texts in [1, 40] {
        let error = encoder.encode_texts(&vec!["zebras and giraffes on a surfboard"; texts]).unwrap_err();
        assert!(error.to_string().contains("tokenizer"), "{error}");
    }
}

#[test]
fn damaged_graphs_never_panic() {
    let path = fixtures().join("optimum-clip/onnx/model.onnx");
    let whole = fs_err::read(&path).unwrap();
    let mut state = 1u32;
    for _ in 0..2000 {
        // xorshift32 (Marsaglia 2003): the same damage on every run.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let mut damaged = whole.clone();
        let at = state as usize % damaged.len();
        damaged[at] ^= 1 << (state >> 29);
        if state & 1 == 0 {
            damaged.truncate(at);
        }
        let graph = crate::folder::GraphFile::Cut { bytes: damaged.clone(), directory: PathBuf::new() };
        let _ = crate::onnx::GraphFacts::read(&graph, &path);
        let _ = crate::onnx::extract(&damaged, &["image_embeds"], &path);
    }
}
