//! The head that tells boxes and classes, as YOLO11 and YOLO12 share it.

use super::builder::{Builder, Conv};
use crate::vision::onnx::{Fill, Value};

/// Each side of a box is a distribution over so many distances.
const BINS: u64 = 16;
/// Of the logits of classes: rare as objects are, so that some tens of places exceed a threshold.
const CLASS_BIAS: f32 = -5.0;

/// Boxes as center, width and height in pixels of the input, then the score of each class:
/// `[batch, 4 + classes, places]`. Levels come finest first.
pub(super) fn detect(b: &mut Builder, levels: &[Value], classes: u64, size: u64) -> Value {
    let first = levels[0].dims[1];
    let box_channels = 16.max(first / 4).max(4 * BINS);
    let class_channels = first.max(classes.min(100));
    let mut boxes = Vec::new();
    let mut scores = Vec::new();
    for (level, x) in levels.iter().enumerate() {
        let flat_len = x.dims[2] * x.dims[3];
        let batch = x.dims[0];
        let y = b.within(format!("cv2.{level}"), |b| {
            let y = b.conv("0", x, Conv::new(box_channels, 3));
            let y = b.conv("1", &y, Conv::new(box_channels, 3));
            let y = b.bare_conv("2", &y, Conv::new(4 * BINS, 1).last(), Some(1.0));
            b.reshape("flat", &y, &[batch, 4 * BINS, flat_len])
        });
        boxes.push(y);
        let y = b.within(format!("cv3.{level}"), |b| {
            let y = b.conv("0.0", x, Conv::new(x.dims[1], 3).depthwise());
            let y = b.conv("0.1", &y, Conv::new(class_channels, 1));
            let y = b.conv("1.0", &y, Conv::new(class_channels, 3).depthwise());
            let y = b.conv("1.1", &y, Conv::new(class_channels, 1));
            let y = b.bare_conv("2", &y, Conv::new(classes, 1).last(), Some(CLASS_BIAS));
            b.reshape("flat", &y, &[batch, classes, flat_len])
        });
        scores.push(y);
    }
    let boxes = b.concat("boxes", &boxes.iter().collect::<Vec<_>>(), 2);
    let scores = b.concat("scores", &scores.iter().collect::<Vec<_>>(), 2);
    let boxes = decode(b, &boxes, levels, size);
    let scores = b.unary("sigmoid", "Sigmoid", &scores);
    b.concat("output", &[&boxes, &scores], 1)
}

/// Distances to the four sides, as means of their distributions, around the place of each anchor.
fn decode(b: &mut Builder, boxes: &Value, levels: &[Value], size: u64) -> Value {
    let (batch, places) = (boxes.dims[0], boxes.dims[2]);
    let distances = b.within("dfl", |b| {
        let y = b.reshape("bins", boxes, &[batch, 4, BINS, places]);
        let y = b.transpose("bins_first", &y, &[0, 2, 1, 3]);
        let y = b.softmax("softmax", &y, 1);
        let y = mean_of_bins(b, &y);
        b.reshape("distances", &y, &[batch, 4, places])
    });
    let (anchors, strides) = anchors(levels, size);
    let anchors = b.value("anchors", vec![1, 2, places], Fill::Floats(anchors));
    let strides = b.value("strides", vec![1, 1, places], Fill::Floats(strides));
    let ends = b.split("ends", &distances, &[2, 2], 1);
    let low = b.binary("low", "Sub", &anchors, &ends[0]);
    let high = b.add("high", &anchors, &ends[1]);
    let sum = b.add("sum", &low, &high);
    let center = b.scale("center", &sum, 0.5);
    let extent = b.binary("extent", "Sub", &high, &low);
    let both = b.concat("center_extent", &[&center, &extent], 1);
    b.binary("pixels", "Mul", &both, &strides)
}

/// A 1×1 convolution whose weights are the distances themselves; they count as parameters, and are not
/// drawn.
fn mean_of_bins(b: &mut Builder, x: &Value) -> Value {
    let distances = Fill::Floats((0..BINS).map(|bin| bin as f32).collect());
    let weight = b.parameter("conv.weight", vec![1, BINS, 1, 1], distances);
    b.conv_with("conv", x, &weight)
}

/// The middle of each place in units of its level's stride, all x before all y, and the strides.
fn anchors(levels: &[Value], size: u64) -> (Vec<f32>, Vec<f32>) {
    let (mut xs, mut ys, mut strides) = (Vec::new(), Vec::new(), Vec::new());
    for level in levels {
        let (height, width) = (level.dims[2], level.dims[3]);
        for row in 0..height {
            for column in 0..width {
                xs.push(column as f32 + 0.5);
                ys.push(row as f32 + 0.5);
                strides.push((size / width) as f32);
            }
        }
    }
    xs.extend(ys);
    (xs, strides)
}
