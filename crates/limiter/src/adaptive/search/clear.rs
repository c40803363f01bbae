//! When a measurement says enough.

use super::{
    BATCHES_MAX, CLIMB_ERROR_MAX, COLLAPSED, COLLAPSED_SURELY, DROPPED, ERROR_MAX, ERRORS_APART,
    GAIN_MIN, GAIN_SURE, Goal, LOOK_BATCHES_MAX, Search,
};
use crate::adaptive::epoch::Goodput;

impl Search {
    /// Whether a longer measurement at this limit would change nothing.
    pub(in crate::adaptive) fn is_clear(&self, goodput: &Goodput) -> bool {
        let best = self.best.goodput;
        let gain = self.gain(self.limit) * best;
        let near = self.near_best(self.limit);
        let borders = match self.goal {
            Goal::Begin => [0.0, 0.0],
            Goal::Climb | Goal::SearchUp { .. } | Goal::LookUp { .. } => [gain, COLLAPSED * best],
            Goal::Recover { .. } | Goal::Earn { .. } | Goal::Hold(_) => [DROPPED * best, 0.0],
            Goal::SearchDown | Goal::LookDown { .. } => [near, 0.0],
            Goal::Descend { .. } => [near, (1.0 + GAIN_MIN) * best],
        };
        let apart = |border: &f64| ERRORS_APART * goodput.error <= (goodput.mean - border).abs();
        let error_max = match self.goal {
            Goal::Begin | Goal::Climb => CLIMB_ERROR_MAX,
            _ => ERROR_MAX,
        };
        let is_good = goodput.error <= error_max * goodput.mean;
        let batches_max = match self.goal {
            Goal::LookUp { .. } | Goal::LookDown { .. } => LOOK_BATCHES_MAX,
            _ => BATCHES_MAX,
        };
        batches_max <= goodput.n_batches || (is_good && borders.iter().all(apart))
    }

    /// Whether a step on the way up has brought so much that half the time shows it.
    pub(in crate::adaptive) fn is_sure_gain(&self, goodput: &Goodput) -> bool {
        let at_least = goodput.mean - ERRORS_APART * goodput.error;
        self.goal == Goal::Climb && (1.0 + GAIN_SURE) * self.best.goodput < at_least
    }

    /// The goodput before the limit was raised, and below which it has surely collapsed since.
    pub(in crate::adaptive) fn collapse_floor(&self) -> Option<(f64, f64)> {
        let is_raised =
            matches!(self.goal, Goal::Climb | Goal::SearchUp { .. } | Goal::LookUp { .. });
        let usual = self.best.goodput;
        is_raised.then_some((usual, COLLAPSED_SURELY * usual))
    }
}
