//! NVIDIA GPUs behind ONNX Runtime: whether one can be used, what is missing when not, and how a session is told to use it.
//!
//! ONNX Runtime keeps what it needs for a GPU in libraries of their own beside the main one, and those need CUDA's. When one is
//! missing it prints the reason and returns another, so the libraries are looked for here first, by what their headers say
//! they need; then a tiny graph is opened that may run nowhere but on the device. What passes both is there.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};
use ort::session::Session;
use ort::util::preload_dylib;

use super::device::Device;
use super::library::{self, Library};
use super::{Graph, InputKind, elf};
use crate::error::ModelError;

/// `y = x · x` over f32 `[n, n]`, as `onnx.helper` writes it for opset 13.
const PROBE: &[u8] = b"\x08\x08\x12\x00:H\n\x11\n\x01x\n\x01x\x12\x01y\"\x06MatMul\x12\x05probeZ\x15\n\x01x\x12\x10\n\x0e\x08\x01\
    \x12\n\n\x03\x12\x01n\n\x03\x12\x01nb\x15\n\x01y\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01n\n\x03\x12\x01nB\x04\n\x00\x10\r";

/// What to do about a library that is not there.
const FETCH: &str = "get ONNX Runtime with its CUDA libraries by `scripts/fetch-onnxruntime --cuda`, or by `pip download \
    'onnxruntime-gpu[cuda,cudnn]'`, all .so files of the wheels unzipped into one folder and ORT_DYLIB_PATH set to its \
    libonnxruntime.so.*; or use --device cpu";
const FETCH_TENSORRT: &str = "`pip download tensorrt-cu13-libs==10.*` has it: unzip its .so files beside libonnxruntime.so, or use \
    --device cuda";
const DRIVER: &str =
    "install NVIDIA's driver (in a container, start it with GPU access), or use --device cpu";
const OTHER: &str = "`nvidia-smi` lists the GPUs; name one of them, or use --device cpu";

/// The execution providers, as ONNX Runtime names them.
const CUDA: &str = "CUDAExecutionProvider";
const TENSORRT: &str = "TensorrtExecutionProvider";
const CPU: &str = "CPUExecutionProvider";

/// The providers compiled into the library, as far as Pictor knows them.
pub(super) fn compiled_in() -> Vec<&'static str> {
    use ep::ExecutionProvider;
    let has = [
        (TENSORRT, ep::TensorRT::is_available()),
        (CUDA, ep::CUDA::is_available()),
        (CPU, ep::CPU::is_available()),
    ];
    has.into_iter().filter(|(_, has)| matches!(has, Ok(true))).map(|(name, _)| name).collect()
}

/// The providers that take the work of `devices`: what the first lacks goes to the next.
pub(super) fn providers(devices: &[Device]) -> Vec<&'static str> {
    let any = |test: fn(&Device) -> bool| devices.iter().any(test);
    let has = [
        (TENSORRT, any(|device| matches!(device, Device::TensorRt(_)))),
        (CUDA, any(|device| device.is_gpu())),
        (CPU, true),
    ];
    has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// The devices that `auto` comes to, and why it is the processor when it is.
pub(super) fn choose(library: &Library) -> (Device, Option<String>) {
    let first = Device::Cuda(0);
    // Before CUDA's libraries, which are large, are loaded for nothing.
    if !has_nvidia_device(Path::new("/dev")) {
        return (Device::Cpu, Some("no NVIDIA GPU here".into()));
    }
    match check(library, first) {
        Ok(()) => (first, None),
        Err(error) => (Device::Cpu, Some(format!("an NVIDIA GPU is here, but {error}"))),
    }
}

/// Whether the driver shows a GPU: `nvidia0` and so on, or `dxg` under WSL.
fn has_nvidia_device(dev: &Path) -> bool {
    let is_gpu = |name: &str| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        name == "dxg" || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = fs::read_dir(dev).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_gpu))
}

/// Makes sure that ONNX Runtime can use `device`, and loads the libraries that it takes.
///
/// # Errors
/// [`ModelError::Device`], which names what is missing.
pub(super) fn check(library: &Library, device: Device) -> Result<(), ModelError> {
    let refuse = |reason: String, remedy: &'static str| ModelError::Device { device, reason, remedy };
    let names: &[&str] = match device {
        Device::Cpu => return Ok(()),
        Device::Cuda(_) => &["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"],
        Device::TensorRt(_) => &[
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime_providers_tensorrt.so",
            "libonnxruntime_providers_shared.so",
        ],
    };
    let folder = library.path.parent().unwrap_or(Path::new("/"));
    for name in names {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(refuse(format!("{name} is not beside {}", library.path.display()), FETCH));
        }
        let missing = load_needed(&path, folder).map_err(|reason| refuse(reason, FETCH))?;
        if let Some((missing, why)) = missing.into_iter().next() {
            let remedy = match missing.as_str() {
                "libcuda.so.1" => DRIVER,
                name if name.starts_with("libnv") && matches!(device, Device::TensorRt(_)) => FETCH_TENSORRT,
                _ => FETCH,
            };
            return Err(refuse(format!("{name} needs {missing}: {why}"), remedy));
        }
    }
    probe(library, device).map_err(|error| refuse(error.to_string().trim().to_owned(), OTHER))
}

/// Loads what the provider library `path` is linked against and what it opens as it goes (cuDNN, cuFFT), from beside it, from
/// the NVIDIA packages of the same Python environment, or from the system; what failed, the driver first, with the loader's
/// words.
///
/// Not the provider itself, which only ONNX Runtime can load.
fn load_needed(path: &Path, folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut names: BTreeSet<String> = elf::needed(path)?.into_iter().collect();
    let places = places(folder);
    let is_cuda = |name: &str| name.starts_with("libcu") || name.starts_with("libnv");
    if names.iter().any(|name| is_cuda(name)) {
        // cuDNN finds its own parts beside itself.
        names.insert("libcudnn.so.9".into());
        let beside = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
        let beside = beside.filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(
            beside.filter(|name| ["libcufft.", "libnvrtc."].iter().any(|lead| name.starts_with(lead))),
        );
    }
    let load = |name: &String| {
        let file = places.iter().map(|place| place.join(name)).find(|file| file.is_file());
        let whole = file.as_deref().map_or(Ok(()), elf::check_length);
        let loaded = whole.and_then(|()| preload_dylib(file.unwrap_or_else(|| name.into())).map_err(reason));
        loaded.err().map(|why| (name.clone(), why))
    };
    // One may need another that comes after it, so what fails is tried again for as long as that helps.
    let mut failed: Vec<_> = names.iter().filter_map(load).collect();
    loop {
        let again: Vec<_> = failed.iter().filter_map(|(name, _)| load(name)).collect();
        if again.len() == failed.len() {
            failed.sort_by_key(|(name, _)| name != "libcuda.so.1");
            return Ok(failed);
        }
        failed = again;
    }
}

/// The loader's own words, which lie below "dlopen failed".
fn reason(error: impl Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Where the libraries of NVIDIA may lie, for a library of ONNX Runtime in `folder`: there, and in `nvidia/*/lib` of the
/// `site-packages` whose `onnxruntime/capi` it is.
fn places(folder: &Path) -> Vec<PathBuf> {
    let packages = folder.join("../../nvidia");
    let packages =
        fs::read_dir(packages).into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    [folder.to_owned()].into_iter().chain(packages.filter(|lib| lib.is_dir())).collect()
}

/// Opens a graph of one matrix product that may not fall back to the processor.
fn probe(library: &Library, device: Device) -> ort::Result<()> {
    let providers = match device {
        Device::Cpu => Vec::new(),
        Device::Cuda(number) => vec![cuda(number, None)],
        Device::TensorRt(number) => {
            let tensorrt = ep::TensorRT::default().with_device_id(number as i32);
            vec![tensorrt.build().error_on_failure(), cuda(number, None)]
        }
    };
    Session::builder(&library.environment)?
        .with_execution_providers(providers)?
        .with_disable_cpu_fallback()?
        .commit_from_memory(PROBE)
        .map(drop)
}

/// How a session runs `graph` on `device`: providers in order, each an error when it does not start. None for the processor.
///
/// `most` is the longest batch that it gets, `memory` the most bytes that it may take.
pub(super) fn session_providers(
    device: Device,
    graph: &Graph<'_>,
    most: usize,
    memory: Option<usize>,
) -> std::io::Result<Vec<ExecutionProviderDispatch>> {
    Ok(match device {
        Device::Cpu => Vec::new(),
        Device::Cuda(number) => vec![cuda(number, memory)],
        Device::TensorRt(number) => vec![tensorrt(number, graph, most)?, cuda(number, memory)],
    })
}

fn cuda(number: u32, memory: Option<usize>) -> ExecutionProviderDispatch {
    let provider = ep::CUDA::default()
        .with_device_id(number as i32)
        // The default doubles what it holds at each growth, so a model that fits would run out of memory.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // On by default in ONNX Runtime, and rounds fp32 to 10 bits of mantissa. Who wants that speed takes fp16.
        .with_tf32(false);
    let provider = match memory {
        Some(bytes) => provider.with_memory_limit(bytes),
        None => provider,
    };
    provider.build().error_on_failure()
}

fn tensorrt(number: u32, graph: &Graph<'_>, most: usize) -> std::io::Result<ExecutionProviderDispatch> {
    // An engine takes minutes to build. TensorRT names the files by graph, precision and kind of GPU.
    let cache = library::cache_dir(|name| std::env::var_os(name)).unwrap_or_else(std::env::temp_dir);
    let cache = cache.join("tensorrt").join(graph.fingerprint);
    fs_err::create_dir_all(&cache)?;
    let cache = cache.display();
    let (least, most) = graph.fixed_batch.map_or((1, most), |rows| (rows, rows));
    // One engine for all batch sizes: without a profile it is built again whenever a shape is met that is out of range.
    let provider = ep::TensorRT::default()
        .with_profile_min_shapes(shapes(graph, least, InputKind::shortest))
        .with_profile_opt_shapes(shapes(graph, most, InputKind::longest))
        .with_profile_max_shapes(shapes(graph, most, InputKind::longest))
        .with_device_id(number as i32)
        .with_fp16(graph.half)
        .with_engine_cache(true)
        .with_engine_cache_path(cache.to_string())
        .with_timing_cache(true)
        .with_timing_cache_path(cache.to_string());
    Ok(provider.build().error_on_failure())
}

/// `input_ids:64x77,attention_mask:64x77`.
fn shapes(graph: &Graph<'_>, batch: usize, row: impl Fn(InputKind) -> Vec<usize>) -> String {
    let shape = |kind: InputKind| {
        let sides = [batch].into_iter().chain(row(kind));
        sides.map(|side| side.to_string()).collect::<Vec<_>>().join("x")
    };
    let each: Vec<_> =
        graph.inputs.iter().map(|input| format!("{}:{}", input.name, shape(input.kind))).collect();
    each.join(",")
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::*;
    use crate::folder::GraphFile;

    #[test]
    fn profiles_span_every_batch() {
        let kind = InputKind::Tokens { length: None, longest: 77 };
        let graph = Graph {
            file: GraphFile::Bytes(b""),
            path: "text.onnx".into(),
            inputs: vec![Input { name: "ids", kind }, Input { name: "mask", kind }],
            outputs: vec!["y"],
            fingerprint: "f",
            half: true,
            fixed_batch: None,
        };
        assert_eq!(shapes(&graph, 1, InputKind::shortest), "ids:1x1,mask:1x1");
        assert_eq!(shapes(&graph, 64, InputKind::longest), "ids:64x77,mask:64x77");
    }

    #[test]
    fn a_gpu_is_what_the_driver_numbers() {
        let dev = tempfile::tempdir().unwrap();
        let has = || has_nvidia_device(dev.path());
        for name in ["nvidiactl", "nvidia-uvm", "null"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        assert!(!has());
        fs::write(dev.path().join("nvidia10"), "").unwrap();
        assert!(has());
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // Linked against nothing of NVIDIA's.
        let own = std::env::current_exe().unwrap();
        assert_eq!(load_needed(&own, folder.path()).unwrap(), []);
        let providers = providers(&[Device::Cpu, Device::TensorRt(1)]);
        assert_eq!(providers, [TENSORRT, CUDA, CPU]);
    }
}
