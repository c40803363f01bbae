//! Dense convolutions as transposed ones, for which no patches of the picture are collected: one product
//! of matrices gives what each pixel adds to its surroundings, and that is added up.
//!
//! It is quicker where no more channels come out than go in: 1.1 – 1.9 times over the shapes of YOLO11 and
//! YOLO12; with twice as many it took up to twice as long. Adding up takes half of the time where as many
//! come out as go in; so there the rows under the kernel are channels, and only its columns are added.

use super::window::Window;
use super::{Plan, Site, ints, plain, rows};
use crate::vision::onnx::{Attribute, Change};

pub(super) fn rule(site: &Site<'_>) -> Option<Change> {
    site.output()?;
    let (weight, is_conv) = (site.constant(1)?, site.node.op == "Conv");
    let &[outs, ins, high, wide] = weight.dims() else { return None };
    let window = Window::of(site.node, [high, wide])?;
    let is_grouped = site.node.int("group").is_some_and(|groups| groups != 1);
    let shrinks = outs <= ins && 1 < high.max(wide) && window.is_dense();
    // What others use, too, would be there twice.
    if !is_conv || is_grouped || !shrinks || site.draft.uses(site.input(1)) != 1 {
        return None;
    }
    let weight = weight.floats()?;
    let mut plan = site.plan();
    let stacked = if outs == ins { stacked(&mut plan, site, &window, outs) } else { None };
    let (picture, window) = stacked.unwrap_or_else(|| (site.input(0).to_owned(), window));
    let [rows, columns] = window.kernel;
    let channels = ins * high / rows;
    let turned = turned(&weight, [outs, channels, rows * columns].map(|n| n as usize));
    let weight = plan.floats("weight", &[channels, outs, rows, columns], turned);
    let mut inputs = vec![&*picture, &weight];
    inputs.extend(Some(site.input(2)).filter(|bias| !bias.is_empty()));
    Some(plan.last(("ConvTranspose", attributes(&window)), &inputs))
}

/// A picture that has the rows under a kernel as channels, and the window that is left: one row.
fn stacked(
    plan: &mut Plan<'_>,
    site: &Site<'_>,
    window: &Window,
    channels: u64,
) -> Option<(String, Window)> {
    let [_, _, height, width] = site.picture()?;
    let [out_height, _] = window.output([height, width])?;
    let high = window.kernel[0];
    if high == 1 || !rows::are_few(window, height, out_height) {
        return None;
    }
    let order = (0..high).flat_map(|row| row..row + out_height).collect();
    let under = rows::copied(plan, site.input(0), window, order);
    // 0 stands for what is there.
    let sides = [0, channels * high, out_height, width].map(u64::cast_signed);
    let shape = plan.ints("shape", sides.to_vec());
    let picture = plan.step("stacked", plain("Reshape"), &[&under, &shape]);
    Some((picture, window.row()))
}

fn attributes(window: &Window) -> Vec<(&'static str, Attribute)> {
    let [rows, columns] = window.kernel;
    let [top, left, bottom, right] = window.pads;
    let pads = [rows - 1 - top, columns - 1 - left, rows - 1 - bottom, columns - 1 - right];
    vec![
        ("dilations", ints(&[1, 1])),
        ("group", Attribute::Int(1)),
        ("kernel_shape", ints(&window.kernel)),
        ("pads", ints(&pads)),
        ("strides", ints(&[1, 1])),
    ]
}

/// Weights with both sorts of channels exchanged, and each kernel turned by half a turn.
fn turned(weight: &[f32], [outs, ins, pixels]: [usize; 3]) -> Vec<f32> {
    let mut turned = Vec::with_capacity(weight.len());
    for inner in 0..ins {
        for outer in 0..outs {
            let kernel = &weight[(outer * ins + inner) * pixels..][..pixels];
            turned.extend(kernel.iter().rev());
        }
    }
    turned
}
