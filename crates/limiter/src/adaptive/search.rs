//! The search for the knee, from one measurement to the next.

mod clear;
mod settled;

use self::settled::PATIENCE_MIN;

/// Goodput must rise by this much for a doubled limit to pay.
const GAIN_MIN: f64 = 0.05;

/// Goodput that has risen by this much for a doubled limit is no accident: half of what there is to gain.
const GAIN_SURE: f64 = 0.5;

/// Settle on the least limit that reaches this share of the best goodput seen.
const NEAR_BEST: f64 = 0.95;

/// A raised limit has made goodput collapse when less than this share of it is left.
const COLLAPSED: f64 = 0.6;

/// No doubt about a collapse where less than this share is left.
const COLLAPSED_SURELY: f64 = 0.25;

/// Settled goodput below this share of what it was means that the capacity is another.
const DROPPED: f64 = 0.75;

/// After so many measurements, a quarter of an hour of the shortest, a collapse is no longer held
/// against a limit.
const CEILING_LASTS: u32 = 4096;

/// Measurements that goodput may take to recover from a collapse, before the limit is halved: what began
/// during the collapse still has to end.
const RECOVERY_MAX: u32 = 4;

/// No measurement counts whose standard error is a larger share of its mean; on the way up, where a double
/// limit is told from a useless one, less will do.
const ERROR_MAX: f64 = 0.02;
const CLIMB_ERROR_MAX: f64 = 0.04;

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
    below: Option<Level>,
    /// Collapses that this search has seen.
    collapses: u32,
    /// Lower limits have been tried, or half the best has been seen to be far worse, or a collapse above has
    /// been seen and left: it is no collapse that this search has begun in.
    surveyed: bool,
    /// Whether to stay at more than the knee needs: no search for the least that does.
    generous: bool,
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
    Recover { beyond: usize, tries: u32, sure: bool },
    /// Narrow down between the best and a limit that was no better.
    SearchUp { beyond: usize },
    /// Earn for a while at the best, before more is risked.
    Earn { beyond: usize, measured: u32, drops: u32 },
    /// Narrow down between a limit that is too low and the best.
    SearchDown,
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
            collapses: 0,
            surveyed: false,
            generous: false,
            stride: start,
            rises: false,
            ceiling: None,
        }
    }

    pub(super) fn generous(self) -> Self {
        Self { generous: true, ..self }
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

    /// Whether the limit was lowered because goodput had collapsed.
    pub(super) fn is_recovering(&self) -> bool {
        matches!(self.goal, Goal::Recover { .. } | Goal::Descend { .. })
    }

    /// Takes the goodput at [`Search::limit`] and chooses the next limit.
    pub(super) fn measured(&mut self, goodput: f64) {
        self.ceiling = self.ceiling.and_then(|(limit, lasts)| Some((limit, lasts.checked_sub(1)?)));
        let tried = Level { limit: self.limit, goodput };
        match self.goal {
            Goal::Begin => self.begin(tried),
            Goal::Climb => self.climbed(tried),
            Goal::Recover { beyond, tries, sure } => self.recovered(tried, beyond, (tries, sure)),
            Goal::SearchUp { beyond } => self.searched_up(tried, beyond),
            Goal::Earn { beyond, measured, drops } => self.earned(tried, beyond, measured, drops),
            Goal::SearchDown => self.searched_down(tried),
            Goal::Descend { from } => self.descended(tried, from),
            Goal::Hold(watch) => self.held(tried, watch),
            Goal::LookUp { patience, seen } => self.looked_up(tried, patience, seen),
            Goal::LookDown { patience, seen } => self.looked_down(tried, patience, seen),
        }
    }

    /// Takes note of what a lower limit has brought; returns whether that is of use.
    pub(super) fn already_brought(&mut self, limit: usize, goodput: f64) -> bool {
        let is_useful = self.goal == Goal::Begin && limit < self.limit && 0.0 < goodput;
        if is_useful {
            self.below = Some(Level { limit, goodput });
        }
        is_useful
    }

    fn begin(&mut self, tried: Level) {
        self.best = tried;
        self.peak = tried.goodput;
        let is_first = self.goal == Goal::Begin;
        let is_far_less = |below: &Level| (1.0 + GAIN_SURE) * below.goodput < tried.goodput;
        self.below = self.below.filter(|below| is_first && is_far_less(below));
        self.surveyed |= self.below.is_some();
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
            self.collapses += 1;
            let sure = tried.goodput < COLLAPSED_SURELY * self.best.goodput;
            let recover = Goal::Recover { beyond: tried.limit, tries: 1, sure };
            return self.aim(recover, self.best.limit);
        }
        self.peak = self.peak.max(tried.goodput);
        if self.generous && self.surveyed && NEAR_BEST * self.peak <= tried.goodput {
            self.best = tried;
            return self.hold(PATIENCE_MIN, true);
        }
        self.search_up(tried.limit);
    }

    fn recovered(&mut self, tried: Level, beyond: usize, (tries, sure): (u32, bool)) {
        if DROPPED * self.best.goodput <= tried.goodput {
            self.surveyed |= sure;
            return match self.collapses {
                0 | 1 => self.search_up(beyond),
                _ => self.goal = Goal::Earn { beyond, measured: 0, drops: 0 },
            };
        }
        if RECOVERY_MAX <= tries {
            return self.descend(tried);
        }
        self.goal = Goal::Recover { beyond, tries: tries + 1, sure };
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
        match self.too_low() {
            _ if !self.surveyed && self.min < limit => self.halve(limit, None),
            Some(below) if step(limit) < limit - below => {
                self.aim(Goal::SearchDown, usize::midpoint(below, limit));
            }
            _ => self.hold(PATIENCE_MIN, true),
        }
    }

    /// The greatest limit below the best that is known to be too low. Each one in flight brings no more at a
    /// higher limit than at a lower one, so where `below` brought little, a little more brings little more.
    fn too_low(&self) -> Option<usize> {
        let below = self.below?;
        let each = below.goodput / below.limit as f64;
        let least = (1.0 - ERROR_MAX) * NEAR_BEST * self.best.goodput / each;
        // A limit below `least` cannot be near the best.
        let too_low = (least.ceil() as usize).saturating_sub(1);
        Some(too_low.clamp(below.limit, self.best.limit.max(below.limit)))
    }

    fn searched_down(&mut self, tried: Level) {
        if self.is_near_best(tried) {
            self.best = tried;
            self.peak = self.peak.max(tried.goodput);
        } else if self.below.is_none_or(|known| known.limit < tried.limit) {
            self.below = Some(tried);
        }
        self.search_down();
    }

    /// Goodput is not what it was: learn anew what lower limits bring.
    fn descend(&mut self, tried: Level) {
        self.best = tried;
        self.peak = tried.goodput;
        self.below = None;
        self.collapses = 0;
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
            self.below = self.below.or(Some(tried));
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
        self.below = Some(self.best);
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
    use super::settled::RISK_PAUSE;
    use super::*;

    /// Runs a search on an exact link and returns the limits that it tried until it settled.
    #[track_caller]
    fn tries(start: usize, link: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut search = Search::new(1, 64, start);
        let mut tried = Vec::new();
        while search.settled().is_none() {
            assert!(tried.len() < 200, "never settles: {tried:?}");
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

    /// 12 at once are right, with more it collapses to a tenth.
    fn collapse(limit: usize) -> f64 {
        if limit <= 12 { limit as f64 } else { 1.2 }
    }

    #[test]
    fn after_two_collapses_it_earns_before_it_risks_a_third() {
        let mut search = Search::new(1, 64, 6);
        let mut risked = Vec::new();
        for k in 0..100 {
            if 12 < search.limit() {
                risked.push((k, search.limit()));
            }
            search.measured(collapse(search.limit()));
        }
        assert_eq!([(2, 24), (4, 18)], risked[..2]);
        assert!(risked[2].0 - risked[1].0 > RISK_PAUSE, "{risked:?}");
    }

    #[test]
    fn a_collapse_above_that_was_left_is_no_reason_to_halve() {
        let tried = tries(6, collapse);
        assert!(tried.iter().all(|&limit| 6 <= limit), "{tried:?}");
        assert_eq!(Some(&12), tried.last());
    }

    #[test]
    fn what_one_alone_has_brought_spares_the_descent() {
        let mut search = Search::new(1, 64, 8);
        assert!(search.already_brought(1, 1.0));
        while search.settled().is_none() {
            assert!(7 <= search.limit(), "{}", search.limit());
            search.measured(knee(8)(search.limit()));
        }
        assert_eq!(8, search.limit());
        assert!(!search.already_brought(1, 1.0), "too late");
    }

    #[test]
    fn what_one_alone_has_brought_does_not_hide_a_collapse_in_which_the_search_begins() {
        let mut search = Search::new(1, 64, 8);
        search.already_brought(1, 1.0);
        while search.settled().is_none() {
            search.measured(if search.limit() <= 3 { search.limit() as f64 } else { 0.3 });
        }
        assert_eq!(3, search.limit());
    }

    #[test]
    fn what_was_measured_too_high_is_no_collapse() {
        let mut search = Search::new(1, 20, 4);
        while search.settled().is_none() {
            search.measured(search.limit() as f64 * 1.3);
        }
        for _ in 0..20 {
            search.measured(search.limit() as f64);
            assert!(19 <= search.limit(), "{}", search.limit());
        }
    }

    #[test]
    fn where_each_brings_the_same_only_what_may_be_near_the_best_is_tried() {
        assert_eq!(vec![4, 8, 16, 32, 64, 61, 64], tries(4, knee(64)));
    }
}
