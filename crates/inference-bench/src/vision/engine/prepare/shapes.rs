//! The dimensions of values, followed through a graph as far as its operators are known here.

use std::collections::BTreeMap;

use super::window::Window;
use crate::vision::onnx::{Draft, Found};

/// Dimensions by the names of values.
#[derive(Debug)]
pub(super) struct Shapes<'a> {
    draft: &'a Draft<'a>,
    found: BTreeMap<&'a str, Vec<u64>>,
}

impl<'a> Shapes<'a> {
    /// Those of a whole graph.
    pub(super) fn of(draft: &'a Draft<'a>) -> Self {
        let mut shapes = Self { draft, found: BTreeMap::new() };
        for node in draft.nodes() {
            let outputs = shapes.outputs(node).unwrap_or_default();
            for (&name, dims) in node.outputs.iter().zip(outputs) {
                shapes.found.insert(name, dims);
            }
        }
        shapes
    }

    /// What is known of a value: by our own reckoning, or because the file tells it.
    pub(super) fn get(&self, name: &str) -> Option<&[u64]> {
        self.found.get(name).map(Vec::as_slice).or_else(|| self.draft.dims(name))
    }

    fn outputs(&self, node: &Found<'a>) -> Option<Vec<Vec<u64>>> {
        let input = |index: usize| self.get(node.inputs.get(index)?);
        let ints = |index: usize| self.draft.constant(node.inputs.get(index)?)?.ints();
        Some(match node.op {
            "Conv" => vec![conv(node, input(0)?, input(1)?)?],
            "MaxPool" => vec![pool(node, input(0)?)?],
            "Add" | "Sub" | "Mul" | "Div" => vec![broadcast(input(0)?, input(1)?)?],
            "MatMul" => vec![product(input(0)?, input(1)?)?],
            "Concat" => vec![concat(
                node,
                &node.inputs.iter().map(|name| self.get(name)).collect::<Option<Vec<_>>>()?,
            )?],
            "Split" => split(node, input(0)?, &ints(1)?)?,
            "Reshape" => vec![reshape(node, input(0)?, &ints(1)?)?],
            "Transpose" => vec![transpose(node, input(0)?)?],
            "Resize" => vec![self.resize(node)?],
            "BatchNormalization" | "Sigmoid" | "Relu" | "Softmax" | "HardSigmoid" | "HardSwish"
            | "LeakyRelu" | "Clip" | "Identity" | "Exp" | "Sqrt" | "Tanh" | "Erf" => {
                vec![input(0)?.to_vec()]
            }
            _ => return None,
        })
    }

    /// By whole factors only.
    fn resize(&self, node: &Found<'a>) -> Option<Vec<u64>> {
        let [input, _, scales] = node.inputs[..] else { return None };
        let (dims, scales) = (self.get(input)?, self.draft.constant(scales)?.floats()?);
        let is_whole = |scale: &f32| 1.0 <= *scale && *scale <= 64.0 && scale.fract() == 0.0;
        if scales.len() != dims.len() || !scales.iter().all(is_whole) {
            return None;
        }
        dims.iter().zip(scales).map(|(dim, scale)| dim.checked_mul(scale as u64)).collect()
    }
}

fn conv(node: &Found<'_>, input: &[u64], weight: &[u64]) -> Option<Vec<u64>> {
    let (&[batch, _, height, width], &[outs, _, rows, columns]) = (input, weight) else {
        return None;
    };
    let [height, width] = Window::of(node, [rows, columns])?.output([height, width])?;
    Some(vec![batch, outs, height, width])
}

fn pool(node: &Found<'_>, input: &[u64]) -> Option<Vec<u64>> {
    let &[batch, channels, height, width] = input else { return None };
    let [height, width] = Window::of_pool(node)?.output([height, width])?;
    Some(vec![batch, channels, height, width])
}

/// Axes of length 1 are repeated, missing ones in front are of length 1.
fn broadcast(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[u64], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis])
    };
    let dim = |axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => Some(x),
        (1, other) | (other, 1) => Some(other),
        _ => None,
    };
    (0..rank).map(dim).collect()
}

fn product(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let ([a @ .., rows, inner], [b @ .., depth, columns]) = (a, b) else { return None };
    let mut dims = broadcast(a, b).filter(|_| inner == depth)?;
    dims.extend([rows, columns]);
    Some(dims)
}

fn concat(node: &Found<'_>, parts: &[&[u64]]) -> Option<Vec<u64>> {
    let mut dims = parts.first()?.to_vec();
    let axis = axis(node.int("axis")?, dims.len())?;
    if parts.iter().any(|part| part.len() != dims.len()) {
        return None;
    }
    dims[axis] = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part[axis]))?;
    Some(dims)
}

fn split(node: &Found<'_>, input: &[u64], sizes: &[i64]) -> Option<Vec<Vec<u64>>> {
    let axis = axis(node.int("axis").unwrap_or(0), input.len())?;
    let part = |&size: &i64| {
        let mut dims = input.to_vec();
        dims[axis] = size.try_into().ok()?;
        Some(dims)
    };
    sizes.iter().map(part).collect()
}

/// Of the numbers of a shape, 0 stands for what is there and -1 for what is left.
fn reshape(node: &Found<'_>, input: &[u64], shape: &[i64]) -> Option<Vec<u64>> {
    let of = |dims: &[u64]| dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    let keeps_zero = node.int("allowzero").is_some_and(|keeps| keeps != 0);
    let dim = |(axis, &dim): (usize, &i64)| match dim {
        0 if !keeps_zero => input.get(axis).copied(),
        -1 => Some(1),
        _ => dim.try_into().ok(),
    };
    let mut dims: Vec<u64> = shape.iter().enumerate().map(dim).collect::<Option<_>>()?;
    if let Some(open) = shape.iter().position(|&dim| dim == -1) {
        dims[open] = of(input)?.checked_div(of(&dims)?)?;
    }
    (of(&dims)? == of(input)?).then_some(dims)
}

fn transpose(node: &Found<'_>, input: &[u64]) -> Option<Vec<u64>> {
    let order = node.ints("perm").filter(|order| order.len() == input.len())?;
    order.iter().map(|&axis| input.get(usize::try_from(axis).ok()?).copied()).collect()
}

/// An axis, which may be counted from behind.
fn axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}
