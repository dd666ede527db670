//! `pictor.json`: what a model folder says of itself.
//!
//! Everything that turns bytes or text into vectors is written there (files, graph inputs and outputs, preprocessing,
//! tokenizer, dimension), so a new model is a new folder and never new code, and nothing is inferred from a name. It is read
//! strictly: an unknown key is an error, because a misspelt `"filter"` that falls back to a default costs recall in silence.
//!
//! The fingerprint binds the description to the bytes of the files it names. It is stated in the file, computed again at
//! open, and stored in every index; two vectors are comparable exactly when their fingerprints are equal.

use std::path::{Component, Path};

use pictor_core::EncoderSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clean::Clean;
use crate::error::ModelError;
use crate::preprocess::{Preprocess, ResizeMode};

/// File of a model folder that holds its [`ModelManifest`].
pub const MANIFEST_FILE: &str = "pictor.json";

/// The one format that this version reads and writes.
const FORMAT: u32 = 1;

/// Longest side of a model's input, pixels, and longest text, tokens: well past any published model, small enough that a
/// wrong digit is an error and not an allocation of gigabytes.
const MAX_INPUT_SIDE: u32 = 4096;
const MAX_CONTEXT: usize = 65_536;

/// A model folder's `pictor.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Version of this description; 1.
    pub format: u32,
    /// The model's name, for people.
    pub name: String,
    /// Which recipe the model follows (`clip`, `siglip`, …): informational, nothing is derived from it.
    pub family: String,
    /// Components of an embedding.
    pub dim: usize,
    /// Licence of the weights: an SPDX identifier or a sentence.
    pub license: String,
    /// Where the weights came from, such as `open_clip ViT-B-32 laion2b_s34b_b79k`; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The activation between the layers of a block, when it is known; the graphs are checked against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// The image tower.
    pub image: ImageTower,
    /// The text tower.
    pub text: TextTower,
    /// The image-text matching head, when the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matcher: Option<MatcherHead>,
    /// File with inputs and the reference's outputs, which `pictor model verify` replays, if the folder carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<String>,
    /// Lower-case hexadecimal BLAKE3 over what decides the vectors: for each of image file, text file, tokenizer and matcher
    /// file, its name, a zero byte and the 32-byte BLAKE3 of its content, and after a graph the same of each file that holds
    /// weights of it, in order of first mention; then the canonical JSON (sorted keys, no spaces, UTF-8) of `{"dim", "image",
    /// "text"}`, and `"matcher"` if there is one, as they stand here but for `variants`: those are the same model, rounded.
    ///
    /// Empty in a manifest that a foreign layout was read into, until the folder's files are hashed.
    pub fingerprint: String,
}

/// The graph that makes embeddings of images: f32 `[batch, 3, height, width]` to f32 `[batch, dim]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTower {
    /// ONNX file in the folder.
    pub file: String,
    /// Name of the graph's input.
    pub input: String,
    /// Name of the graph's output.
    pub output: String,
    /// The same graph at other precisions.
    #[serde(default, skip_serializing_if = "Variants::is_empty")]
    pub variants: Variants,
    /// Name of the output that a matcher attends to, f32 `[batch, tokens, width]`; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// From pixels to the input tensor.
    pub preprocess: Preprocess,
}

/// The graph that makes embeddings of texts: i64 `[batch, sequence]`, once or twice, to f32 `[batch, dim]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTower {
    /// ONNX file in the folder.
    pub file: String,
    /// Name of the input that takes token ids.
    pub input_ids: String,
    /// Name of the input that takes 1 for tokens and 0 for padding; absent when the graph has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_mask: Option<String>,
    /// Name of the graph's output.
    pub output: String,
    /// The same graph at other precisions.
    #[serde(default, skip_serializing_if = "Variants::is_empty")]
    pub variants: Variants,
    /// Name of the output that a matcher compares with an image's features, f32 `[batch, sequence, width]`; absent when there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Tokenizer file in the folder (Hugging Face `tokenizer.json`).
    pub tokenizer: String,
    /// What is done to a text before the tokenizer sees it.
    #[serde(default, skip_serializing_if = "Clean::is_none")]
    pub clean: Clean,
    /// Most tokens of a text, special tokens included; longer texts are truncated and keep their last special token.
    pub context_length: usize,
    /// Token id that fills a text up to its length.
    pub pad_id: u32,
    /// To which length texts are filled up.
    pub pad: Padding,
}

/// To which length the token ids of a text are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// As long as the longest of a batch; the graph takes any length, and its mask hides the padding.
    Longest,
    /// Always [`TextTower::context_length`], as the model was trained (SigLIP, CLIP graphs of fixed length).
    MaxLength,
}

/// The graph that scores an image and a text together: a text, and f32 `[batch, tokens, width]` of an image, to f32 `[batch, 2]`, the
/// logits of "no match" and "match", and in some models their ITC cosine.
///
/// A head takes a text in one of two forms: token ids, where it is a text encoder of its own that attends to the image (BLIP), or
/// the states of the text tower, where it compares them with the image's (the bundled model).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatcherHead {
    /// ONNX file in the folder.
    pub file: String,
    /// Name of the input that takes token ids, i64 `[batch, sequence]`; absent when `text_features` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_ids: Option<String>,
    /// Name of the input that takes [`TextTower::features`]; absent when `input_ids` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_features: Option<String>,
    /// Name of the input that takes 1 for tokens and 0 for padding; absent when the graph has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_mask: Option<String>,
    /// Name of the input that takes [`ImageTower::features`].
    pub image_features: String,
    /// Name of the output that has the two logits.
    pub output: String,
    /// Name of an output that is the pair's ITC cosine, f32 `[batch, 1]`, in a model that has more than one vector an image (BLIP-2
    /// takes the best of 32); absent where it is the cosine of the two towers' embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itc: Option<String>,
    /// The same graph at other precisions.
    #[serde(default, skip_serializing_if = "Variants::is_empty")]
    pub variants: Variants,
    /// The token id that replaces a text's first one (BLIP's `[ENC]`); absent when none does (BLIP-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<u32>,
    /// How much the ITC cosine counts in the ranking score, `match logit + itc_weight × cosine`; 1 unless it says otherwise, which
    /// is BLIP's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itc_weight: Option<f32>,
}

impl MatcherHead {
    /// The graph's input that takes the text.
    pub(crate) fn text(&self) -> Result<MatcherText<'_>, String> {
        match (&self.input_ids, &self.text_features) {
            (Some(name), None) => Ok(MatcherText::Ids(name)),
            (None, Some(name)) => Ok(MatcherText::Features(name)),
            _ => Err("matcher must name one of input_ids and text_features".into()),
        }
    }
}

/// In which form a matcher's head takes a text, and the name of that input.
#[derive(Clone, Copy)]
pub(crate) enum MatcherText<'a> {
    /// Token ids.
    Ids(&'a str),
    /// [`TextTower::features`].
    Features(&'a str),
}

/// A tower's files at other precisions than that of its `file`, which is the full one: float32 weights, or whatever the folder has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variants {
    /// Weights and arithmetic in float16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp16: Option<String>,
    /// Weights, and usually activations, in 8-bit integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<String>,
}

impl Variants {
    fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// The activation of a transformer's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`: OpenAI's CLIP, DFN and MetaCLIP.
    QuickGelu,
    /// `x * (1 + erf(x / sqrt 2)) / 2`: LAION and DataComp.
    Gelu,
    /// The approximation by tanh: SigLIP in transformers, SigLIP 2.
    GeluTanh,
}

impl Activation {
    /// As it is written in `pictor.json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::QuickGelu => "quick-gelu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
        }
    }
}

impl ModelManifest {
    /// Reads and checks the text of a `pictor.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] when it is not JSON, not format 1, or says something no model can be.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self, ModelError> {
        let wrong = |reason: String| ModelError::Manifest { path: path.to_owned(), reason };
        let value: Value = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        // Before the rest: a later format may well not parse as this one, and its version is the useful thing to say.
        if value.get("format") != Some(&Value::from(FORMAT)) {
            let received = value.get("format").unwrap_or(&Value::Null);
            return Err(wrong(format!(
                "format is {received}, expected {FORMAT}; a newer Pictor may read it"
            )));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    /// What makes the model's vectors comparable.
    pub fn spec(&self) -> EncoderSpec {
        EncoderSpec { name: self.name.clone(), dim: self.dim, fingerprint: self.fingerprint.clone() }
    }

    /// The graphs, in the fingerprint's order.
    pub(crate) fn graphs(&self) -> impl Iterator<Item = &str> {
        [&self.image.file, &self.text.file]
            .into_iter()
            .chain(self.matcher.as_ref().map(|head| &head.file))
            .map(String::as_str)
    }

    /// Every file that it names.
    fn files(&self) -> impl Iterator<Item = &str> {
        let heads = self.matcher.as_ref().map(|head| &head.variants);
        let variants = [&self.image.variants, &self.text.variants].into_iter().chain(heads);
        let variants = variants.flat_map(|variants| [&variants.fp16, &variants.int8]).flatten();
        let others = [Some(&self.text.tokenizer), self.golden.as_ref()].into_iter().flatten();
        self.graphs().chain(variants.chain(others).map(String::as_str))
    }

    fn check(&self) -> Result<(), String> {
        let preprocess @ Preprocess { height, width, resize, mean, std, .. } = &self.image.preprocess;
        let edge = preprocess.edge();
        for (what, side) in [("height", *height), ("width", *width), ("shortest_edge", edge)] {
            if !(1..=MAX_INPUT_SIDE).contains(&side) {
                return Err(format!("image.preprocess.{what} is {side}, expected 1 to {MAX_INPUT_SIDE}"));
            }
        }
        if *resize == ResizeMode::ShortestEdgeCenterCrop && edge < *height.max(width) {
            return Err(format!(
                "image.preprocess cannot crop {width} × {height} pixels when the shortest edge is {edge}; \
                 shortest_edge must be at least as long as both"
            ));
        }
        if *resize == ResizeMode::Squash && preprocess.shortest_edge.is_some() {
            return Err(
                "image.preprocess.shortest_edge goes with shortest-edge-center-crop, not with squash".into(),
            );
        }
        if mean.iter().chain(std).any(|x| !x.is_finite()) || std.contains(&0.0) {
            return Err("image.preprocess.mean and .std must be finite, and .std not zero".into());
        }
        if self.dim == 0 {
            return Err("dim is 0".into());
        }
        if !(1..=MAX_CONTEXT).contains(&self.text.context_length) {
            let length = self.text.context_length;
            return Err(format!("text.context_length is {length}, expected 1 to {MAX_CONTEXT}"));
        }
        if let Some(head) = &self.matcher {
            head.text()?;
            if head.itc_weight.is_some_and(|weight| !weight.is_finite()) {
                return Err("matcher.itc_weight must be finite".into());
            }
        }
        match self.files().find(|name| !is_inside(name)) {
            Some(name) => Err(format!("'{name}' is not a file name inside the folder")),
            None => Ok(()),
        }
    }
}

/// Whether `name` is a relative path of plain components, so that joining it to a folder stays inside: what came
/// from elsewhere must not make us read or write outside it.
pub(crate) fn is_inside(name: &str) -> bool {
    let plain = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && !name.split('/').any(|part| part.is_empty() || part == ".")
        && plain(name)
}

/// [`ModelManifest::fingerprint`] of the manifest `json`, whose files have these names and contents.
///
/// Name, licence and golden file do not count: they change nothing in a vector.
pub(crate) fn fingerprint(json: &Value, contents: &[(String, blake3::Hash)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, content) in contents {
        hasher.update(name.as_bytes()).update(&[0]).update(content.as_bytes());
    }
    let mut decides = serde_json::Map::new();
    for key in ["dim", "image", "matcher", "text"] {
        let Some(value) = json.get(key) else { continue };
        let mut value = value.clone();
        if let Some(tower) = value.as_object_mut() {
            tower.remove("variants");
        }
        decides.insert(key.into(), value);
    }
    let mut canonical = String::new();
    write_canonical(&Value::Object(decides), &mut canonical);
    hasher.update(canonical.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Keys sorted, no spaces, UTF-8: Python's `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`.
///
/// Written out because `serde_json::Map` sorts its keys or not depending on a feature that any crate of a build may enable.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_canonical(&Value::from(key.as_str()), out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn paths_that_stay_inside() {
        for good in ["a", "a/b.onnx", "visual/523d3c00-47e7", ".hidden", "a..b"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a/.", "a\\b", "a\0"] {
            assert!(!is_inside(bad), "{bad:?}");
        }
    }
}
