//! The search for the knee, from one measurement to the next.

mod settled;

use self::settled::PATIENCE_MIN;
use super::epoch::Goodput;

/// Goodput must rise by this much for a doubled limit to pay.
const GAIN_MIN: f64 = 0.05;

/// Goodput that has risen by this much for a doubled limit is no accident: half of what there is to gain.
const GAIN_SURE: f64 = 0.5;

/// Settle on the least limit that reaches this share of the best goodput seen.
const NEAR_BEST: f64 = 0.95;

/// A raised limit has made goodput collapse when less than this share of it is left.
const COLLAPSED: f64 = 0.6;

/// Settled goodput below this share of what it was means that the capacity is another.
const DROPPED: f64 = 0.75;

/// After so many measurements, a quarter of an hour of the shortest, a collapse is no longer held
/// against a limit.
const CEILING_LASTS: u32 = 4096;

/// Measurements that goodput may take to recover from a collapse, before the limit is halved: what began
/// during the collapse still has to end.
const RECOVERY_MAX: u32 = 4;

/// No measurement counts whose standard error is a larger share of its mean.
const ERROR_MAX: f64 = 0.02;

/// Batches after which a measurement ends, however noisy; and where a step away from the settled limit
/// is judged, which is the least difference there is.
const BATCHES_MAX: usize = 32;
const LOOK_BATCHES_MAX: usize = 128;

/// An answer is clear when so many standard errors lie between it and where it would be another.
const ERRORS_APART: f64 = 2.0;

/// Where the search stands. Pure: measurements in, limits out.
#[derive(Clone, Debug)]
pub(super) struct Search {
    min: usize,
    max: usize,
    /// The limit that is being measured.
    limit: usize,
    goal: Goal,
    /// The limit to go back to.
    best: Level,
    /// The best goodput that this search has seen, and what is near enough to it.
    peak: f64,
    /// The greatest limit known to be worse than `best` for being too low; `None` if unknown.
    below: Option<usize>,
    /// Lower limits have been tried, or half the best has been seen to be far worse: it is no collapse
    /// that this search has begun in.
    surveyed: bool,
    /// What the next climb adds to the best.
    stride: usize,
    /// The last look upward paid. If the next does too, the capacity has grown; one alone may be the
    /// knee between two steps.
    rises: bool,
    /// The least limit at which goodput collapsed, and for how many more measurements that counts.
    ceiling: Option<(usize, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    limit: usize,
    goodput: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    /// Learn the goodput of the first limit.
    Begin,
    /// Try a higher limit, as long as it pays.
    Climb,
    /// Back at the best after a collapse: has goodput recovered?
    Recover { beyond: usize, tries: u32 },
    /// Narrow down between the best and a limit that was no better.
    SearchUp { beyond: usize },
    /// Narrow down between a limit that is too low and the best.
    SearchDown { below: usize },
    /// Halve the limit down to the least: only so is a collapse left that lasts until the limit is far
    /// below the knee. Goodput has risen by it since `from`.
    Descend { from: Option<usize> },
    /// Stay.
    Hold(Watch),
    /// Look one step up; a gain must be seen twice.
    LookUp { patience: u32, seen: bool },
    /// Look one step down; that it costs nothing must be seen twice.
    LookDown { patience: u32, seen: bool },
}

/// How long to stay, and what has been seen meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Watch {
    /// Measurements before the next look beyond.
    patience: u32,
    /// Measurements so far.
    measured: u32,
    /// How many of the last ones in a row have shown a drop.
    drops: u32,
    /// Look upward next, else downward.
    look_up: bool,
}

impl Search {
    pub(super) fn new(min: usize, max: usize, start: usize) -> Self {
        Self {
            min,
            max,
            limit: start,
            goal: Goal::Begin,
            best: Level { limit: start, goodput: 0.0 },
            peak: 0.0,
            below: None,
            surveyed: false,
            stride: start,
            rises: false,
            ceiling: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn settled(&self) -> Option<usize> {
        match self.goal {
            Goal::Hold(_) | Goal::LookUp { .. } | Goal::LookDown { .. } => Some(self.best.limit),
            _ => None,
        }
    }

    /// Takes the goodput at [`Search::limit`] and chooses the next limit.
    pub(super) fn measured(&mut self, goodput: f64) {
        self.ceiling = self.ceiling.and_then(|(limit, lasts)| Some((limit, lasts.checked_sub(1)?)));
        let tried = Level { limit: self.limit, goodput };
        match self.goal {
            Goal::Begin => self.begin(tried),
            Goal::Climb => self.climbed(tried),
            Goal::Recover { beyond, tries } => self.recovered(tried, beyond, tries),
            Goal::SearchUp { beyond } => self.searched_up(tried, beyond),
            Goal::SearchDown { below } => self.searched_down(tried, below),
            Goal::Descend { from } => self.descended(tried, from),
            Goal::Hold(watch) => self.held(tried, watch),
            Goal::LookUp { patience, seen } => self.looked_up(tried, patience, seen),
            Goal::LookDown { patience, seen } => self.looked_down(tried, patience, seen),
        }
    }

    /// Whether a longer measurement at this limit would change nothing.
    pub(super) fn is_clear(&self, goodput: &Goodput) -> bool {
        let best = self.best.goodput;
        let gain = self.gain(self.limit) * best;
        let near = self.near_best(self.limit);
        let borders = match self.goal {
            Goal::Begin => [0.0, 0.0],
            Goal::Climb | Goal::SearchUp { .. } | Goal::LookUp { .. } => [gain, COLLAPSED * best],
            Goal::Recover { .. } | Goal::Hold(_) => [DROPPED * best, 0.0],
            Goal::SearchDown { .. } | Goal::LookDown { .. } => [near, 0.0],
            Goal::Descend { .. } => [near, (1.0 + GAIN_MIN) * best],
        };
        let apart = |border: &f64| ERRORS_APART * goodput.error <= (goodput.mean - border).abs();
        let is_good = goodput.error <= ERROR_MAX * goodput.mean;
        let batches_max = match self.goal {
            Goal::LookUp { .. } | Goal::LookDown { .. } => LOOK_BATCHES_MAX,
            _ => BATCHES_MAX,
        };
        batches_max <= goodput.n_batches || (is_good && borders.iter().all(apart))
    }

    fn begin(&mut self, tried: Level) {
        self.best = tried;
        self.peak = tried.goodput;
        self.below = None;
        self.climb();
    }

    /// Tries the next higher limit: by strides that double, by single steps where a collapse is
    /// remembered.
    fn climb(&mut self) {
        let limit = self.best.limit;
        let next = match self.ceiling {
            None => limit + self.stride.min(limit),
            Some((ceiling, _)) => (limit + step(limit)).min(ceiling - 1),
        };
        self.stride = self.stride.saturating_mul(2);
        let next = next.min(self.max);
        if next <= limit {
            return self.search_down();
        }
        self.aim(Goal::Climb, next);
    }

    fn climbed(&mut self, tried: Level) {
        if self.pays(tried) {
            self.improve(tried);
            return self.climb();
        }
        self.no_better_at(tried);
    }

    /// A higher limit was tried in vain: go on between it and the best.
    fn no_better_at(&mut self, tried: Level) {
        if tried.goodput < COLLAPSED * self.best.goodput {
            self.ceiling = Some((tried.limit, CEILING_LASTS));
            let recover = Goal::Recover { beyond: tried.limit, tries: 1 };
            return self.aim(recover, self.best.limit);
        }
        self.peak = self.peak.max(tried.goodput);
        self.search_up(tried.limit);
    }

    fn recovered(&mut self, tried: Level, beyond: usize, tries: u32) {
        if DROPPED * self.best.goodput <= tried.goodput {
            return self.search_up(beyond);
        }
        if RECOVERY_MAX <= tries {
            return self.descend(tried);
        }
        self.goal = Goal::Recover { beyond, tries: tries + 1 };
    }

    fn search_up(&mut self, beyond: usize) {
        let limit = self.best.limit;
        if beyond - limit <= step(limit) {
            return self.search_down();
        }
        self.aim(Goal::SearchUp { beyond }, usize::midpoint(limit, beyond));
    }

    fn searched_up(&mut self, tried: Level, beyond: usize) {
        if self.pays(tried) {
            self.improve(tried);
            return self.search_up(beyond);
        }
        self.no_better_at(tried);
    }

    /// Looks for a lower limit that is nearly as good.
    fn search_down(&mut self) {
        let limit = self.best.limit;
        match self.below {
            _ if !self.surveyed && self.min < limit => self.halve(limit, None),
            Some(below) if step(limit) < limit - below => {
                self.aim(Goal::SearchDown { below }, usize::midpoint(below, limit));
            }
            _ => self.hold(PATIENCE_MIN, true),
        }
    }

    fn searched_down(&mut self, tried: Level, below: usize) {
        if self.is_near_best(tried) {
            self.best = tried;
            self.peak = self.peak.max(tried.goodput);
        } else {
            self.below = Some(below.max(tried.limit));
        }
        self.search_down();
    }

    /// Goodput is not what it was: learn anew what lower limits bring.
    fn descend(&mut self, tried: Level) {
        self.best = tried;
        self.peak = tried.goodput;
        self.below = None;
        if tried.limit <= self.min {
            self.stride = 1;
            return self.climb();
        }
        self.halve(tried.limit, None);
    }

    fn halve(&mut self, limit: usize, from: Option<usize>) {
        self.aim(Goal::Descend { from }, (limit / 2).max(self.min));
    }

    fn descended(&mut self, tried: Level, from: Option<usize>) {
        let recovers = (1.0 + GAIN_MIN) * self.best.goodput < tried.goodput;
        let from = from.or_else(|| recovers.then_some(self.best.limit));
        if self.is_near_best(tried) {
            self.best = tried;
            self.peak = self.peak.max(tried.goodput);
            self.below = None;
        } else {
            self.below = self.below.or(Some(tried.limit));
        }
        if self.min < tried.limit {
            return self.halve(tried.limit, from);
        }
        self.surveyed = true;
        match from {
            // Where less has brought more, the knee may be above. (That goodput was low at `from` is no
            // proof against `from`: the collapse may have lasted.)
            Some(from) => {
                self.stride = from.saturating_sub(self.best.limit).max(1);
                self.climb();
            }
            None if self.best.limit <= self.min => self.hold(PATIENCE_MIN, true),
            None => self.search_down(),
        }
    }

    /// Whether a higher limit brings enough more.
    fn pays(&self, tried: Level) -> bool {
        self.gain(tried.limit) * self.best.goodput < tried.goodput
    }

    /// What goodput at a higher limit must exceed, as a multiple of the best: 5 % more, or half of what
    /// the limit was raised by.
    fn gain(&self, limit: usize) -> f64 {
        let raised = limit as f64 / self.best.limit as f64 - 1.0;
        1.0 + GAIN_MIN.min(raised / 2.0)
    }

    fn is_near_best(&self, tried: Level) -> bool {
        self.near_best(tried.limit) <= tried.goodput
    }

    /// What goodput at a lower limit must reach: nearly the peak, and so much of the best that going back
    /// up would not pay.
    fn near_best(&self, limit: usize) -> f64 {
        let lowered = 1.0 - limit as f64 / self.best.limit as f64;
        let from_best = 1.0 - GAIN_MIN.min(lowered / 2.0);
        (from_best * self.best.goodput).max(NEAR_BEST * self.peak)
    }

    fn improve(&mut self, tried: Level) {
        self.below = Some(self.best.limit);
        let is_sure = (1.0 + GAIN_SURE) * self.best.goodput < tried.goodput;
        self.surveyed |= is_sure && 2 * self.best.limit <= tried.limit;
        self.best = tried;
        self.peak = self.peak.max(tried.goodput);
    }

    fn aim(&mut self, goal: Goal, limit: usize) {
        self.goal = goal;
        self.limit = limit;
    }
}

/// The least change of a limit that is worth a measurement: a 16th.
fn step(limit: usize) -> usize {
    (limit / 16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search on an exact link and returns the limits that it tried until it settled.
    #[track_caller]
    fn tries(start: usize, link: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut search = Search::new(1, 64, start);
        let mut tried = Vec::new();
        while search.settled().is_none() {
            assert!(tried.len() < 100, "never settles: {tried:?}");
            tried.push(search.limit());
            search.measured(link(search.limit()));
        }
        tried.push(search.limit());
        tried
    }

    fn knee(knee: usize) -> impl Fn(usize) -> f64 {
        move |limit| limit.min(knee) as f64
    }

    #[test]
    fn a_knee_is_climbed_to_and_narrowed_down() {
        let tried = vec![4, 8, 16, 32, 64, 48, 40, 36, 34, 24, 20, 18, 17, 18];
        assert_eq!(tried, tries(4, knee(18)));
    }

    #[test]
    fn one_is_found_from_anywhere() {
        for start in 1..=64 {
            let tried = tries(start, knee(1));
            assert!(tried.len() <= 12, "{tried:?}");
            assert_eq!(Some(&1), tried.last());
        }
    }
}
