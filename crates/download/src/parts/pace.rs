//! What is usual, and what is slow.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Flight, Parts};

/// A connection is measured for this long before it is called slow: longer than slow start takes.
const SLOW_AFTER: Duration = Duration::from_secs(3);
/// A connection is slow when the others are faster by this factor: edges of one network differ by 8
/// (8.7 and 67.6 MB/s, xet-core#821), shares of one link by 2.
const SLOW_FACTOR: f64 = 4.0;
/// Finished parts that tell what is usual.
const USUAL_PARTS: usize = 15;
/// Below this many finished parts nothing is usual.
const USUAL_PARTS_MIN: usize = 3;

/// Bytes per second of one connection from which on it is not the link that holds it back, but this machine: a
/// thread receives and writes some 1.4 GB/s (2 GiB from nginx), which six connections share at 230 MB/s.
const FAST: f64 = 200e6;
/// How long arrivals are counted for that.
const WINDOW: Duration = Duration::from_millis(20);
/// The first connection must have been alone for so long to tell how fast one is.
const ALONE_MIN: Duration = Duration::from_millis(50);
/// After so long without a full window nothing is fast.
const WINDOW_MAX: Duration = Duration::from_millis(250);

/// How fast bytes arrive now, over each connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// The window that is being counted.
    began: Option<Duration>,
    bytes: u64,
    /// Bytes per second and connection of the last window.
    rate: Option<f64>,
}

impl Arrivals {
    /// Begins to count, if it has not begun.
    pub(super) fn begin(&mut self, now: Duration) {
        self.began.get_or_insert(now);
    }

    /// Takes note of bytes; returns whether it is known since now that there is room for more connections.
    pub(super) fn arrived(&mut self, bytes: u64, connections: usize, now: Duration) -> bool {
        self.bytes += bytes;
        let spent = now.saturating_sub(self.began.unwrap_or(now));
        if spent < WINDOW {
            return false;
        }
        let was_fast = self.rate.is_none_or(|rate| FAST <= rate);
        let rate = self.bytes as f64 / spent.as_secs_f64() / connections.max(1) as f64;
        *self = Self { began: Some(now), bytes: 0, rate: Some(rate) };
        was_fast && rate < FAST
    }

    /// Whether more connections would be no help; so it is taken to be until there is something to go by.
    pub(super) fn are_fast(&self, now: Duration) -> bool {
        let is_recent = self.began.is_none_or(|began| now.saturating_sub(began) < WINDOW_MAX);
        is_recent && self.rate.is_none_or(|rate| FAST <= rate)
    }
}

/// How fast bytes came over the first connection until another brought some, too.
#[derive(Clone, Debug, Default)]
pub(super) struct Alone {
    began: Option<Duration>,
    bytes: u64,
    is_over: bool,
}

impl Alone {
    pub(super) fn begin(&mut self, now: Duration) {
        self.began.get_or_insert(now);
    }

    /// Takes note of bytes; returns bytes per second when the first part ceases to be alone, if it was for long
    /// enough to tell.
    ///
    /// Whole windows come, one each round trip: with the first, one has passed already.
    pub(super) fn arrived(
        &mut self,
        bytes: u64,
        is_first: bool,
        round_trip: Duration,
        now: Duration,
    ) -> Option<f64> {
        if self.is_over {
            return None;
        }
        if is_first {
            self.bytes += bytes;
            return None;
        }
        self.is_over = true;
        let spent = now.saturating_sub(self.began?);
        (ALONE_MIN <= spent).then(|| self.bytes as f64 / (spent + round_trip).as_secs_f64())
    }
}

/// Bytes per second of the parts that ended last.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(VecDeque<f64>);

impl Pace {
    pub(super) fn ended(&mut self, rate: Option<f64>) {
        if self.0.len() == USUAL_PARTS {
            self.0.pop_front();
        }
        self.0.extend(rate);
    }

    pub(super) fn usual(&self) -> Option<f64> {
        let mut rates: Vec<_> = self.0.iter().copied().collect();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().filter(|_| USUAL_PARTS_MIN <= rates.len())
    }
}

impl Parts {
    /// Bytes per second that a part usually gets: the median of those that ended last.
    #[must_use]
    pub fn usual_rate(&self) -> Option<f64> {
        self.pace.usual()
    }

    /// Whether a flight is so much slower than is usual that another connection is the better bet, and
    /// has so much to go that it is worth a new one.
    #[must_use]
    pub fn is_slow(&self, flight: Flight, now: Duration) -> bool {
        let (Some(part), Some(usual)) = (self.flights.get(&flight), self.usual_rate()) else {
            return false;
        };
        let is_measured = SLOW_AFTER <= now.saturating_sub(part.started);
        let is_behind = part.rate(now).is_some_and(|rate| rate * SLOW_FACTOR < usual);
        is_measured && is_behind && SLOW_AFTER < part.time_left(now)
    }
}
