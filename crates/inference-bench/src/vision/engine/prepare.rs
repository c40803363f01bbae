//! Writes a graph anew where rten 0.27 has a quicker way to the same numbers.
//!
//! Its products of matrices run near the speed of the machine. What surrounds them does not: depthwise
//! convolutions are loops over single elements, the patches of convolutions are collected element by
//! element, softmax has a cost for each lane. So some nodes are replaced by others that give the same,
//! each [`RULES`] by itself. Whatever is not understood stays as it is, byte for byte.
//!
//! Outputs of replaced nodes keep their names. Sums are taken in another order, so results agree to rounding; and where
//! values are not finite, more of their neighbors are not: a product with zero stands where there was
//! nothing.

mod dense;
mod depthwise;
mod largest;
mod rows;
mod shapes;
mod softmax;
mod upsample;
mod window;

use self::shapes::Shapes;
use crate::vision::onnx::{Attribute, Change, Changes, Constant, Draft, Fill, Found, Node, Weight};

/// The versions of ONNX's operators that the rules know.
const OPSETS: std::ops::RangeInclusive<u64> = 13..=22;
/// The most bytes that a file's constants may grow by.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// What can be done about a node; the first rule that has something to say is followed.
const RULES: [fn(&Site<'_>) -> Option<Change>; 5] =
    [depthwise::rule, dense::rule, largest::rule, softmax::rule, upsample::rule];

/// The same model in other words; `None` where there is nothing to do.
pub(super) fn prepare(file: &[u8]) -> Option<Vec<u8>> {
    let draft = Draft::read(file)?;
    if !OPSETS.contains(&draft.opset()) {
        return None;
    }
    let shapes = Shapes::of(&draft);
    let (mut changes, mut growth_bytes) = (Changes::new(), 0);
    for (index, node) in draft.nodes().iter().enumerate() {
        let site = Site { draft: &draft, shapes: &shapes, node };
        let Some(change) = RULES.iter().find_map(|rule| rule(&site)) else { continue };
        let more_bytes = draft.growth_bytes(index, &change);
        if growth_bytes + more_bytes <= GROWTH_BYTES_MAX {
            growth_bytes += more_bytes;
            changes.insert(index, change);
        }
    }
    draft.with(&changes)
}

/// A node, and what is known around it.
struct Site<'a> {
    draft: &'a Draft<'a>,
    shapes: &'a Shapes<'a>,
    node: &'a Found<'a>,
}

impl<'a> Site<'a> {
    /// The name of an input; empty where it is left out.
    fn input(&self, index: usize) -> &'a str {
        self.node.inputs.get(index).copied().unwrap_or_default()
    }

    /// The node's only output.
    fn output(&self) -> Option<&'a str> {
        let [output] = self.node.outputs[..] else { return None };
        Some(output)
    }

    /// The dimensions of an input.
    fn dims(&self, index: usize) -> Option<&'a [u64]> {
        self.shapes.get(self.input(index))
    }

    /// The dimensions of an input that is a picture, or a batch of them.
    fn picture(&self) -> Option<[u64; 4]> {
        self.dims(0)?.try_into().ok()
    }

    fn constant(&self, index: usize) -> Option<Constant<'a>> {
        self.draft.constant(self.input(index))
    }

    /// Starts what takes the node's place.
    fn plan(&self) -> Plan<'a> {
        let change = Change { nodes: Vec::new(), weights: Vec::new() };
        Plan { node: self.node, change }
    }
}

/// What takes a node's place, under construction. New names begin with the node's own output.
struct Plan<'a> {
    node: &'a Found<'a>,
    change: Change,
}

impl Plan<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}/prepared/{part}", self.node.outputs[0])
    }

    /// Adds a constant; returns its name.
    fn floats(&mut self, part: &str, dims: &[u64], values: Vec<f32>) -> String {
        self.weight(part, dims, Fill::Floats(values))
    }

    /// Adds a constant with one axis; returns its name.
    fn ints(&mut self, part: &str, values: Vec<i64>) -> String {
        self.weight(part, &[values.len() as u64], Fill::Ints(values))
    }

    fn weight(&mut self, part: &str, dims: &[u64], fill: Fill) -> String {
        let name = self.name(part);
        let weight = Weight { name: name.clone(), dims: dims.to_vec(), fill, is_parameter: false };
        self.change.weights.push(weight);
        name
    }

    /// Adds a node on the way; returns the name of its output.
    fn step(&mut self, part: &str, op: Operation, inputs: &[&str]) -> String {
        let output = self.name(part);
        self.add(op, inputs, vec![output.clone()]);
        output
    }

    /// Adds a node whose output is the replaced node's.
    fn last(mut self, op: Operation, inputs: &[&str]) -> Change {
        self.add(op, inputs, vec![self.node.outputs[0].to_owned()]);
        self.change
    }

    /// Whoever reads of a new node in an error finds the name of the old one.
    fn add(&mut self, (op, attributes): Operation, inputs: &[&str], outputs: Vec<String>) {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        let name = self.node.name.to_owned();
        self.change.nodes.push(Node { name, op, inputs, outputs, attributes });
    }
}

/// An operator with its attributes.
type Operation = (&'static str, Vec<(&'static str, Attribute)>);

/// An operator without attributes.
fn plain(op: &'static str) -> Operation {
    (op, Vec::new())
}

fn ints(values: &[u64]) -> Attribute {
    Attribute::Ints(values.iter().map(|value| value.cast_signed()).collect())
}

#[cfg(test)]
mod tests;
