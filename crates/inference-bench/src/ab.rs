//! Is B slower than A: a decision from pairs measured side by side.
//!
//! The rule, on the 95 % interval of the median ratio `B / A`:
//!
//! 1. Measure pairs in random order. After 15, 30, 60, 120 and 240, look at the interval: few looks, since
//!    each is a chance to be fooled.
//! 2. Its lower end above 1.01: *perhaps slower*. Measure a second set the same way; if its lower end is
//!    above 1.01 too, B **is slower**. One set alone never flags anything: over many comparisons a fluke
//!    is certain.
//! 3. Its upper end below 1.03: B is **not slower** by an amount that we promise to find.
//! 4. Neither after 240 pairs: **undecided**.
//!
//! The thresholds are about what a person would act on (1 %) and what this machine can tell (3 %).
//! Smaller is better for every metric.

use crate::stats::{PairedRatio, Random, paired_ratio};

/// Where the decisions fall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A ratio whose interval lies above this is worth a flag.
    pub slower_above: f64,
    /// A ratio whose interval lies below this is not.
    pub same_below: f64,
    /// Pairs before the first look; from one look to the next the number doubles.
    pub pairs_min: usize,
    /// Pairs of a set after which it is undecided.
    pub pairs_max: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { slower_above: 1.01, same_below: 1.03, pairs_min: 15, pairs_max: 240 }
    }
}

/// What a set of pairs says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// B is not slower by an amount that matters.
    NotSlower,
    /// B is slower.
    Slower,
    /// The noise is larger than the difference.
    Undecided,
}

impl Thresholds {
    /// Decides about one set of pairs `(a, b)`; `None` while more pairs are wanted.
    ///
    /// The seed is that of the resampling: the same pairs and seed give the same decision.
    #[must_use]
    pub fn decide(&self, pairs: &[(f64, f64)], seed: u64) -> Option<Decision> {
        let last = self.pairs_max <= pairs.len();
        let mut look = self.pairs_min.max(1);
        while look < pairs.len() {
            look *= 2;
        }
        if look != pairs.len() && !last {
            return None;
        }
        let Some(ratio) = paired_ratio(pairs, seed) else {
            return last.then_some(Decision::Undecided);
        };
        if self.slower_above < ratio.interval.low {
            return Some(Decision::Slower);
        }
        if ratio.interval.high < self.same_below {
            return Some(Decision::NotSlower);
        }
        last.then_some(Decision::Undecided)
    }
}

/// Who of a pair is run first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// A, then B.
    AThenB,
    /// B, then A.
    BThenA,
}

/// A comparison in progress: says what to run next, takes the results, decides.
///
/// It runs nothing itself.
///
/// # Examples
///
/// ```
/// use inference_bench::ab::{Comparison, Decision, Thresholds};
///
/// let mut comparison = Comparison::new(Thresholds::default(), 7);
/// while comparison.decision().is_none() {
///     let _order = comparison.next_order();
///     comparison.push(100.0, 100.0);
/// }
/// assert_eq!(Some(Decision::NotSlower), comparison.decision());
/// ```
#[derive(Clone, Debug)]
pub struct Comparison {
    thresholds: Thresholds,
    seed: u64,
    random: Random,
    /// The set that raises a suspicion.
    first: Vec<(f64, f64)>,
    /// The set that confirms it.
    second: Vec<(f64, f64)>,
    suspected: bool,
    decision: Option<Decision>,
}

impl Comparison {
    /// Starts a comparison. The seed decides the order within pairs and the resampling.
    #[must_use]
    pub fn new(thresholds: Thresholds, seed: u64) -> Self {
        Self {
            thresholds,
            seed,
            random: Random::new(seed),
            first: Vec::new(),
            second: Vec::new(),
            suspected: false,
            decision: None,
        }
    }

    /// Draws who is run first in the next pair.
    pub fn next_order(&mut self) -> Order {
        if self.random.below(2) == 0 { Order::AThenB } else { Order::BThenA }
    }

    /// Takes the results of a pair, both above 0. After the decision it changes nothing.
    ///
    /// A set in which some pair has no finite ratio stays undecided.
    pub fn push(&mut self, a: f64, b: f64) {
        if self.decision.is_some() {
            return;
        }
        let set = if self.suspected { &mut self.second } else { &mut self.first };
        set.push((a, b));
        let Some(decision) = self.thresholds.decide(set, self.seed) else { return };
        if decision == Decision::Slower && !self.suspected {
            self.suspected = true;
            return;
        }
        // A suspicion that the second set did not confirm is no regression; it is no pass either
        // unless that set rules one out by itself.
        self.decision = Some(decision);
    }

    /// The decision, once there is one.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// Whether the first set looked slower and the second is being measured.
    #[must_use]
    pub fn is_confirming(&self) -> bool {
        self.suspected && self.decision.is_none()
    }

    /// All pairs so far, in the order in which they were measured.
    #[must_use]
    pub fn pairs(&self) -> Vec<(f64, f64)> {
        [self.first.as_slice(), self.second.as_slice()].concat()
    }

    /// The most pairs that may still be wanted.
    #[must_use]
    pub fn pairs_left_max(&self) -> usize {
        let set = if self.suspected { self.second.len() } else { self.first.len() };
        self.thresholds.pairs_max.saturating_sub(set)
    }

    /// The ratio over the set that decided, or over what there is; `None` below six pairs.
    #[must_use]
    pub fn ratio(&self) -> Option<PairedRatio> {
        let set = if self.suspected { &self.second } else { &self.first };
        paired_ratio(set, self.seed).or_else(|| paired_ratio(&self.first, self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise like that of a shared machine: both of a pair share a mood, each has its own jitter, and
    /// one run in ten is interrupted for up to half its length.
    fn compare(seed: u64, slowdown: f64) -> (Decision, usize) {
        let mut comparison = Comparison::new(Thresholds::default(), seed);
        let mut random = Random::new(seed ^ 0xDEAD_BEEF);
        while comparison.decision().is_none() {
            let mood = 1.0 + 0.3 * random.unit();
            let mut one = || {
                let spike = if random.below(10) == 0 { 0.5 * random.unit() } else { 0.0 };
                mood * (1.0 + 0.03 * random.unit() + spike)
            };
            let (a, b) = (one(), one() * slowdown);
            comparison.push(a, b);
        }
        (comparison.decision().unwrap(), comparison.pairs().len())
    }

    #[test]
    fn equals_are_hardly_ever_flagged() {
        let flagged = (0..1000).filter(|&seed| compare(seed, 1.0).0 == Decision::Slower).count();
        assert!(flagged <= 3, "{flagged} of 1000 comparisons of equals are flagged");
    }

    #[test]
    fn five_percent_are_found() {
        let found = (0..200).filter(|&seed| compare(seed, 1.05).0 == Decision::Slower).count();
        assert!(190 <= found, "{found} of 200 slowdowns by 5 % are found");
    }

    #[test]
    fn every_comparison_ends() {
        assert!((0..200).all(|seed| compare(seed, 1.02).1 <= 480));
    }

    #[test]
    fn one_slow_set_alone_flags_nothing() {
        let mut comparison = Comparison::new(Thresholds::default(), 0);
        (0..15).for_each(|_| comparison.push(1.0, 1.1));
        assert!(comparison.is_confirming());
        (0..15).for_each(|_| comparison.push(1.0, 1.0));
        assert_eq!(Some(Decision::NotSlower), comparison.decision());
    }

    #[test]
    fn a_metric_of_zero_is_undecided_at_the_end() {
        let mut comparison = Comparison::new(Thresholds::default(), 0);
        (0..240).for_each(|_| comparison.push(0.0, 0.0));
        assert_eq!(Some(Decision::Undecided), comparison.decision());
    }

    #[test]
    fn both_orders_are_drawn() {
        let mut comparison = Comparison::new(Thresholds::default(), 1);
        let orders: Vec<_> = (0..64).map(|_| comparison.next_order()).collect();
        let first = orders.iter().filter(|&&order| order == Order::AThenB).count();
        assert!((16..=48).contains(&first), "{first} of 64");
    }
}
