//! What runs the graphs: tensors in, tensors out.
//!
//! Two implementers stand behind one private trait, chosen at run time: ONNX Runtime when its shared library is found (two
//! to three times as fast, and the way to accelerators), and tract, pure Rust, which is always there. The seam is this low so that
//! tokenising, preprocessing, batching and normalising exist once.
//!
//! What must stay true: both give the same vectors (cosine > 0.9999), row `i` of an output depends on row `i` of the inputs
//! alone, and which one was chosen, and why, can always be told ([`RuntimeInfo`]).

mod elf;
mod library;
mod ort;
mod tract;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::available_parallelism;

use thiserror::Error;

use crate::error::ModelError;
use crate::folder::GraphFile;

/// Which runtime to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// ONNX Runtime if its library is found, otherwise tract.
    #[default]
    Auto,
    /// tract: pure Rust, inside the binary.
    Tract,
    /// ONNX Runtime; an error if its library is not found.
    OnnxRuntime,
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Tract => tract::NAME,
            Self::OnnxRuntime => ort::NAME,
        })
    }
}

impl FromStr for RuntimeChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let all = [Self::Auto, Self::Tract, Self::OnnxRuntime];
        let found = all.into_iter().find(|choice| choice.to_string() == text);
        found.ok_or_else(|| ModelError::UnknownRuntime { name: text.into() })
    }
}

/// Which runtime to use, and how much of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// Which runtime.
    pub choice: RuntimeChoice,
    /// Threads of one inference; 0 is one for each core.
    pub threads: usize,
}

/// The runtime that a choice came to on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `tract` or `onnxruntime`.
    pub name: &'static str,
    /// Its version, as far as it tells.
    pub version: String,
    /// The shared library that was loaded, if it is one.
    pub library: Option<PathBuf>,
    /// Why an ONNX Runtime library that `auto` met was not taken; empty otherwise. To be shown wherever the runtime is.
    pub passed_over: Vec<String>,
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        if let Some(library) = &self.library {
            write!(f, " ({})", library.display())?;
        }
        self.passed_over.iter().try_for_each(|why| write!(f, "; passed over: {why}"))
    }
}

/// What `choice` comes to on this machine.
///
/// ONNX Runtime's library is looked for in `$ORT_DYLIB_PATH` (a file, or a directory that holds it), then under
/// `$XDG_CACHE_HOME/pictor/onnxruntime` (`~/.cache/pictor/onnxruntime` unless set), then in `$LD_LIBRARY_PATH` and the
/// system's library directories.
///
/// # Errors
/// [`ModelError::NoOnnxRuntime`] and [`ModelError::BadOnnxRuntime`] when ONNX Runtime was named and is not usable, and also
/// for `auto` when `ORT_DYLIB_PATH` points at something that is not: who sets it means it.
pub fn runtime_info(choice: RuntimeChoice) -> Result<RuntimeInfo, ModelError> {
    Ok(Engine::start(&RuntimeOptions { choice, threads: 1 })?.info().clone())
}

/// Numbers in row-major order, the batch on the first axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub shape: Vec<usize>,
    pub data: Numbers,
}

/// The element types that towers take and give.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

/// Why a graph did not run, in the runtime's own words.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct RuntimeError(pub String);

/// A loaded graph.
pub(crate) trait Runtime: Send + Sync {
    /// Runs the graph. `inputs` are in the order the graph was loaded with, and have the same number of rows; so have the
    /// outputs, and row `i` depends on row `i` of the inputs alone.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError>;
}

/// A graph to load, and what is known of it.
pub(crate) struct Graph<'a> {
    pub file: GraphFile,
    /// Where the file is, for messages.
    pub path: PathBuf,
    pub inputs: Vec<Input<'a>>,
    /// Name of the one output wanted.
    pub output: &'a str,
}

impl Graph<'_> {
    /// Fails unless the graph takes exactly the inputs that the manifest names, and gives its output.
    fn check_names(&self, inputs: &[&str], outputs: &[&str]) -> Result<(), String> {
        let named: Vec<&str> = self.inputs.iter().map(|input| input.name).collect();
        let (mut sorted, mut expected) = (inputs.to_vec(), named.clone());
        sorted.sort_unstable();
        expected.sort_unstable();
        if sorted != expected {
            return Err(format!("it takes {inputs:?}, and the manifest names {named:?}"));
        }
        if !outputs.contains(&self.output) {
            return Err(format!("it gives {outputs:?}, and the manifest names '{}'", self.output));
        }
        Ok(())
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
    /// i64 `[sequence]`, of one length or of any.
    Tokens { length: Option<usize> },
}

/// A chosen runtime, ready to load graphs.
pub(crate) struct Engine {
    info: RuntimeInfo,
    backend: Backend,
}

enum Backend {
    Tract(Arc<rayon::ThreadPool>),
    Ort { library: &'static library::Library, threads: usize },
}

impl Engine {
    pub fn start(options: &RuntimeOptions) -> Result<Self, ModelError> {
        let threads = match options.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let found = match options.choice {
            RuntimeChoice::Tract => library::Found::default(),
            RuntimeChoice::Auto => library::find()?,
            RuntimeChoice::OnnxRuntime => library::require()?,
        };
        let because = |(path, reason): (PathBuf, String)| format!("{}: {reason}", path.display());
        let passed_over = found.passed_over.into_iter().map(because).collect();
        if let Some(library) = found.library {
            let (version, path) = (library.version.clone(), Some(library.path.clone()));
            let info = RuntimeInfo { name: ort::NAME, version, library: path, passed_over };
            return Ok(Self { info, backend: Backend::Ort { library, threads } });
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("tract-{i}"))
            .build()
            .map_err(|source| ModelError::Threads { threads, source })?;
        let version = tract::VERSION.to_owned();
        let info = RuntimeInfo { name: tract::NAME, version, library: None, passed_over };
        Ok(Self { info, backend: Backend::Tract(Arc::new(pool)) })
    }

    pub fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    pub fn load(&self, graph: Graph<'_>) -> Result<Box<dyn Runtime>, ModelError> {
        let path = graph.path.clone();
        let loaded = match &self.backend {
            Backend::Tract(pool) => tract::load(graph, pool.clone()),
            Backend::Ort { library, threads } => ort::load(graph, library, *threads),
        };
        loaded.map_err(|reason| ModelError::Graph { runtime: self.info.name, path, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_what_they_print() {
        for choice in [RuntimeChoice::Auto, RuntimeChoice::Tract, RuntimeChoice::OnnxRuntime] {
            assert_eq!(choice.to_string().parse::<RuntimeChoice>().unwrap(), choice);
        }
        assert!(matches!("cuda".parse::<RuntimeChoice>(), Err(ModelError::UnknownRuntime { .. })));
    }
}
