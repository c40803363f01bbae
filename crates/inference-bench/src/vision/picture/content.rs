//! Pictures that show nothing: from a plain gradient to noise.

use serde::{Deserialize, Serialize};

use super::Picture;
use crate::stats::Random;

/// Objects of a medium picture, for each 1000 pixels of its longer side.
const OBJECTS: u64 = 24;
/// How far noise reaches in a complex picture, up and down.
const NOISE: u64 = 96;

/// How much there is to see. What it amounts to is measured: [`Picture::entropy_bits`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// One color, a little brighter downwards.
    Simple,
    /// Rectangles of many colors before it.
    Medium,
    /// Those, under noise.
    Complex,
}

impl Content {
    /// All of them, the simplest first.
    pub const ALL: [Self; 3] = [Self::Simple, Self::Medium, Self::Complex];

    /// The word for it in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Medium => "medium",
            Self::Complex => "complex",
        }
    }
}

impl Picture {
    /// Makes up a picture; the seed decides every pixel.
    ///
    /// # Panics
    ///
    /// When a side is 0, or the picture would be larger than we take.
    #[must_use]
    pub fn generate(width: u32, height: u32, content: Content, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut rgb = gradient(width, height);
        if content != Content::Simple {
            let n_objects = 4 + OBJECTS * u64::from(width.max(height)) / 1000;
            (0..n_objects).for_each(|_| rectangle(&mut rgb, width, height, &mut random));
        }
        if content == Content::Complex {
            for byte in &mut rgb {
                let moved = u64::from(*byte) + random.below(2 * NOISE + 1);
                *byte = moved.saturating_sub(NOISE).min(255) as u8;
            }
        }
        Self::new(width, height, rgb).expect("the sides are ones that we take")
    }
}

fn gradient(width: u32, height: u32) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for y in 0..height {
        let light = (100 + 16 * u64::from(y) / u64::from(height)) as u8;
        (0..width).for_each(|_| rgb.extend([light, light + 8, light + 16]));
    }
    rgb
}

fn rectangle(rgb: &mut [u8], width: u32, height: u32, random: &mut Random) {
    let mut stretch = |side: u32| {
        let len = 1 + random.below(u64::from(side).div_ceil(3));
        let start = random.below(u64::from(side) - len + 1);
        start as usize..(start + len) as usize
    };
    let (columns, rows) = (stretch(width), stretch(height));
    let color = random.next_u64().to_le_bytes();
    for row in rows {
        let start = 3 * (row * width as usize + columns.start);
        let end = 3 * (row * width as usize + columns.end);
        for pixel in rgb[start..end].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color[..3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_complex_pictures_tell_more() {
        for (width, height) in [(64, 64), (640, 480), (1920, 1080), (2000, 20)] {
            let [simple, medium, complex] = Content::ALL
                .map(|content| Picture::generate(width, height, content, 1).entropy_bits());
            assert!(simple < 5.1, "{width} x {height}: {simple}");
            assert!(simple < medium && medium < complex, "{width} x {height}: {medium}");
            assert!(7.0 < complex, "{width} x {height}: {complex}");
        }
    }

    #[test]
    fn a_seed_decides_every_pixel() {
        let picture = |seed| Picture::generate(65, 33, Content::Complex, seed);
        assert!(picture(1) == picture(1) && picture(1) != picture(2));
    }

    #[test]
    fn sides_of_one_pixel_are_pictures_too() {
        for (width, height) in [(1, 1), (1, 999), (999, 1)] {
            assert_eq!(width, Picture::generate(width, height, Content::Complex, 1).width());
        }
    }
}
