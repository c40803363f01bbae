//! When requests are due in an open loop.

use crate::stats::Random;

/// How the gaps between arrivals are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Arrival {
    /// All gaps are equal.
    Constant,
    /// Arrivals know nothing of each other: users as they come.
    Poisson,
    /// Gaps from a gamma distribution of this shape: 1 is Poisson, below 1 comes in bursts, above 1 is
    /// more even. It is what vLLM calls burstiness.
    Gamma {
        /// Above 0.
        shape: f64,
    },
}

/// The due instants of an open loop without end, in nanoseconds from its start, in order.
///
/// One seed gives one sequence, whatever number of threads sends it: [`Arrivals::share`] cuts it. Due
/// instants are absolute. What is sent late stays due when it was, and moves nothing after it.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::{Arrival, Arrivals};
///
/// let mut hundredth_seconds = Arrivals::new(Arrival::Constant, 100.0, 0);
/// assert_eq!(Some(0), hundredth_seconds.next());
/// assert_eq!(Some(10_000_000), hundredth_seconds.next());
/// assert_eq!(Some(3_600_000_000_000), hundredth_seconds.nth(359_998));
/// ```
#[derive(Clone, Debug)]
pub struct Arrivals {
    arrival: Arrival,
    mean_gap_ns: f64,
    random: Random,
    /// How many have been told.
    told: u64,
    /// When the last one was due; not used for constant gaps.
    due_ns: f64,
}

impl Arrivals {
    /// Returns the arrivals of a process with this mean rate, per second.
    ///
    /// # Panics
    ///
    /// When the rate or a shape is not above 0, or not finite.
    #[must_use]
    pub fn new(arrival: Arrival, rate_per_s: f64, seed: u64) -> Self {
        assert!(0.0 < rate_per_s && rate_per_s.is_finite(), "a rate of {rate_per_s} per second");
        if let Arrival::Gamma { shape } = arrival {
            assert!(0.0 < shape && shape.is_finite(), "a gamma distribution of shape {shape}");
        }
        let random = Random::new(seed);
        Self { arrival, mean_gap_ns: 1e9 / rate_per_s, random, told: 0, due_ns: 0.0 }
    }

    /// Returns every `workers`-th arrival from the `worker`-th on, each with its number in the whole
    /// sequence. The shares of all workers together are the sequence itself.
    ///
    /// # Panics
    ///
    /// When `worker` is not below `workers`.
    pub fn share(self, worker: usize, workers: usize) -> impl Iterator<Item = (u64, u64)> + Send {
        assert!(worker < workers, "worker {worker} of {workers}");
        (0_u64..).zip(self).skip(worker).step_by(workers)
    }

    fn gap_ns(&mut self) -> f64 {
        let gap = match self.arrival {
            Arrival::Constant => 1.0,
            Arrival::Poisson => exponential(&mut self.random),
            Arrival::Gamma { shape } => gamma(&mut self.random, shape) / shape,
        };
        gap * self.mean_gap_ns
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.due_ns = match self.arrival {
            // From the number, so that rounding never adds up.
            Arrival::Constant => self.told as f64 * self.mean_gap_ns,
            _ => self.due_ns + self.gap_ns(),
        };
        self.told += 1;
        Some(self.due_ns.round() as u64)
    }

    fn nth(&mut self, n: usize) -> Option<u64> {
        match self.arrival {
            Arrival::Constant => self.told += n as u64,
            _ => {
                for _ in 0..n {
                    self.next();
                }
            }
        }
        self.next()
    }
}

/// Of mean 1, by inversion.
fn exponential(random: &mut Random) -> f64 {
    -(1.0 - random.unit()).ln()
}

/// Of mean `shape`.
///
/// Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; below a shape of
/// 1 with the power of a uniform number that its section 6 gives.
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - random.unit()).powf(1.0 / shape);
        return gamma(random, shape + 1.0) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // One in twenty draws is refused at worst: the loop ends.
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - random.unit();
        if 0.0 < v && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Of mean 0 and variance 1 (Box and Muller, 1958).
fn normal(random: &mut Random) -> f64 {
    let radius = (2.0 * exponential(random)).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 200_000;

    fn arrivals(arrival: Arrival, n: usize) -> Vec<u64> {
        Arrivals::new(arrival, 1000.0, 7).take(n).collect()
    }

    /// Variance over mean of the counts in windows of one second: 1 for Poisson.
    fn dispersion(dues: &[u64], window_ns: u64) -> f64 {
        let windows = dues.last().unwrap() / window_ns;
        let mut counts = vec![0_f64; windows as usize];
        for due in dues {
            if let Some(count) = counts.get_mut((due / window_ns) as usize) {
                *count += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / windows as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>();
        variance / (windows - 1) as f64 / mean
    }

    /// The largest distance between the gaps' distribution and the exponential one.
    fn distance_from_exponential(dues: &[u64]) -> f64 {
        let mut gaps: Vec<f64> =
            dues.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = |(k, gap): (usize, &f64)| {
            let truth = 1.0 - (-gap).exp();
            (truth - k as f64 / n).abs().max(((k + 1) as f64 / n - truth).abs())
        };
        gaps.iter().enumerate().map(distance).fold(0.0, f64::max)
    }

    /// With any number of senders: the reference has a tool whose ten workers give 9.4.
    #[test]
    fn poisson_arrivals_are_poisson_for_one_to_four_workers() {
        for workers in 1..=4 {
            let process = Arrivals::new(Arrival::Poisson, 1000.0, 7);
            let share = |w| process.clone().share(w, workers).take(N / workers);
            let mut merged: Vec<_> = (0..workers).flat_map(share).collect();
            merged.sort_unstable();
            let numbers: Vec<u64> = merged.iter().map(|arrival| arrival.0).collect();
            assert!(numbers.iter().copied().eq(0..merged.len() as u64));
            let dues: Vec<u64> = merged.iter().map(|arrival| arrival.1).collect();
            // 4000 windows: the index has a standard error of 2.2 %.
            let index = dispersion(&dues, 50_000_000);
            assert!((0.9..=1.1).contains(&index), "{workers} workers: {index}");
            // 1.63 / sqrt(n) is exceeded in 1 % of all samples (Kolmogorov).
            let distance = distance_from_exponential(&dues);
            assert!(distance < 1.63 / (dues.len() as f64).sqrt(), "{workers} workers: {distance}");
        }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let rate = 3000.0 / 7.0;
        let mut arrivals = Arrivals::new(Arrival::Constant, rate, 0);
        assert_eq!(Some(2_333_333_333_333), arrivals.by_ref().take(1_000_001).last());
        assert_eq!(Some(2_333_335_666_667), arrivals.clone().next());
        assert_eq!(Some(4_666_666_666_667), arrivals.nth(999_999));
    }

    #[test]
    fn the_mean_rate_is_kept() {
        for shape in [0.1, 0.5, 1.0, 4.0] {
            let last = *arrivals(Arrival::Gamma { shape }, N).last().unwrap() as f64;
            // Four standard errors.
            let tolerance = 4.0 / (shape * N as f64).sqrt();
            assert!((last / 2e11 - 1.0).abs() < tolerance, "shape {shape}: {last}");
        }
    }

    #[test]
    fn the_shape_decides_how_bursty_it_is() {
        let index = |shape| dispersion(&arrivals(Arrival::Gamma { shape }, N), 200_000_000);
        let (bursty, even) = (index(0.25), index(4.0));
        assert!(2.5 < bursty && even < 0.45, "{bursty}, {even}");
        assert!(distance_from_exponential(&arrivals(Arrival::Gamma { shape: 1.0 }, N)) < 0.0037);
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let of = |seed| Arrivals::new(Arrival::Poisson, 5.0, seed).take(9).collect::<Vec<_>>();
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}
