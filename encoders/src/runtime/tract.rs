//! tract behind the [`Runtime`] trait: pure Rust, nothing to install.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, ToDim};

use super::{Graph, InputKind, Numbers, Runtime, RuntimeError, Tensor};
use crate::folder::GraphFile;

/// The name by which it is chosen and reported.
pub(super) const NAME: &str = "tract";

/// The version compiled in, as the workspace's `Cargo.toml` has it; tract does not tell at run time.
pub(super) const VERSION: &str = "0.23";

/// A graph, and the pool whose threads each run it on a part of the batch: inside a run tract uses one thread.
///
/// What a graph is specialised for decides its speed. Measured with the bundled model on one thread: images go twice as fast
/// one at a time in a graph for one as in a graph for batches of 4, and eight times as fast as in a graph for any batch size;
/// texts of 12 tokens go four times as fast in batches of 32 as one at a time, and a graph for any batch size and length loses
/// nothing to one for exactly that. So images go one by one, and texts in as many parts as there are threads.
struct TractRuntime {
    plan: Arc<tract::TypedRunnableModel>,
    pool: Arc<ThreadPool>,
    one_row_at_a_time: bool,
}

pub(super) fn load(graph: Graph<'_>, pool: Arc<ThreadPool>) -> Result<Box<dyn Runtime>, String> {
    // tract indexes freely while it reads a graph, and a file that is not quite ONNX can make it panic.
    let plan = catch_unwind(AssertUnwindSafe(|| plan(&graph)));
    let plan = plan.unwrap_or_else(|_| Err("the graph is malformed".into()))?;
    let one_row_at_a_time = graph.inputs.iter().any(|input| matches!(input.kind, InputKind::Pixels { .. }));
    Ok(Box::new(TractRuntime { plan, pool, one_row_at_a_time }))
}

fn plan(graph: &Graph<'_>) -> Result<Arc<tract::TypedRunnableModel>, String> {
    let onnx = tract_onnx::onnx();
    let mut model = match &graph.file {
        GraphFile::Bytes(bytes) => onnx.model_for_read(&mut &**bytes).map_err(reason)?,
        GraphFile::Path(path) => onnx.model_for_path(path).map_err(reason)?,
        GraphFile::Cut { bytes, directory } => {
            let proto = onnx.proto_model_for_read(&mut bytes.as_slice()).map_err(reason)?;
            let parsed = onnx.parse(&proto, directory.to_str()).map_err(reason)?;
            if !parsed.unresolved_inputs.is_empty() {
                return Err(format!("nothing in it makes {:?}", parsed.unresolved_inputs));
            }
            parsed.model
        }
    };
    let node_name = |outlet: &tract::OutletId| model.node(outlet.node).name.as_str();
    let has_inputs: Vec<&str> = model.inputs.iter().map(node_name).collect();
    // An output is labelled by its name in the graph; the node that makes it may be called otherwise.
    let has_outputs: Vec<&str> =
        model.outputs.iter().filter_map(|outlet| model.outlet_label(*outlet)).collect();
    graph.check_names(&has_inputs, &has_outputs)?;

    model.select_inputs_by_name(graph.inputs.iter().map(|input| input.name)).map_err(reason)?;
    model.select_outputs_by_name([graph.output]).map_err(reason)?;
    let [batch, sequence] = ["batch", "sequence"].map(|name| model.symbols.sym(name).to_dim());
    for (i, input) in graph.inputs.iter().enumerate() {
        let fact = match input.kind {
            InputKind::Pixels { height, width } => f32::fact([1, 3, height, width]),
            InputKind::Tokens { length } => {
                let length = length.map_or(sequence.clone(), |length| length.to_dim());
                i64::fact([batch.clone(), length])
            }
        };
        model.set_input_fact(i, fact.into()).map_err(reason)?;
    }
    model.into_optimized().and_then(|model| model.into_runnable()).map_err(reason)
}

impl Runtime for TractRuntime {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        let rows = inputs.first().map_or(0, |tensor| tensor.shape[0]);
        let at_once =
            if self.one_row_at_a_time { 1 } else { rows.div_ceil(self.pool.current_num_threads()).max(1) };
        let parts: Vec<Range<usize>> =
            (0..rows).step_by(at_once).map(|start| start..rows.min(start + at_once)).collect();
        let outputs: Result<Vec<_>, String> =
            self.pool.install(|| parts.into_par_iter().map(|part| self.run_part(inputs, part)).collect());
        let outputs = outputs.map_err(RuntimeError)?;
        let shape = outputs.first().map_or(Vec::new(), |(shape, _)| shape.clone());
        let shape = [rows].into_iter().chain(shape.into_iter().skip(1)).collect();
        let data = outputs.into_iter().flat_map(|(_, data)| data).collect();
        Ok(vec![Tensor { shape, data: Numbers::F32(data) }])
    }
}

impl TractRuntime {
    /// Shape and numbers of the output for some rows of the inputs.
    fn run_part(&self, inputs: &[Tensor], part: Range<usize>) -> Result<(Vec<usize>, Vec<f32>), String> {
        let values = inputs.iter().map(|tensor| {
            let mut shape = tensor.shape.clone();
            shape[0] = part.len();
            let value = match &tensor.data {
                Numbers::F32(data) => tract::Tensor::from_shape(&shape, rows(data, tensor.shape[0], &part)),
                Numbers::I64(data) => tract::Tensor::from_shape(&shape, rows(data, tensor.shape[0], &part)),
            };
            value.map(IntoTValue::into_tvalue)
        });
        let values = values.collect::<Result<tract::TVec<_>, _>>().map_err(reason)?;
        let outputs = self.plan.run(values).map_err(reason)?;
        let output = outputs.first().ok_or("the graph gave no output")?;
        let data = output.try_as_plain_ram().and_then(|view| view.as_slice::<f32>()).map_err(reason)?;
        Ok((output.shape().to_vec(), data.to_vec()))
    }
}

/// Some of the `all` rows that `data` consists of.
fn rows<'a, T>(data: &'a [T], all: usize, part: &Range<usize>) -> &'a [T] {
    let length = data.len() / all;
    &data[part.start * length..part.end * length]
}

/// tract's errors with their causes, outermost first.
fn reason(error: tract::TractError) -> String {
    format!("{error:#}")
}
