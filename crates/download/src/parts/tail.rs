//! The end of a file, and its frontier: work that is shared or asked for twice, so that nothing waits for the
//! slowest.

use std::time::Duration;

use super::flight::{InFlight, youth};
use super::{Next, Parts, TAIL_ROUND_TRIPS};

/// A rest is asked for a second time when that would bring it so much sooner: those that are as fast as usual
/// would only share their link with their own repetition.
const HEDGE_GAIN: f64 = 2.0;

impl Parts {
    /// Everything within the lag is drawn. Where the hash has come as far as the bytes, the part at the
    /// frontier holds all others up, and is helped if it is slow.
    pub(super) fn relieve(&mut self, now: Duration) -> Option<Next> {
        let frontier = self.ledger.frontier();
        if self.hashed < frontier {
            return None;
        }
        let min = self.options.part_bytes_min.max(1);
        let youth = youth(self.round_trip);
        let mut parts = self.flights.values_mut();
        let holds_up = |part: &&mut InFlight| part.at <= frontier && frontier < part.end;
        let part = parts.find(|part| holds_up(part) && part.may_be_hedged())?;
        if part.is_young(now, youth) || part.time_left(now) < youth {
            return None;
        }
        if part.repeats == 0 && 2 * min <= part.missing() {
            let (middle, end) = (part.at + part.missing().div_ceil(2), part.end);
            part.end = middle;
            return Some(self.fetch(middle, end, 0, now));
        }
        if !self.options.may_hedge {
            return None;
        }
        part.hedged = true;
        let (at, end, repeats) = (part.at, part.end, part.repeats + 1);
        Some(self.fetch(at, end, repeats, now))
    }

    /// Takes so much of what the part with the most left still lacks that both end at the same time: half, or
    /// more of a slow one.
    pub(super) fn steal(&mut self, now: Duration) -> Option<Next> {
        let min = self.options.part_bytes_min.max(1);
        let (trip, youth, usual) = (self.round_trip, youth(self.round_trip), self.usual_rate());
        let victim = self.flights.values_mut().filter(|part| !part.hedged && part.repeats == 0);
        let victim = victim.max_by_key(|part| part.missing())?;
        let is_asked = usual.is_some() && victim.is_asked(now, trip);
        let left = if is_asked { trip + victim.rest_at(usual) } else { victim.time_left(now) };
        // Each of the two halves must be worth its question.
        if victim.missing() < 2 * min || left < TAIL_ROUND_TRIPS * trip {
            return None;
        }
        let own = victim.rate(now).filter(|_| !victim.is_young(now, youth));
        let share = own.zip(usual).map_or(0.5, |(own, usual)| (own / (own + usual)).min(0.5));
        let kept = ((victim.missing() as f64 * share).ceil() as u64).max(1);
        let (middle, end) = (victim.at + kept, victim.end);
        victim.end = middle;
        Some(self.fetch(middle, end, 0, now))
    }

    /// What comes within two round trips comes before another could bring half of it: it would have to
    /// connect and to ask.
    fn soon(&self) -> Duration {
        2 * self.round_trip
    }

    /// Repeats the rest of the part that will take longest, if it is not young. Each part is repeated once; a
    /// repetition that turns out to be slow, too, once more.
    pub(super) fn hedge(&mut self, now: Duration) -> Option<Next> {
        if !self.options.may_hedge {
            return None;
        }
        let (soon, youth) = (self.soon(), youth(self.round_trip));
        let hardly_faster = self.usual_rate().map(|usual| usual / HEDGE_GAIN);
        let late = |part: &&mut InFlight| {
            part.may_be_hedged()
                && !part.is_young(now, youth)
                && soon.max(part.rest_at(hardly_faster)) <= part.time_left(now)
        };
        let slowest = self.flights.values_mut().filter(late);
        let slowest = slowest.max_by_key(|part| part.time_left(now))?;
        slowest.hedged = true;
        let (at, end, repeats) = (slowest.at, slowest.end, slowest.repeats + 1);
        Some(self.fetch(at, end, repeats, now))
    }
}
