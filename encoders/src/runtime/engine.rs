//! A runtime chosen, its devices made sure of, ready to load graphs.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use rayon::ThreadPool;

use super::batches::{Batches, Lengths, Limits};
use super::device::{Device, Devices};
use super::library::{self, Found, Library};
use super::options::{RuntimeChoice, RuntimeInfo, RuntimeOptions};
use super::tensor::Rows;
use super::workers::Workers;
use super::{Graph, InputKind, Runtime, RuntimeError, gpu, ort, tract};
use crate::error::ModelError;

/// Most images, and most tokens of texts, that the processor gets at once for each thread: as many as leave what the layers hand
/// on in its caches. ViT-B/32 on one thread of an EPYC (Zen 5, 1 MB of L2), images a CPU second in batches of 1, 2, 4, 8, 16, 32:
/// 14.9, 18.9, 20.5, 21.2, 19.6, 17.0 in fp32, and 40.8, 49.5, 50.0, 46.2, 42.6, 42.6 in int8. Texts of 10 tokens are fastest in
/// batches of 16 to 32, and texts of 77 tokens in batches of 4 to 8.
const IMAGES_PER_THREAD: usize = 4;
const TOKENS_PER_THREAD: usize = 320;
/// Images or texts for a GPU, which is not busy with less.
const ROWS_ON_GPU: usize = 128;
/// Images that a pipeline hands over at once to the processor, however few threads it has.
const IMAGES_AT_ONCE: usize = 32;

/// A chosen runtime, ready to load graphs.
pub(crate) struct Engine {
    info: RuntimeInfo,
    backend: Backend,
    options: RuntimeOptions,
    /// Threads on the processor, and workers that share them.
    threads: usize,
    sharing: usize,
}

enum Backend {
    Tract(Arc<ThreadPool>),
    Ort(&'static Library),
}

impl Engine {
    pub fn start(options: &RuntimeOptions) -> Result<Self, ModelError> {
        let listed = match &options.devices {
            Devices::Auto => &[],
            Devices::Listed(devices) => devices.as_slice(),
        };
        let gpu = listed.iter().copied().find(|device| device.is_gpu());
        let found = match (options.choice, gpu) {
            (RuntimeChoice::Tract, Some(device)) => return Err(ModelError::TractDevice { device }),
            (RuntimeChoice::Tract, None) => Found::default(),
            (RuntimeChoice::Auto, None) => library::find()?,
            // A GPU was named, and only one runtime has GPUs.
            (RuntimeChoice::Auto, Some(_)) | (RuntimeChoice::OnnxRuntime, _) => library::require()?,
        };
        let because = |(path, reason): (PathBuf, String)| format!("{}: {reason}", path.display());
        let mut info = RuntimeInfo {
            name: tract::NAME,
            version: tract::VERSION.to_owned(),
            library: None,
            passed_over: found.passed_over.into_iter().map(because).collect(),
            devices: if listed.is_empty() { vec![Device::Cpu] } else { listed.to_vec() },
            why_cpu: None,
            providers: Vec::new(),
            active_providers: Vec::new(),
        };
        if let Some(library) = found.library {
            if listed.is_empty() {
                let (device, why) = gpu::choose(library);
                (info.devices, info.why_cpu) = (vec![device], why);
            }
            listed.iter().try_for_each(|device| gpu::check(library, *device))?;
            info.name = ort::NAME;
            info.version = library.version.clone();
            info.library = Some(library.path.clone());
            info.providers = gpu::compiled_in();
            info.active_providers = gpu::providers(&info.devices);
        }
        let threads = match options.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let backend = match found.library {
            Some(library) => Backend::Ort(library),
            None => Backend::Tract(Arc::new(pool(threads)?)),
        };
        let sharing = info.devices.iter().filter(|device| !device.is_gpu()).count().max(1);
        Ok(Self { info, backend, options: options.clone(), threads, sharing })
    }

    pub fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    /// Whether every device is a GPU.
    pub fn on_gpu(&self) -> bool {
        self.info.devices.iter().all(|device| device.is_gpu())
    }

    /// Images that keep every device busy.
    pub fn images_at_once(&self) -> usize {
        let most = |device: &Device| match device.is_gpu() {
            true => ROWS_ON_GPU,
            false => IMAGES_AT_ONCE.max(IMAGES_PER_THREAD * self.threads_of_worker()),
        };
        self.info.devices.iter().map(most).sum()
    }

    fn threads_of_worker(&self) -> usize {
        (self.threads / self.sharing).max(1)
    }

    /// The graph on every device, taking batches of any length.
    pub fn load(&self, graph: &Graph<'_>) -> Result<Box<dyn Runtime>, ModelError> {
        let each = self.info.devices.iter().map(|device| self.load_on(*device, graph));
        Ok(Workers::together(each.collect::<Result<_, _>>()?))
    }

    fn load_on(&self, device: Device, graph: &Graph<'_>) -> Result<Box<dyn Runtime>, ModelError> {
        let takes_images = graph.inputs.iter().any(|input| matches!(input.kind, InputKind::Pixels { .. }));
        let threads = self.threads_of_worker();
        let (rows, numbers) = match (device.is_gpu(), takes_images) {
            (true, _) => (ROWS_ON_GPU, usize::MAX),
            (false, true) => (IMAGES_PER_THREAD * threads, usize::MAX),
            (false, false) => (usize::MAX, TOKENS_PER_THREAD * threads),
        };
        let limits = match (graph.fixed_batch, &self.backend) {
            // It shares the rows among its threads itself.
            (_, Backend::Tract(_)) => Limits { rows, numbers, lengths: Lengths::Any },
            (Some(rows), Backend::Ort(_)) => Limits { rows, numbers: usize::MAX, lengths: Lengths::Fixed },
            (None, Backend::Ort(_)) if device.is_gpu() => {
                Limits { rows, numbers, lengths: Lengths::PowersOfTwo }
            }
            (None, Backend::Ort(_)) => Limits { rows, numbers, lengths: Lengths::Any },
        };
        let loaded = match self.backend {
            Backend::Tract(ref pool) => tract::load(graph, pool.clone()),
            Backend::Ort(library) => {
                let gpu_memory = self.options.gpu_memory;
                ort::runtime(graph, library, ort::Placement { device, threads, gpu_memory, most: rows })
            }
        };
        let what = format!("{} on {device}", graph.path.display());
        let notes = self.options.notes.clone();
        let loaded = loaded.map_err(|reason| self.refused(graph, reason))?;
        Ok(Box::new(Batches::new(loaded, limits, what, notes)))
    }

    /// Runs `rows`, one batch, through the graph on the first device with all threads, with as little as possible of Pictor
    /// between: what the rest is measured by.
    pub fn bare<'a>(
        &self,
        graph: &Graph<'_>,
        rows: Rows<'a>,
    ) -> Result<Box<dyn FnMut() -> Result<(), RuntimeError> + 'a>, ModelError> {
        let refused = |reason| self.refused(graph, reason);
        Ok(match self.backend {
            Backend::Tract(ref pool) => {
                let runtime = tract::load(graph, pool.clone()).map_err(refused)?;
                let inputs = [rows];
                Box::new(move || runtime.run(&inputs).map(drop))
            }
            Backend::Ort(library) => {
                let (threads, gpu_memory) = (self.threads, self.options.gpu_memory);
                let device = self.info.devices.first().copied().unwrap_or(Device::Cpu);
                let on = ort::Placement { device, threads, gpu_memory, most: rows.len() };
                Box::new(ort::bare(graph, library, on, &rows).map_err(refused)?)
            }
        })
    }

    fn refused(&self, graph: &Graph<'_>, reason: String) -> ModelError {
        ModelError::Graph { runtime: self.info.name, path: graph.path.clone(), reason }
    }
}

fn pool(threads: usize) -> Result<ThreadPool, ModelError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("tract-{i}"))
        .build()
        .map_err(|source| ModelError::Threads { threads, source })
}

#[cfg(test)]
mod tests {
    use super::super::tensor::{Numbers, Tensor};
    use super::*;
    use crate::folder::GraphFile;
    use crate::runtime::Input;

    /// `y = x + x` over f16 `[n, 3, 1, 1]`, and `j = i` from i32 `[n, 2]` to f32, as `onnx.helper` writes them for opset 13.
    const HALVES: &[u8] = b"\x08\x08:O\x0a\x0e\x0a\x01x\x0a\x01x\x12\x01y\x22\x03Add\x12\x01gZ\x1c\x0a\x01x\x12\x17\x0a\x15\x08\x0a\x12\x11\x0a\x03\x12\x01n\x0a\x02\x08\x03\x0a\x02\x08\x01\x0a\x02\x08\x01b\x1c\x0a\x01y\x12\x17\x0a\x15\x08\x0a\x12\x11\x0a\x03\x12\x01n\x0a\x02\x08\x03\x0a\x02\x08\x01\x0a\x02\x08\x01B\x04\x0a\x00\x10\x0d";
    const INTEGERS: &[u8] = b"\x08\x08:H\x0a\x17\x0a\x01i\x12\x01j\x22\x04Cast*\x09\x0a\x02to\x18\x01\xa0\x01\x02\x12\x01gZ\x14\x0a\x01i\x12\x0f\x0a\x0d\x08\x06\x12\x09\x0a\x03\x12\x01n\x0a\x02\x08\x02b\x14\x0a\x01j\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01n\x0a\x02\x08\x02B\x04\x0a\x00\x10\x0d";

    fn graph<'a>(bytes: &'static [u8], input: &'a str, kind: InputKind, output: &'a str) -> Graph<'a> {
        let inputs = vec![Input { name: input, kind }];
        let file = GraphFile::Bytes(bytes);
        Graph {
            file,
            path: "g.onnx".into(),
            inputs,
            outputs: vec![output],
            fingerprint: "",
            half: false,
            fixed_batch: None,
        }
    }

    /// An engine of each runtime that is here.
    fn engines(devices: &Devices) -> Vec<Engine> {
        let options = |choice| RuntimeOptions { devices: devices.clone(), ..RuntimeOptions::new(choice, 2) };
        let mut engines = vec![Engine::start(&options(RuntimeChoice::Tract)).unwrap()];
        match Engine::start(&options(RuntimeChoice::OnnxRuntime)) {
            Ok(engine) => engines.push(engine),
            Err(ModelError::NoOnnxRuntime { .. }) => {
                eprintln!("note: no ONNX Runtime here, so this test ran on tract alone")
            }
            Err(error) => panic!("{error}"),
        }
        engines
    }

    #[test]
    fn graphs_of_other_element_types_get_theirs_and_give_ours() {
        let halves = graph(HALVES, "x", InputKind::Pixels { height: 1, width: 1 }, "y");
        let integers = graph(INTEGERS, "i", InputKind::Tokens { length: Some(2), longest: 2 }, "j");
        for engine in engines(&Devices::Listed(vec![Device::Cpu])) {
            let (pixels, ids) = ([[0.5, -1.25, 3.0], [1e-3, 0.0, 100.0]], [[7_i64, 49_407], [0, 1]]);
            let rows = Numbers::F32(pixels.iter().map(<[f32; 3]>::as_slice).collect());
            let run = |graph: &Graph<'_>, rows: Rows<'_>| engine.load(graph).unwrap().run(&[rows]).unwrap();
            let doubled = run(&halves, Rows { shape: vec![3, 1, 1], numbers: rows }).remove(0);
            assert_eq!(doubled.shape, [2, 3, 1, 1]);
            for (ours, pixel) in doubled.data.iter().zip(pixels.as_flattened()) {
                assert!(
                    (ours - 2.0 * pixel).abs() <= pixel.abs() * 2e-3,
                    "{}: {ours} {pixel}",
                    engine.info()
                );
            }
            let rows = Numbers::I64(ids.iter().map(<[i64; 2]>::as_slice).collect());
            let same = run(&integers, Rows { shape: vec![2], numbers: rows });
            assert_eq!(same, [Tensor { shape: vec![2, 2], data: vec![7.0, 49_407.0, 0.0, 1.0] }]);
        }
    }

    #[test]
    fn a_graph_that_takes_something_else_is_an_error() {
        // Pixels for a graph of token ids.
        let wrong = graph(INTEGERS, "i", InputKind::Pixels { height: 1, width: 1 }, "j");
        for engine in engines(&Devices::Auto) {
            let error = engine.load(&wrong).err().unwrap().to_string();
            assert!(error.contains("and the manifest says pixels"), "{error}");
        }
    }

    #[test]
    fn the_processor_named_is_the_processor() {
        for devices in [vec![Device::Cpu], vec![Device::Cpu, Device::Cpu]] {
            for engine in engines(&Devices::Listed(devices.clone())) {
                assert_eq!(engine.info().devices, devices);
                assert!(!engine.on_gpu() && engine.info().why_cpu.is_none());
                assert_eq!(engine.images_at_once(), IMAGES_AT_ONCE * devices.len());
            }
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_names_what_is_missing() {
        let device = Device::Cuda(0);
        let start = |choice| {
            let devices = Devices::Listed(vec![Device::Cpu, device]);
            Engine::start(&RuntimeOptions { devices, ..RuntimeOptions::new(choice, 1) })
        };
        assert!(matches!(
            start(RuntimeChoice::Tract),
            Err(ModelError::TractDevice { device: Device::Cuda(0) })
        ));
        for choice in [RuntimeChoice::Auto, RuntimeChoice::OnnxRuntime] {
            match start(choice) {
                Ok(engine) => assert!(engine.info().active_providers.contains(&"CUDAExecutionProvider")),
                Err(ModelError::NoOnnxRuntime { .. }) => eprintln!("note: no ONNX Runtime here"),
                Err(ModelError::Device { device: named, reason, .. }) => {
                    assert_eq!(named, device);
                    assert!(reason.contains("lib"), "{reason}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
