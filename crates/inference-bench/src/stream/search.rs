//! The search for the highest load that still meets its objectives. Pure: it says what to try next.

use crate::stats::share_interval;

/// How a search goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// The load to begin with, above 0, at most `load_max`.
    pub start: f64,
    /// The highest load that may be tried. No limit by default.
    pub load_max: f64,
    /// The share of requests that must meet their objectives, in `(0, 1)`. 0.99 by default: what one
    /// hopes of a p99.
    pub share_min: f64,
    /// How near the highest good and the lowest bad load must come, if there are probes left for it.
    /// 1.025 by default: what chance adds in probes of some thousand requests then stays within 5 %.
    pub ratio_max: f64,
    /// How many loads may be tried. 10 by default: six to bracket over a factor of 32, four to halve the
    /// rest down to 5 %.
    pub probes_max: u32,
    /// Loads are whole numbers.
    pub whole: bool,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            start: 1.0,
            load_max: f64::INFINITY,
            share_min: 0.99,
            ratio_max: 1.025,
            probes_max: 10,
            whole: false,
        }
    }
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// The load that was tried.
    pub load: f64,
    /// Requests that met their objectives.
    pub good: u64,
    /// Requests that were planned.
    pub n: u64,
    /// Whether the load held.
    pub holds: bool,
    /// Whether the interval of the share says so, too. Where it does not, the share itself decided: the
    /// load is as near to the knee as so many requests can tell.
    pub decided: bool,
}

/// Where a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The highest load that held; `None` when not even the lowest that was tried did.
    pub holds: Option<f64>,
    /// The lowest load that did not; `None` when all that were tried held.
    pub fails: Option<f64>,
}

/// A search under way: doubles or halves until it has a good and a bad load, then halves between them on
/// a logarithmic scale.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::{Search, SearchOptions};
///
/// let mut search = Search::new(SearchOptions { start: 100.0, ..SearchOptions::default() });
/// while let Some(load) = search.next() {
///     let good = if load <= 730.0 { 1000 } else { 500 };
///     search.report(good, 1000);
/// }
/// let knee = search.found().holds.expect("100 a second held");
/// assert!(730.0 / 1.05 <= knee && knee <= 730.0);
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    options: SearchOptions,
    found: Found,
    probes: Vec<Probe>,
    /// A probe had no requests: a lower load would have none, too.
    is_empty: bool,
}

impl Search {
    /// Starts a search.
    ///
    /// # Panics
    ///
    /// When the start is not above 0, or `share_min` outside of `(0, 1)`.
    #[must_use]
    pub fn new(options: SearchOptions) -> Self {
        assert!(0.0 < options.start && options.start.is_finite(), "a start of {}", options.start);
        let share_min = options.share_min;
        assert!(0.0 < share_min && share_min < 1.0, "a share of {share_min}");
        let found = Found { holds: None, fails: None };
        Self { options, found, probes: Vec::new(), is_empty: false }
    }

    /// Returns the load to try next, or `None` when the search is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        if self.is_empty || self.options.probes_max as usize <= self.probes.len() {
            return None;
        }
        let load = match (self.found.holds, self.found.fails) {
            (None, None) => self.options.start,
            (Some(holds), None) if self.options.load_max <= holds => return None,
            (Some(holds), None) => self.options.load_max.min(holds * 2.0),
            (None, Some(fails)) => fails / 2.0,
            (Some(holds), Some(fails)) if fails / holds <= self.options.ratio_max => return None,
            (Some(holds), Some(fails)) => (holds * fails).sqrt(),
        };
        if self.options.whole { self.whole(load) } else { Some(load) }
    }

    fn whole(&self, load: f64) -> Option<f64> {
        let whole = load.round().max(1.0);
        let known = [self.found.holds, self.found.fails].contains(&Some(whole));
        (!known).then_some(whole)
    }

    /// Takes the outcome of the load that [`Search::next`] named: `good` of `n` requests met their
    /// objectives. No requests say nothing, and end the search.
    pub fn report(&mut self, good: u64, n: u64) {
        let Some(load) = self.next() else { return };
        self.is_empty = n == 0;
        if self.is_empty {
            return;
        }
        let share_min = self.options.share_min;
        let holds = share_min <= good as f64 / n as f64;
        let interval = share_interval(good.min(n), n);
        let decided = share_min <= interval.low || interval.high < share_min;
        self.probes.push(Probe { load, good, n, holds, decided });
        if holds {
            self.found.holds = Some(load);
        } else {
            self.found.fails = Some(load);
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    /// The number of the probe that tells the outcome, from 0: that of the highest load that held, else of
    /// the lowest that did not.
    #[must_use]
    pub fn told(&self) -> Option<usize> {
        let load = self.found.holds.or(self.found.fails)?;
        self.probes.iter().position(|probe| probe.load == load)
    }

    /// What was tried, in order.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;
    use crate::stream::{Arrival, Arrivals};

    fn knee_of(start: f64, truth: f64, whole: bool) -> (Found, usize) {
        let options = SearchOptions { start, whole, ..SearchOptions::default() };
        let mut search = Search::new(options);
        while let Some(load) = search.next() {
            search.report(if load <= truth { 1000 } else { 0 }, 1000);
        }
        (search.found(), search.probes().len())
    }

    #[test]
    fn any_knee_within_a_factor_of_32_is_found_in_ten_probes() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let truth = 100.0 * 32_f64.powf(2.0 * random.unit() - 1.0);
            let (found, probes) = knee_of(100.0, truth, false);
            let (holds, fails) = (found.holds.unwrap(), found.fails.unwrap());
            assert!(holds <= truth && truth < fails && fails / holds <= 1.05, "{truth}: {found:?}");
            assert!(probes <= 10);
        }
    }

    #[test]
    fn a_probe_without_requests_ends_the_search_and_is_not_judged() {
        let mut search = Search::new(SearchOptions { start: 8.0, ..SearchOptions::default() });
        search.report(0, 9);
        search.report(0, 4);
        search.report(0, 0);
        assert_eq!((None, 2), (search.next(), search.probes().len()));
        assert_eq!(Found { holds: None, fails: Some(4.0) }, search.found());
    }

    #[test]
    fn the_highest_load_that_held_tells_the_outcome_else_the_lowest() {
        let mut search = Search::new(SearchOptions { start: 8.0, ..SearchOptions::default() });
        assert_eq!(None, search.told());
        for (good, told) in [(0, 0), (0, 1), (9, 2), (0, 2), (9, 4)] {
            search.report(good, 9);
            assert_eq!(Some(told), search.told());
        }
    }

    #[test]
    fn no_load_above_the_highest_is_tried() {
        let mut search =
            Search::new(SearchOptions { start: 3.0, load_max: 10.0, ..SearchOptions::default() });
        while search.next().is_some() {
            search.report(1000, 1000);
        }
        let loads: Vec<f64> = search.probes().iter().map(|probe| probe.load).collect();
        assert_eq!(vec![3.0, 6.0, 10.0], loads);
        assert_eq!(Found { holds: Some(10.0), fails: None }, search.found());
    }

    #[test]
    fn whole_loads_end_between_neighbors() {
        let (found, _) = knee_of(1.0, 5.5, true);
        assert_eq!(Found { holds: Some(5.0), fails: Some(6.0) }, found);
        let (found, _) = knee_of(1.0, 0.5, true);
        assert_eq!(Found { holds: None, fails: Some(1.0) }, found);
    }

    #[test]
    fn what_never_fails_or_never_holds_ends_too() {
        let (found, probes) = knee_of(1.0, f64::INFINITY, false);
        assert_eq!((Found { holds: Some(512.0), fails: None }, 10), (found, probes));
        assert_eq!(None, knee_of(1.0, 0.0, false).0.holds);
    }

    #[test]
    fn a_probe_near_the_knee_is_undecided() {
        let mut search = Search::new(SearchOptions { share_min: 0.9, ..SearchOptions::default() });
        search.report(95, 100);
        search.report(990, 1000);
        let decided: Vec<_> = search.probes().iter().map(|p| (p.holds, p.decided)).collect();
        assert_eq!(vec![(true, false), (true, true)], decided);
    }

    /// The share of M/D/1 waits of at most `wait` services, at this utilization (Erlang's series).
    fn md1_share(utilization: f64, wait: f64) -> f64 {
        let term = |k: u32| {
            let left = utilization * (f64::from(k) - wait);
            let factorial: f64 = (1..=k).map(f64::from).product();
            (left.powi(k as i32) / factorial) * (-left).exp()
        };
        (1.0 - utilization) * (0..=wait as u32).map(term).sum::<f64>()
    }

    /// One server of 5 ms; 90 % of all requests shall wait for at most 4 services.
    #[test]
    fn the_knee_of_a_simulated_queue_is_found() {
        let (service_ns, services, share_min) = (5e6, 4.0, 0.9);
        let mut low_high = (0.5, 0.999);
        for _ in 0..60 {
            let middle: f64 = f64::midpoint(low_high.0, low_high.1);
            let holds = share_min <= md1_share(middle, services);
            if holds { low_high.0 = middle } else { low_high.1 = middle }
        }
        let truth = low_high.0 * 1e9 / service_ns;
        let mut search =
            Search::new(SearchOptions { start: 20.0, share_min, ..SearchOptions::default() });
        while let Some(load) = search.next() {
            let mut free_ns = 0.0_f64;
            let mut good = 0;
            for due in Arrivals::new(Arrival::Poisson, load, 11).take(40_000) {
                let begin = free_ns.max(due as f64);
                good += u64::from(begin - due as f64 <= services * service_ns);
                free_ns = begin + service_ns;
            }
            search.report(good, 40_000);
        }
        let found = search.found().holds.unwrap();
        assert!((found / truth - 1.0).abs() <= 0.05, "{found} of {truth}");
        assert!(search.probes().len() <= 10);
    }
}
