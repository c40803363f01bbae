//! YOLO11 and YOLO12: what their layer tables say, for each size.

use super::blocks::{Areas, Middle, a2c2f, c2psa, c3k2, sppf};
use super::builder::{Builder, Conv, Normalization};
use super::detect::detect;
use super::{Scale, Sized};
use crate::vision::onnx::{Graph, Value};

/// Classes of the data set that the published models are trained on.
const CLASSES: u64 = 80;

/// A network under construction, and how far it is scaled.
struct Network {
    builder: Builder,
    scale: Scale,
    /// Numbers its modules as the layer table does.
    next: usize,
}

impl Network {
    fn new(sized: &Sized<'_>, normalization: Normalization) -> (Self, Value) {
        let image = Value { name: "images".to_owned(), dims: vec![1, 3, sized.size, sized.size] };
        let builder = Builder::new(sized.name, vec![image.clone()], sized.seed, normalization);
        (Self { builder, scale: sized.scale, next: 0 }, image)
    }

    /// Channels of a layer that has so many at width 1: a multiple of 8.
    fn channels(&self, channels: u64) -> u64 {
        let scaled = channels.min(self.scale.channels_max) as f64 * self.scale.width;
        (scaled / 8.0).ceil() as u64 * 8
    }

    fn repeats(&self, repeats: u64) -> u64 {
        ((repeats as f64 * self.scale.depth).round() as u64).max(1)
    }

    fn module(&mut self, build: impl FnOnce(&mut Builder) -> Value) -> Value {
        let name = format!("model.{}", self.next);
        self.next += 1;
        self.builder.within(name, build)
    }

    fn conv(&mut self, x: &Value, channels: u64) -> Value {
        let channels = self.channels(channels);
        self.module(|b| b.conv("conv", x, Conv::new(channels, 3).halving()))
    }

    /// A cross-stage block. In the three larger sizes its middle is always the deep one.
    fn c3k2(&mut self, x: &Value, channels: u64, middle: Middle, expansion: f64) -> Value {
        let (channels, repeats) = (self.channels(channels), self.repeats(2));
        let middle = if self.scale.is_large() { Middle::C3k } else { middle };
        self.module(|b| c3k2(b, x, channels, (repeats, middle, expansion)))
    }

    /// Area attention, or the same block without it. In the two largest sizes attention has a residual
    /// way around it, and narrower hidden layers.
    fn a2c2f(&mut self, x: &Value, channels: u64, repeats: u64, areas: Option<u64>) -> Value {
        let (channels, repeats) = (self.channels(channels), self.repeats(repeats));
        let is_deep = 1.0 <= self.scale.depth;
        let widening = if is_deep { 1.2 } else { 2.0 };
        let middle = areas.map_or(Areas::None, |areas| Areas::Attention { areas, widening });
        let is_residual = is_deep && areas.is_some();
        self.module(|b| a2c2f(b, x, channels, (repeats, middle, is_residual)))
    }

    fn upsample(&mut self, x: &Value) -> Value {
        self.module(|b| b.upsample("resize", x))
    }

    fn concat(&mut self, a: &Value, b: &Value) -> Value {
        self.module(|builder| builder.concat("concat", &[a, b], 1))
    }

    fn detect(mut self, levels: &[Value], size: u64) -> Graph {
        let output = self.module(|b| detect(b, levels, CLASSES, size));
        self.builder.finish(&[&output])
    }
}

/// Builds a YOLO11.
pub(super) fn yolo11(sized: &Sized<'_>, normalization: Normalization) -> Graph {
    let (mut net, image) = Network::new(sized, normalization);
    let x = net.conv(&image, 64);
    let x = net.conv(&x, 128);
    let x = net.c3k2(&x, 256, Middle::Bottleneck, 0.25);
    let x = net.conv(&x, 256);
    let p3 = net.c3k2(&x, 512, Middle::Bottleneck, 0.25);
    let x = net.conv(&p3, 512);
    let p4 = net.c3k2(&x, 512, Middle::C3k, 0.5);
    let x = net.conv(&p4, 1024);
    let x = net.c3k2(&x, 1024, Middle::C3k, 0.5);
    let (channels, repeats) = (net.channels(1024), net.repeats(2));
    let x = net.module(|b| sppf(b, &x, channels));
    let p5 = net.module(|b| c2psa(b, &x, repeats));

    let x = net.upsample(&p5);
    let x = net.concat(&x, &p4);
    let head4 = net.c3k2(&x, 512, Middle::Bottleneck, 0.5);
    let x = net.upsample(&head4);
    let x = net.concat(&x, &p3);
    let fine = net.c3k2(&x, 256, Middle::Bottleneck, 0.5);
    let x = net.conv(&fine, 256);
    let x = net.concat(&x, &head4);
    let middle = net.c3k2(&x, 512, Middle::Bottleneck, 0.5);
    let x = net.conv(&middle, 512);
    let x = net.concat(&x, &p5);
    let coarse = net.c3k2(&x, 1024, Middle::C3k, 0.5);
    net.detect(&[fine, middle, coarse], sized.size)
}

/// Builds a YOLO12.
pub(super) fn yolo12(sized: &Sized<'_>, normalization: Normalization) -> Graph {
    let (mut net, image) = Network::new(sized, normalization);
    let x = net.conv(&image, 64);
    let x = net.conv(&x, 128);
    let x = net.c3k2(&x, 256, Middle::Bottleneck, 0.25);
    let x = net.conv(&x, 256);
    let p3 = net.c3k2(&x, 512, Middle::Bottleneck, 0.25);
    let x = net.conv(&p3, 512);
    let p4 = net.a2c2f(&x, 512, 4, Some(4));
    let x = net.conv(&p4, 1024);
    let p5 = net.a2c2f(&x, 1024, 4, Some(1));

    let x = net.upsample(&p5);
    let x = net.concat(&x, &p4);
    let head4 = net.a2c2f(&x, 512, 2, None);
    let x = net.upsample(&head4);
    let x = net.concat(&x, &p3);
    let fine = net.a2c2f(&x, 256, 2, None);
    let x = net.conv(&fine, 256);
    let x = net.concat(&x, &head4);
    let middle = net.a2c2f(&x, 512, 2, None);
    let x = net.conv(&middle, 512);
    let x = net.concat(&x, &p5);
    let coarse = net.c3k2(&x, 1024, Middle::C3k, 0.5);
    net.detect(&[fine, middle, coarse], sized.size)
}
