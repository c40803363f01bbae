//! The window that convolutions and poolings move over a picture.

use crate::vision::onnx::Found;

/// A window over rows and columns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    pub(super) kernel: [u64; 2],
    /// Rows above, columns to the left, rows below, columns to the right.
    pub(super) pads: [u64; 4],
    strides: [u64; 2],
    dilations: [u64; 2],
}

impl Window {
    /// That of a node; `None` where it is not told in full, or rounds in its own way.
    pub(super) fn of(node: &Found<'_>, kernel: [u64; 2]) -> Option<Self> {
        let pads_itself = node.text("auto_pad").is_some_and(|way| way != "NOTSET");
        let rounds_up = node.int("ceil_mode").is_some_and(|mode| mode != 0);
        let told = numbers(node, "kernel_shape", kernel)?;
        if pads_itself || rounds_up || told != kernel || kernel.contains(&0) {
            return None;
        }
        Some(Self {
            kernel,
            pads: numbers(node, "pads", [0; 4])?,
            strides: numbers(node, "strides", [1; 2])?,
            dilations: numbers(node, "dilations", [1; 2])?,
        })
    }

    /// That of a pooling, which tells its own kernel.
    pub(super) fn of_pool(node: &Found<'_>) -> Option<Self> {
        Self::of(node, numbers(node, "kernel_shape", [0; 2])?)
    }

    /// One row of it, where the rows are taken care of.
    pub(super) fn row(&self) -> Self {
        let [_, left, _, right] = self.pads;
        Self { kernel: [1, self.kernel[1]], pads: [0, left, 0, right], ..*self }
    }

    /// Whether it moves by one, covers what lies side by side, and never covers nothing.
    pub(super) fn is_dense(&self) -> bool {
        let [top, left, bottom, right] = self.pads;
        let covers = top.max(bottom) < self.kernel[0] && left.max(right) < self.kernel[1];
        covers && self.strides == [1; 2] && self.dilations == [1; 2]
    }

    /// Rows and columns of what comes out of so many.
    pub(super) fn output(&self, sides: [u64; 2]) -> Option<[u64; 2]> {
        let side = |axis: usize| {
            let around = self.pads[axis].checked_add(self.pads[axis + 2])?;
            let covered =
                self.dilations[axis].checked_mul(self.kernel[axis] - 1)?.checked_add(1)?;
            let places = sides[axis].checked_add(around)?.checked_sub(covered)?;
            places.checked_div(self.strides[axis])?.checked_add(1)
        };
        Some([side(0)?, side(1)?])
    }
}

/// An attribute of so many numbers, or what holds without it.
fn numbers<const N: usize>(node: &Found<'_>, name: &str, default: [u64; N]) -> Option<[u64; N]> {
    let Some(values) = node.ints(name) else { return Some(default) };
    let values: Option<Vec<u64>> = values.iter().map(|&value| value.try_into().ok()).collect();
    values?.try_into().ok()
}
