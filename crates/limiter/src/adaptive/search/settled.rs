//! What the search does once it has settled: it stays, and looks a step beyond now and then.

use super::{COLLAPSED, DROPPED, Goal, Level, Search, Watch, step};

/// So many measurements in a row must show the drop: one may be an accident.
const DROPS_MIN: u32 = 2;

/// Measurements between the first two looks beyond the settled limit, and at most between later ones.
pub(super) const PATIENCE_MIN: u32 = 4;
const PATIENCE_MAX: u32 = 16;

/// After a second collapse in one search, and after each further one, so many measurements are made where
/// goodput is good before more is risked: a collapse costs as much as two or three of them bring, so that all
/// further ones cost 5 % or so.
pub(super) const RISK_PAUSE: u32 = 48;

/// What a settled goodput moves towards a new measurement.
const SMOOTHING: f64 = 0.1;

impl Search {
    pub(super) fn hold(&mut self, patience: u32, look_up: bool) {
        let watch = Watch { patience, measured: 0, drops: 0, look_up };
        self.aim(Goal::Hold(watch), self.best.limit);
    }

    pub(super) fn held(&mut self, tried: Level, watch: Watch) {
        if tried.goodput < DROPPED * self.best.goodput {
            if DROPS_MIN <= watch.drops + 1 {
                return self.dropped(tried);
            }
            self.goal = Goal::Hold(Watch { drops: watch.drops + 1, ..watch });
            return;
        }
        self.best.goodput += SMOOTHING * (tried.goodput - self.best.goodput);
        self.peak = self.peak.max(self.best.goodput);
        if self.best.goodput < DROPPED * self.peak {
            // It has dropped little by little.
            return self.dropped(tried);
        }
        if watch.measured + 1 < watch.patience {
            self.goal = Goal::Hold(Watch { measured: watch.measured + 1, drops: 0, ..watch });
            return;
        }
        self.look(watch);
    }

    /// Stays where goodput is good, until more may be risked.
    pub(super) fn earned(&mut self, tried: Level, beyond: usize, measured: u32, drops: u32) {
        if tried.goodput < DROPPED * self.best.goodput {
            if DROPS_MIN <= drops + 1 {
                return self.dropped(tried);
            }
            self.goal = Goal::Earn { beyond, measured, drops: drops + 1 };
        } else if measured + 1 < RISK_PAUSE {
            self.goal = Goal::Earn { beyond, measured: measured + 1, drops: 0 };
        } else {
            self.search_up(beyond);
        }
    }

    /// Goodput is not what it was. Where most of it is left, the capacity is another, or the best was measured
    /// too high: that is no reason to halve the limit, which would cost more than the drop.
    fn dropped(&mut self, tried: Level) {
        if tried.goodput < COLLAPSED * self.peak {
            return self.descend(tried);
        }
        self.stride = step(tried.limit);
        self.begin(tried);
    }

    fn look(&mut self, Watch { patience, look_up, .. }: Watch) {
        let Level { limit, .. } = self.best;
        let above = limit + step(limit);
        let ceiling = self.ceiling.map_or(usize::MAX, |(ceiling, _)| ceiling);
        if look_up && above <= self.max && above < ceiling {
            return self.aim(Goal::LookUp { patience, seen: false }, above);
        }
        match limit.checked_sub(step(limit)).filter(|below| self.min <= *below) {
            Some(below) => self.aim(Goal::LookDown { patience, seen: false }, below),
            None => self.hold(patience, true),
        }
    }

    pub(super) fn looked_up(&mut self, tried: Level, patience: u32, seen: bool) {
        if self.pays(tried) {
            if !seen {
                return self.aim(Goal::LookUp { patience, seen: true }, tried.limit);
            }
            self.improve(tried);
            if self.rises {
                self.stride = step(tried.limit);
                return self.climb();
            }
            self.rises = true;
            return self.hold(PATIENCE_MIN, true);
        }
        self.rises = false;
        if tried.goodput < COLLAPSED * self.best.goodput {
            return self.no_better_at(tried);
        }
        self.hold(patience, false);
    }

    pub(super) fn looked_down(&mut self, tried: Level, patience: u32, seen: bool) {
        if self.is_near_best(tried) {
            if !seen {
                return self.aim(Goal::LookDown { patience, seen: true }, tried.limit);
            }
            self.best = tried;
        }
        self.hold((patience * 2).min(PATIENCE_MAX), true);
    }
}
