//! What a caller asks of a runtime, and what it came to on this machine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::device::{self, Device, Devices};
use super::precision::Precision;
use super::{ort, tract};
use crate::error::ModelError;

/// Which runtime to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// ONNX Runtime if its library is found or a GPU is named, otherwise tract.
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

/// Which runtime to use, on what, and how much of the machine.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Which runtime.
    pub choice: RuntimeChoice,
    /// Where it runs.
    pub devices: Devices,
    /// Which of the model's files it runs.
    pub precision: Precision,
    /// Threads of one inference, shared out among the workers when the processor is listed several times; 0 is one for each
    /// core.
    pub threads: usize,
    /// Most bytes that a graph may take of a GPU's memory; none is all that there is.
    pub gpu_memory: Option<usize>,
    /// Who hears what happens on the way and is no error.
    pub notes: Notes,
}

impl RuntimeOptions {
    /// A runtime on `threads` threads; everything else as by default.
    pub const fn new(choice: RuntimeChoice, threads: usize) -> Self {
        let (devices, precision, notes) = (Devices::Auto, Precision::Auto, Notes(None));
        Self { choice, devices, precision, threads, gpu_memory: None, notes }
    }
}

/// Hears remarks, such as that a batch was halved because memory ran out. By default nobody does.
#[derive(Clone, Default)]
pub struct Notes(Option<Arc<Ear>>);

/// Who hears a remark.
type Ear = dyn Fn(&str) + Send + Sync;

impl Notes {
    /// Calls `listener` with each remark, from whichever thread makes it.
    pub fn to(listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn say(&self, remark: &str) {
        if let Some(listener) = &self.0 {
            listener(remark);
        }
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Notes(heard)" } else { "Notes(unheard)" })
    }
}

/// The runtime that the options came to on this machine.
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
    /// The devices that share the work.
    pub devices: Vec<Device>,
    /// Why `auto` came to the processor; absent when it did not, or was not asked.
    pub why_cpu: Option<String>,
    /// ONNX Runtime's execution providers that were compiled into the library, by its own names; empty for tract.
    pub providers: Vec<&'static str>,
    /// Those that take part of the work here: each has been made to take a small graph.
    pub active_providers: Vec<&'static str>,
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        if let Some(library) = &self.library {
            write!(f, " ({})", library.display())?;
        }
        write!(f, " on {}", device::list(&self.devices))?;
        if let Some(why) = &self.why_cpu {
            write!(f, " ({why})")?;
        }
        self.passed_over.iter().try_for_each(|why| write!(f, "; passed over: {why}"))
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
