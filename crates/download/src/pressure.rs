//! How much less is in flight while memory is short. Pure, but for the place where the level is kept.

use memory::Level;
use parking_lot::Mutex;

/// How pressing the want of memory is.
#[derive(Debug, Default)]
pub(crate) struct Pressure(Mutex<Level>);

impl Pressure {
    pub(crate) fn set(&self, level: Level) {
        *self.0.lock() = level;
    }

    /// How many parts may be in flight where `limit` may when there is enough.
    pub(crate) fn limit(&self, limit: usize) -> usize {
        let level = *self.0.lock();
        match level {
            Level::Normal | Level::Warn => limit,
            Level::High => limit.div_ceil(2),
            Level::Critical => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_halves_and_critical_leaves_one() {
        let pressure = Pressure::default();
        let limits = Level::ALL.map(|level| {
            pressure.set(level);
            [1, 7, 20].map(|limit| pressure.limit(limit))
        });
        assert_eq!([[1, 7, 20], [1, 7, 20], [1, 4, 10], [1, 1, 1]], limits);
    }
}
