//! A model's file whose nodes are replaced one by one, while all else stays as it is, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{Field, fields};
use super::wire::Message;
use super::write::{add_weight_field, data_bytes, node_field};
use super::{Node, Weight};

/// A constant in the file.
#[derive(Clone, Copy, Debug)]
pub(in crate::vision) struct Constant<'a> {
    kind: u64,
    dims: &'a [u64],
    raw: &'a [u8],
}

/// What a node in the file is.
#[derive(Debug, Default)]
pub(in crate::vision) struct Found<'a> {
    pub(in crate::vision) name: &'a str,
    /// Its operator; empty if that is none of ONNX's own.
    pub(in crate::vision) op: &'a str,
    pub(in crate::vision) inputs: Vec<&'a str>,
    pub(in crate::vision) outputs: Vec<&'a str>,
    ints: BTreeMap<&'a str, Vec<i64>>,
    texts: BTreeMap<&'a str, &'a str>,
}

/// What takes a node's place, and the constants that it needs.
#[derive(Debug)]
pub(in crate::vision) struct Change {
    pub(in crate::vision) nodes: Vec<Node>,
    pub(in crate::vision) weights: Vec<Weight>,
}

/// Changes by the index of the node that goes.
pub(in crate::vision) type Changes = BTreeMap<usize, Change>;

/// A file, read as far as whoever changes its nodes has to know.
#[derive(Debug)]
pub(in crate::vision) struct Draft<'a> {
    model: Vec<Field<'a>>,
    graph: Vec<Field<'a>>,
    opset: u64,
    nodes: Vec<Found<'a>>,
    tensors: BTreeMap<&'a str, Tensor<'a>>,
    /// Dimensions of values that are told and known.
    dims: BTreeMap<&'a str, Vec<u64>>,
    /// How often each name is used: by nodes, or as an output.
    uses: BTreeMap<&'a str, u32>,
}

#[derive(Debug, Default)]
struct Tensor<'a> {
    kind: u64,
    dims: Vec<u64>,
    raw: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    pub(in crate::vision) fn int(&self, attribute: &str) -> Option<i64> {
        self.ints.get(attribute)?.first().copied()
    }

    pub(in crate::vision) fn ints(&self, attribute: &str) -> Option<&[i64]> {
        self.ints.get(attribute).map(Vec::as_slice)
    }

    pub(in crate::vision) fn text(&self, attribute: &str) -> Option<&'a str> {
        self.texts.get(attribute).copied()
    }
}

impl Constant<'_> {
    pub(in crate::vision) fn dims(&self) -> &[u64] {
        self.dims
    }

    /// Its elements, where they are floats, and as many as its dimensions say.
    pub(in crate::vision) fn floats(&self) -> Option<Vec<f32>> {
        let elements = self.elements::<4>(1)?;
        Some(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Its elements, where they are whole numbers.
    pub(in crate::vision) fn ints(&self) -> Option<Vec<i64>> {
        let elements = self.elements::<8>(7)?;
        Some(elements.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    }

    fn elements<const BYTES: usize>(&self, kind: u64) -> Option<&[[u8; BYTES]]> {
        let len = self.dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
        let (elements, rest) = self.raw.as_chunks();
        let is_whole = rest.is_empty() && elements.len() as u64 == len;
        (self.kind == kind && is_whole).then_some(elements)
    }
}

impl<'a> Draft<'a> {
    /// Reads a file; `None` if it is broken, or has graphs within nodes, who might use any name.
    pub(in crate::vision) fn read(file: &'a [u8]) -> Option<Self> {
        let model = fields(file)?;
        let mut graphs = model.iter().filter(|field| field.number == 7);
        let (graph, None) = (fields(graphs.next()?.bytes()?)?, graphs.next()) else {
            return None;
        };
        let opset = opset(&model)?;
        let mut draft = Draft {
            model,
            graph: Vec::new(),
            opset,
            nodes: Vec::new(),
            tensors: BTreeMap::new(),
            dims: BTreeMap::new(),
            uses: BTreeMap::new(),
        };
        for field in &graph {
            draft.add(*field)?;
        }
        draft.graph = graph;
        Some(draft)
    }

    fn add(&mut self, field: Field<'a>) -> Option<()> {
        match field.number {
            1 => {
                let (node, constant) = node(field.bytes()?)?;
                if let (Some(constant), Some(&output)) = (constant, node.outputs.first()) {
                    self.tensors.insert(output, constant);
                }
                node.inputs.iter().for_each(|name| *self.uses.entry(name).or_default() += 1);
                self.nodes.push(node);
            }
            5 => {
                let (name, tensor) = tensor(field.bytes()?)?;
                self.tensors.insert(name, tensor);
            }
            11..=13 => {
                let (name, dims) = value(field.bytes()?)?;
                if let Some(dims) = dims {
                    self.dims.insert(name, dims);
                }
                if field.number == 12 {
                    *self.uses.entry(name).or_default() += 1;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// The version of ONNX's own operators.
    pub(in crate::vision) fn opset(&self) -> u64 {
        self.opset
    }

    pub(in crate::vision) fn nodes(&self) -> &[Found<'a>] {
        &self.nodes
    }

    /// The dimensions of a value, where the file tells them.
    pub(in crate::vision) fn dims(&self, name: &str) -> Option<&[u64]> {
        let tensor = || self.tensors.get(name).map(|tensor| &tensor.dims[..]);
        self.dims.get(name).map(Vec::as_slice).or_else(tensor)
    }

    /// The constant of this name, where its elements are in the file.
    pub(in crate::vision) fn constant(&self, name: &str) -> Option<Constant<'_>> {
        let tensor = self.tensors.get(name)?;
        Some(Constant { kind: tensor.kind, dims: &tensor.dims, raw: tensor.raw? })
    }

    /// How many nodes and outputs make use of a name.
    pub(in crate::vision) fn uses(&self, name: &str) -> u32 {
        self.uses.get(name).copied().unwrap_or_default()
    }

    /// By how many bytes the constants grow if a node is replaced: what only it has used goes.
    pub(in crate::vision) fn growth_bytes(&self, index: usize, change: &Change) -> u64 {
        let more: u64 = change.weights.iter().map(data_bytes).sum();
        let freed = self.nodes[index].inputs.iter().filter(|name| self.uses(name) == 1);
        let raw = freed.filter_map(|name| self.tensors.get(name)?.raw);
        more.saturating_sub(raw.map(|raw| raw.len() as u64).sum())
    }

    /// The file with some nodes replaced, by their index; `None` if there are none, or a new name is not new.
    pub(in crate::vision) fn with(&self, changes: &Changes) -> Option<Vec<u8>> {
        if changes.is_empty() || !self.has_new_names(changes) {
            return None;
        }
        let graph = self.graph(changes);
        let mut file = Vec::with_capacity(graph.len() + (1 << 12));
        for field in &self.model {
            if field.number == 7 {
                let mut head = Message::default();
                head.announce(7, graph.len() as u64);
                file.extend(head.into_bytes());
                file.extend_from_slice(&graph);
            } else {
                file.extend_from_slice(field.whole);
            }
        }
        Some(file)
    }

    fn graph(&self, changes: &Changes) -> Vec<u8> {
        let needed = self.needed(changes);
        let (mut graph, mut index) = (Vec::new(), 0);
        for field in &self.graph {
            let change = if field.number == 1 { changes.get(&index) } else { None };
            index += usize::from(field.number == 1);
            let is_idle = field.number == 5 && self.is_idle(*field, &needed);
            match change {
                Some(change) => graph.extend(change.nodes.iter().flat_map(node_field)),
                None if is_idle => {}
                None => graph.extend_from_slice(field.whole),
            }
        }
        let weights = changes.values().flat_map(|change| &change.weights);
        weights.for_each(|weight| add_weight_field(weight, &mut graph));
        graph
    }

    /// Whether a constant was needed before and is not any more.
    fn is_idle(&self, field: Field<'a>, needed: &BTreeSet<&str>) -> bool {
        let name = field.bytes().and_then(tensor).map(|(name, _)| name);
        name.is_some_and(|name| 0 < self.uses(name) && !needed.contains(name))
    }

    /// The names that kept nodes, new ones and outputs use.
    fn needed<'b>(&'b self, changes: &'b Changes) -> BTreeSet<&'b str> {
        let outputs = self.graph.iter().filter(|field| field.number == 12);
        let outputs = outputs.filter_map(|field| Some(value(field.bytes()?)?.0));
        let kept = self.nodes.iter().enumerate().filter(|(at, _)| !changes.contains_key(at));
        let kept = kept.flat_map(|(_, node)| node.inputs.iter().copied());
        let new = changes.values().flat_map(|change| &change.nodes);
        let new = new.flat_map(|node| node.inputs.iter().map(String::as_str));
        outputs.chain(kept).chain(new).collect()
    }

    fn has_new_names(&self, changes: &Changes) -> bool {
        let outputs = self.nodes.iter().flat_map(|node| node.outputs.iter().copied());
        let mut taken: BTreeSet<&str> = outputs.collect();
        taken.extend(self.tensors.keys().chain(self.dims.keys()));
        taken.extend(self.uses.keys());
        changes.iter().all(|(&at, change)| {
            let weights = change.weights.iter().map(|weight| weight.name.as_str());
            let values = change.nodes.iter().flat_map(|node| &node.outputs).map(String::as_str);
            let new = values.filter(|name| !self.nodes[at].outputs.contains(name));
            weights.chain(new).all(|name| taken.insert(name))
        })
    }
}

/// The version of ONNX's own operators that a model asks for.
fn opset(model: &[Field<'_>]) -> Option<u64> {
    for field in model.iter().filter(|field| field.number == 8) {
        let parts = fields(field.bytes()?)?;
        let domain = parts.iter().find(|part| part.number == 1);
        if domain.is_none_or(|domain| matches!(domain.text(), Some("" | "ai.onnx"))) {
            return parts.iter().find(|part| part.number == 2)?.number();
        }
    }
    None
}

/// A node, and what it holds if it is a constant.
fn node(message: &[u8]) -> Option<(Found<'_>, Option<Tensor<'_>>)> {
    let (mut node, mut constant) = (Found::default(), None);
    let mut is_foreign = false;
    for field in fields(message)? {
        match field.number {
            1 => node.inputs.push(field.text()?),
            2 => node.outputs.push(field.text()?),
            3 => node.name = field.text()?,
            4 => node.op = field.text()?,
            5 => constant = attribute(field.bytes()?, &mut node)?.or(constant),
            7 => is_foreign = !matches!(field.text()?, "" | "ai.onnx"),
            _ => {}
        }
    }
    if is_foreign {
        node.op = "";
    }
    Some((node, constant.filter(|_| !is_foreign)))
}

/// Notes an attribute that holds numbers or a text; returns the tensor of one that holds that. `None` if it
/// holds a graph.
fn attribute<'a>(message: &'a [u8], node: &mut Found<'a>) -> Option<Option<Tensor<'a>>> {
    let (mut name, mut numbers, mut text, mut held) = ("", Vec::new(), None, None);
    for field in fields(message)? {
        match field.number {
            1 => name = field.text()?,
            3 | 8 => field.add_numbers(&mut numbers)?,
            4 => text = field.text(),
            5 => held = Some(tensor(field.bytes()?)?.1),
            6 | 11 => return None,
            _ => {}
        }
    }
    if let Some(text) = text {
        node.texts.insert(name, text);
    } else if !numbers.is_empty() {
        node.ints.insert(name, numbers.into_iter().map(u64::cast_signed).collect());
    }
    Some(held.filter(|_| name == "value"))
}

/// A tensor and its name. Elements are known where they are raw bytes: that is how all but tiny ones are.
fn tensor(message: &[u8]) -> Option<(&str, Tensor<'_>)> {
    let (mut name, mut tensor) = ("", Tensor::default());
    for field in fields(message)? {
        match field.number {
            1 => field.add_numbers(&mut tensor.dims)?,
            2 => tensor.kind = field.number()?,
            8 => name = field.text()?,
            9 => tensor.raw = Some(field.bytes()?),
            _ => {}
        }
    }
    Some((name, tensor))
}

/// The first field of this number.
fn of(message: &[u8], number: u64) -> Option<Field<'_>> {
    fields(message)?.into_iter().find(|field| field.number == number)
}

/// The name of a value, and its dimensions if they are all told.
fn value(message: &[u8]) -> Option<(&str, Option<Vec<u64>>)> {
    let name = of(message, 1)?.text()?;
    let shape = of(message, 2)
        .and_then(|kind| of(kind.bytes()?, 1))
        .and_then(|tensor| of(tensor.bytes()?, 2))
        .and_then(|shape| fields(shape.bytes()?));
    let len = |dim: Field<'_>| of(dim.bytes()?, 1)?.number();
    Some((name, shape.and_then(|dims| dims.into_iter().map(len).collect())))
}
