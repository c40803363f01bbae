//! Graphs in the exchange format ONNX: described, counted and written.
//!
//! A [`Graph`] knows the dimensions of every value in it, so its parameters and operations are counted
//! from itself. Weights are described, not held: they are drawn while they are written, and a file of
//! any size takes a few buffers of memory.
//!
//! Source: onnx.proto of ONNX 1.12 (IR version 8, opset 17).

mod check;
mod count;
mod edit;
mod read;
mod wire;
mod write;

use std::collections::BTreeMap;

pub use check::{Malformed, check};
pub use count::Counts;
pub(super) use edit::{Change, Changes, Constant, Draft, Found};

/// The operator set that graphs are written for.
pub const OPSET: u64 = 17;

/// A value between nodes: its name and its dimensions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Value {
    /// Unique within its graph.
    pub name: String,
    /// How many elements along each axis.
    pub dims: Vec<u64>,
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// One whole number.
    Int(i64),
    /// A list of them.
    Ints(Vec<i64>),
    /// One number.
    Float(f32),
    /// A text.
    Text(&'static str),
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique within its graph; errors of engines name it.
    pub name: String,
    /// The operator, in the default domain.
    pub op: &'static str,
    /// Names of values and weights; an empty name is an optional input left out.
    pub inputs: Vec<String>,
    /// Names of what it makes.
    pub outputs: Vec<String>,
    /// Its attributes, by name.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// How the elements of a weight come about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fill {
    /// Uniform within ± the bound around the center, from this seed.
    Noise {
        /// Decides the sequence.
        seed: u64,
        /// The middle.
        center: f32,
        /// The largest distance from it.
        bound: f32,
    },
    /// All the same.
    Constant(f32),
    /// These 32-bit floats.
    Floats(Vec<f32>),
    /// These 64-bit integers.
    Ints(Vec<i64>),
}

/// A constant of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Unique within its graph.
    pub name: String,
    /// How many elements along each axis.
    pub dims: Vec<u64>,
    /// Its elements.
    pub fill: Fill,
    /// Whether training would change it, so that it counts as a parameter.
    pub is_parameter: bool,
}

impl Weight {
    /// How many elements it has.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

/// A model: nodes in an order in which they can run, and what they need.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::onnx::{Graph, Node, Value};
///
/// let image = Value { name: "x".to_owned(), dims: vec![1, 3, 8, 8] };
/// let mut graph = Graph::new("doubled", vec![image.clone()]);
/// let node = Node {
///     name: "add".to_owned(),
///     op: "Add",
///     inputs: vec!["x".to_owned(), "x".to_owned()],
///     outputs: vec!["y".to_owned()],
///     attributes: Vec::new(),
/// };
/// graph.push(node, vec![image.dims]);
/// graph.outputs.push("y".to_owned());
///
/// let mut file = Vec::new();
/// graph.write(&mut file)?;
/// assert_eq!(graph.file_bytes(), file.len() as u64);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Graph {
    /// What it is called.
    pub name: String,
    /// What it takes.
    pub inputs: Vec<Value>,
    /// The names of what it gives.
    pub outputs: Vec<String>,
    /// Its operations.
    pub nodes: Vec<Node>,
    /// Its constants.
    pub weights: Vec<Weight>,
    /// What is to be known about it, by key; written into the file.
    pub metadata: BTreeMap<String, String>,
    dims: BTreeMap<String, Vec<u64>>,
}

impl Graph {
    /// Starts a graph without nodes.
    #[must_use]
    pub fn new(name: impl Into<String>, inputs: Vec<Value>) -> Self {
        let dims = inputs.iter().map(|input| (input.name.clone(), input.dims.clone())).collect();
        Self {
            name: name.into(),
            inputs,
            outputs: Vec::new(),
            nodes: Vec::new(),
            weights: Vec::new(),
            metadata: BTreeMap::new(),
            dims,
        }
    }

    /// Adds a node whose outputs have these dimensions.
    ///
    /// # Panics
    ///
    /// When there are not as many dimensions as outputs, or a name is taken.
    pub fn push(&mut self, node: Node, output_dims: Vec<Vec<u64>>) {
        assert_eq!(node.outputs.len(), output_dims.len(), "outputs of {}", node.name);
        for (name, dims) in node.outputs.iter().zip(output_dims) {
            let taken = self.dims.insert(name.clone(), dims);
            assert!(taken.is_none(), "the value {name} is made twice");
        }
        self.nodes.push(node);
    }

    /// Adds a constant.
    ///
    /// # Panics
    ///
    /// When its name is taken, or its elements are given and not as many as its dimensions say.
    pub fn push_weight(&mut self, weight: Weight) {
        let given = match &weight.fill {
            Fill::Floats(values) => Some(values.len() as u64),
            Fill::Ints(values) => Some(values.len() as u64),
            Fill::Noise { .. } | Fill::Constant(_) => None,
        };
        assert!(given.is_none_or(|n| n == weight.elements()), "elements of {}", weight.name);
        let taken = self.dims.insert(weight.name.clone(), weight.dims.clone());
        assert!(taken.is_none(), "the weight {} is there twice", weight.name);
        self.weights.push(weight);
    }

    /// The dimensions of a value or weight of this name.
    #[must_use]
    pub fn dims(&self, name: &str) -> Option<&[u64]> {
        self.dims.get(name).map(Vec::as_slice)
    }
}
