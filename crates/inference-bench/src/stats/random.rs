//! Random numbers from one seed, the same on every machine.

/// A generator of 64-bit numbers (splitmix64).
///
/// Small, fast and good enough to shuffle pairs and to resample; not for secrets. The same seed gives the
/// same sequence for ever, so a report can name the seed that produced it.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
///
/// # Examples
///
/// ```
/// use inference_bench::stats::Random;
///
/// assert_eq!(Random::new(7).next_u64(), Random::new(7).next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts the sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next number, uniform over all 64-bit values.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, without bias worth measuring: at most `end / 2^64`.
    ///
    /// # Panics
    ///
    /// When `end` is 0: there is no number below it.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(0 < end, "a number below 0 was asked for");
        // Lemire, "Fast random integer generation in an interval", 2019, without the rejection step.
        let wide = u128::from(self.next_u64()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// Returns a number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference_implementation() {
        let mut random = Random::new(0);
        assert_eq!(0xE220_A839_7B1D_CDAF, random.next_u64());
        assert_eq!(0x6E78_9E6A_A1B9_65F4, random.next_u64());
    }

    #[test]
    fn numbers_stay_below_their_end() {
        let mut random = Random::new(1);
        let mut seen = [0_u32; 3];
        for _ in 0..3000 {
            seen[random.below(3) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (900..1100).contains(&n)), "{seen:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
    }
}
