//! What a graph costs, counted from itself.

use super::{Graph, Node, Weight};

/// Sizes of a graph.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Elements of all weights that training would change.
    pub parameters: u64,
    /// Multiplications with an addition in convolutions, of one inference.
    pub conv_macs: u64,
    /// The same in products of matrices, which the tools behind published figures do not count.
    pub matmul_macs: u64,
}

impl Counts {
    /// Billions of operations as published: two for each multiplication with an addition in a convolution.
    #[must_use]
    pub fn gflops_published(&self) -> f64 {
        2.0 * self.conv_macs as f64 / 1e9
    }

    /// Billions of operations, products of matrices included.
    #[must_use]
    pub fn gflops(&self) -> f64 {
        self.gflops_published() + 2.0 * self.matmul_macs as f64 / 1e9
    }
}

impl Graph {
    /// Counts parameters and operations.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let parameters = self.weights.iter().filter(|weight| weight.is_parameter);
        let mut counts =
            Counts { parameters: parameters.map(Weight::elements).sum(), ..Counts::default() };
        for node in &self.nodes {
            match node.op {
                "Conv" => {
                    counts.conv_macs += self.macs(node, |weight| weight[1..].iter().product());
                }
                "MatMul" => {
                    // Rows times columns: the inner dimension is the second operand's last but one.
                    counts.matmul_macs += self.macs(node, |right| right[right.len() - 2]);
                }
                _ => {}
            }
        }
        counts
    }

    /// Elements of a node's first output, times what each of them takes of the second input.
    fn macs(&self, node: &Node, each: impl Fn(&[u64]) -> u64) -> u64 {
        let output = node.outputs.first().and_then(|name| self.dims(name));
        let operand = node.inputs.get(1).and_then(|name| self.dims(name));
        let (Some(output), Some(operand)) = (output, operand) else { return 0 };
        output.iter().product::<u64>() * each(operand)
    }
}
