//! Models that open_clip describes: its own `open_clip_config.json`, and the immich-app layout, which splits the same settings into
//! `config.json` (`open_clip.get_model_config`) and `visual/preprocess_cfg.json` (`open_clip.get_model_preprocess_cfg`).
//!
//! Defaults are those of open_clip 3.3: `transform.py::PreprocessCfg`, `model.py::{CLIPTextCfg, CLIPVisionCfg}`, `factory.py`
//! `get_tokenizer`, `tokenizer.py`.

use serde::Deserialize;
use serde_json::Value;

use super::tokenizer::TokenizerFacts;
use super::{Folder, UNKNOWN_LICENSE, wrong};
use crate::clean::Clean;
use crate::error::ModelError;
use crate::manifest::{Activation, ImageTower, ModelManifest, Padding, TextTower, Variants};
use crate::onnx::{GraphFacts, Port};
use crate::preprocess::{ConvertRgb, CropOffset, Preprocess, ResizeMode};
use crate::resize::Filter;

#[derive(Deserialize)]
struct HubConfig {
    model_cfg: ModelCfg,
    #[serde(default)]
    preprocess_cfg: PreprocessCfg,
}

#[derive(Deserialize)]
struct ModelCfg {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: VisionCfg,
    text_cfg: TextCfg,
}

#[derive(Deserialize)]
struct VisionCfg {
    #[serde(default = "image_size")]
    image_size: Size,
    timm_model_name: Option<String>,
    act_kwargs: Option<Value>,
}

#[derive(Deserialize)]
struct TextCfg {
    #[serde(default = "context_length")]
    context_length: usize,
    hf_model_name: Option<String>,
    hf_tokenizer_name: Option<String>,
    tokenizer_kwargs: Option<TokenizerKwargs>,
    act_kwargs: Option<Value>,
}

#[derive(Deserialize)]
struct TokenizerKwargs {
    clean: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
struct PreprocessCfg {
    size: Option<Size>,
    mode: String,
    mean: [f32; 3],
    std: [f32; 3],
    interpolation: String,
    resize_mode: String,
}

/// `PreprocessCfg` of open_clip's `transform.py`.
impl Default for PreprocessCfg {
    fn default() -> Self {
        Self {
            size: None,
            mode: "RGB".into(),
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.2613026, 0.2757771],
            interpolation: "bicubic".into(),
            resize_mode: "shortest".into(),
        }
    }
}

/// Height and width, or the one number that both are.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Square(u32),
    Sides([u32; 2]),
}

impl Size {
    fn sides(self) -> [u32; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}

/// `CLIPVisionCfg.image_size`.
fn image_size() -> Size {
    Size::Square(224)
}

/// `CLIPTextCfg.context_length`.
fn context_length() -> usize {
    77
}

/// The files of one folder, by role.
struct Files {
    config: &'static str,
    image: (String, Variants),
    text: (String, Variants),
    tokenizer: String,
    preprocess: &'static str,
}

pub(super) fn read_immich(folder: Folder<'_>) -> Result<ModelManifest, ModelError> {
    const SUPPLY: &str =
        "the immich-app repository of the model has it; `pictor model add immich-app/NAME` fetches all of it";
    let tower =
        |stem: &str| folder.tower(stem).ok_or_else(|| folder.missing(&format!("{stem}.onnx"), SUPPLY));
    let files = Files {
        config: "config.json",
        image: tower("visual/model")?,
        text: tower("textual/model")?,
        tokenizer: "textual/tokenizer.json".into(),
        preprocess: "visual/preprocess_cfg.json",
    };
    let model = folder.json(files.config, SUPPLY)?;
    let preprocess = folder.json(files.preprocess, SUPPLY)?;
    manifest(folder, &files, &model, &preprocess)
}

pub(super) fn read(folder: Folder<'_>) -> Result<ModelManifest, ModelError> {
    let stems = [
        ["image", "text"],
        ["visual", "textual"],
        ["vision_model", "text_model"],
        ["onnx/vision_model", "onnx/text_model"],
    ];
    let found = stems.iter().find_map(|[image, text]| Some((folder.tower(image)?, folder.tower(text)?)));
    let Some((image, text)) = found else {
        let supply = "open_clip publishes weights for PyTorch; models/export/export.py turns them into image.onnx and text.onnx";
        return Err(folder.missing("image.onnx and text.onnx", supply));
    };
    let files = Files {
        config: "open_clip_config.json",
        image,
        text,
        tokenizer: "tokenizer.json".into(),
        preprocess: "open_clip_config.json",
    };
    let HubConfig { model_cfg, preprocess_cfg } = folder.json(files.config, "")?;
    manifest(folder, &files, &model_cfg, &preprocess_cfg)
}

fn manifest(
    folder: Folder<'_>,
    files: &Files,
    model: &ModelCfg,
    preprocess: &PreprocessCfg,
) -> Result<ModelManifest, ModelError> {
    let (image_facts, text_facts) = (folder.facts(&files.image.0)?, folder.facts(&files.text.0)?);
    let tokenizer = TokenizerFacts::read(folder, &files.tokenizer)?;
    let pad_id = match (&model.text_cfg.hf_tokenizer_name, tokenizer.pad_id) {
        // `SimpleTokenizer` fills up with zeros.
        (None, None) => 0,
        _ => tokenizer.pad_id(folder, &files.tokenizer)?,
    };
    let only = |ports: &[Port], file: &str, what: &str| match ports {
        [port] => Ok(port.name.clone()),
        _ => {
            let names: Vec<_> = ports.iter().map(|port| &port.name).collect();
            Err(ModelError::Onnx {
                path: folder.path(file),
                reason: format!("it has the {what}s {names:?}, expected one"),
            })
        }
    };
    let image = ImageTower {
        file: files.image.0.clone(),
        input: only(&image_facts.inputs, &files.image.0, "input")?,
        output: only(&image_facts.outputs, &files.image.0, "output")?,
        variants: files.image.1.clone(),
        features: None,
        preprocess: preprocess_of(folder, files, model, preprocess)?,
    };
    let (input_ids, attention_mask) = text_inputs(folder, &files.text.0, &text_facts)?;
    let text = TextTower {
        features: None,
        file: files.text.0.clone(),
        input_ids,
        attention_mask,
        output: only(&text_facts.outputs, &files.text.0, "output")?,
        variants: files.text.1.clone(),
        tokenizer: files.tokenizer.clone(),
        clean: clean(&model.text_cfg).map_err(|reason| wrong(&folder.path(files.config), reason))?,
        context_length: model.text_cfg.context_length,
        pad_id,
        // open_clip fills every text up, and text towers without a causal mask see the filling.
        pad: Padding::MaxLength,
    };
    Ok(ModelManifest {
        format: 1,
        name: folder.name(),
        family: "open-clip".into(),
        dim: model.embed_dim,
        license: UNKNOWN_LICENSE.into(),
        source: None,
        activation: activation(model),
        image,
        text,
        matcher: None,
        golden: folder.first(&["golden.json"]),
        fingerprint: String::new(),
    })
}

/// `factory.py`: QuickGELU when `quick_gelu` says so, PyTorch's GELU otherwise; towers of timm and transformers bring their own.
fn activation(model: &ModelCfg) -> Option<Activation> {
    let foreign = model.vision_cfg.timm_model_name.is_some() || model.text_cfg.hf_model_name.is_some();
    let parameters = model.vision_cfg.act_kwargs.is_some() || model.text_cfg.act_kwargs.is_some();
    match model.quick_gelu {
        true => Some(Activation::QuickGelu),
        false if foreign || parameters => None,
        false => Some(Activation::Gelu),
    }
}

/// `get_tokenizer`: `SimpleTokenizer(clean="lower")` unless a Hugging Face tokenizer is named, `HFTokenizer(clean="whitespace")` then.
fn clean(text: &TextCfg) -> Result<Clean, String> {
    let stated = text.tokenizer_kwargs.as_ref().and_then(|kwargs| kwargs.clean.as_deref());
    match (stated, &text.hf_tokenizer_name) {
        (Some("lower"), _) | (None, None) => Ok(Clean::OpenClipLower),
        (Some("whitespace"), _) | (None, Some(_)) => Ok(Clean::OpenClipWhitespace),
        (Some("canonicalize"), _) => Ok(Clean::OpenClipCanonicalize),
        (Some(other), _) => Err(format!(
            "text_cfg.tokenizer_kwargs.clean is '{other}', expected lower, whitespace or canonicalize"
        )),
    }
}

fn text_inputs(
    folder: Folder<'_>,
    file: &str,
    facts: &GraphFacts,
) -> Result<(String, Option<String>), ModelError> {
    match facts.inputs.as_slice() {
        [ids] => Ok((ids.name.clone(), None)),
        [a, b] if a.name == "attention_mask" => Ok((b.name.clone(), Some(a.name.clone()))),
        [a, b] if b.name == "attention_mask" => Ok((a.name.clone(), Some(b.name.clone()))),
        inputs => {
            let names: Vec<_> = inputs.iter().map(|port| &port.name).collect();
            let reason = format!("it takes {names:?}, expected token ids, with or without 'attention_mask'");
            Err(ModelError::Onnx { path: folder.path(file), reason })
        }
    }
}

fn preprocess_of(
    folder: Folder<'_>,
    files: &Files,
    model: &ModelCfg,
    cfg: &PreprocessCfg,
) -> Result<Preprocess, ModelError> {
    let path = folder.path(files.preprocess);
    let [height, width] = cfg.size.unwrap_or(model.vision_cfg.image_size).sides();
    if [height, width] != model.vision_cfg.image_size.sides() {
        let [model_height, model_width] = model.vision_cfg.image_size.sides();
        return Err(wrong(
            &path,
            format!(
                "size is {width} × {height}, and vision_cfg.image_size of {} is {model_width} × {model_height}; one belongs to another \
             model",
                files.config
            ),
        ));
    }
    if cfg.mode != "RGB" {
        return Err(wrong(&path, format!("mode is '{}', and only RGB is read", cfg.mode)));
    }
    let filter = match cfg.interpolation.as_str() {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => {
            return Err(wrong(&path, format!("interpolation is '{other}', expected bicubic or bilinear")));
        }
    };
    let resize = match cfg.resize_mode.as_str() {
        "shortest" => ResizeMode::ShortestEdgeCenterCrop,
        "squash" => ResizeMode::Squash,
        other => return Err(wrong(&path, format!("resize_mode is '{other}', expected shortest or squash"))),
    };
    Ok(Preprocess {
        height,
        width,
        resize,
        filter,
        mean: cfg.mean,
        std: cfg.std,
        shortest_edge: None,
        crop_offset: CropOffset::RoundHalfEven,
        convert_rgb: ConvertRgb::AfterResize,
    })
}
