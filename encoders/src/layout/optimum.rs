//! Models that transformers describes and Optimum or transformers.js exported: `config.json`, `preprocessor_config.json`,
//! `tokenizer.json`, and graphs under `onnx/` or beside them, one for each tower or one for both.
//!
//! Defaults are those of transformers 5: `models/{clip,siglip}/configuration_*.py` and `image_processing_*.py`.

use serde::Deserialize;

use super::tokenizer::TokenizerFacts;
use super::{Folder, UNKNOWN_LICENSE, wrong};
use crate::clean::Clean;
use crate::error::ModelError;
use crate::manifest::{Activation, ImageTower, ModelManifest, Padding, TextTower, Variants};
use crate::onnx::GraphFacts;
use crate::preprocess::{ConvertRgb, CropOffset, Preprocess, ResizeMode};
use crate::resize::Filter;

const CONFIG: &str = "config.json";
const PROCESSOR: &str = "preprocessor_config.json";
const SUPPLY: &str = "the model's repository has it; `pictor model add ORGANISATION/NAME` fetches all of it";

#[derive(Deserialize)]
struct Config {
    model_type: String,
    projection_dim: Option<usize>,
    text_config: Option<TextConfig>,
    vision_config: Option<VisionConfig>,
}

#[derive(Deserialize)]
struct TextConfig {
    max_position_embeddings: Option<usize>,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct VisionConfig {
    image_size: Option<u32>,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct Processor {
    size: Option<Size>,
    crop_size: Option<Size>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    resample: Option<u8>,
    max_num_patches: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u32),
    Sides { height: u32, width: u32 },
    ShortestEdge { shortest_edge: u32 },
}

/// The models of this layout that are read, each with what its code does and no file says.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Clip,
    Siglip,
    Siglip2,
}

pub(super) fn read(folder: Folder<'_>) -> Result<ModelManifest, ModelError> {
    let config: Config = folder.json(CONFIG, SUPPLY)?;
    let config_path = folder.path(CONFIG);
    let family = match config.model_type.as_str() {
        "clip" => Family::Clip,
        "siglip" => Family::Siglip,
        "siglip2" => Family::Siglip2,
        other => {
            let reason = format!(
                "model_type is '{other}', expected clip, siglip or siglip2; models/export/export.py writes a pictor.json for others"
            );
            return Err(wrong(&config_path, reason));
        }
    };
    let processor: Processor = folder.json(PROCESSOR, SUPPLY)?;
    let preprocess = preprocess(&processor).map_err(|reason| wrong(&folder.path(PROCESSOR), reason))?;
    let stated = config.vision_config.as_ref().and_then(|vision| vision.image_size);
    if let Some(size) = stated.filter(|size| [*size; 2] != [preprocess.height, preprocess.width]) {
        let (width, height) = (preprocess.width, preprocess.height);
        let reason =
            format!("makes images of {width} × {height}, and vision_config.image_size of {CONFIG} is {size}");
        return Err(wrong(&folder.path(PROCESSOR), reason));
    }
    let activation = activation(&config).map_err(|reason| wrong(&config_path, reason))?;
    let [(image_file, image_variants), (text_file, text_variants)] = graphs(folder)?;
    let (image_facts, text_facts) = (folder.facts(&image_file)?, folder.facts(&text_file)?);
    let output = |facts: &GraphFacts, file: &str, embeds: &'static str| {
        // The towers of SigLIP have no projection after the pooling; those of CLIP do, and pooler_output is what comes before it.
        let names = if family == Family::Clip { vec![embeds] } else { vec![embeds, "pooler_output"] };
        let found = names.iter().find(|name| facts.output(name).is_some());
        found.map(|name| (*name).to_owned()).ok_or_else(|| {
            let gives: Vec<_> = facts.outputs.iter().map(|port| &port.name).collect();
            ModelError::Onnx {
                path: folder.path(file),
                reason: format!(
                    "it gives {gives:?}, expected {}; it was exported without its projection",
                    names.join(" or ")
                ),
            }
        })
    };
    let image_output = output(&image_facts, &image_file, "image_embeds")?;
    let text_output = output(&text_facts, &text_file, "text_embeds")?;
    let dim = dim(&config, [(&image_facts, &image_output), (&text_facts, &text_output)])
        .map_err(|reason| wrong(&config_path, reason))?;
    let attention_mask = text_facts.input("attention_mask").map(|port| port.name.clone());
    if attention_mask.is_some() && family != Family::Clip {
        let reason =
            "it takes 'attention_mask', which SigLIP models were not trained with; export it without".into();
        return Err(ModelError::Onnx { path: folder.path(&text_file), reason });
    }
    let tokenizer = TokenizerFacts::read(folder, "tokenizer.json")?;
    let varies = text_facts.input("input_ids").is_some_and(|port| port.shape.get(1) == Some(&None));
    let context_length = config.text_config.as_ref().and_then(|text| text.max_position_embeddings);
    Ok(ModelManifest {
        format: 1,
        name: folder.name(),
        family: config.model_type.clone(),
        dim,
        license: UNKNOWN_LICENSE.into(),
        source: None,
        activation,
        image: ImageTower {
            file: image_file,
            input: "pixel_values".into(),
            output: image_output,
            variants: image_variants,
            features: None,
            preprocess,
        },
        text: TextTower {
            features: None,
            file: text_file,
            input_ids: "input_ids".into(),
            attention_mask,
            output: text_output,
            variants: text_variants,
            tokenizer: "tokenizer.json".into(),
            clean: match family {
                Family::Clip => Clean::None,
                // SiglipTokenizer removes punctuation in code; converted tokenizers do it, and lower case, in their normaliser.
                Family::Siglip if !tokenizer.lowers_case => Clean::OpenClipCanonicalize,
                // Texts were lower-cased in training, outside SigLIP 2's tokenizer (big_vision `SigLIP2_demo.ipynb`), and as Python
                // does it, for whole texts.
                Family::Siglip | Family::Siglip2 => Clean::Lowercase,
            },
            // `CLIPTextConfig` and `SiglipTextConfig`.
            context_length: context_length.unwrap_or(if family == Family::Clip { 77 } else { 64 }),
            pad_id: tokenizer.pad_id(folder, "tokenizer.json")?,
            // CLIP's causal mask and its pooling at the first end-of-text token hide all padding; SigLIP pools at the last position.
            pad: if family == Family::Clip && varies { Padding::Longest } else { Padding::MaxLength },
        },
        matcher: None,
        golden: folder.first(&["golden.json"]),
        fingerprint: String::new(),
    })
}

/// The graph of each tower with its variants; both the same file when one holds both.
fn graphs(folder: Folder<'_>) -> Result<[(String, Variants); 2], ModelError> {
    for place in ["onnx/", ""] {
        let tower = |stem: &str| folder.tower(&format!("{place}{stem}"));
        match (tower("vision_model"), tower("text_model"), tower("model")) {
            (Some(image), Some(text), _) => return Ok([image, text]),
            (None, None, Some(both)) => return Ok([both.clone(), both]),
            (None, Some(_), _) => return Err(folder.missing(&format!("{place}vision_model.onnx"), SUPPLY)),
            (Some(_), None, _) => return Err(folder.missing(&format!("{place}text_model.onnx"), SUPPLY)),
            (None, None, None) => {}
        }
    }
    let supply = "this may be a repository for PyTorch: one exported to ONNX (Xenova/…, onnx-community/…) has them, \
                  and models/export/export.py makes them";
    Err(folder.missing("onnx/vision_model.onnx and onnx/text_model.onnx", supply))
}

fn activation(config: &Config) -> Result<Option<Activation>, String> {
    let image = config.vision_config.as_ref().and_then(|vision| vision.hidden_act.as_deref());
    let text = config.text_config.as_ref().and_then(|text| text.hidden_act.as_deref());
    match (image, text) {
        (Some(image), Some(text)) if image != text => Err(format!(
            "vision_config.hidden_act is '{image}' and text_config.hidden_act is '{text}', expected one for both"
        )),
        (image, text) => Ok(match image.or(text) {
            Some("quick_gelu") => Some(Activation::QuickGelu),
            Some("gelu") => Some(Activation::Gelu),
            Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Some(Activation::GeluTanh),
            _ => None,
        }),
    }
}

/// What the graphs' outputs say, or the configuration where they leave it open; they must not contradict one another.
fn dim(config: &Config, towers: [(&GraphFacts, &String); 2]) -> Result<usize, String> {
    let stated = towers.iter().filter_map(|(facts, output)| {
        facts.output(output).and_then(|port| port.shape.last().copied().flatten()).map(|side| side as usize)
    });
    let mut all: Vec<usize> = stated.chain(config.projection_dim).collect();
    all.dedup();
    match all.as_slice() {
        [dim] => Ok(*dim),
        [] => Err(
            "lacks projection_dim, and the graphs do not state the size of their outputs; export them again"
                .into(),
        ),
        several => {
            Err(format!("the dimension of embeddings is {several:?} by the two graphs and projection_dim"))
        }
    }
}

/// `image_processing_clip.py` and `image_processing_siglip.py`, the variants that use Pillow.
fn preprocess(processor: &Processor) -> Result<Preprocess, String> {
    if processor.max_num_patches.is_some() {
        return Err("describes NaFlex (max_num_patches), whose images keep their aspect ratio; take a SigLIP 2 of fixed resolution, \
                    such as siglip2-base-patch16-224"
            .into());
    }
    let lacks = |key: &str| format!("lacks '{key}'");
    if processor.do_resize == Some(false) || processor.do_rescale == Some(false) {
        return Err(
            "do_resize and do_rescale must be true: photographs come in all sizes and as bytes".into()
        );
    }
    if processor.rescale_factor.is_some_and(|factor| (factor * 255.0 - 1.0).abs() > 1e-6) {
        return Err(format!(
            "rescale_factor is {:?}, expected 1/255",
            processor.rescale_factor.unwrap_or_default()
        ));
    }
    let filter = match processor.resample.ok_or_else(|| lacks("resample"))? {
        2 => Filter::Bilinear,
        3 => Filter::Bicubic,
        other => {
            return Err(format!(
                "resample is {other} (of PIL.Image.Resampling), expected 2 (bilinear) or 3 (bicubic)"
            ));
        }
    };
    let crops = processor.do_center_crop.unwrap_or(processor.crop_size.is_some());
    let size = processor.size.ok_or_else(|| lacks("size"))?;
    let (resize, shortest_edge, [height, width]) = match (size, crops) {
        (Size::Number(edge) | Size::ShortestEdge { shortest_edge: edge }, true) => {
            let sides = match processor.crop_size.ok_or_else(|| lacks("crop_size"))? {
                Size::Number(side) => [side; 2],
                Size::Sides { height, width } => [height, width],
                Size::ShortestEdge { .. } => return Err("crop_size must be height and width".into()),
            };
            (ResizeMode::ShortestEdgeCenterCrop, Some(edge).filter(|edge| [*edge; 2] != sides), sides)
        }
        (Size::Sides { height, width }, false) => (ResizeMode::Squash, None, [height, width]),
        (Size::Number(side), false) => (ResizeMode::Squash, None, [side; 2]),
        (Size::Sides { .. }, true) => {
            return Err(
                "size is height and width, and do_center_crop is true; one of them belongs to another model"
                    .into(),
            );
        }
        (Size::ShortestEdge { .. }, false) => {
            return Err(
                "size is shortest_edge and do_center_crop is false, which leaves images of any shape".into(),
            );
        }
    };
    let (mean, std) = if processor.do_normalize == Some(false) {
        ([0.0; 3], [1.0; 3])
    } else {
        (
            processor.image_mean.ok_or_else(|| lacks("image_mean"))?,
            processor.image_std.ok_or_else(|| lacks("image_std"))?,
        )
    };
    Ok(Preprocess {
        height,
        width,
        resize,
        filter,
        mean,
        std,
        shortest_edge,
        crop_offset: CropOffset::Floor,
        convert_rgb: ConvertRgb::OverWhite,
    })
}
