//! tract behind the [`Runtime`] trait: pure Rust, nothing to install.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use half::f16;
use rayon::ThreadPool;
use rayon::prelude::*;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{
    Datum, DatumTypeExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, ToDim,
};
use tract_onnx::tract_hir::infer::Factoid;

use super::tensor::{Numbers, Rows, Tensor, concatenate, part, rows};
use super::{Graph, InputKind, Runtime, RuntimeError};
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
    plan: Plan,
    pool: Arc<ThreadPool>,
    /// Rows of every run, when the plan is for so many.
    fixed_batch: Option<usize>,
}

struct Plan {
    graph: Arc<tract::TypedRunnableModel>,
    /// Element types of the inputs; a graph of float16 weights may take float16.
    elements: Vec<tract::DatumType>,
}

pub(super) fn load(graph: &Graph<'_>, pool: Arc<ThreadPool>) -> Result<Box<dyn Runtime>, String> {
    // tract indexes freely while it reads a graph, and a file that is not quite ONNX can make it panic.
    let plan = catch_unwind(AssertUnwindSafe(|| plan(graph)));
    let plan = plan.unwrap_or_else(|_| Err("the graph is malformed".into()))?;
    Ok(Box::new(TractRuntime { plan, pool, fixed_batch: fixed_batch(graph) }))
}

fn fixed_batch(graph: &Graph<'_>) -> Option<usize> {
    let takes_images = graph.inputs.iter().any(|input| matches!(input.kind, InputKind::Pixels { .. }));
    graph.fixed_batch.or(takes_images.then_some(1))
}

fn plan(graph: &Graph<'_>) -> Result<Plan, String> {
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
    let node_name = |outlet: &tract::OutletId| model.node(outlet.node).name.clone();
    let has_inputs: Vec<String> = model.inputs.iter().map(node_name).collect();
    // An output is labelled by its name in the graph; the node that makes it may be called otherwise.
    let has_outputs: Vec<String> =
        model.outputs.iter().filter_map(|outlet| model.outlet_label(*outlet).map(str::to_owned)).collect();
    graph.check_names(&has_inputs, &has_outputs)?;

    model.select_inputs_by_name(graph.inputs.iter().map(|input| input.name)).map_err(reason)?;
    model.select_outputs_by_name(&graph.outputs).map_err(reason)?;
    let [any, sequence] = ["batch", "sequence"].map(|name| model.symbols.sym(name).to_dim());
    let batch = fixed_batch(graph).map_or(any, |rows| rows.to_dim());
    let mut elements = Vec::new();
    for (i, input) in graph.inputs.iter().enumerate() {
        let declared = model.input_fact(i).map_err(reason)?.datum_type.concretize();
        let halves = [f32::datum_type(), f16::datum_type()];
        let (ours, shape) = match input.kind {
            InputKind::Pixels { height, width } => {
                (halves, vec![batch.clone(), 3.to_dim(), height.to_dim(), width.to_dim()])
            }
            InputKind::Features { tokens, width } => {
                (halves, vec![batch.clone(), tokens.to_dim(), width.to_dim()])
            }
            InputKind::States { width, .. } => {
                (halves, vec![batch.clone(), sequence.clone(), width.to_dim()])
            }
            InputKind::Tokens { length, .. } => {
                let length = length.map_or(sequence.clone(), |length| length.to_dim());
                ([i64::datum_type(), i32::datum_type()], vec![batch.clone(), length])
            }
        };
        let element = declared.unwrap_or(ours[0]);
        if !ours.contains(&element) {
            return Err(input.kind.mismatch(input.name, format_args!("{element:?}")));
        }
        model.set_input_fact(i, element.fact(shape).into()).map_err(reason)?;
        elements.push(element);
    }
    let graph = model.into_optimized().and_then(|model| model.into_runnable()).map_err(reason)?;
    Ok(Plan { graph, elements })
}

impl Runtime for TractRuntime {
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
        let rows = rows(inputs);
        let shared = rows.div_ceil(self.pool.current_num_threads()).max(1);
        let at_once = self.fixed_batch.unwrap_or(shared);
        let parts: Vec<Range<usize>> =
            (0..rows).step_by(at_once).map(|start| start..rows.min(start + at_once)).collect();
        let run = |range: Range<usize>| {
            let count = range.len();
            let inputs = part(inputs, range, self.fixed_batch.unwrap_or(count));
            // Token ids that the graph has no embedding for make it panic.
            let outputs = catch_unwind(AssertUnwindSafe(|| self.plan.run(&inputs)));
            let mut outputs = outputs.unwrap_or_else(|_| {
                Err("it gave up on this input; are the tokenizer and the graphs of one model?".into())
            })?;
            outputs.iter_mut().for_each(|output| output.truncate(count));
            Ok(outputs)
        };
        let outputs: Result<Vec<_>, String> = self.pool.install(|| parts.into_par_iter().map(run).collect());
        Ok(concatenate(outputs.map_err(RuntimeError::Failed)?))
    }
}

impl Plan {
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, String> {
        let values = inputs.iter().zip(&self.elements).map(|(input, element)| {
            let shape: Vec<usize> = [input.len()].iter().chain(&input.shape).copied().collect();
            let tensor = match &input.numbers {
                Numbers::F32(rows) => tract::Tensor::from_shape(&shape, &rows.concat()),
                Numbers::I64(rows) => tract::Tensor::from_shape(&shape, &rows.concat()),
            };
            tensor.and_then(|tensor| Ok(tensor.cast_to_dt(*element)?.into_owned().into_tvalue()))
        });
        let values = values.collect::<Result<tract::TVec<_>, _>>().map_err(reason)?;
        let outputs = self.graph.run(values).map_err(reason)?;
        let numbers = outputs.iter().map(|output| {
            let data = output.cast_to::<f32>()?;
            let data = data.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
            Ok(Tensor { shape: output.shape().to_vec(), data })
        });
        numbers.collect::<Result<_, tract::TractError>>().map_err(reason)
    }
}

/// tract's errors with their causes, outermost first.
fn reason(error: tract::TractError) -> String {
    format!("{error:#}")
}
