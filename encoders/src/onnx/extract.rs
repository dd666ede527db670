//! One tower out of a graph that holds both.
//!
//! Exports of whole CLIP models take pixels and tokens and give both embeddings and their products. Run as they are, every text
//! query would pay for an image. So the part that one output depends on is cut out: its nodes, weights and inputs, in their order,
//! everything else dropped.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Cursor};
use std::path::Path;

use super::wire::{Value, Wire, write_bytes, write_number};
use super::wrong;
use crate::error::ModelError;

/// A stretch of the file.
type Span = (u64, u64);

/// The ONNX file in `bytes`, cut down to what `outputs` need; `path` is for messages.
///
/// # Errors
/// [`ModelError::Onnx`] when it is not an ONNX file or lacks one of these outputs.
pub(crate) fn extract(bytes: &[u8], outputs: &[&str], path: &Path) -> Result<Vec<u8>, ModelError> {
    let cut = cut(bytes, outputs).map_err(|error| wrong(path, error))?;
    cut.ok_or_else(|| ModelError::Onnx {
        path: path.to_owned(),
        reason: format!("it does not give {outputs:?}"),
    })
}

fn cut(bytes: &[u8], outputs: &[&str]) -> io::Result<Option<Vec<u8>>> {
    let mut wire = Wire::new(Cursor::new(bytes))?;
    let mut out = Vec::new();
    let mut found = false;
    let length = wire.length();
    wire.fields(0, length, |wire, field| {
        match (field.number, field.value) {
            (7, Value::Bytes { start, end }) => {
                let graph = Graph::read(wire, (start, end))?;
                if let Some(graph) = graph.only(bytes, outputs) {
                    write_bytes(&mut out, 7, &graph);
                    found = true;
                }
            }
            (number, Value::Bytes { start, end }) => {
                write_bytes(&mut out, number, slice(bytes, (start, end)))
            }
            (number, Value::Number(value)) => write_number(&mut out, number, value),
        }
        Ok(())
    })?;
    Ok(found.then_some(out))
}

fn slice(bytes: &[u8], (start, end): Span) -> &[u8] {
    &bytes[start as usize..end as usize]
}

/// The fields of a `GraphProto`, each with the names that decide whether it stays.
#[derive(Default)]
struct Graph {
    /// Span, inputs (with those of subgraphs) and outputs of each node.
    nodes: Vec<(Span, Vec<String>, Vec<String>)>,
    /// Field number (initializer 5, input 11, output 12), span and name.
    named: Vec<(u32, Span, String)>,
    /// Name and documentation.
    rest: Vec<(u32, Span)>,
}

impl Graph {
    fn read(wire: &mut Wire<Cursor<&[u8]>>, (start, end): Span) -> io::Result<Self> {
        let mut graph = Self::default();
        wire.fields(start, end, |wire, field| {
            let Value::Bytes { start, end } = field.value else { return Ok(()) };
            let span = (start, end);
            match field.number {
                1 => {
                    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
                    node_names(wire, span, &mut inputs, &mut outputs)?;
                    graph.nodes.push((span, inputs, outputs));
                }
                // `TensorProto.name` is 8, `ValueInfoProto.name` is 1.
                5 | 11 | 12 => {
                    let name = name(wire, span, if field.number == 5 { 8 } else { 1 })?;
                    graph.named.push((field.number, span, name));
                }
                2 | 10 => graph.rest.push((field.number, span)),
                // Shapes of inner values (13) are worked out by the runtime again.
                _ => {}
            }
            Ok(())
        })?;
        Ok(graph)
    }

    /// The graph that gives `outputs` alone, if this one gives them.
    fn only(&self, bytes: &[u8], outputs: &[&str]) -> Option<Vec<u8>> {
        let gives =
            |output: &&str| self.named.iter().any(|(number, _, name)| *number == 12 && name == output);
        if !outputs.iter().all(gives) {
            return None;
        }
        let makers: HashMap<&str, usize> = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(i, (_, _, outputs))| outputs.iter().map(move |name| (name.as_str(), i)))
            .collect();
        let (mut values, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        let mut wanted = outputs.to_vec();
        while let Some(value) = wanted.pop() {
            if !values.insert(value) {
                continue;
            }
            if let Some(&node) = makers.get(value)
                && nodes.insert(node)
            {
                wanted.extend(self.nodes[node].1.iter().map(String::as_str));
            }
        }
        let mut out = Vec::new();
        for node in nodes {
            write_bytes(&mut out, 1, slice(bytes, self.nodes[node].0));
        }
        for (number, span) in &self.rest {
            write_bytes(&mut out, *number, slice(bytes, *span));
        }
        for (number, span, name) in &self.named {
            let stays =
                if *number == 12 { outputs.contains(&name.as_str()) } else { values.contains(name.as_str()) };
            if stays {
                write_bytes(&mut out, *number, slice(bytes, *span));
            }
        }
        Some(out)
    }
}

/// `NodeProto`: input 1, output 2, attribute 5 (`AttributeProto`: g 6, graphs 11). A subgraph sees the values outside it, so what its
/// nodes take counts as taken by the node.
fn node_names(
    wire: &mut Wire<Cursor<&[u8]>>,
    (start, end): Span,
    inputs: &mut Vec<String>,
    outputs: &mut Vec<String>,
) -> io::Result<()> {
    wire.fields(start, end, |wire, field| match (field.number, field.value) {
        (1, value) => {
            inputs.push(wire.text(value)?);
            Ok(())
        }
        (2, value) => {
            outputs.push(wire.text(value)?);
            Ok(())
        }
        (5, Value::Bytes { start, end }) => {
            wire.fields(start, end, |wire, field| match (field.number, field.value) {
                (6 | 11, Value::Bytes { start, end }) => {
                    wire.fields(start, end, |wire, field| match (field.number, field.value) {
                        (1, Value::Bytes { start, end }) => {
                            node_names(wire, (start, end), inputs, &mut Vec::new())
                        }
                        (12, Value::Bytes { start, end }) => {
                            inputs.push(name(wire, (start, end), 1)?);
                            Ok(())
                        }
                        _ => Ok(()),
                    })
                }
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    })
}

/// The string in field `number` of the message at `span`.
fn name(wire: &mut Wire<Cursor<&[u8]>>, (start, end): Span, number: u32) -> io::Result<String> {
    let mut name = String::new();
    wire.fields(start, end, |wire, field| {
        if field.number == number {
            name = wire.text(field.value)?;
        }
        Ok(())
    })?;
    Ok(name)
}
