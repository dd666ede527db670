//! ONNX Runtime behind the [`Runtime`] trait.
//!
//! Inputs and outputs are bound: rows are gathered once, into memory that is kept from run to run (page-locked for a GPU, which
//! copies from it several times as fast), and converted on the way to the type that the graph takes.

use std::sync::{Mutex, PoisonError};
use std::{slice, thread};

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::ep::ExecutionProviderDispatch;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Outlet, TensorElementType};

use super::device::Device;
use super::library::Library;
use super::tensor::{Numbers, Rows, Tensor};
use super::{Graph, InputKind, Runtime, RuntimeError, gpu};
use crate::folder::GraphFile;

/// The name by which it is chosen and reported.
pub(super) const NAME: &str = "onnxruntime";

/// Threads that gather rows for a GPU, which is faster than one of them.
const GPU_GATHERERS: usize = 4;

/// How a session uses the machine.
#[derive(Clone, Copy)]
pub(super) struct Placement {
    pub device: Device,
    /// Threads inside each operator on the processor.
    pub threads: usize,
    /// Most bytes of a GPU's memory.
    pub gpu_memory: Option<usize>,
    /// Longest batch that will come.
    pub most: usize,
}

/// A graph in an ONNX Runtime session, which runs whole batches and uses its threads inside each operator.
///
/// A run wants the session exclusively: parts of ONNX Runtime are not thread-safe. One caller at a time loses nothing, as a
/// run takes all threads it was given.
struct OrtRuntime(Mutex<Bound>);

/// A session with what it reads from and writes to.
struct Bound {
    session: Session,
    binding: IoBinding,
    inputs: Vec<Input>,
    outputs: Vec<String>,
    /// Of the memory that inputs are gathered in.
    allocator: Allocator,
    host: MemoryInfo<'static>,
    gatherers: usize,
}

struct Input {
    name: String,
    element: TensorElementType,
    /// That of the last run; kept while batches have the same shape, as they do but for the last.
    tensor: Option<DynTensor>,
}

/// The graph, ready to run on a device.
pub(super) fn runtime(
    graph: &Graph<'_>,
    library: &Library,
    on: Placement,
) -> Result<Box<dyn Runtime>, String> {
    Ok(Box::new(OrtRuntime(Mutex::new(load(graph, library, on)?))))
}

fn load(graph: &Graph<'_>, library: &Library, on: Placement) -> Result<Bound, String> {
    let providers = gpu::session_providers(on.device, graph, on.most, on.gpu_memory);
    let providers = providers.map_err(|error| error.to_string())?;
    let session = session(graph, library, providers, on.threads).map_err(|error| error.to_string())?;
    let names =
        |outlets: &[Outlet]| outlets.iter().map(|outlet| outlet.name().to_owned()).collect::<Vec<_>>();
    graph.check_names(&names(session.inputs()), &names(session.outputs()))?;
    let inputs = graph.inputs.iter().map(|input| {
        let outlet = session.inputs().iter().find(|outlet| outlet.name() == input.name);
        let element = outlet.and_then(|outlet| outlet.dtype().tensor_type());
        let element = element.ok_or_else(|| format!("input '{}' is no tensor", input.name))?;
        let ours = match input.kind {
            InputKind::Pixels { .. } | InputKind::Features { .. } | InputKind::States { .. } => {
                [TensorElementType::Float32, TensorElementType::Float16]
            }
            InputKind::Tokens { .. } => [TensorElementType::Int64, TensorElementType::Int32],
        };
        match ours.contains(&element) {
            true => Ok(Input { name: input.name.to_owned(), element, tensor: None }),
            false => Err(input.kind.mismatch(input.name, element)),
        }
    });
    let inputs = inputs.collect::<Result<_, String>>()?;
    let outputs = graph.outputs.iter().map(|name| (*name).to_owned()).collect();
    bind(session, inputs, outputs, on.device).map_err(|error| error.to_string())
}

/// The bare session, as its own documentation would use it: one tensor that is there already, a plain run. The measure of what
/// the rest of this file costs.
pub(super) fn bare(
    graph: &Graph<'_>,
    library: &Library,
    on: Placement,
    rows: &Rows<'_>,
) -> Result<impl FnMut() -> Result<(), RuntimeError> + use<>, String> {
    let Bound { mut session, mut inputs, .. } = load(graph, library, on)?;
    let mut input = inputs.pop().filter(|_| inputs.is_empty()).ok_or("the graph takes several inputs")?;
    input.gather(rows, &Allocator::default(), 1).map_err(|error| error.to_string())?;
    let tensor = input.tensor.ok_or("no tensor")?;
    Ok(move || {
        let inputs = vec![(input.name.as_str(), SessionInputValue::from(&tensor))];
        session.run(inputs).map(drop).map_err(|error| failed(error.to_string()))
    })
}

fn session(
    graph: &Graph<'_>,
    library: &Library,
    providers: Vec<ExecutionProviderDispatch>,
    threads: usize,
) -> ort::Result<Session> {
    let mut builder = Session::builder(&library.environment)?
        .with_execution_providers(providers)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Threads that spin between runs take the cores that decode the next batch.
        .with_intra_op_spinning(false)?;
    match &graph.file {
        GraphFile::Bytes(bytes) => builder.commit_from_memory(bytes),
        GraphFile::Path(path) => builder.commit_from_file(path),
        GraphFile::Cut { bytes, directory } => {
            // Where weights that are not in the bytes lie (onnxruntime_session_options_config_keys.h).
            let key = "session.model_external_initializers_file_folder_path";
            builder.with_config_entry(key, directory.to_string_lossy())?.commit_from_memory(bytes)
        }
    }
}

fn bind(session: Session, inputs: Vec<Input>, outputs: Vec<String>, device: Device) -> ort::Result<Bound> {
    let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
    let (allocator, gatherers) = match device {
        Device::Cpu => (Allocator::default(), 1),
        Device::Cuda(number) | Device::TensorRt(number) => (page_locked(&session, number), GPU_GATHERERS),
    };
    let binding = session.create_binding()?;
    Ok(Bound { session, binding, inputs, outputs, allocator, host, gatherers })
}

/// Memory that the GPU reads without the processor's help. Where ONNX Runtime offers none, ordinary memory does the same, only
/// slower. Up to ONNX Runtime 1.22 that of every GPU goes by number 0.
fn page_locked(session: &Session, number: u32) -> Allocator {
    let locked = |number: u32| {
        let device = AllocationDevice::CUDA_PINNED;
        let info = MemoryInfo::new(device, number as i32, AllocatorType::Device, MemoryType::CPUInput)?;
        Allocator::new(session, info)
    };
    locked(number).or_else(|_| locked(0)).unwrap_or_default()
}

impl Runtime for OrtRuntime {
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
        let mut bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bound.run(inputs).map_err(|error| failed(error.to_string()))
    }
}

impl Bound {
    fn run(&mut self, inputs: &[Rows<'_>]) -> ort::Result<Vec<Tensor>> {
        for (input, rows) in self.inputs.iter_mut().zip(inputs) {
            let name = input.name.clone();
            let tensor = input.gather(rows, &self.allocator, self.gatherers)?;
            // Each time, because binding is what copies to a GPU.
            self.binding.bind_input(name, tensor)?;
        }
        for output in &self.outputs {
            // Each time, because a bound output keeps the shape of the last run.
            self.binding.bind_output_to_device(output.as_str(), &self.host)?;
        }
        let outputs = self.session.run_binding(&self.binding)?;
        self.outputs.iter().map(|name| numbers(&outputs[name.as_str()])).collect()
    }
}

impl Input {
    /// The rows as one tensor of the type that the graph takes.
    fn gather(&mut self, rows: &Rows<'_>, allocator: &Allocator, threads: usize) -> ort::Result<&DynTensor> {
        let shape: Vec<i64> = [rows.len()].iter().chain(&rows.shape).map(|&side| side as i64).collect();
        let kept = self.tensor.take().filter(|tensor| tensor.shape()[..] == shape[..]);
        let mut tensor = match kept {
            Some(tensor) => tensor,
            None => new_tensor(allocator, self.element, shape)?,
        };
        match (self.element, &rows.numbers) {
            (TensorElementType::Float32, Numbers::F32(rows)) => {
                gather(&mut tensor, rows, threads, |to: &mut [f32], from: &[f32]| to.copy_from_slice(from));
            }
            (TensorElementType::Float16, Numbers::F32(rows)) => {
                gather(&mut tensor, rows, threads, |to: &mut [f16], from| to.convert_from_f32_slice(from));
            }
            (TensorElementType::Int64, Numbers::I64(rows)) => {
                gather(&mut tensor, rows, threads, |to: &mut [i64], from: &[i64]| to.copy_from_slice(from));
            }
            (TensorElementType::Int32, Numbers::I64(rows)) => {
                // Token ids: vocabularies are far below 2^31.
                let convert = |to: &mut [i32], from: &[i64]| {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from as i32);
                };
                gather(&mut tensor, rows, threads, convert);
            }
            (element, _) => return Err(ort::Error::new(format!("input '{}' takes {element}", self.name))),
        }
        Ok(self.tensor.insert(tensor))
    }
}

/// A tensor of zeros in memory that the processor can write.
fn new_tensor(allocator: &Allocator, element: TensorElementType, shape: Vec<i64>) -> ort::Result<DynTensor> {
    let mut tensor = DynTensor::new(allocator, element, shape)?;
    let bytes = element.byte_size(tensor.shape().num_elements()).unwrap_or_default();
    // SAFETY: the tensor has just been allocated with that many bytes, nobody else has a pointer to them, and both kinds of
    // memory that `bind` takes (ordinary, and page-locked for a GPU) are the processor's to write. Zero is a number of every
    // type that an input can have.
    unsafe { tensor.data_ptr_mut().cast::<u8>().write_bytes(0, bytes) };
    Ok(tensor)
}

/// Puts each row in its place, by `threads` threads. The tensor's elements are `T`, and it has as many rows as `rows`, each as
/// long as theirs.
fn gather<T: Send, S: Sync>(
    tensor: &mut DynTensor,
    rows: &[&[S]],
    threads: usize,
    put: impl Fn(&mut [T], &[S]) + Sync,
) {
    let length = tensor.shape().num_elements();
    let row = (length / rows.len().max(1)).max(1);
    // SAFETY: the tensor holds `length` elements of type `T` in memory that the processor can write, all of them set (see
    // `new_tensor`), and it is borrowed exclusively. `Tensor::try_extract_tensor_mut` would do the same, but takes page-locked
    // memory for a GPU's with ONNX Runtime 1.23 and later.
    let all = unsafe { slice::from_raw_parts_mut(tensor.data_ptr_mut().cast::<T>(), length) };
    let some = |(to, from): (&mut [T], &[&[S]])| {
        to.chunks_exact_mut(row).zip(from).for_each(|(to, from)| put(to, from));
    };
    let share = rows.len().div_ceil(threads).max(1);
    if share >= rows.len() {
        return some((all, rows));
    }
    thread::scope(|scope| {
        for part in all.chunks_mut(share * row).zip(rows.chunks(share)) {
            scope.spawn(|| some(part));
        }
    });
}

/// An output as f32.
fn numbers(output: &DynValue) -> ort::Result<Tensor> {
    let element = output.dtype().tensor_type();
    let (shape, data) = match element {
        Some(TensorElementType::Float32) => {
            let (shape, data) = output.try_extract_tensor::<f32>()?;
            (shape, data.to_vec())
        }
        Some(TensorElementType::Float16) => {
            let (shape, data) = output.try_extract_tensor::<f16>()?;
            (shape, data.to_f32_vec())
        }
        other => {
            let other = other.map_or("no tensor".to_owned(), |element| element.to_string());
            return Err(ort::Error::new(format!("the output is {other}, expected f32 or f16")));
        }
    };
    let shape = shape.iter().map(|&side| side as usize).collect();
    Ok(Tensor { shape, data })
}

/// Tells running out of memory from other failures, which ONNX Runtime does not (microsoft/onnxruntime#16307): by the words of
/// its arena, CUDA, cuBLAS, cuDNN and TensorRT, and of C++ for the processor's memory.
fn failed(reason: String) -> RuntimeError {
    const OUT_OF_MEMORY: [&str; 7] = [
        "failed to allocate memory",
        "available memory of",
        "out of memory",
        "outofmemory",
        "_alloc_failed",
        "bad_alloc",
        "bad allocation",
    ];
    let lower = reason.to_lowercase();
    match OUT_OF_MEMORY.iter().any(|words| lower.contains(words)) {
        true => RuntimeError::OutOfMemory(reason),
        false => RuntimeError::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_out_of_memory_by_its_words() {
        for reason in [
            "Non-zero status code returned while running ReduceSum node. Name:'a' Status Message: bfc_arena.cc:376 void* \
             onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for \
             requested buffer of size 939524096",
            "Available memory of 1024 is smaller than requested bytes of 4096",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
            "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
            "std::bad_alloc",
        ] {
            assert!(matches!(failed(reason.into()), RuntimeError::OutOfMemory(_)), "{reason}");
        }
        for reason in
            ["Invalid rank for input: pixels", "CUDA failure 700: an illegal memory access was encountered"]
        {
            assert!(matches!(failed(reason.into()), RuntimeError::Failed(_)), "{reason}");
        }
    }
}
