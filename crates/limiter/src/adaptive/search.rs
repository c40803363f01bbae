//! The search for the knee, from one measurement to the next.

/// Goodput must rise by this much for a doubled limit to pay.
const GAIN_MIN: f64 = 0.05;

/// Settle on the least limit that reaches this share of the best goodput seen.
const NEAR_BEST: f64 = 0.95;

/// A raised limit has made goodput collapse when less than this share of it is left.
const COLLAPSED: f64 = 0.6;

/// Settled goodput below this share of what it was means that the capacity is another.
const DROPPED: f64 = 0.75;

/// So many measurements in a row must show the drop: one may be an accident.
const DROPS_MIN: u32 = 2;

/// Measurements between the first two looks beyond the settled limit, and at most between later ones.
const PATIENCE_MIN: u32 = 4;
const PATIENCE_MAX: u32 = 64;

/// After so many measurements a collapse is no longer held against a limit.
const CEILING_LASTS: u32 = 512;

/// What a settled goodput moves towards a new measurement.
const SMOOTHING: f64 = 0.1;

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
    Recover { beyond: usize },
    /// Narrow down between the best and a limit that was no better.
    SearchUp { beyond: usize },
    /// Narrow down between a limit that is too low and the best.
    SearchDown { below: usize },
    /// Halve the limit, as long as that costs nothing; goodput has risen by it since `from`.
    Descend { from: Option<usize> },
    /// Stay; so many measurements until the next look, and so many that showed a drop.
    Hold { measured: u32, patience: u32, drops: u32, look_up: bool },
    /// Look one step up.
    LookUp { patience: u32 },
    /// Look one step down.
    LookDown { patience: u32 },
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
            ceiling: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn settled(&self) -> Option<usize> {
        match self.goal {
            Goal::Hold { .. } | Goal::LookUp { .. } | Goal::LookDown { .. } => {
                Some(self.best.limit)
            }
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
            Goal::Recover { beyond } => self.recovered(tried, beyond),
            Goal::SearchUp { beyond } => self.searched_up(tried, beyond),
            Goal::SearchDown { below } => self.searched_down(tried, below),
            Goal::Descend { from } => self.descended(tried, from),
            Goal::Hold { measured, patience, drops, look_up } => {
                self.held(tried, measured, patience, drops, look_up);
            }
            Goal::LookUp { patience } => self.looked_up(tried, patience),
            Goal::LookDown { patience } => self.looked_down(tried, patience),
        }
    }

    fn begin(&mut self, tried: Level) {
        self.best = tried;
        self.peak = tried.goodput;
        self.below = None;
        self.climb();
    }

    /// Tries the next higher limit: twice the best, by single steps where a collapse is remembered.
    fn climb(&mut self) {
        let limit = self.best.limit;
        let next = match self.ceiling {
            None => (limit * 2).min(self.max),
            Some((ceiling, _)) => (limit + step(limit)).min(ceiling - 1).min(self.max),
        };
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
            return self.aim(Goal::Recover { beyond: tried.limit }, self.best.limit);
        }
        self.search_up(tried.limit);
    }

    fn recovered(&mut self, tried: Level, beyond: usize) {
        if tried.goodput < DROPPED * self.best.goodput {
            return self.descend(tried);
        }
        self.search_up(beyond);
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
            None if self.min < limit => self.halve(None),
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
        if self.limit <= self.min {
            return self.climb();
        }
        self.halve(None);
    }

    fn halve(&mut self, from: Option<usize>) {
        let half = (self.best.limit / 2).max(self.min);
        self.aim(Goal::Descend { from }, half);
    }

    fn descended(&mut self, tried: Level, from: Option<usize>) {
        if !self.is_near_best(tried) {
            self.below = Some(tried.limit);
            return self.turn_round(from);
        }
        let recovers = (1.0 + GAIN_MIN) * self.best.goodput < tried.goodput;
        let from = from.or_else(|| recovers.then_some(self.best.limit));
        self.best = tried;
        self.peak = self.peak.max(tried.goodput);
        if tried.limit <= self.min {
            return self.turn_round(from);
        }
        self.halve(from);
    }

    /// The way down has ended: where it has raised goodput, the knee may be above.
    fn turn_round(&mut self, from: Option<usize>) {
        match from {
            Some(from) => {
                self.ceiling = Some((from, CEILING_LASTS));
                self.climb();
            }
            None if self.best.limit <= self.min => self.hold(PATIENCE_MIN, true),
            None => self.search_down(),
        }
    }

    fn hold(&mut self, patience: u32, look_up: bool) {
        self.aim(Goal::Hold { measured: 0, patience, drops: 0, look_up }, self.best.limit);
    }

    fn held(&mut self, tried: Level, measured: u32, patience: u32, drops: u32, look_up: bool) {
        if tried.goodput < DROPPED * self.best.goodput {
            if DROPS_MIN <= drops + 1 {
                return self.descend(tried);
            }
            self.goal = Goal::Hold { measured, patience, drops: drops + 1, look_up };
            return;
        }
        // What has changed by little has changed for all limits alike.
        let drift = 1.0 + SMOOTHING * (tried.goodput / self.best.goodput - 1.0);
        self.best.goodput *= drift;
        self.peak *= drift;
        if measured + 1 < patience {
            self.goal = Goal::Hold { measured: measured + 1, patience, drops: 0, look_up };
            return;
        }
        self.look(patience, look_up);
    }

    fn look(&mut self, patience: u32, look_up: bool) {
        let Level { limit, .. } = self.best;
        let above = limit + step(limit);
        let ceiling = self.ceiling.map_or(usize::MAX, |(ceiling, _)| ceiling);
        if look_up && above <= self.max && above < ceiling {
            return self.aim(Goal::LookUp { patience }, above);
        }
        match limit.checked_sub(step(limit)).filter(|below| self.min <= *below) {
            Some(below) => self.aim(Goal::LookDown { patience }, below),
            None => self.hold(patience, true),
        }
    }

    fn looked_up(&mut self, tried: Level, patience: u32) {
        if self.pays(tried) {
            self.improve(tried);
            return self.climb();
        }
        if tried.goodput < COLLAPSED * self.best.goodput {
            self.ceiling = Some((tried.limit, CEILING_LASTS));
        }
        self.hold(patience, false);
    }

    fn looked_down(&mut self, tried: Level, patience: u32) {
        if self.is_near_best(tried) {
            self.best = tried;
        }
        self.hold((patience * 2).min(PATIENCE_MAX), true);
    }

    /// Whether a higher limit brings enough more: 5 %, or half of what the limit was raised by.
    fn pays(&self, tried: Level) -> bool {
        let raised = tried.limit as f64 / self.best.limit as f64 - 1.0;
        let gain = GAIN_MIN.min(raised / 2.0);
        (1.0 + gain) * self.best.goodput < tried.goodput
    }

    fn is_near_best(&self, tried: Level) -> bool {
        NEAR_BEST * self.peak <= tried.goodput
    }

    fn improve(&mut self, tried: Level) {
        self.below = Some(self.best.limit);
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
