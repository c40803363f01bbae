//! The same two programs, one of them 3 % slower, seen through more and more samples: what a bare mean says,
//! and what the judge says.
//!
//! ```sh
//! cargo run -p inference-bench --no-default-features --example how_sure
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use inference_bench::Limit;
use inference_bench::stats::{Random, paired_ratio};

/// The slower one may be so much slower.
const RATIO_MAX: f64 = 1.01;

/// Times of the fast and the slow one in milliseconds, measured one after the other: the machine is slow at
/// times, for both.
fn pair(random: &mut Random) -> (f64, f64) {
    let mood = 1.0 + 0.3 * random.unit().powi(4);
    let mut noise = || 1.0 + 0.1 * (random.unit() - 0.5);
    (20.0 * mood * noise(), 20.6 * mood * noise())
}

fn main() {
    let mut random = Random::new(1);
    let mut pairs = Vec::new();
    println!("{:>5}  {:>8}  {:>18}  verdict at {RATIO_MAX}", "pairs", "means", "95 % interval");
    for n in [3, 6, 12, 24, 48, 96, 192] {
        pairs.resize_with(n, || pair(&mut random));
        let sum = |(a, b): (f64, f64), pair: &(f64, f64)| (a + pair.0, b + pair.1);
        let (fast, slow) = pairs.iter().fold((0.0, 0.0), sum);
        let ratio = paired_ratio(&pairs, 1);
        let interval = ratio.map(|ratio| ratio.interval);
        let limit = Limit::at_most(RATIO_MAX);
        let (verdict, _) = limit.judge(ratio.map(|ratio| ratio.median), interval, "ratio");
        let words = interval.map_or_else(
            || "too few to say".to_owned(),
            |interval| format!("{:.4} … {:.4}", interval.low, interval.high),
        );
        println!("{n:>5}  {:>8.4}  {words:>18}  {verdict}", slow / fast);
    }
}
