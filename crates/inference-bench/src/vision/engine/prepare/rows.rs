//! The rows of a picture, copied into the order in which kernels meet them: whole rows, so that it is quick.

use super::window::Window;
use super::{Plan, plain};
use crate::vision::onnx::Attribute;

/// Rows of the highest picture, and of the highest kernel.
const HEIGHT_MAX: u64 = 2048;
const KERNEL_HEIGHT_MAX: u64 = 32;

/// Whether pictures of so many rows may be copied under such a kernel.
pub(super) fn are_few(window: &Window, height: u64, out_height: u64) -> bool {
    out_height.max(height) <= HEIGHT_MAX && window.kernel[0] <= KERNEL_HEIGHT_MAX
}

/// Adds the copy: these rows, counted from the first row of zeros above the picture.
pub(super) fn copied(
    plan: &mut Plan<'_>,
    picture: &str,
    window: &Window,
    order: Vec<u64>,
) -> String {
    let [above, _, below, _] = window.pads.map(u64::cast_signed);
    let pads = plan.ints("pads", vec![0, 0, above, 0, 0, 0, below, 0]);
    let padded = plan.step("padded", plain("Pad"), &[picture, &pads]);
    let order = plan.ints("order", order.into_iter().map(u64::cast_signed).collect());
    let gather = ("Gather", vec![("axis", Attribute::Int(2))]);
    plan.step("rows", gather, &[&padded, &order])
}
