//! The blocks that YOLO11 and YOLO12 are made of.
//!
//! Source: the published layer tables (`yolo11.yaml`, `yolo12.yaml`) and the papers behind the blocks:
//! cross-stage partial networks (CSPNet, 2019), spatial pyramid pooling (YOLOv5's fast form), attention
//! with positions from a convolution (YOLOv10, 2024), area attention (YOLOv12, 2025).

use super::builder::{Builder, Conv};
use crate::vision::onnx::Value;

/// What stands in the middle of a [`c3k2`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Middle {
    /// Two convolutions.
    Bottleneck,
    /// A small cross-stage block of two bottlenecks.
    C3k,
}

/// Two 3×3 convolutions, and the way around them.
fn bottleneck(b: &mut Builder, name: &str, x: &Value, hidden: u64) -> Value {
    let channels = x.dims[1];
    b.within(name, |b| {
        let y = b.conv("cv1", x, Conv::new(hidden, 3));
        let y = b.conv("cv2", &y, Conv::new(channels, 3));
        b.add("add", x, &y)
    })
}

/// Two bottlenecks beside a 1×1 convolution.
pub(super) fn c3k(b: &mut Builder, name: &str, x: &Value) -> Value {
    let (channels, hidden) = (x.dims[1], x.dims[1] / 2);
    b.within(name, |b| {
        let mut deep = b.conv("cv1", x, Conv::new(hidden, 1));
        for k in 0..2 {
            deep = bottleneck(b, &format!("m.{k}"), &deep, hidden);
        }
        let flat = b.conv("cv2", x, Conv::new(hidden, 1));
        let both = b.concat("concat", &[&deep, &flat], 1);
        b.conv("cv3", &both, Conv::new(channels, 1))
    })
}

/// A split, a chain of blocks whose results are all kept, and a convolution over them.
pub(super) fn c3k2(
    b: &mut Builder,
    x: &Value,
    channels: u64,
    (repeats, middle, expansion): (u64, Middle, f64),
) -> Value {
    let hidden = (channels as f64 * expansion) as u64;
    let y = b.conv("cv1", x, Conv::new(2 * hidden, 1));
    let mut parts = b.split("split", &y, &[hidden, hidden], 1);
    for k in 0..repeats {
        let last = parts[parts.len() - 1].clone();
        let name = format!("m.{k}");
        parts.push(match middle {
            Middle::Bottleneck => bottleneck(b, &name, &last, hidden / 2),
            Middle::C3k => c3k(b, &name, &last),
        });
    }
    let all = b.concat("concat", &parts.iter().collect::<Vec<_>>(), 1);
    b.conv("cv2", &all, Conv::new(channels, 1))
}

/// The largest of ever wider surroundings.
pub(super) fn sppf(b: &mut Builder, x: &Value, channels: u64) -> Value {
    let mut parts = vec![b.conv("cv1", x, Conv::new(x.dims[1] / 2, 1))];
    for k in 0..3 {
        let wider = b.max_pool(&format!("m.{k}"), &parts[k], 5);
        parts.push(wider);
    }
    let all = b.concat("concat", &parts.iter().collect::<Vec<_>>(), 1);
    b.conv("cv2", &all, Conv::new(channels, 1))
}

/// Attention over half of the channels.
pub(super) fn c2psa(b: &mut Builder, x: &Value, repeats: u64) -> Value {
    let hidden = x.dims[1] / 2;
    let y = b.conv("cv1", x, Conv::new(2 * hidden, 1));
    let halves = b.split("split", &y, &[hidden, hidden], 1);
    let mut y = halves[1].clone();
    for k in 0..repeats {
        y = b.within(format!("m.{k}"), |b| {
            let attended = b.within("attn", |b| attention(b, &y));
            let y = b.add("add1", &y, &attended);
            let wide = b.conv("ffn.0", &y, Conv::new(2 * hidden, 1));
            let fed = b.conv("ffn.1", &wide, Conv::new(hidden, 1).linear());
            b.add("add2", &y, &fed)
        });
    }
    let both = b.concat("concat", &[&halves[0], &y], 1);
    b.conv("cv2", &both, Conv::new(x.dims[1], 1))
}

/// Attention of all places to all places; keys are half as long as values.
fn attention(b: &mut Builder, x: &Value) -> Value {
    let [batch, channels, height, width] = sides(x);
    let (places, heads) = (height * width, channels / 64);
    let (value_len, key_len) = (channels / heads, channels / heads / 2);
    let qkv = b.conv("qkv", x, Conv::new(channels + 2 * key_len * heads, 1).linear());
    let qkv = b.reshape("heads", &qkv, &[batch, heads, 2 * key_len + value_len, places]);
    let parts = b.split("split", &qkv, &[key_len, key_len, value_len], 2);
    let weighted = attend(b, &parts, key_len);
    let weighted = b.reshape("merge", &weighted, &[batch, channels, height, width]);
    let values = b.reshape("values", &parts[2], &[batch, channels, height, width]);
    let positions = b.conv("pe", &values, Conv::new(channels, 3).depthwise().linear());
    let sum = b.add("add", &weighted, &positions);
    b.conv("proj", &sum, Conv::new(channels, 1).linear())
}

/// Queries, keys and values as `[…, length, places]`: the values, weighted.
fn attend(b: &mut Builder, qkv: &[Value], key_len: u64) -> Value {
    let queries = b.transpose("queries", &qkv[0], &[0, 1, 3, 2]);
    let scores = b.matmul("scores", &queries, &qkv[1]);
    let scores = b.scale("scale", &scores, (key_len as f32).powf(-0.5));
    let shares = b.softmax("softmax", &scores, 3);
    let shares = b.transpose("shares", &shares, &[0, 1, 3, 2]);
    b.matmul("weighted", &qkv[2], &shares)
}

/// The middle of an [`a2c2f`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Areas {
    /// Two blocks of area attention each, over so many areas; hidden layers so many times as wide.
    Attention { areas: u64, widening: f64 },
    /// Small cross-stage blocks.
    None,
}

/// A chain of blocks over half of the channels whose results are all kept; with a residual way around
/// it where the variant has one.
pub(super) fn a2c2f(
    b: &mut Builder,
    x: &Value,
    channels: u64,
    (repeats, middle, is_residual): (u64, Areas, bool),
) -> Value {
    let hidden = channels / 2;
    let mut parts = vec![b.conv("cv1", x, Conv::new(hidden, 1))];
    for k in 0..repeats {
        let last = parts[parts.len() - 1].clone();
        parts.push(match middle {
            Areas::None => c3k(b, &format!("m.{k}"), &last),
            Areas::Attention { areas, widening } => {
                let first = area_block(b, &format!("m.{k}.0"), &last, areas, widening);
                area_block(b, &format!("m.{k}.1"), &first, areas, widening)
            }
        });
    }
    let all = b.concat("concat", &parts.iter().collect::<Vec<_>>(), 1);
    let y = b.conv("cv2", &all, Conv::new(channels, 1));
    if !is_residual {
        return y;
    }
    let gamma = crate::vision::onnx::Fill::Constant(0.01);
    let gamma = b.parameter("gamma", vec![channels], gamma);
    let gamma = b.reshape("gamma_view", &gamma, &[1, channels, 1, 1]);
    let scaled = b.binary("scaled", "Mul", &y, &gamma);
    b.add("add", x, &scaled)
}

fn area_block(b: &mut Builder, name: &str, x: &Value, areas: u64, widening: f64) -> Value {
    let channels = x.dims[1];
    b.within(name, |b| {
        let attended = b.within("attn", |b| area_attention(b, x, areas));
        let y = b.add("add1", x, &attended);
        let wide = b.conv("mlp.0", &y, Conv::new((channels as f64 * widening) as u64, 1));
        let fed = b.conv("mlp.1", &wide, Conv::new(channels, 1).linear());
        b.add("add2", &y, &fed)
    })
}

/// Attention of places to those of the same area: horizontal stripes of equal height.
fn area_attention(b: &mut Builder, x: &Value, areas: u64) -> Value {
    /// Channels of one head.
    const HEAD_LEN: u64 = 32;
    let [batch, channels, height, width] = sides(x);
    let (places, heads) = (height * width / areas, channels / HEAD_LEN);
    let qkv = b.conv("qkv", x, Conv::new(3 * channels, 1).linear());
    let qkv = b.reshape("flat", &qkv, &[batch, 3 * channels, height * width]);
    let qkv = b.transpose("places", &qkv, &[0, 2, 1]);
    let qkv = b.reshape("areas", &qkv, &[batch * areas, places, heads, 3 * HEAD_LEN]);
    let qkv = b.transpose("heads", &qkv, &[0, 2, 3, 1]);
    let parts = b.split("split", &qkv, &[HEAD_LEN; 3], 2);
    let weighted = attend(b, &parts, HEAD_LEN);
    let picture = |b: &mut Builder, name: &str, y: &Value| {
        b.within(name, |b| {
            let y = b.transpose("places", y, &[0, 3, 1, 2]);
            let y = b.reshape("areas", &y, &[batch, height, width, channels]);
            b.transpose("channels", &y, &[0, 3, 1, 2])
        })
    };
    let weighted = picture(b, "weighted_picture", &weighted);
    let values = picture(b, "values_picture", &parts[2]);
    let positions = b.conv("pe", &values, Conv::new(channels, 7).depthwise().linear());
    let sum = b.add("add", &weighted, &positions);
    b.conv("proj", &sum, Conv::new(channels, 1).linear())
}

fn sides(x: &Value) -> [u64; 4] {
    x.dims[..].try_into().expect("pictures have four axes")
}
