//! What an ONNX file says of itself, without loading it.
//!
//! A model folder made elsewhere does not say what its graphs take and give, and its settings may contradict them; both are
//! read here, in milliseconds whatever the size of the weights. Field numbers are those of `onnx/onnx.proto` (onnx 1.23).
//!
//! What must stay true: nothing here runs or trusts the graph; a file that is not one is a [`ModelError::Onnx`].

mod extract;
mod wire;

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use crate::error::ModelError;
use crate::folder::GraphFile;
use crate::manifest::Activation;
use wire::{Value, Wire};

pub(crate) use extract::extract;

/// What a file's graph takes, gives and needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GraphFacts {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Files beside it that hold its weights, in order of first mention, as the graph names them.
    pub external: Vec<String>,
    /// Activations that its operators give away; none when it has been fused beyond recognition.
    pub activations: BTreeSet<Activation>,
}

/// An input or output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Port {
    pub name: String,
    /// `TensorProto.DataType`.
    pub element: i32,
    /// Sides; `None` for one that varies.
    pub shape: Vec<Option<u64>>,
}

/// `TensorProto.DataType` of the element types that towers take and give.
pub(crate) mod element {
    pub const F32: i32 = 1;
    pub const I32: i32 = 6;
    pub const I64: i32 = 7;
    pub const F16: i32 = 10;
}

impl GraphFacts {
    /// Reads the facts of `file`; `path` is for messages.
    pub fn read(file: &GraphFile, path: &Path) -> Result<Self, ModelError> {
        match file {
            GraphFile::Bytes(bytes) => facts(Cursor::new(*bytes)),
            GraphFile::Path(path) => facts(fs_err::File::open(path)?),
            GraphFile::Cut { bytes, .. } => facts(Cursor::new(bytes.as_slice())),
        }
        .map_err(|error| wrong(path, error))
    }

    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    pub fn output(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name == name)
    }

    /// Fails when the graph's operators are those of other activations than `stated`.
    pub fn check_activation(
        &self,
        stated: Activation,
        path: &Path,
        said_by: &Path,
    ) -> Result<(), ModelError> {
        if self.activations.is_empty() || self.activations.contains(&stated) {
            return Ok(());
        }
        let has = self.activations.iter().map(Activation::name).collect::<Vec<_>>().join(" and ");
        Err(ModelError::Onnx {
            path: path.to_owned(),
            reason: format!(
                "its activation is {has}, and {} says {}: one of them belongs to another model, and the wrong one costs \
                 accuracy in silence; export the model again",
                said_by.display(),
                stated.name()
            ),
        })
    }
}

fn wrong(path: &Path, error: io::Error) -> ModelError {
    ModelError::Onnx { path: path.to_owned(), reason: error.to_string() }
}

fn facts(mut file: impl Read + Seek) -> io::Result<GraphFacts> {
    refuse_pointer(&mut file)?;
    let mut wire = Wire::new(file)?;
    let mut facts = GraphFacts::default();
    let mut initializers = BTreeSet::new();
    let mut has_graph = false;
    let length = wire.length();
    wire.fields(0, length, |wire, field| match (field.number, field.value) {
        (7, Value::Bytes { start, end }) => {
            has_graph = true;
            graph(wire, start, end, &mut facts, &mut initializers)
        }
        _ => Ok(()),
    })?;
    if !has_graph {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no graph"));
    }
    // Before IR version 4 initializers were listed among the inputs.
    facts.inputs.retain(|port| !initializers.contains(&port.name));
    Ok(facts)
}

/// What `git clone` leaves where a large file should be when Git LFS is not installed.
fn refuse_pointer(file: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty; copy or download it again"));
    }
    if head.starts_with(b"version https://git-lfs") {
        let message =
            "it is a Git LFS pointer and not the file itself; run `git lfs pull`, or `pictor model add`";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    file.rewind()
}

/// `GraphProto`: node 1, initializer 5, input 11, output 12.
fn graph<R: Read + Seek>(
    wire: &mut Wire<R>,
    start: u64,
    end: u64,
    facts: &mut GraphFacts,
    initializers: &mut BTreeSet<String>,
) -> io::Result<()> {
    wire.fields(start, end, |wire, field| {
        let Value::Bytes { start, end } = field.value else { return Ok(()) };
        match field.number {
            1 => node(wire, start, end, facts, initializers),
            5 => {
                let name = tensor(wire, start, end, facts)?;
                initializers.insert(name);
                Ok(())
            }
            11 => {
                let port = port(wire, start, end)?;
                facts.inputs.push(port);
                Ok(())
            }
            12 => {
                let port = port(wire, start, end)?;
                facts.outputs.push(port);
                Ok(())
            }
            _ => Ok(()),
        }
    })
}

/// `NodeProto`: op_type 4, attribute 5 (`AttributeProto`: name 1, s 4, t 5, g 6).
fn node<R: Read + Seek>(
    wire: &mut Wire<R>,
    start: u64,
    end: u64,
    facts: &mut GraphFacts,
    initializers: &mut BTreeSet<String>,
) -> io::Result<()> {
    let (mut operator, mut tanh) = (String::new(), false);
    wire.fields(start, end, |wire, field| match (field.number, field.value) {
        (4, value) => {
            operator = wire.text(value)?;
            Ok(())
        }
        (5, Value::Bytes { start, end }) => wire.fields(start, end, |wire, field| {
            match (field.number, field.value) {
                (4, value @ Value::Bytes { start, end }) if end - start == 4 => {
                    tanh |= wire.bytes(value, 4)? == b"tanh"; // Gelu's approximate="tanh"
                }
                (5, Value::Bytes { start, end }) => {
                    tensor(wire, start, end, facts)?;
                }
                (6, Value::Bytes { start, end }) => graph(wire, start, end, facts, initializers)?,
                _ => {}
            }
            Ok(())
        }),
        _ => Ok(()),
    })?;
    facts.activations.extend(match operator.as_str() {
        "QuickGelu" => Some(Activation::QuickGelu),
        "Gelu" if tanh => Some(Activation::GeluTanh),
        "FastGelu" => Some(Activation::GeluTanh),
        "Gelu" | "BiasGelu" | "Erf" => Some(Activation::Gelu),
        _ => None,
    });
    Ok(())
}

/// `TensorProto`: data_type 2, float_data 4, name 8, raw_data 9, external_data 13 (key 1, value 2). Gives the name.
fn tensor<R: Read + Seek>(
    wire: &mut Wire<R>,
    start: u64,
    end: u64,
    facts: &mut GraphFacts,
) -> io::Result<String> {
    let (mut name, mut element, mut scalar) = (String::new(), 0, Vec::new());
    wire.fields(start, end, |wire, field| {
        match (field.number, field.value) {
            (2, Value::Number(number)) => element = number as i32,
            (4 | 9, value @ Value::Bytes { start, end }) if end - start <= 4 => {
                scalar = wire.bytes(value, 4)?
            }
            (4, Value::Number(bits)) => scalar = (bits as u32).to_le_bytes().to_vec(),
            (8, value) => name = wire.text(value)?,
            (13, Value::Bytes { start, end }) => {
                let (mut key, mut content) = (String::new(), String::new());
                wire.fields(start, end, |wire, field| {
                    match field.number {
                        1 => key = wire.text(field.value)?,
                        2 => content = wire.text(field.value)?,
                        _ => {}
                    }
                    Ok(())
                })?;
                if key == "location" && !facts.external.contains(&content) {
                    facts.external.push(content);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    facts.activations.extend(activation_of_constant(element, &scalar));
    Ok(name)
}

/// The two approximations are written out with a constant that nothing else uses: 1.702 (Hendrycks and Gimpel 2016, section 2),
/// and 0.044715 (same place).
fn activation_of_constant(element: i32, bytes: &[u8]) -> Option<Activation> {
    // The constants in float32 and, for graphs converted whole, in float16; little-endian.
    let quick = [1.702f32.to_bits().to_le_bytes().to_vec(), 0x3ECFu16.to_le_bytes().to_vec()];
    let tanh = [0.044715f32.to_bits().to_le_bytes().to_vec(), 0x29B9u16.to_le_bytes().to_vec()];
    let precision = match element {
        element::F32 => 0,
        element::F16 => 1,
        _ => return None,
    };
    if bytes == quick[precision] {
        Some(Activation::QuickGelu)
    } else if bytes == tanh[precision] {
        Some(Activation::GeluTanh)
    } else {
        None
    }
}

/// `ValueInfoProto`: name 1, type 2 (`TypeProto`: tensor_type 1 (`Tensor`: elem_type 1, shape 2 (dim 1 (dim_value 1)))).
fn port<R: Read + Seek>(wire: &mut Wire<R>, start: u64, end: u64) -> io::Result<Port> {
    let mut port = Port::default();
    wire.fields(start, end, |wire, field| match (field.number, field.value) {
        (1, value) => {
            port.name = wire.text(value)?;
            Ok(())
        }
        (2, Value::Bytes { start, end }) => {
            wire.fields(start, end, |wire, field| match (field.number, field.value) {
                (1, Value::Bytes { start, end }) => tensor_type(wire, start, end, &mut port),
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    })?;
    Ok(port)
}

fn tensor_type<R: Read + Seek>(wire: &mut Wire<R>, start: u64, end: u64, port: &mut Port) -> io::Result<()> {
    wire.fields(start, end, |wire, field| match (field.number, field.value) {
        (1, Value::Number(element)) => {
            port.element = element as i32;
            Ok(())
        }
        (2, Value::Bytes { start, end }) => wire.fields(start, end, |wire, field| {
            if let (1, Value::Bytes { start, end }) = (field.number, field.value) {
                let mut side = None;
                wire.fields(start, end, |_, field| {
                    if let (1, Value::Number(number)) = (field.number, field.value) {
                        side = Some(number).filter(|&n| n > 0 && n < 1 << 40);
                    }
                    Ok(())
                })?;
                port.shape.push(side);
            }
            Ok(())
        }),
        _ => Ok(()),
    })
}
