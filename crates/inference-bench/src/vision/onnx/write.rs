//! A graph as a file.

use std::io::{self, Write};

use super::wire::Message;
use super::{Attribute, Fill, Graph, Node, OPSET, Value, Weight};
use crate::stats::Random;

/// Elements that are drawn at a time.
const PIECE_ELEMENTS: usize = 16 << 10;
/// The version of the format that belongs to the opset.
const IR_VERSION: i64 = 8;
/// The codes of element types.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

impl Graph {
    /// Writes the file. Weights are drawn piece by piece, so this takes little memory.
    ///
    /// # Errors
    ///
    /// Those of the writer; what was written until then is no model.
    pub fn write(&self, file: &mut impl Write) -> io::Result<()> {
        let (head, tail) = (self.head(), self.tail());
        file.write_all(
            &self.model_head(head.len() as u64 + self.weights_bytes() + tail.len() as u64),
        )?;
        file.write_all(&head)?;
        for weight in &self.weights {
            file.write_all(&weight_head(weight))?;
            write_elements(weight, file)?;
        }
        file.write_all(&tail)
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let graph_bytes =
            self.head().len() as u64 + self.weights_bytes() + self.tail().len() as u64;
        self.model_head(graph_bytes).len() as u64 + graph_bytes
    }

    /// `ModelProto` up to the contents of its graph, which is its last field.
    fn model_head(&self, graph_bytes: u64) -> Vec<u8> {
        let mut model = Message::default();
        model.int(1, IR_VERSION);
        model.text(2, env!("CARGO_PKG_NAME"));
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.message(8, |opset| {
            opset.text(1, "").int(2, OPSET.cast_signed());
        });
        for (key, value) in &self.metadata {
            model.message(14, |entry| {
                entry.text(1, key).text(2, value);
            });
        }
        model.announce(7, graph_bytes);
        model.into_bytes()
    }

    /// `GraphProto` before its weights.
    fn head(&self) -> Vec<u8> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph.message(1, |message| write_node(node, message));
        }
        graph.text(2, &self.name);
        graph.into_bytes()
    }

    /// `GraphProto` after its weights.
    fn tail(&self) -> Vec<u8> {
        let mut graph = Message::default();
        for input in &self.inputs {
            graph.message(11, |message| write_value(input, message));
        }
        for name in &self.outputs {
            let dims = self.dims(name).unwrap_or_default().to_vec();
            let output = Value { name: name.clone(), dims };
            graph.message(12, |message| write_value(&output, message));
        }
        graph.into_bytes()
    }

    fn weights_bytes(&self) -> u64 {
        self.weights.iter().map(|w| weight_head(w).len() as u64 + data_bytes(w)).sum()
    }
}

/// The field of a graph that holds a node.
pub(super) fn node_field(node: &Node) -> Vec<u8> {
    let mut graph = Message::default();
    graph.message(1, |message| write_node(node, message));
    graph.into_bytes()
}

/// The field of a graph that holds a weight, added to what is there of the graph.
pub(super) fn add_weight_field(weight: &Weight, graph: &mut Vec<u8>) {
    graph.extend(weight_head(weight));
    write_elements(weight, graph).expect("memory takes whatever is written");
}

/// `NodeProto`.
fn write_node(node: &Node, message: &mut Message) {
    for input in &node.inputs {
        message.text(1, input);
    }
    for output in &node.outputs {
        message.text(2, output);
    }
    message.text(3, &node.name).text(4, node.op);
    for (name, attribute) in &node.attributes {
        message.message(5, |message| write_attribute(name, attribute, message));
    }
}

/// `AttributeProto`: its field 20 says which of the others holds the value.
fn write_attribute(name: &str, attribute: &Attribute, message: &mut Message) {
    message.text(1, name);
    match attribute {
        Attribute::Float(value) => message.float(2, *value).int(20, 1),
        Attribute::Int(value) => message.int(3, *value).int(20, 2),
        Attribute::Text(value) => message.text(4, value).int(20, 3),
        Attribute::Ints(values) => {
            for value in values {
                message.int(8, *value);
            }
            message.int(20, 7)
        }
    };
}

/// `ValueInfoProto` of a tensor of floats.
fn write_value(value: &Value, message: &mut Message) {
    message.text(1, &value.name);
    message.message(2, |kind| {
        kind.message(1, |tensor| {
            tensor.int(1, FLOAT).message(2, |shape| {
                for dim in &value.dims {
                    shape.message(1, |message| {
                        message.int(1, dim.cast_signed());
                    });
                }
            });
        });
    });
}

/// The field of a graph that holds a weight, up to its elements: `TensorProto` with `raw_data` last.
fn weight_head(weight: &Weight) -> Vec<u8> {
    let is_int = matches!(weight.fill, Fill::Ints(_));
    let mut tensor = Message::default();
    for dim in &weight.dims {
        tensor.int(1, dim.cast_signed());
    }
    tensor.int(2, if is_int { INT64 } else { FLOAT }).text(8, &weight.name);
    tensor.announce(9, data_bytes(weight));
    let tensor = tensor.into_bytes();
    let mut field = Message::default();
    field.announce(5, tensor.len() as u64 + data_bytes(weight));
    let mut head = field.into_bytes();
    head.extend(tensor);
    head
}

pub(super) fn data_bytes(weight: &Weight) -> u64 {
    let element_bytes = if matches!(weight.fill, Fill::Ints(_)) { 8 } else { 4 };
    weight.elements() * element_bytes
}

fn write_elements(weight: &Weight, file: &mut impl Write) -> io::Result<()> {
    match &weight.fill {
        Fill::Ints(values) => values.iter().try_for_each(|v| file.write_all(&v.to_le_bytes())),
        Fill::Floats(values) => {
            let mut values = values.iter().copied();
            write_floats(weight.elements(), || values.next().unwrap_or_default(), file)
        }
        Fill::Constant(value) => write_floats(weight.elements(), || *value, file),
        Fill::Noise { seed, center, bound } => {
            let mut random = Random::new(*seed);
            let draw = move || center + bound * (2.0 * random.unit() - 1.0) as f32;
            write_floats(weight.elements(), draw, file)
        }
    }
}

fn write_floats(
    elements: u64,
    mut next: impl FnMut() -> f32,
    file: &mut impl Write,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(4 * PIECE_ELEMENTS);
    let mut left = elements;
    while 0 < left {
        let n = left.min(PIECE_ELEMENTS as u64);
        piece.clear();
        (0..n).for_each(|_| piece.extend_from_slice(&next().to_le_bytes()));
        file.write_all(&piece)?;
        left -= n;
    }
    Ok(())
}
