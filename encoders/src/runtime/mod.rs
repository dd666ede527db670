//! What runs the graphs: tensors in, tensors out.
//!
//! Two implementers stand behind one private trait, chosen at run time: ONNX Runtime when its shared library is found (two
//! to three times as fast, and the way to GPUs), and tract, pure Rust, which is always there. The seam is this low so that
//! tokenising, preprocessing and normalising exist once; batching and sharing out among devices are implementers of the same
//! trait that stand before the others:
//!
//! ```text
//! Workers ──▶ Batches ──▶ graph on cuda:0
//!         └─▶ Batches ──▶ graph on cuda:1
//! ```
//!
//! | question | file |
//! |---|---|
//! | Which runtime, which device, and what was it? | `options.rs`, `device.rs`, decided in `engine.rs` |
//! | Where is the ONNX Runtime library found? | `library.rs`, after a look at its headers in `elf.rs` |
//! | What does a GPU take? | `gpu.rs` |
//! | Which of a model's files is loaded? | `precision.rs` |
//! | Who cuts batches, and what if memory runs out? | `batches.rs` |
//! | Who shares work among devices? | `workers.rs` |
//!
//! What must stay true: both give the same vectors (cosine > 0.9999), row `i` of an output depends on row `i` of the inputs
//! alone, and which one was chosen, and why, can always be told ([`RuntimeInfo`]).

mod batches;
mod device;
mod elf;
mod engine;
mod gpu;
mod library;
mod options;
mod ort;
mod precision;
mod tensor;
mod tract;
mod workers;

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

pub use device::{Device, Devices};
pub(crate) use engine::Engine;
pub use options::{Notes, RuntimeChoice, RuntimeInfo, RuntimeOptions};
pub use precision::Precision;
pub(crate) use tensor::{Numbers, Rows, Tensor};

use crate::error::ModelError;
use crate::folder::GraphFile;

/// What `options` come to on this machine.
///
/// ONNX Runtime's library is looked for in `$ORT_DYLIB_PATH` (a file, or a directory that holds it), then under
/// `$XDG_CACHE_HOME/pictor/onnxruntime` (`~/.cache/pictor/onnxruntime` unless set), then in `$LD_LIBRARY_PATH` and the
/// system's library directories.
///
/// # Errors
/// [`ModelError::NoOnnxRuntime`] and [`ModelError::BadOnnxRuntime`] when ONNX Runtime was named and is not usable, and also
/// for `auto` when `ORT_DYLIB_PATH` points at something that is not: who sets it means it. [`ModelError::Device`] and
/// [`ModelError::TractDevice`] when a device was named that is not there.
pub fn runtime_info(options: &RuntimeOptions) -> Result<RuntimeInfo, ModelError> {
    Ok(Engine::start(options)?.info().clone())
}

/// Why a graph did not run, in the runtime's own words.
#[derive(Debug, Error)]
pub(crate) enum RuntimeError {
    /// The batch does not fit in the device's memory; a smaller one may.
    #[error("{0}")]
    OutOfMemory(String),
    #[error("{0}")]
    Failed(String),
}

/// A loaded graph.
pub(crate) trait Runtime: Send + Sync {
    /// Runs the graph. `inputs` are in the order the graph was loaded with, and have the same number of rows, at least one; so
    /// have the outputs, and row `i` depends on row `i` of the inputs alone.
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError>;
}

/// A graph to load, and what is known of it.
pub(crate) struct Graph<'a> {
    pub file: GraphFile,
    /// Where the file is, for messages.
    pub path: PathBuf,
    pub inputs: Vec<Input<'a>>,
    /// Names of the outputs wanted, in the order wanted.
    pub outputs: Vec<&'a str>,
    /// The model's.
    pub fingerprint: &'a str,
    /// Whether its weights are float16.
    pub half: bool,
    /// Rows of every batch, when the graph was exported for that many and no others.
    pub fixed_batch: Option<usize>,
}

impl Graph<'_> {
    /// Fails unless the graph takes exactly the inputs that the manifest names, and gives its outputs.
    fn check_names(&self, inputs: &[String], outputs: &[String]) -> Result<(), String> {
        let named: Vec<&str> = self.inputs.iter().map(|input| input.name).collect();
        let (mut sorted, mut expected) = (inputs.to_vec(), named.clone());
        sorted.sort_unstable();
        expected.sort_unstable();
        if sorted != expected {
            return Err(format!("it takes {inputs:?}, and the manifest names {named:?}"));
        }
        match self.outputs.iter().find(|name| !outputs.iter().any(|output| output == *name)) {
            Some(name) => Err(format!("it gives {outputs:?}, and the manifest names '{name}'")),
            None => Ok(()),
        }
    }
}

/// One input of a graph.
pub(crate) struct Input<'a> {
    pub name: &'a str,
    pub kind: InputKind,
}

/// Element type and shape of an input, the batch axis left out.
#[derive(Clone, Copy)]
pub(crate) enum InputKind {
    /// f32 `[3, height, width]`.
    Pixels { height: usize, width: usize },
    /// i64 `[sequence]`, of one length or of any up to the longest.
    Tokens { length: Option<usize>, longest: usize },
    /// f32 `[tokens, width]`, what a matcher keeps of an image.
    Features { tokens: usize, width: usize },
    /// f32 `[sequence, width]`, what a matcher keeps of a text.
    States { longest: usize, width: usize },
}

impl InputKind {
    /// Why a graph's input that takes numbers of type `element` is not of this kind.
    fn mismatch(self, input: &str, element: impl fmt::Display) -> String {
        let ours = match self {
            Self::Pixels { .. } => "pixels (f32 or f16)",
            Self::Tokens { .. } => "token ids (i64 or i32)",
            Self::Features { .. } | Self::States { .. } => "features (f32 or f16)",
        };
        format!("input '{input}' takes {element}, and the manifest says {ours}")
    }

    /// The smallest row there can be.
    fn shortest(self) -> Vec<usize> {
        match self {
            Self::Pixels { height, width } => vec![3, height, width],
            Self::Tokens { length, .. } => vec![length.unwrap_or(1)],
            Self::Features { tokens, width } => vec![tokens, width],
            Self::States { width, .. } => vec![1, width],
        }
    }

    /// The largest row there can be.
    fn longest(self) -> Vec<usize> {
        match self {
            Self::Pixels { .. } | Self::Features { .. } => self.shortest(),
            Self::Tokens { length, longest } => vec![length.unwrap_or(longest)],
            Self::States { longest, width } => vec![longest, width],
        }
    }
}
