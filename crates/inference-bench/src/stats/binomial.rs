//! The binomial distribution, in logarithms: tails of a million trials neither underflow nor take long.

/// The natural logarithm of `n!`, by Stirling's series above a small table.
///
/// Source: Abramowitz and Stegun, 6.1.41; four terms are exact to 1e-16 from `n = 16` on.
fn ln_factorial(n: u64) -> f64 {
    const SMALL: u64 = 16;
    if n < SMALL {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64 + 1.0;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5))
        - 1.0 / (1680.0 * x.powi(7));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

/// The probability of exactly `k` successes in `n` trials that succeed with probability `p`.
pub(super) fn mass(n: u64, p: f64, k: u64) -> f64 {
    if n < k {
        return 0.0;
    }
    if p <= 0.0 || 1.0 <= p {
        let certain = if p <= 0.0 { 0 } else { n };
        return f64::from(u8::from(k == certain));
    }
    let choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp()
}

/// The probability of at most `k` successes in `n` trials that succeed with probability `p`.
///
/// Costs one step per success counted, on the shorter side of the mode.
pub(super) fn at_most(n: u64, p: f64, k: u64) -> f64 {
    if n <= k {
        return 1.0;
    }
    if n as f64 * p < k as f64 {
        return 1.0 - sum(n, p, k + 1, n);
    }
    sum(n, p, 0, k)
}

/// The largest count whose tail stays within a limit, and the tails there and one further.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Within {
    /// The largest `k` with `at_most(n, p, k) ≤ limit`.
    pub(super) k: u64,
    /// `at_most(n, p, k)`.
    pub(super) tail: f64,
    /// `at_most(n, p, k + 1)`.
    pub(super) next_tail: f64,
}

/// Finds the largest `k` below `n` with `at_most(n, p, k) ≤ limit`; one pass over the tail.
pub(super) fn largest_within(n: u64, p: f64, limit: f64) -> Option<Within> {
    let mut tail = mass(n, p, 0);
    if n == 0 || limit < tail {
        return None;
    }
    let mut k = 0;
    loop {
        let next_tail = tail + mass(n, p, k + 1);
        if limit < next_tail || k + 1 == n {
            return Some(Within { k, tail, next_tail });
        }
        (k, tail) = (k + 1, next_tail);
    }
}

/// Sums masses from the larger end on and stops where they no longer count.
fn sum(n: u64, p: f64, from: u64, to: u64) -> f64 {
    let upwards = n as f64 * p < from as f64;
    let mut total = 0.0;
    let mut step = |k: u64| {
        let mass = mass(n, p, k);
        total += mass;
        // Beyond the mode masses fall at least geometrically; below this share nothing is left to add.
        total == 0.0 || total * 1e-18 < mass
    };
    if upwards {
        (from..=to).take_while(|&k| step(k)).for_each(drop);
    } else {
        (from..=to).rev().take_while(|&k| step(k)).for_each(drop);
    }
    total.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_near(expected: f64, actual: f64) {
        assert!(
            (expected - actual).abs() <= 1e-12 * expected.abs().max(1e-3),
            "{expected} {actual}"
        );
    }

    #[test]
    fn masses_of_a_fair_coin_are_pascals_triangle() {
        for (k, choose) in [1.0, 4.0, 6.0, 4.0, 1.0].into_iter().enumerate() {
            check_near(choose / 16.0, mass(4, 0.5, k as u64));
        }
    }

    #[test]
    fn both_tails_add_up_to_one() {
        for (n, p, k) in [(10, 0.3, 2), (10, 0.3, 7), (662, 0.01, 1), (5000, 0.99, 4900)] {
            check_near(1.0, at_most(n, p, k) + sum(n, p, k + 1, n));
        }
    }

    #[test]
    fn a_million_trials_do_not_underflow() {
        let half = at_most(1_000_000, 0.01, 10_000);
        assert!((0.5..0.51).contains(&half), "{half}");
    }

    #[test]
    fn the_largest_count_within_a_limit_is_the_last_below_it() {
        for (n, p, limit) in [(15, 0.5, 0.025), (662, 0.01, 0.01), (1000, 0.3, 0.9), (3, 0.5, 1.0)]
        {
            let within = largest_within(n, p, limit).expect("the limit is above the first mass");
            check_near(at_most(n, p, within.k), within.tail);
            check_near(at_most(n, p, within.k + 1), within.next_tail);
            assert!(within.tail <= limit && (limit < within.next_tail || within.k + 1 == n));
        }
        assert_eq!(None, largest_within(5, 0.5, 0.01));
    }

    #[test]
    fn certain_outcomes_are_certain() {
        check_near(1.0, at_most(5, 0.0, 0));
        check_near(0.0, at_most(5, 1.0, 4));
        check_near(1.0, at_most(5, 1.0, 5));
    }
}
