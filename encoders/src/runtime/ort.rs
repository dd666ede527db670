//! ONNX Runtime behind the [`Runtime`] trait.

use std::sync::{Mutex, PoisonError};

use ort::session::{Session, SessionInputValue, builder::GraphOptimizationLevel};
use ort::value::TensorRef;

use super::library::Library;
use super::{Graph, Numbers, Runtime, RuntimeError, Tensor};
use crate::folder::GraphFile;

/// The name by which it is chosen and reported.
pub(super) const NAME: &str = "onnxruntime";

/// A graph in an ONNX Runtime session, which runs whole batches and uses its threads inside each operator.
struct OrtRuntime {
    /// `Session::run` wants it exclusively: parts of ONNX Runtime are not thread-safe. One caller at a time loses nothing, as
    /// a run takes all threads it was given.
    session: Mutex<Session>,
    inputs: Vec<String>,
    output: String,
}

pub(super) fn load(graph: Graph<'_>, library: &Library, threads: usize) -> Result<Box<dyn Runtime>, String> {
    let session = session(&graph.file, library, threads).map_err(|error| error.to_string())?;
    let has_inputs: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
    let has_outputs: Vec<&str> = session.outputs().iter().map(|output| output.name()).collect();
    graph.check_names(&has_inputs, &has_outputs)?;
    let inputs = graph.inputs.iter().map(|input| input.name.to_owned()).collect();
    Ok(Box::new(OrtRuntime { session: Mutex::new(session), inputs, output: graph.output.to_owned() }))
}

fn session(file: &GraphFile, library: &Library, threads: usize) -> ort::Result<Session> {
    let mut builder = Session::builder(&library.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Threads that spin between runs take the cores that decode the next batch.
        .with_intra_op_spinning(false)?;
    match file {
        GraphFile::Bytes(bytes) => builder.commit_from_memory(bytes),
        GraphFile::Path(path) => builder.commit_from_file(path),
        GraphFile::Cut { bytes, directory } => {
            // Where weights that are not in the bytes lie (onnxruntime_session_options_config_keys.h).
            let key = "session.model_external_initializers_file_folder_path";
            builder.with_config_entry(key, directory.to_string_lossy())?.commit_from_memory(bytes)
        }
    }
}

impl Runtime for OrtRuntime {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        let values =
            inputs.iter().map(|tensor| value(tensor).map_err(failed)).collect::<Result<Vec<_>, _>>()?;
        let named: Vec<_> = self.inputs.iter().map(String::as_str).zip(values).collect();
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(named).map_err(failed)?;
        let output =
            outputs.get(&self.output).ok_or_else(|| RuntimeError(format!("no output '{}'", self.output)))?;
        let (shape, data) = output.try_extract_tensor::<f32>().map_err(failed)?;
        let shape = shape.iter().map(|&side| side as usize).collect();
        Ok(vec![Tensor { shape, data: Numbers::F32(data.to_vec()) }])
    }
}

/// A view of `tensor`, without a copy.
fn value(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let shape = tensor.shape.as_slice();
    Ok(match &tensor.data {
        Numbers::F32(data) => TensorRef::from_array_view((shape, data.as_slice()))?.into(),
        Numbers::I64(data) => TensorRef::from_array_view((shape, data.as_slice()))?.into(),
    })
}

fn failed(error: ort::Error) -> RuntimeError {
    RuntimeError(error.to_string())
}
