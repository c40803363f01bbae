//! Depthwise convolutions as products of matrices: the rows under a kernel, one after the other, times a
//! banded matrix for each channel. Most of that matrix is zero, and the product still is 1.5 to 3 times as
//! quick as rten's loop, as long as rows are not much longer than the kernel is wide.

use super::window::Window;
use super::{GROWTH_BYTES_MAX, Site, plain, rows};
use crate::vision::onnx::Change;

/// Of how many kernels' widths rows may be: beyond, too much of the matrix is zero (3×3 over 80 columns
/// took as long as before).
const WIDTH_PER_KERNEL_MAX: u64 = 7;

pub(super) fn rule(site: &Site<'_>) -> Option<Change> {
    site.output()?;
    let [_, channels, height, width] = site.picture()?;
    let (weight, is_conv) = (site.constant(1)?, site.node.op == "Conv");
    let &[outs, 1, high, columns] = weight.dims() else { return None };
    let window = Window::of(site.node, [high, columns])?;
    let [out_height, out_width] = window.output([height, width])?;
    let groups = site.node.int("group").and_then(|groups| u64::try_from(groups).ok())?;
    let is_depthwise = is_conv && 1 < channels && outs == channels && groups == channels;
    let fits = out_width.max(width) <= columns.checked_mul(WIDTH_PER_KERNEL_MAX)?;
    let are_few = rows::are_few(&window, height, out_height);
    if !is_depthwise || !window.is_dense() || !fits || !are_few {
        return None;
    }
    let sides = [channels, high, width, out_width];
    let elements = sides.iter().try_fold(1_u64, |product, &side| product.checked_mul(side))?;
    if GROWTH_BYTES_MAX / 4 < elements {
        return None;
    }
    let bias = match site.input(2) {
        "" => None,
        _ => Some(site.constant(2)?.floats().filter(|bias| bias.len() as u64 == channels)?),
    };
    let banded = banded(&weight.floats()?, &window, [width, out_width].map(|n| n as usize));
    let mut plan = site.plan();
    let order = (0..out_height).flat_map(|row| row..row + high).collect();
    let under = rows::copied(&mut plan, site.input(0), &window, order);
    // 0 stands for what is there.
    let shape = vec![0, 0, out_height.cast_signed(), (high * width).cast_signed()];
    let shape = plan.ints("shape", shape);
    let matrix = plan.step("matrix", plain("Reshape"), &[&under, &shape]);
    let banded = plan.floats("banded", &[channels, high * width, out_width], banded);
    let Some(bias) = bias else {
        return Some(plan.last(plain("MatMul"), &[&matrix, &banded]));
    };
    let product = plan.step("product", plain("MatMul"), &[&matrix, &banded]);
    let bias = plan.floats("bias", &[1, channels, 1, 1], bias);
    Some(plan.last(plain("Add"), &[&product, &bias]))
}

/// For each channel and row of the kernel, a matrix that takes a row of the picture to what it adds to a row
/// of the output. Columns beyond the picture are not there: they would be zero.
fn banded(weight: &[f32], window: &Window, [width, out_width]: [usize; 2]) -> Vec<f32> {
    let (columns, left) = (window.kernel[1] as usize, window.pads[1] as usize);
    let mut banded = vec![0.0; weight.len() / columns * width * out_width];
    for (row, matrix) in weight.chunks(columns).zip(banded.chunks_mut(width * out_width)) {
        for to in 0..out_width {
            for (column, &factor) in row.iter().enumerate() {
                if let Some(from) = (to + column).checked_sub(left).filter(|&from| from < width) {
                    matrix[from * out_width + to] = factor;
                }
            }
        }
    }
    banded
}
