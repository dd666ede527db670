//! Why a model does not open, by what can be done about it.
//!
//! What goes wrong with one image or one batch is in `pictor_core` ([`pictor_core::DecodeError`],
//! [`pictor_core::EncodeError`]), where every encoder shares it.

use std::path::PathBuf;

use thiserror::Error;

use crate::runtime::{Device, Precision};

/// Why a model folder or a runtime does not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No such model.
    #[error(
        "no model '{name}': it is neither bundled ({bundled}) nor a model folder{searched}; \
         `pictor model list` shows what there is, `pictor model add` fetches one, PICTOR_MODELS says where to look",
        searched = list(", and these do not hold it: ", searched)
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// The bundled model's name.
        bundled: &'static str,
        /// Directories of the search path, all of which were tried.
        searched: Vec<PathBuf>,
    },
    /// A file of the folder cannot be read; the message names it.
    #[error("model folder: {0}")]
    Read(#[from] std::io::Error),
    /// The folder is a model's, and not all of it.
    #[error("{directory} lacks {file}: {supply}", directory = directory.display())]
    Missing {
        /// The model folder.
        directory: PathBuf,
        /// What is not there.
        file: String,
        /// Where to get it.
        supply: String,
    },
    /// A model was to match images and texts together, and has no head for that.
    #[error(
        "model '{name}' has no matcher (image-text matching head); pictor-mini has one, and models/export makes folders of BLIP ITM"
    )]
    NoMatcher {
        /// The model's name.
        name: String,
    },
    /// A graph is not an ONNX file, or not the one that the folder's settings describe.
    #[error("{path}: {reason}", path = path.display())]
    Onnx {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of settings is not one, or contradicts another.
    #[error("{path}: {reason}", path = path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The folder's files are not the ones its fingerprint was made of.
    #[error(
        "{path}: fingerprint is {stated}, but {files} and the parameters give {computed}; \
         a file was changed or only partly copied, so copy or export the folder again",
        path = path.display()
    )]
    Fingerprint {
        /// The manifest.
        path: PathBuf,
        /// Names of the files that it covers.
        files: String,
        /// What the manifest says.
        stated: String,
        /// What the files give.
        computed: String,
    },
    /// The tokenizer file is not one, or does not go with the manifest.
    #[error("{path}: {reason}", path = path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The tokenizer library's words, or ours.
        reason: String,
    },
    /// The runtime cannot load a graph.
    #[error("{runtime} cannot load {path}: {reason}", path = path.display())]
    Graph {
        /// `tract` or `onnxruntime`.
        runtime: &'static str,
        /// The ONNX file.
        path: PathBuf,
        /// The runtime's own words.
        reason: String,
    },
    /// ONNX Runtime was asked for by name and there is no library of it.
    #[error(
        "no ONNX Runtime library found{tried}; run `scripts/fetch-onnxruntime` of the sources, or \
         `pip download --no-deps onnxruntime`, unzip the wheel and set ORT_DYLIB_PATH to its \
         onnxruntime/capi/libonnxruntime.so.*, or use the tract runtime",
        tried = list("; looked for ", tried)
    )]
    NoOnnxRuntime {
        /// Places looked at, in order.
        tried: Vec<PathBuf>,
    },
    /// A file that should be the ONNX Runtime library is not usable.
    #[error(
        "{path} is not a usable ONNX Runtime library: {reason}; set ORT_DYLIB_PATH to one of version 1.{minor} or newer, \
         or use the tract runtime",
        path = path.display(),
        minor = ort::MINOR_VERSION
    )]
    BadOnnxRuntime {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A runtime was named that does not exist.
    #[error("unknown runtime '{name}', expected auto, tract or onnxruntime")]
    UnknownRuntime {
        /// What was asked for.
        name: String,
    },
    /// A device was named that does not exist.
    #[error(
        "unknown device '{name}', expected auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N, or several with commas"
    )]
    UnknownDevice {
        /// What was asked for.
        name: String,
    },
    /// A device was named that cannot be used here.
    #[error("device {device} cannot be used: {reason}; {remedy}")]
    Device {
        /// The device.
        device: Device,
        /// What is missing, or ONNX Runtime's own words.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A GPU was named for the runtime that has none.
    #[error("tract runs on the processor alone, not on {device}; use --runtime onnxruntime, or --device cpu")]
    TractDevice {
        /// The device.
        device: Device,
    },
    /// A precision was named that does not exist.
    #[error("unknown precision '{name}', expected auto, fp32, fp16 or int8")]
    UnknownPrecision {
        /// What was asked for.
        name: String,
    },
    /// The model folder has no files of a precision.
    #[error(
        "the model has no {precision} files; export it with them (models/export/), or use --precision auto"
    )]
    NoPrecision {
        /// What was asked for.
        precision: Precision,
    },
    /// The machine refused threads.
    #[error("cannot start {threads} inference threads: {source}; ask for fewer")]
    Threads {
        /// How many.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
}

fn list(lead: &str, paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() { String::new() } else { format!("{lead}{}", paths.join(", ")) }
}
