//! The end of a file, and its frontier: work that is shared or asked for twice, so that nothing waits for the
//! slowest.

use std::time::Duration;

use super::flight::{InFlight, YOUNG};
use super::{Next, Parts};

impl Parts {
    /// Everything within the lag is drawn. Where the hash has come as far as the bytes, the part at the
    /// frontier holds all others up, and is helped if it is slow.
    pub(super) fn relieve(&mut self, now: Duration) -> Option<Next> {
        let frontier = self.ledger.frontier();
        if self.hashed < frontier {
            return None;
        }
        let min = self.options.part_bytes_min.max(1);
        let mut parts = self.flights.values_mut();
        let part = parts.find(|part| part.at <= frontier && frontier < part.end && !part.hedged)?;
        if part.is_young(now) || part.time_left(now) < YOUNG {
            return None;
        }
        if 2 * min <= part.missing() {
            let (middle, end) = (part.at + part.missing().div_ceil(2), part.end);
            part.end = middle;
            return Some(self.fetch(middle, end, false, now));
        }
        part.hedged = true;
        let (at, end) = (part.at, part.end);
        Some(self.fetch(at, end, true, now))
    }

    /// Takes half of what the part with the most left still lacks.
    pub(super) fn steal(&mut self, now: Duration) -> Option<Next> {
        let min = self.options.part_bytes_min.max(1);
        let victim = self.flights.values_mut().filter(|part| !part.hedged);
        let victim = victim.max_by_key(|part| part.missing())?;
        if victim.missing() < 2 * min {
            return None;
        }
        let (middle, end) = (victim.at + victim.missing().div_ceil(2), victim.end);
        victim.end = middle;
        Some(self.fetch(middle, end, false, now))
    }

    /// Repeats the rest of the part that will take longest; each part once, and none that is young.
    pub(super) fn hedge(&mut self, now: Duration) -> Option<Next> {
        let late = |part: &&mut InFlight| !part.hedged && !part.is_young(now);
        let slowest = self.flights.values_mut().filter(late);
        let slowest = slowest.max_by_key(|part| part.time_left(now))?;
        slowest.hedged = true;
        let (at, end) = (slowest.at, slowest.end);
        Some(self.fetch(at, end, true, now))
    }
}
