//! Boxes over pictures.

use super::Picture;
use crate::vision::pipeline::Detection;

/// Colors of boxes by class; the ninth class has the first color again.
const COLORS: [[u8; 3]; 8] = [
    [230, 25, 75],
    [60, 180, 75],
    [0, 130, 200],
    [245, 130, 48],
    [145, 30, 180],
    [70, 240, 240],
    [240, 50, 230],
    [210, 245, 60],
];
/// One pixel of a line for so many of the longer side.
const PIXELS_PER_LINE: u32 = 320;

impl Picture {
    /// Draws the outline of each box, as far as it lies within the picture.
    pub fn draw(&mut self, detections: &[Detection]) {
        let line = (self.width.max(self.height) / PIXELS_PER_LINE).clamp(1, 8);
        for detection in detections {
            let color = COLORS[detection.class % COLORS.len()];
            let [left, top, right, bottom] = self.clip(detection);
            let line_right = right.saturating_sub(line);
            let line_bottom = bottom.saturating_sub(line);
            self.fill([left, top, right, top.saturating_add(line)], color);
            self.fill([left, line_bottom, right, bottom], color);
            self.fill([left, top, left.saturating_add(line), bottom], color);
            self.fill([line_right, top, right, bottom], color);
        }
    }

    fn clip(&self, detection: &Detection) -> [u32; 4] {
        let within = |value: f32, side: u32| value.round().clamp(0.0, side as f32) as u32;
        let Detection { left, top, right, bottom, .. } = *detection;
        [
            within(left, self.width),
            within(top, self.height),
            within(right, self.width),
            within(bottom, self.height),
        ]
    }

    fn fill(&mut self, [left, top, right, bottom]: [u32; 4], color: [u8; 3]) {
        let (right, bottom) = (right.min(self.width) as usize, bottom.min(self.height) as usize);
        for row in top as usize..bottom {
            for column in left as usize..right {
                let at = 3 * (row * self.width as usize + column);
                self.rgb[at..at + 3].copy_from_slice(&color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(detection: Detection) -> Vec<u8> {
        let mut picture = Picture::new(4, 4, vec![0; 48]).unwrap();
        picture.draw(&[detection]);
        picture.rgb().chunks(3).map(|pixel| u8::from(pixel == COLORS[0])).collect()
    }

    #[test]
    fn the_outline_is_drawn_and_nothing_else() {
        let square =
            Detection { left: 1.0, top: 0.0, right: 4.0, bottom: 3.0, ..Detection::default() };
        assert_eq!([0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0].as_slice(), drawn(square));
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let wide = Detection {
            left: f32::NEG_INFINITY,
            top: -9.0,
            right: f32::INFINITY,
            bottom: f32::NAN,
            ..Detection::default()
        };
        assert_eq!(16, drawn(wide).len());
    }
}
