//! Softmax by its definition, a pass over the tensor for each part of it: less the largest, the
//! exponential, over the sum. rten goes through it lane by lane and pays for each: 1 ns an element in lanes
//! of 400, and 6.5 in lanes of 16; this takes 0.5 and 1.3.

use super::{Operation, Site, plain};
use crate::vision::onnx::{Attribute, Change};

/// Lanes that lie together are at least so long; no shorter ones were tried.
const TOGETHER_MIN: u64 = 64;
/// Lanes that lie apart are at most so long: each place is a slice of its own.
const APART_MAX: u64 = 64;
/// The fewest elements for which it pays.
const ELEMENTS_MIN: u64 = 1 << 14;

pub(super) fn rule(site: &Site<'_>) -> Option<Change> {
    site.output()?;
    let dims = site.dims(0).filter(|_| site.node.op == "Softmax")?;
    let rank = dims.len() as i64;
    let axis = site.node.int("axis").unwrap_or(-1);
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let &lane_len = dims.get(axis)?;
    let elements = dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
    match axis + 1 == dims.len() {
        _ if elements < ELEMENTS_MIN => None,
        true if TOGETHER_MIN <= lane_len => Some(together(site, axis)),
        false if (2..=APART_MAX).contains(&lane_len) => Some(apart(site, axis, lane_len)),
        _ => None,
    }
}

/// Along the last axis: the largest and the sum are reductions.
fn together(site: &Site<'_>, axis: usize) -> Change {
    let mut plan = site.plan();
    let axes = plan.ints("axes", vec![axis as i64]);
    let keep = || vec![("keepdims", Attribute::Int(1))];
    let most = if site.draft.opset() < 18 {
        let axes = ("axes", Attribute::Ints(vec![axis as i64]));
        let attributes = keep().into_iter().chain([axes]).collect();
        plan.step("most", ("ReduceMax", attributes), &[site.input(0)])
    } else {
        plan.step("most", ("ReduceMax", keep()), &[site.input(0), &axes])
    };
    let less = plan.step("less", plain("Sub"), &[site.input(0), &most]);
    let powers = plan.step("powers", plain("Exp"), &[&less]);
    let sum = plan.step("sum", ("ReduceSum", keep()), &[&powers, &axes]);
    plan.last(plain("Div"), &[&powers, &sum])
}

/// Along another axis: the largest and the sum are those of slices, which lie together.
fn apart(site: &Site<'_>, axis: usize, lane_len: u64) -> Change {
    let mut plan = site.plan();
    let sizes = plan.ints("sizes", vec![1; lane_len as usize]);
    let names = |plan: &super::Plan<'_>, part| -> Vec<String> {
        (0..lane_len).map(|place| plan.name(&format!("{part}.{place}"))).collect()
    };
    let split = || -> Operation { ("Split", vec![("axis", Attribute::Int(axis as i64))]) };
    let slices = names(&plan, "slice");
    plan.add(split(), &[site.input(0), &sizes], slices.clone());
    let most = plan.step("most", plain("Max"), &texts(&slices));
    let less = plan.step("less", plain("Sub"), &[site.input(0), &most]);
    let powers = plan.step("powers", plain("Exp"), &[&less]);
    let slices = names(&plan, "power");
    plan.add(split(), &[&powers, &sizes], slices.clone());
    let sum = plan.step("sum", plain("Sum"), &texts(&slices));
    plan.last(plain("Div"), &[&powers, &sum])
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
