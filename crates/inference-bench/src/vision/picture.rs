//! Pictures: read, made up, drawn on.

mod codec;
mod content;
mod draw;

use std::fmt;

pub use self::content::Content;

/// The longest side of a picture that is read or made, in pixels.
pub const SIDE_MAX: u32 = 16_384;
/// The most pixels of one.
pub const PIXELS_MAX: u64 = 64 << 20;

/// Pixels in rows from the top, each as red, green and blue.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::picture::{Content, Picture};
///
/// let picture = Picture::generate(64, 48, Content::Complex, 7);
/// let read = Picture::read(&picture.to_png()?)?;
/// assert!(picture == read && 7.0 < picture.entropy_bits());
/// # Ok::<(), inference_bench::vision::picture::PictureError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

/// Why bytes are no picture that we take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PictureError {
    reason: String,
}

impl PictureError {
    fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no picture: {}", self.reason)
    }
}

impl std::error::Error for PictureError {}

impl Picture {
    /// Makes a picture of its pixels.
    ///
    /// # Errors
    ///
    /// [`PictureError`] when a side is 0 or too long, or there are not three bytes for each pixel.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PictureError> {
        check_sides(width, height)?;
        let expected = 3 * width as usize * height as usize;
        if rgb.len() != expected {
            let n = rgb.len();
            return Err(PictureError::new(format!("{n} bytes of pixels where {expected} belong")));
        }
        Ok(Self { width, height, rgb })
    }

    /// Pixels across.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of all pixels.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// What a byte of it tells at most, in bits from 0 to 8: the entropy of the bytes' frequencies.
    ///
    /// Source: Shannon, "A mathematical theory of communication", 1948.
    #[must_use]
    pub fn entropy_bits(&self) -> f64 {
        let mut counts = [0_u64; 256];
        for &byte in &self.rgb {
            counts[usize::from(byte)] += 1;
        }
        let n = self.rgb.len() as f64;
        let shares = counts.iter().filter(|&&count| 0 < count).map(|&count| count as f64 / n);
        shares.map(|share| -share * share.log2()).sum::<f64>().max(0.0)
    }
}

fn check_sides(width: u32, height: u32) -> Result<(), PictureError> {
    let sides = 1..=SIDE_MAX;
    let fits = sides.contains(&width)
        && sides.contains(&height)
        && u64::from(width) * u64::from(height) <= PIXELS_MAX;
    if fits {
        return Ok(());
    }
    Err(PictureError::new(format!(
        "{width} x {height} pixels; sides are 1 to {SIDE_MAX}, at most {PIXELS_MAX} pixels in all"
    )))
}
