//! The controller against simulated links.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use limiter::{AdaptiveConcurrency, AdaptiveOptions, Moment, Sample};
use proptest::prelude::*;

use crate::model::{at, cases};

const LIMIT_MAX: usize = 64;

/// What a request brings.
const AMOUNT: u64 = 20_000;

/// Amount per second of one unhindered request.
const EACH: f64 = 1e6;

/// A link, by the goodput at each concurrency.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// Grows up to the knee and stays there.
    Knee(usize),
    /// Approaches its capacity ever more slowly.
    Smooth(f64),
    /// Grows up to the knee; beyond it a tenth is left.
    Collapses(usize),
    /// The same, and it recovers only at half the knee.
    StaysCollapsed(usize),
}

impl Link {
    fn goodput(self, in_flight: usize, collapsed: bool) -> f64 {
        let n = in_flight as f64;
        match self {
            Self::Knee(knee) => EACH * n.min(knee as f64),
            Self::Smooth(scale) => EACH * scale * (1.0 - (-n / scale).exp()),
            Self::Collapses(knee) | Self::StaysCollapsed(knee) => {
                let collapsed = knee < in_flight || collapsed;
                EACH * if collapsed { 0.1 * (knee as f64).min(n) } else { n }
            }
        }
    }

    /// The least concurrency above which goodput does not grow, if there is one.
    fn knee(self) -> usize {
        match self {
            Self::Knee(knee) | Self::Collapses(knee) | Self::StaysCollapsed(knee) => knee,
            Self::Smooth(_) => usize::MAX,
        }
    }

    fn best(self) -> f64 {
        (1..=LIMIT_MAX).map(|n| self.goodput(n, false)).fold(0.0, f64::max)
    }
}

/// A link in use: as many requests in flight as the controller allows.
struct Simulation {
    link: Link,
    noise: f64,
    seed: u64,
    now: Moment,
    collapsed: bool,
    /// By the moment at which they end; with the moment at which they began.
    in_flight: BinaryHeap<Reverse<(Moment, Moment)>>,
    controller: AdaptiveConcurrency,
}

impl Simulation {
    fn new(link: Link, limit_start: usize, noise: f64, seed: u64) -> Self {
        let options =
            AdaptiveOptions { limit_start, limit_max: LIMIT_MAX, ..AdaptiveOptions::default() };
        Self {
            link,
            noise,
            seed: seed | 1,
            now: at(0),
            collapsed: false,
            in_flight: BinaryHeap::new(),
            controller: AdaptiveConcurrency::new(options, at(0)).unwrap(),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while self.now < end {
            self.step();
        }
    }

    /// Runs until the next request has ended.
    fn step(&mut self) {
        self.begin();
        let Reverse((finished, begun)) = self.in_flight.peek().copied().unwrap();
        self.now = finished;
        let in_flight = self.in_flight.len();
        self.controller.observe(Sample { begun, finished, amount: AMOUNT, in_flight });
        self.in_flight.pop();
    }

    fn begin(&mut self) {
        while self.in_flight.len() < self.controller.limit() {
            let n = self.in_flight.len() + 1;
            match self.link {
                Link::StaysCollapsed(knee) if knee < n => self.collapsed = true,
                Link::StaysCollapsed(knee) if n <= knee / 2 => self.collapsed = false,
                _ => {}
            }
            let share = self.link.goodput(n, self.collapsed) / n as f64;
            let latency = AMOUNT as f64 / share * (1.0 + self.noise * self.random());
            let ends = self.now.saturating_add(Duration::from_secs_f64(latency));
            self.in_flight.push(Reverse((ends, self.now)));
        }
    }

    /// From −1 to 1 (xorshift64).
    fn random(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Settles near the best goodput; then, for a minute, tries nothing more than a step away from where
    /// it has settled, and moves that neither up nor down by more than a step (four, where there is no
    /// knee to find). To come down to the knee from where goodput is the same is no such move.
    #[track_caller]
    fn assert_settles(&mut self, within: Duration) {
        self.run(within);
        let link = self.link;
        let settled = self.controller.settled();
        let mut settled = settled.unwrap_or_else(|| panic!("not settled on {link:?}"));
        let (goodput, best) = (link.goodput(settled, self.collapsed), link.best());
        assert!(0.9 * best <= goodput, "{settled}: {goodput} of {best} on {link:?}");
        let (mut least, mut greatest) = (settled, settled);
        let steps = if matches!(link, Link::Smooth(_)) { 4 } else { 1 };
        let end = self.now.saturating_add(Duration::from_secs(60));
        while self.now < end {
            (least, greatest) = (least.min(settled), greatest.max(settled));
            let risen = settled - least;
            let fallen = greatest.min(link.knee()).saturating_sub(settled);
            let moved = risen.max(fallen);
            assert!(moved <= steps * step(greatest), "{least} to {greatest} on {link:?}");
            self.step();
            let (limit, around) = (self.controller.limit(), self.controller.settled());
            settled = around.unwrap_or_else(|| panic!("{limit}: searches on {link:?}"));
            assert!(limit.abs_diff(settled) <= step(settled), "{limit} from {settled} on {link:?}");
        }
    }
}

/// What the documentation calls a step.
fn step(limit: usize) -> usize {
    (limit / 16).max(1)
}

#[track_caller]
fn check(link: Link, limit_start: usize, noise: f64) {
    Simulation::new(link, limit_start, noise, 7).assert_settles(Duration::from_secs(300));
}

#[test]
fn it_finds_the_knee_from_below_and_from_above() {
    for knee in [1, 2, 3, 5, 8, 13, 20, 33, 64] {
        for start in [1, 4, 64] {
            check(Link::Knee(knee), start, 0.0);
            check(Link::Knee(knee), start, 0.2);
        }
    }
}

#[test]
fn a_smooth_link_is_used_to_nine_tenths() {
    for scale in [1.0, 3.0, 8.0, 15.0] {
        check(Link::Smooth(scale), 4, 0.0);
        check(Link::Smooth(scale), 4, 0.2);
    }
}

#[test]
fn it_stays_below_a_collapse() {
    for knee in [2, 5, 10, 17, 40] {
        for start in [1, 4, 64] {
            check(Link::Collapses(knee), start, 0.0);
            check(Link::Collapses(knee), start, 0.1);
        }
    }
}

/// To measure a collapse as well as everything else would take as many samples, which are rare in one.
#[test]
fn a_collapse_is_left_within_the_shortest_measurement() {
    let mut simulation = Simulation::new(Link::Collapses(12), 12, 0.1, 7);
    let mut above = Duration::ZERO;
    let end = at(0).saturating_add(Duration::from_secs(10));
    while simulation.now < end {
        let (before, limit) = (simulation.now, simulation.controller.limit());
        simulation.step();
        if 12 < limit {
            above += simulation.now.saturating_since(before);
        }
    }
    // Three attempts, of 250 ms and the time of a sample each.
    assert!(above < Duration::from_millis(1200), "{above:?}");
}

#[test]
fn it_leaves_a_collapse_that_lasts() {
    for knee in [4, 10, 17, 40] {
        for start in [1, 4, 64] {
            check(Link::StaysCollapsed(knee), start, 0.0);
            check(Link::StaysCollapsed(knee), start, 0.1);
        }
    }
}

/// Once in some thousand runs noise made the first doubled limit seem to pay, in the midst of a collapse:
/// the search took it for proof that there was none, and settled there.
#[test]
fn a_gain_that_is_noise_does_not_hide_a_collapse() {
    let (noise, seed) = (0.283_133_920_321_774_53, 4_262_527_509_694_241_586);
    Simulation::new(Link::Collapses(3), 29, noise, seed).assert_settles(Duration::from_secs(600));
}

/// Where noise has made it settle at twice the knee, it comes down to it: two steps in one minute.
#[test]
fn it_comes_down_to_the_knee_from_where_goodput_is_the_same() {
    let (noise, seed) = (0.273_074_002_253_669_4, 9_789_275_087_923_038_060);
    Simulation::new(Link::Knee(11), 15, noise, seed).assert_settles(Duration::from_secs(600));
}

#[test]
fn it_follows_a_capacity_that_changes() {
    for (before, after) in [(16, 8), (8, 16), (40, 5), (5, 40)] {
        let mut simulation = Simulation::new(Link::Knee(before), 4, 0.1, 7);
        simulation.assert_settles(Duration::from_secs(120));
        simulation.link = Link::Knee(after);
        simulation.assert_settles(Duration::from_secs(120));
        simulation.link = Link::Collapses(after);
        simulation.assert_settles(Duration::from_secs(120));
    }
}

#[test]
fn demand_below_the_limit_teaches_nothing() {
    let mut controller = AdaptiveConcurrency::new(AdaptiveOptions::default(), at(0)).unwrap();
    for number in 0..10_000_u64 {
        let (begun, finished) = (at(number * 1_000_000), at((number + 1) * 1_000_000));
        controller.observe(Sample { begun, finished, amount: 1, in_flight: 1 });
    }
    assert_eq!(4, controller.limit());
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_link_any_noise(
        kind in 0..4_u8, knee in 3..=50_usize, start in 1..=LIMIT_MAX, noise in 0.0..0.3_f64,
        seed in any::<u64>(),
    ) {
        let link = match kind {
            0 => Link::Knee(knee),
            1 => Link::Smooth(1.0 + knee as f64 / 4.0),
            2 => Link::Collapses(knee),
            _ => Link::StaysCollapsed(knee),
        };
        Simulation::new(link, start, noise, seed).assert_settles(Duration::from_secs(600));
    }

    /// No history of samples panics, or leaves the bounds.
    #[test]
    fn nothing_leaves_the_bounds(
        samples in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), 0..100_usize), 0..300),
    ) {
        let options = AdaptiveOptions {
            limit_min: 2, limit_max: 50, limit_start: 7,
            epoch_min: Duration::from_nanos(1), stall_timeout: Duration::from_nanos(1),
        };
        let mut controller = AdaptiveConcurrency::new(options, at(0)).unwrap();
        for (begun, finished, amount, in_flight) in samples {
            let (begun, finished) = (at(begun), at(finished));
            controller.observe(Sample { begun, finished, amount, in_flight });
            controller.tick(finished, in_flight);
            prop_assert!((2..=50).contains(&controller.limit()));
        }
    }
}
