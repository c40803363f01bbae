//! The largest within a rectangle is the largest of the largest within its columns: for 5×5, ten values
//! are compared instead of twenty-five. Nothing is rounded, so the result is the same.

use super::window::Window;
use super::{Site, ints};
use crate::vision::onnx::Change;

/// The shortest side for which it was seen to be quicker.
const SIDE_MIN: u64 = 5;

pub(super) fn rule(site: &Site<'_>) -> Option<Change> {
    site.output()?;
    if site.node.op != "MaxPool" {
        return None;
    }
    let window = Window::of_pool(site.node).filter(Window::is_dense)?;
    let ([rows, columns], [top, left, bottom, right]) = (window.kernel, window.pads);
    if rows.min(columns) < SIDE_MIN {
        return None;
    }
    let pool = |kernel: [u64; 2], pads: [u64; 4]| {
        let attributes =
            [("kernel_shape", ints(&kernel)), ("pads", ints(&pads)), ("strides", ints(&[1, 1]))];
        ("MaxPool", attributes.to_vec())
    };
    let mut plan = site.plan();
    let high = plan.step("columns", pool([rows, 1], [top, 0, bottom, 0]), &[site.input(0)]);
    Some(plan.last(pool([1, columns], [0, left, 0, right]), &[&high]))
}
