//! How fast the processor is.
//!
//! A guest's processor is mostly one of two that share a core. What the other one does is nobody's process
//! here and is not counted as steal, and slows what runs here by a third, at worst by half: the same code takes
//! 77 ns, and 110 a second later. A fixed piece of arithmetic shows it, which takes the same time whenever it is alone.

use std::hint::black_box;
use std::time::Instant;

/// Steps of a stretch: a quarter of a millisecond (2-core AMD EPYC).
const STEPS: u64 = 200_000;
/// Stretches, of which the fastest counts: neither an interruption nor the time that a processor takes to wake up
/// is what we look for.
const TRIES: usize = 40;

/// What a stretch takes now, in microseconds.
pub(crate) fn stretch_us() -> f64 {
    (0..TRIES).map(|_| stretch()).fold(f64::INFINITY, f64::min)
}

/// Sums that do not wait for each other: they need all that a core has.
fn stretch() -> f64 {
    let begin = Instant::now();
    let mut sums = [1_u64, 2, 3, 4, 5, 6];
    for step in 0..STEPS {
        for sum in &mut sums {
            *sum = sum.rotate_left(7) ^ step.wrapping_add(*sum);
        }
    }
    black_box(sums);
    begin.elapsed().as_secs_f64() * 1e6
}
