//! Which of a repository's files a model needs.
//!
//! Repositories hold the same weights many times over (PyTorch, TensorFlow, eight precisions), so what is fetched is chosen by
//! the names that the known layouts give their files. Whether the choice is a model is not decided here: what was fetched is
//! opened before it is installed.

use std::path::Path;

use crate::folder::GraphFile;
use crate::manifest::{MANIFEST_FILE, ModelManifest, Variants};
use crate::onnx::GraphFacts;
use crate::runtime::Precision;

/// The precisions that files come in, the full one first.
const PRECISIONS: [Precision; 3] = [Precision::Fp32, Precision::Fp16, Precision::Int8];

/// What the layouts append to a graph's name, the preferred first. `_quantized` comes before `_int8`: it is the one that keeps
/// to operators which ONNX Runtime has on every CPU (unsigned weights where a convolution is quantised).
fn endings(precision: Precision) -> &'static [&'static str] {
    match precision {
        Precision::Auto | Precision::Fp32 => &[""],
        Precision::Fp16 => &["_fp16"],
        Precision::Int8 => &["_quantized", "_int8"],
    }
}

/// Files that say what weights are, rather than being weights; wanted in every layout.
const DOCUMENTS: [&str; 5] = ["README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"];

/// Endings of weights that are of no use here.
const FOREIGN: [&str; 16] = [
    ".armnn",
    ".bin",
    ".ckpt",
    ".engine",
    ".gguf",
    ".gitattributes",
    ".gitignore",
    ".h5",
    ".mlmodel",
    ".msgpack",
    ".onnx",
    ".ot",
    ".pt",
    ".rknn",
    ".safetensors",
    ".tflite",
];

/// Whether the files are Pictor's own layout, whose manifest names what it needs.
pub(crate) fn has_manifest(names: &[String]) -> bool {
    names.iter().any(|name| name == MANIFEST_FILE)
}

/// Of all `names` those that a model needs, in their order; `manifest` is that of a folder with a `pictor.json`.
///
/// # Errors
/// What is missing, and what would supply it.
pub(crate) fn wanted(
    names: &[String],
    precisions: &[Precision],
    manifest: Option<&ModelManifest>,
) -> Result<Vec<String>, String> {
    let graphs = match manifest {
        Some(manifest) => manifest_graphs(manifest, precisions),
        None => layout_graphs(names, precisions)?,
    };
    let golden =
        manifest.map_or(names.iter().any(|name| name == "golden.json"), |manifest| manifest.golden.is_some());
    let is_wanted = |name: &&String| {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        if graphs.contains(name) || graphs.iter().any(|graph| is_data_of(name, graph)) {
            return true;
        }
        if folder.is_empty() {
            let json = file.ends_with(".json") && !file.ends_with(".index.json");
            return DOCUMENTS.contains(&file) || (json && !file.starts_with('.'));
        }
        if golden && folder.split('/').next() == Some("golden") {
            return true;
        }
        match manifest {
            Some(manifest) => **name == manifest.text.tokenizer,
            // External data has names of its own there, so all but foreign weights is taken.
            None => {
                ["visual", "textual"].contains(&folder)
                    && !FOREIGN.iter().any(|ending| file.ends_with(ending))
            }
        }
    };
    Ok(names.iter().filter(is_wanted).cloned().collect())
}

/// The graphs that a manifest names. The full ones are always wanted: the fingerprint is made of their bytes.
fn manifest_graphs(manifest: &ModelManifest, precisions: &[Precision]) -> Vec<String> {
    let mut graphs = Vec::new();
    let mut tower = |file: &String, variants: &Variants| {
        graphs.push(file.clone());
        for precision in precisions {
            graphs.extend(match precision {
                Precision::Auto | Precision::Fp32 => None,
                Precision::Fp16 => variants.fp16.clone(),
                Precision::Int8 => variants.int8.clone(),
            });
        }
    };
    tower(&manifest.image.file, &manifest.image.variants);
    tower(&manifest.text.file, &manifest.text.variants);
    if let Some(matcher) = &manifest.matcher {
        tower(&matcher.file, &matcher.variants);
    }
    graphs
}

/// Where the layouts that `layout/` reads have their two graphs, or the one that holds both, in the order in which it looks.
const SHAPES: [&[&str]; 7] = [
    &["visual/model", "textual/model"],
    &["image", "text"],
    &["visual", "textual"],
    &["onnx/vision_model", "onnx/text_model"],
    &["onnx/model"],
    &["vision_model", "text_model"],
    &["model"],
];

/// The graphs of a foreign layout.
fn layout_graphs(names: &[String], precisions: &[Precision]) -> Result<Vec<String>, String> {
    let graph = |stem: &str, precision: Precision| {
        let spellings = endings(precision).iter().map(|ending| format!("{stem}{ending}.onnx"));
        spellings.into_iter().find(|name| names.contains(name))
    };
    let all = |shape: &[&str], precision| {
        shape.iter().map(|stem| graph(stem, precision)).collect::<Option<Vec<_>>>()
    };
    let has = |precision: &Precision| SHAPES.iter().any(|shape| all(shape, *precision).is_some());
    let mut graphs = Vec::new();
    for &precision in precisions {
        match SHAPES.iter().find_map(|shape| all(shape, precision)) {
            Some(found) => graphs.extend(found),
            None => {
                return Err(no_graphs(names, precision, PRECISIONS.into_iter().filter(has).collect()));
            }
        }
    }
    Ok(graphs)
}

fn no_graphs(names: &[String], precision: Precision, there_are: Vec<Precision>) -> String {
    if !there_are.is_empty() {
        let list: Vec<String> = there_are.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        return format!("it has no {precision} graphs of both towers, only {list}; choose with --precision");
    }
    let some: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.ends_with(".onnx")).take(4).collect();
    let has = match some.as_slice() {
        [] if names.iter().any(|name| name.ends_with(".safetensors") || name.ends_with(".bin")) => {
            "only weights of other libraries".into()
        }
        [] => "no ONNX file".into(),
        some => format!("no ONNX graphs of both towers, only {}", some.join(", ")),
    };
    format!(
        "it has {has}; expected {MANIFEST_FILE}, visual/model.onnx and textual/model.onnx, or onnx/vision_model.onnx and \
         onnx/text_model.onnx; export it with models/export, or take one of `pictor model list`"
    )
}

/// The files that hold the weights of `graph`, which was fetched to `path`, as far as their names do not give them away; paths in
/// the repository. A file that is no graph has none: opening the model will say so.
pub(crate) fn external(graph: &str, path: &Path) -> Vec<String> {
    let facts = GraphFacts::read(&GraphFile::Path(path.to_owned()), path).unwrap_or_default();
    let beside = |location: String| match graph.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{location}"),
        None => location,
    };
    facts.external.into_iter().map(beside).collect()
}

/// Whether `name` is the external data of `graph`: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`, `model.data`.
fn is_data_of(name: &str, graph: &str) -> bool {
    let after_graph = name.strip_prefix(graph);
    let after_stem = name.strip_prefix(graph.trim_end_matches(".onnx"));
    after_graph.is_some_and(|rest| rest.starts_with("_data") || rest.starts_with(".data"))
        || after_stem == Some(".data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str], precisions: &[Precision]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        wanted(&names, precisions, None)
    }

    #[test]
    fn transformers_js_gives_up_only_what_was_asked_for() {
        let names = [
            ".gitattributes",
            "README.md",
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "onnx/model_quantized.onnx",
            "onnx/text_model.onnx",
            "onnx/text_model.onnx_data",
            "onnx/text_model.onnx_data_1",
            "onnx/text_model_fp16.onnx",
            "onnx/text_model_int8.onnx",
            "onnx/text_model_q4.onnx",
            "onnx/text_model_quantized.onnx",
            "onnx/vision_model.onnx",
            "onnx/vision_model_fp16.onnx",
            "onnx/vision_model_int8.onnx",
            "preprocessor_config.json",
            "tokenizer.json",
        ];
        let common = ["README.md", "config.json", "preprocessor_config.json", "tokenizer.json"];
        let graphs = |precisions: &[Precision]| {
            let chosen = choose(&names, precisions).unwrap();
            assert!(common.iter().all(|name| chosen.contains(&(*name).to_owned())));
            chosen.into_iter().filter(|name| name.contains('/')).collect::<Vec<_>>()
        };
        assert_eq!(
            graphs(&[Precision::Fp32]),
            [
                "onnx/text_model.onnx",
                "onnx/text_model.onnx_data",
                "onnx/text_model.onnx_data_1",
                "onnx/vision_model.onnx"
            ]
        );
        assert_eq!(graphs(&[Precision::Fp16]), ["onnx/text_model_fp16.onnx", "onnx/vision_model_fp16.onnx"]);
        assert_eq!(
            graphs(&[Precision::Int8]),
            ["onnx/text_model_quantized.onnx", "onnx/vision_model_int8.onnx"]
        );
        assert_eq!(choose(&["model.onnx", "config.json"], &[Precision::Fp32]).unwrap().len(), 2);
    }

    #[test]
    fn immich_brings_data_under_any_name() {
        let names = [
            "README.md",
            "config.json",
            "textual/merges.txt",
            "textual/model.armnn",
            "textual/model.onnx",
            "textual/tokenizer.json",
            "visual/523d3c00-47e7-11ef-bc68-00155d655292",
            "visual/fp16/model.armnn",
            "visual/model.onnx",
            "visual/model.rknn",
            "visual/preprocess_cfg.json",
        ];
        let chosen = choose(&names, &[Precision::Fp32]).unwrap();
        let left_out =
            names.into_iter().filter(|name| !chosen.contains(&(*name).to_owned())).collect::<Vec<_>>();
        assert_eq!(left_out, ["textual/model.armnn", "visual/fp16/model.armnn", "visual/model.rknn"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = choose(&["config.json", "model.safetensors"], &[Precision::Fp32]).unwrap_err();
        assert!(error.contains("other libraries") && error.contains("models/export"), "{error}");
        let error = choose(&["onnx/vision_model.onnx"], &[Precision::Fp32]).unwrap_err();
        assert!(
            error.contains("onnx/vision_model.onnx") && error.contains("onnx/text_model.onnx"),
            "{error}"
        );
        let both = ["onnx/vision_model.onnx", "onnx/text_model.onnx"];
        let error = choose(&both, &[Precision::Fp32, Precision::Fp16]).unwrap_err();
        assert!(error.contains("no fp16") && error.contains("only fp32"), "{error}");
    }
}
