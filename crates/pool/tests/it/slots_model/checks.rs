//! The promises, each checked by looking at everything.

use pool::{CloseReason, Stats};

use super::{KEYS, Key, Phase, World};

impl World {
    /// Checks all promises on the state as it is.
    pub(crate) fn check(&mut self) {
        self.apply_commands();
        self.check_counts();
        self.check_nobody_forgotten();
    }

    fn check_counts(&self) {
        let total = self.slots.stats();
        assert!(total.adds_up(), "{total:?}");
        assert_eq!(self.opened, total.opened);
        assert_eq!(self.checkouts, total.checkouts());
        assert_eq!(self.leases.len(), total.leased);
        for reason in CloseReason::ALL {
            let closed = self.closed.iter().filter(|&&closed| closed == reason).count();
            assert_eq!(closed as u64, total.closed.by(reason), "{reason:?}");
        }
        self.check_gauges(&total, |_| true);
        for (key, stats) in self.slots.stats_by_key() {
            assert!(stats.adds_up(), "{key}: {stats:?}");
            self.check_gauges(&stats, |of| of == *key);
        }
        assert_eq!(self.live(), self.slots.live());
    }

    fn check_gauges(&self, stats: &Stats, is_meant: impl Fn(Key) -> bool) {
        let places = || self.places.iter().filter(|place| is_meant(place.key));
        let count = |is_counted: fn(Phase) -> bool| {
            places().filter(|place| is_counted(place.phase)).count()
        };
        let connecting = |phase| matches!(phase, Phase::Connecting | Phase::Renewing);
        assert_eq!(count(connecting), stats.connecting);
        assert_eq!(count(|phase| matches!(phase, Phase::Idle { .. })), stats.idle);
        assert_eq!(count(|phase| matches!(phase, Phase::Leased)), stats.leased);
        assert_eq!(count(|phase| matches!(phase, Phase::Closing(_))), stats.closing);
        let waiting = self.callers.iter().filter(|caller| is_meant(caller.key)).count();
        assert_eq!(waiting, stats.waiting);
    }

    /// No lost wake-up: nobody waits for what is there.
    fn check_nobody_forgotten(&self) {
        for key in 0..KEYS {
            let waits = self.callers.iter().any(|caller| caller.key == key);
            assert!(!waits || self.idle_of(key) == 0, "key {key} waits beside an idle connection");
        }
        let wanting = self.wanting().len();
        let room = self.options.connections_max.saturating_sub(self.live());
        assert!(wanting == 0 || room == 0, "{wanting} wait although there is room for {room}");
        let closing = self.count(|phase| matches!(phase, Phase::Closing(_)));
        let idle = self.count(|phase| matches!(phase, Phase::Idle { .. }));
        let is_stuck = closing < wanting && 0 < idle && room == 0;
        let is_over = self.options.connections_max < self.live();
        assert!(!is_stuck || is_over, "{wanting} wait beside {idle} idle, {closing} closing");
    }
}
