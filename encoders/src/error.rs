//! Why a model does not open, by what can be done about it.
//!
//! What goes wrong with one image or one batch is in `pictor_core` ([`pictor_core::DecodeError`],
//! [`pictor_core::EncodeError`]), where every encoder shares it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model folder or a runtime does not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No such model.
    #[error(
        "no model '{name}': it is neither bundled ({bundled}) nor a directory with a pictor.json{searched}; \
         name a model folder, or add its parent directory to PICTOR_MODELS",
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
    /// `pictor.json` is not one.
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
        "no ONNX Runtime library found{tried}; run `pip download --no-deps onnxruntime`, unzip the wheel and set \
         ORT_DYLIB_PATH to its onnxruntime/capi/libonnxruntime.so.*, or use the tract runtime",
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
    /// A precision was named that does not exist.
    #[error("unknown precision '{name}', expected fp32, fp16 or int8")]
    UnknownPrecision {
        /// What was asked for.
        name: String,
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
