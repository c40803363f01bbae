//! Pictures as models take them: scaled as a whole, padded, normalized.
//!
//! Source: the letterbox of the YOLO family, with the linear interpolation of OpenCV (`INTER_LINEAR`:
//! pixel centers at one half, no smoothing when shrinking).

use super::Detection;
use crate::vision::engine::Tensor;
use crate::vision::picture::Picture;

/// The gray of the padding, as YOLO models are trained with it.
const PAD: f32 = 114.0;

/// In which order colors are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Order {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Where the picture lies within the padding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Place {
    /// In the middle.
    Center,
    /// In the upper left corner.
    Corner,
}

/// How pixels become numbers: `byte · factor + shift`, for each color.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// In which order colors are given.
    pub order: Order,
    /// Where the picture lies.
    pub place: Place,
    /// Times each byte, in the order given.
    pub factor: [f32; 3],
    /// Added then.
    pub shift: [f32; 3],
}

impl Preparation {
    /// Red first, from 0 to 1, in the middle: the YOLO family.
    pub const UNIT: Self =
        Self { order: Order::Rgb, place: Place::Center, factor: [1.0 / 255.0; 3], shift: [0.0; 3] };
    /// Blue first, bytes as they are, in the corner: YOLOX.
    pub const BYTES: Self =
        Self { order: Order::Bgr, place: Place::Corner, factor: [1.0; 3], shift: [0.0; 3] };
    /// Blue first, by the mean and deviation of a large collection of photographs: PP-OCR.
    pub const STANDARD: Self = {
        const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
        const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
        let (mut factor, mut shift, mut color) = ([0.0; 3], [0.0; 3], 0);
        while color < 3 {
            factor[color] = 1.0 / 255.0 / DEVIATION[color];
            shift[color] = -MEAN[color] / DEVIATION[color];
            color += 1;
        }
        Self { order: Order::Bgr, place: Place::Corner, factor, shift }
    };
}

/// Where a picture comes to lie in a frame of another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    scale: f32,
    /// Width and height of the scaled picture.
    inner: (usize, usize),
    /// What is left of it and above it.
    offset: (usize, usize),
    /// Width and height of the frame.
    frame: (usize, usize),
    /// Width and height of the picture.
    outer: (u32, u32),
}

impl Letterbox {
    /// Fits a picture of this width and height into a frame: as large as possible, its shape kept.
    #[must_use]
    pub fn new(width: u32, height: u32, frame: (usize, usize), place: Place) -> Self {
        let scale = (frame.0 as f32 / width as f32).min(frame.1 as f32 / height as f32);
        let side = |len: u32, most: usize| ((len as f32 * scale).round() as usize).clamp(1, most);
        let inner = (side(width, frame.0), side(height, frame.1));
        let offset = match place {
            Place::Corner => (0, 0),
            // An odd pixel goes to the right and below.
            Place::Center => ((frame.0 - inner.0) / 2, (frame.1 - inner.1) / 2),
        };
        Self { scale, inner, offset, frame, outer: (width, height) }
    }

    /// What the model is given: `[1, 3, height, width]`.
    ///
    /// # Panics
    ///
    /// When the picture is not of the size that this was made for.
    #[must_use]
    pub fn apply(&self, picture: &Picture, preparation: &Preparation) -> Tensor {
        assert_eq!(self.outer, (picture.width(), picture.height()), "another picture");
        let (width, height) = self.frame;
        let mut values = Vec::with_capacity(3 * width * height);
        for color in 0..3 {
            let pad = PAD * preparation.factor[color] + preparation.shift[color];
            values.resize(values.len() + width * height, pad);
        }
        let mut planes = {
            let (first, rest) = values.split_at_mut(width * height);
            let (second, third) = rest.split_at_mut(width * height);
            [first, second, third]
        };
        let (mut factor, mut shift) = (preparation.factor, preparation.shift);
        if preparation.order == Order::Bgr {
            planes.reverse();
            factor.reverse();
            shift.reverse();
        }
        self.scale(picture, planes, factor, shift);
        Tensor { dims: vec![1, 3, height, width], values }
    }

    /// Writes the scaled picture into planes of the frame, red first.
    fn scale(
        &self,
        picture: &Picture,
        mut planes: [&mut [f32]; 3],
        factor: [f32; 3],
        shift: [f32; 3],
    ) {
        let columns = taps(self.outer.0, self.inner.0);
        let pixels = picture.rgb().as_chunks::<3>().0;
        let row_pixels = self.outer.0 as usize;
        for (row, tap) in taps(self.outer.1, self.inner.1).into_iter().enumerate() {
            let upper = &pixels[tap.low * row_pixels..][..row_pixels];
            let lower = &pixels[tap.high * row_pixels..][..row_pixels];
            let start = (self.offset.1 + row) * self.frame.0 + self.offset.0;
            let [reds, greens, blues] =
                planes.each_mut().map(|plane| plane[start..start + self.inner.0].iter_mut());
            for (((red, green), blue), column) in reds.zip(greens).zip(blues).zip(&columns) {
                let (low, high) = (column.low, column.high);
                let corners = [upper[low], upper[high], lower[low], lower[high]];
                for (color, value) in [red, green, blue].into_iter().enumerate() {
                    let [above, above_right, below, below_right] =
                        corners.map(|pixel| pixel[color]);
                    let above = column.mix(above, above_right);
                    let below = column.mix(below, below_right);
                    *value = (above + (below - above) * tap.share) * factor[color] + shift[color];
                }
            }
        }
    }

    /// Takes a box from the frame back to the picture.
    pub fn undo(&self, detection: &mut Detection) {
        let back = |value: f32, offset: usize, side: u32| {
            ((value - offset as f32) / self.scale).clamp(0.0, side as f32)
        };
        detection.left = back(detection.left, self.offset.0, self.outer.0);
        detection.right = back(detection.right, self.offset.0, self.outer.0);
        detection.top = back(detection.top, self.offset.1, self.outer.1);
        detection.bottom = back(detection.bottom, self.offset.1, self.outer.1);
    }
}

/// The two pixels that a place lies between, and how near it is to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

impl Tap {
    fn mix(&self, low: u8, high: u8) -> f32 {
        let (low, high) = (f32::from(low), f32::from(high));
        low + (high - low) * self.share
    }
}

fn taps(from: u32, to: usize) -> Vec<Tap> {
    let (step, last) = (f64::from(from) / to as f64, from as usize - 1);
    let tap = |index: usize| {
        let place = ((index as f64 + 0.5) * step - 0.5).clamp(0.0, last as f64);
        let low = place as usize;
        Tap { low, high: (low + 1).min(last), share: (place - low as f64) as f32 }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::picture::Content;

    /// The same from its definition, one value at a time and in f64.
    fn reference(picture: &Picture, frame: (usize, usize), p: &Preparation) -> Vec<f64> {
        let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
        let scale = (frame.0 as f64 / width).min(frame.1 as f64 / height);
        let inner_width = (width * scale).round().max(1.0).min(frame.0 as f64);
        let inner_height = (height * scale).round().max(1.0).min(frame.1 as f64);
        let (mut left, mut top) = (0.0, 0.0);
        if p.place == Place::Center {
            left = ((frame.0 as f64 - inner_width) / 2.0).floor();
            top = ((frame.1 as f64 - inner_height) / 2.0).floor();
        }
        let mut values = Vec::new();
        for plane in 0..3 {
            let channel = if p.order == Order::Rgb { plane } else { 2 - plane };
            let pixel = |x: f64, y: f64| {
                let (x, y) = (x.clamp(0.0, width - 1.0), y.clamp(0.0, height - 1.0));
                f64::from(picture.rgb()[3 * (y * width + x) as usize + channel])
            };
            for row in 0..frame.1 {
                for column in 0..frame.0 {
                    let x = ((column as f64 - left + 0.5) * width / inner_width - 0.5).max(0.0);
                    let y = ((row as f64 - top + 0.5) * height / inner_height - 0.5).max(0.0);
                    let (dx, dy) = (x.fract(), y.fract());
                    let (x0, y0) = (x.floor(), y.floor());
                    let inside = left <= column as f64
                        && (column as f64) < left + inner_width
                        && top <= row as f64
                        && (row as f64) < top + inner_height;
                    let byte = if inside {
                        pixel(x0, y0) * (1.0 - dx) * (1.0 - dy)
                            + pixel(x0 + 1.0, y0) * dx * (1.0 - dy)
                            + pixel(x0, y0 + 1.0) * (1.0 - dx) * dy
                            + pixel(x0 + 1.0, y0 + 1.0) * dx * dy
                    } else {
                        114.0
                    };
                    values.push(byte * f64::from(p.factor[plane]) + f64::from(p.shift[plane]));
                }
            }
        }
        values
    }

    #[test]
    fn every_value_is_that_of_the_definition() {
        for (width, height) in [(64, 64), (31, 17), (200, 3), (3, 200), (1, 1), (96, 54)] {
            let picture = Picture::generate(width, height, Content::Complex, 5);
            for p in [Preparation::UNIT, Preparation::BYTES, Preparation::STANDARD] {
                let frame = (64, 96);
                let ours = Letterbox::new(width, height, frame, p.place).apply(&picture, &p);
                assert_eq!(vec![1, 3, 96, 64], ours.dims);
                let range = 255.0 * f64::from(p.factor[0]);
                for (at, (a, b)) in
                    ours.values.iter().zip(reference(&picture, frame, &p)).enumerate()
                {
                    let error = (f64::from(*a) - b).abs() / range;
                    assert!(error < 1e-5, "{width} x {height} at {at}: {a} instead of {b}");
                }
            }
        }
    }

    #[test]
    fn a_box_comes_back_to_where_it_was() {
        for (width, height) in [(1920, 1080), (64, 64), (20, 2000)] {
            let letterbox = Letterbox::new(width, height, (640, 640), Place::Center);
            let (w, h) = (width as f32, height as f32);
            let to = |x: f32, offset: usize| x * letterbox.scale + offset as f32;
            let mut detection = Detection {
                left: to(w * 0.25, letterbox.offset.0),
                top: to(h * 0.5, letterbox.offset.1),
                right: 1e9,
                bottom: -1e9,
                ..Detection::default()
            };
            letterbox.undo(&mut detection);
            assert!((detection.left - w * 0.25).abs() < w * 1e-3, "{detection:?}");
            assert!((detection.top - h * 0.5).abs() < h * 1e-3, "{detection:?}");
            assert_eq!((w, 0.0), (detection.right, detection.bottom), "cut to the picture");
        }
    }
}
