//! What the outputs of a model mean, told by their dimensions.

use super::{Detection, Preparation, SCORE_MIN};
use crate::vision::engine::{InferError, Tensor};

/// The strides of YOLO's levels, finest first.
const STRIDES: [usize; 3] = [8, 16, 32];
/// The probability from which on a place of a map belongs to something (PP-OCR's own).
const MAP_MIN: f32 = 0.3;
/// The mean probability of a region that counts.
const REGION_MIN: f32 = 0.5;
/// Regions are trained shrunk; they grow by this times area over perimeter (PP-OCR's own).
const GROWTH: f32 = 1.6;
/// Regions of less than this many places are noise.
const REGION_PLACES_MIN: usize = 10;

/// How the outputs of a model are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Layout {
    /// `[1, 4 + classes, places]`: center and extent in pixels, then a score for each class (YOLOv8 on).
    Yolo {
        /// How many classes.
        classes: usize,
    },
    /// `[1, places, 5 + classes]`: place within its cell, logarithm of the extent, whether there is
    /// something, then a score for each class (YOLOX).
    YoloX {
        /// How many classes.
        classes: usize,
    },
    /// `[1, 1, height, width]`: the probability of each pixel (PP-OCR's detection).
    Map,
    /// Anything else: nothing is read, and time is all that is measured.
    Unknown,
}

impl Layout {
    /// Tells it by the first output of a model that took a picture of this width and height.
    #[must_use]
    pub fn of(outputs: &[Tensor], (width, height): (usize, usize)) -> Self {
        let places: usize = STRIDES.iter().map(|stride| (width / stride) * (height / stride)).sum();
        match outputs.first().map(|output| &output.dims[..]) {
            Some(&[1, rows, n]) if n == places && 4 < rows => Self::Yolo { classes: rows - 4 },
            Some(&[1, n, row]) if n == places && 5 < row => Self::YoloX { classes: row - 5 },
            Some(&[1, 1, h, w]) if (w, h) == (width, height) => Self::Map,
            _ => Self::Unknown,
        }
    }

    /// How pictures are prepared for models of this layout.
    #[must_use]
    pub fn preparation(self) -> Preparation {
        match self {
            Self::Yolo { .. } | Self::Unknown => Preparation::UNIT,
            Self::YoloX { .. } => Preparation::BYTES,
            Self::Map => Preparation::STANDARD,
        }
    }

    /// Reads what was seen, in pixels of the model's input, boxes of one thing not yet thinned out.
    ///
    /// # Errors
    ///
    /// [`InferError`] when the dimensions are no longer those of this layout, or a value is no number:
    /// such a model has computed nothing.
    pub fn read(
        self,
        outputs: &[Tensor],
        size: (usize, usize),
    ) -> Result<Vec<Detection>, InferError> {
        let output = match outputs.first() {
            Some(output) if self == Self::of(outputs, size) => output,
            None if self == Self::Unknown => return Ok(Vec::new()),
            _ => return Err(InferError::new("the output has other dimensions than at first")),
        };
        // All of them, without a stop at the first that is not: several at a time are quicker.
        if !output.values.iter().fold(true, |finite, value| finite & value.is_finite()) {
            return Err(InferError::new(
                "the output is not finite: some of its values are no numbers",
            ));
        }
        Ok(match self {
            Self::Yolo { classes } => yolo(&output.values, classes),
            Self::YoloX { classes } => yolox(&output.values, classes, size),
            Self::Map => regions(&output.values, size.0),
            Self::Unknown => Vec::new(),
        })
    }
}

fn around(class: usize, score: f32, [x, y, width, height]: [f32; 4]) -> Detection {
    Detection {
        class,
        score,
        left: x - width / 2.0,
        top: y - height / 2.0,
        right: x + width / 2.0,
        bottom: y + height / 2.0,
    }
}

fn yolo(values: &[f32], classes: usize) -> Vec<Detection> {
    let n_places = values.len() / (4 + classes);
    let (extents, scores) = values.split_at(4 * n_places);
    // Class by class, as they lie in memory: the best of each place so far.
    let mut best = vec![(SCORE_MIN, usize::MAX); n_places];
    for (class, scores) in scores.chunks_exact(n_places).enumerate() {
        for (best, &score) in best.iter_mut().zip(scores) {
            if best.0 < score {
                *best = (score, class);
            }
        }
    }
    let seen = best.iter().enumerate().filter(|(_, (_, class))| *class != usize::MAX);
    let detection = |(place, &(score, class)): (usize, &(f32, usize))| {
        around(class, score, [0, 1, 2, 3].map(|row| extents[row * n_places + place]))
    };
    seen.map(detection).collect()
}

fn yolox(values: &[f32], classes: usize, (width, height): (usize, usize)) -> Vec<Detection> {
    let mut found = Vec::new();
    let mut rows = values.chunks_exact(5 + classes);
    for stride in STRIDES {
        let columns = width / stride;
        for place in 0..columns * (height / stride) {
            let Some(row) = rows.next() else { return found };
            let scores = row[5..].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let (class, score) = scores.map_or((0, 0.0), |(class, score)| (class, score * row[4]));
            if SCORE_MIN < score {
                let (x, y) = ((place % columns) as f32 + row[0], (place / columns) as f32 + row[1]);
                let extent = [x, y, row[2].exp(), row[3].exp()].map(|side| side * stride as f32);
                found.push(around(class, score, extent));
            }
        }
    }
    found
}

/// Boxes around the connected regions of a map, grown to what was there before training shrank it.
fn regions(map: &[f32], width: usize) -> Vec<Detection> {
    let mut is_open: Vec<bool> = map.iter().map(|&p| MAP_MIN < p).collect();
    let mut found = Vec::new();
    for start in 0..map.len() {
        if is_open[start] {
            found.extend(region(map, width, start, &mut is_open));
        }
    }
    found
}

fn region(map: &[f32], width: usize, start: usize, is_open: &mut [bool]) -> Option<Detection> {
    is_open[start] = false;
    let mut todo = vec![start];
    let (mut n_places, mut sum) = (0, 0.0);
    let (mut left, mut top, mut right, mut bottom) = (usize::MAX, usize::MAX, 0, 0);
    while let Some(place) = todo.pop() {
        let (x, y) = (place % width, place / width);
        n_places += 1;
        sum += map[place];
        (left, top) = (left.min(x), top.min(y));
        (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
        let neighbors = [
            (0 < x).then(|| place - 1),
            (x + 1 < width).then_some(place + 1),
            place.checked_sub(width),
            (place + width < map.len()).then_some(place + width),
        ];
        for next in neighbors.into_iter().flatten() {
            if std::mem::take(&mut is_open[next]) {
                todo.push(next);
            }
        }
    }
    let score = sum / n_places as f32;
    if n_places < REGION_PLACES_MIN || score < REGION_MIN {
        return None;
    }
    let (across, down) = ((right - left) as f32, (bottom - top) as f32);
    let grown = GROWTH * across * down / (2.0 * (across + down));
    Some(Detection {
        class: 0,
        score,
        left: left as f32 - grown,
        top: top as f32 - grown,
        right: right as f32 + grown,
        bottom: bottom as f32 + grown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (32, 32);
    /// 4 × 4, 2 × 2 and one place.
    const PLACES: usize = 21;

    fn tensor(dims: &[usize]) -> Tensor {
        Tensor::zeros(dims)
    }

    #[test]
    fn layouts_are_told_by_their_dimensions() {
        let of = |dims: &[usize]| Layout::of(&[tensor(dims)], SIZE);
        assert_eq!(Layout::Yolo { classes: 80 }, of(&[1, 84, PLACES]));
        assert_eq!(Layout::YoloX { classes: 1 }, of(&[1, PLACES, 6]));
        assert_eq!(Layout::Map, of(&[1, 1, 32, 32]));
        for dims in [&[1, 1000][..], &[1, 84, 22], &[1, 4, PLACES], &[2, 84, PLACES], &[]] {
            assert_eq!(Layout::Unknown, of(dims), "{dims:?}");
        }
        assert_eq!(Layout::Unknown, Layout::of(&[], SIZE));
    }

    #[test]
    fn yolo_gives_the_best_class_of_each_place() {
        let mut output = tensor(&[1, 6, PLACES]);
        for (row, value) in [10.0, 20.0, 4.0, 6.0, 0.3, 0.8].into_iter().enumerate() {
            output.values[row * PLACES + 5] = value;
        }
        let found = Layout::Yolo { classes: 2 }.read(&[output], SIZE).unwrap();
        let expected =
            Detection { class: 1, score: 0.8, left: 8.0, top: 17.0, right: 12.0, bottom: 23.0 };
        assert_eq!(vec![expected], found);
    }

    #[test]
    fn yolox_counts_from_its_cells() {
        let mut output = tensor(&[1, PLACES, 6]);
        // The second cell of the second row of the middle level, of stride 16.
        let row = 16 + 3;
        output.values[row * 6..][..6].copy_from_slice(&[0.5, 0.25, 0.0, 2.0_f32.ln(), 0.5, 0.8]);
        let found = Layout::YoloX { classes: 1 }.read(&[output], SIZE).unwrap();
        let expected =
            Detection { class: 0, score: 0.4, left: 16.0, top: 4.0, right: 32.0, bottom: 36.0 };
        assert_eq!(vec![expected], found);
    }

    #[test]
    fn a_map_gives_a_box_for_each_region() {
        let mut output = tensor(&[1, 1, 32, 32]);
        for (y, x) in (4..8).flat_map(|y| (2..14).map(move |x| (y, x))) {
            output.values[y * 32 + x] = 0.9;
        }
        output.values[31 * 32 + 31] = 1.0;
        let found = Layout::Map.read(&[output], SIZE).unwrap();
        let [text] = found[..] else { panic!("one region, the other is noise: {found:?}") };
        // It grows by 1.6 × 48 / 32 pixels.
        assert_eq!((-0.4, 1.6, 16.4, 10.4), rounded(text));
    }

    fn rounded(d: Detection) -> (f32, f32, f32, f32) {
        let round = |x: f32| (x * 10.0).round() / 10.0;
        (round(d.left), round(d.top), round(d.right), round(d.bottom))
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut output = tensor(&[1, 6, PLACES]);
            output.values[3] = wrong;
            assert!(Layout::Yolo { classes: 2 }.read(&[output], SIZE).is_err());
        }
        let other = tensor(&[1, 7, PLACES]);
        assert!(Layout::Yolo { classes: 2 }.read(&[other], SIZE).is_err());
    }
}
