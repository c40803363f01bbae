//! Which part next: the plan of one transfer over many connections.
//!
//! Pure: it is told what arrives and when, and says what to ask for. Parts are drawn in order and within
//! a *lag* ahead of the frontier up to which the file is hashed, so that what is ahead stays in the page
//! cache until the hash comes by. When all is drawn, connections that have nothing to do take half of
//! what the largest part still lacks (*stealing*), or ask for the rest of a slow one a second time
//! (*hedging*): a tail must not wait for the slowest. The same helps where a slow part at the frontier
//! holds up all that is ahead of it.

mod flight;
mod pace;
mod tail;

use std::collections::BTreeMap;
use std::time::Duration;

use self::flight::InFlight;
use self::pace::{Alone, Arrivals, Pace};
use crate::ledger::Ledger;
use crate::range::ByteRange;

/// Parts in flight that suffice where it is this machine that takes the time, not the link: one comes while
/// another is asked for. (2 GiB from nginx on a 2-core virtual machine: with two connections 1.65 s and
/// 1.38 s of processor per GiB, with up to twenty 2.59 s and 1.71 s.)
pub const FEEDERS: usize = 2;

/// Answers that take longer come from afar: there it is the way that takes the time.
pub(crate) const NEAR: Duration = Duration::from_millis(5);

/// A fresh part has at most one of so many shares, for each part in flight, of what is not drawn yet.
const TAIL_SHARES: u64 = 2;
/// But it takes at least so many round trips: a question takes one, during which nothing comes.
const TAIL_ROUND_TRIPS: u32 = 4;

/// How a transfer is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartsOptions {
    /// A fresh part has at most this many bytes; may be changed between two draws.
    pub part_bytes: u64,
    /// No part is made smaller than this by stealing: a request costs a round trip.
    pub part_bytes_min: u64,
    /// No fresh part begins further than this ahead of the hashed frontier, in bytes; so nothing lies
    /// further ahead than this and one part.
    pub lag_bytes: u64,
    /// While so many bytes at the frontier wait for the hash, no more than [`FEEDERS`] parts are in
    /// flight: it is the hash that takes the time then, and more at once would only contend with it.
    pub backlog_bytes: u64,
    /// Whether bytes may be asked for twice. Not under a limit of rate: what comes twice is paid for twice, and
    /// a part is slow because others have their turn.
    pub may_hedge: bool,
}

impl Default for PartsOptions {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            part_bytes_min: 256 << 10,
            lag_bytes: 64 << 20,
            backlog_bytes: 1 << 20,
            may_hedge: true,
        }
    }
}

/// A part being fetched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flight(u64);

/// What a connection without work is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Fetch these bytes.
    Fetch {
        /// What to call it from now on.
        flight: Flight,
        /// What to ask for.
        range: ByteRange,
    },
    /// Nothing now; ask again when the frontier has moved or a flight has ended.
    Wait,
    /// Every byte is here.
    Whole,
}

/// What becomes of bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// How many of them belong to the part; the rest is another's by now.
    pub keep: u64,
    /// The part is done: stop reading.
    pub done: bool,
    /// It has turned out that there is room for more connections: who waits should ask again.
    pub opens: bool,
    /// Bytes per second of the first connection alone: known once, when another brings bytes, too.
    pub alone: Option<f64>,
}

/// The plan of one transfer.
#[derive(Clone, Debug)]
pub struct Parts {
    total: u64,
    options: PartsOptions,
    ledger: Ledger,
    /// All bytes before this are hashed.
    hashed: u64,
    flights: BTreeMap<Flight, InFlight>,
    next_flight: u64,
    hedged_bytes: u64,
    pace: Pace,
    arrivals: Arrivals,
    alone: Alone,
    /// How long an answer takes.
    round_trip: Duration,
}

impl Parts {
    /// Plans an object of `total` bytes of which `ledger` is here and `hashed` bytes are hashed.
    #[must_use]
    pub fn new(total: u64, ledger: Ledger, hashed: u64, options: PartsOptions) -> Self {
        Self {
            total,
            options,
            ledger,
            hashed,
            flights: BTreeMap::new(),
            next_flight: 0,
            hedged_bytes: 0,
            pace: Pace::default(),
            arrivals: Arrivals::default(),
            alone: Alone::default(),
            round_trip: Duration::ZERO,
        }
    }

    /// Begins the part whose reply is here already, however far ahead of the hash it is; `None` when its
    /// bytes are here.
    pub fn first(&mut self, range: ByteRange, now: Duration) -> Option<Flight> {
        if self.ledger.contains(range) {
            return None;
        }
        self.arrivals.begin(now);
        self.alone.begin(now);
        Some(self.begin(range, 0, now))
    }

    /// Draws work for a connection.
    pub fn next(&mut self, now: Duration) -> Next {
        if self.ledger.is_whole(self.total) {
            return Next::Whole;
        }
        self.arrivals.begin(now);
        self.alone.begin(now);
        let is_fast = self.round_trip < NEAR && self.arrivals.are_fast(now);
        if FEEDERS <= self.flights.len() && (self.is_behind() || is_fast) {
            return Next::Wait;
        }
        let limit = self.total.min(self.hashed.saturating_add(self.options.lag_bytes));
        if let Some(gap) = self.free_gap(self.total) {
            if limit <= gap.start() {
                return self.relieve(now).unwrap_or(Next::Wait);
            }
            let end = gap.end().min(gap.start().saturating_add(self.part_bytes(gap.start())));
            return self.fetch(gap.start(), end, 0, now);
        }
        self.steal(now).or_else(|| self.hedge(now)).unwrap_or(Next::Wait)
    }

    /// Takes note of `bytes` more of a flight. The flight ends by itself when its part is done.
    ///
    /// The caller writes `keep` of them at [`Parts::position`] *before* this call tells others that they
    /// are here.
    pub fn arrived(&mut self, flight: Flight, bytes: u64, now: Duration) -> Arrival {
        let Some(part) = self.flights.get_mut(&flight) else {
            return Arrival { keep: 0, done: true, opens: false, alone: None };
        };
        let keep = bytes.min(part.missing());
        if let Some(range) = ByteRange::new(part.at, part.at + keep) {
            let new = self.ledger.add(range);
            self.hedged_bytes += keep - new;
            part.at += keep;
            part.received += keep;
        }
        // A hedge is done, too, when the other one was faster.
        let rest = ByteRange::new(part.at, part.end);
        let done = rest.is_none_or(|rest| self.ledger.contains(rest));
        if done && let Some(part) = self.flights.remove(&flight) {
            self.pace.ended(part.rate(now));
        }
        let opens = self.arrivals.arrived(keep, self.flights.len(), now);
        let alone = self.alone.arrived(keep, flight == Flight(0), self.round_trip, now);
        Arrival { keep, done, opens, alone }
    }

    /// Where the next byte of a flight belongs, and how many of what comes are wanted; `None` when it
    /// has ended.
    #[must_use]
    pub fn position(&self, flight: Flight) -> Option<ByteRange> {
        let part = self.flights.get(&flight)?;
        ByteRange::new(part.at, part.end)
    }

    /// Gives a flight up; what it still lacked is drawn again.
    pub fn abandon(&mut self, flight: Flight) {
        self.flights.remove(&flight);
    }

    /// Takes note that all bytes before `offset` are hashed.
    pub fn hashed(&mut self, offset: u64) {
        self.hashed = self.hashed.max(offset);
    }

    /// Takes note that the object, whose size was not known, ends here.
    pub fn end_at(&mut self, total: u64) {
        self.total = total;
        self.flights.clear();
    }

    /// Changes the size of parts that are drawn from now on.
    pub fn set_part_bytes(&mut self, bytes: u64) {
        self.options.part_bytes = bytes;
    }

    /// Changes how long an answer is known to take: what comes sooner than that is not asked for elsewhere.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// Changes how far ahead of the hashed frontier fresh parts may begin.
    pub fn set_lag_bytes(&mut self, bytes: u64) {
        self.options.lag_bytes = bytes;
    }

    /// Whether a flight lacks so much that another may go on with it.
    #[must_use]
    pub fn is_large(&self, flight: Flight) -> bool {
        self.flights.get(&flight).is_some_and(|part| self.options.part_bytes_min < part.missing())
    }

    /// Whether every byte is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ledger.is_whole(self.total)
    }

    /// The bytes that are here.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Bytes that arrived twice because a part was hedged.
    #[must_use]
    pub fn hedged_bytes(&self) -> u64 {
        self.hedged_bytes
    }

    /// How many parts are being fetched.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn fetch(&mut self, at: u64, end: u64, repeats: u8, now: Duration) -> Next {
        let range =
            ByteRange::new(at, end).expect("parts are drawn from gaps, which are not empty");
        Next::Fetch { flight: self.begin(range, repeats, now), range }
    }

    fn begin(&mut self, range: ByteRange, repeats: u8, now: Duration) -> Flight {
        let flight = Flight(self.next_flight);
        self.next_flight += 1;
        let (at, end) = (range.start(), range.end());
        let part = InFlight { at, end, started: now, received: 0, repeats, hedged: false };
        self.flights.insert(flight, part);
        flight
    }

    /// The size of a fresh part that begins at `start`: smaller towards the end, so that all parts end at
    /// about the same time (guided self-scheduling, Polychronopoulos and Kuck 1987), but not so small that
    /// asking for it takes the time.
    fn part_bytes(&self, start: u64) -> u64 {
        if self.flights.is_empty() {
            // The reply to the first question may bring all.
            return self.options.part_bytes.max(1);
        }
        let (n, fresh) = (self.flights.len() as u64 + 1, self.total.saturating_sub(start));
        let share = fresh / (TAIL_SHARES * n);
        let worth =
            self.pace.usual().unwrap_or(0.0) * (TAIL_ROUND_TRIPS * self.round_trip).as_secs_f64();
        // What comes over one connection if all end at the same time, each after one more question.
        let missing: u64 = self.flights.values().map(InFlight::missing).sum();
        let until_end = (fresh + missing) / n;
        let least = self.options.part_bytes_min.max((worth as u64).min(until_end));
        share.max(least).min(self.options.part_bytes).max(1)
    }

    /// Whether it is the hash that takes the time.
    fn is_behind(&self) -> bool {
        self.options.backlog_bytes <= self.ledger.frontier().saturating_sub(self.hashed)
    }

    /// The first bytes before `limit` that are neither here nor on their way.
    fn free_gap(&self, limit: u64) -> Option<ByteRange> {
        let mut claimed: Vec<(u64, u64)> = self.flights.values().map(|p| (p.at, p.end)).collect();
        claimed.sort_unstable();
        let mut from = self.ledger.frontier();
        loop {
            let gap = self.ledger.next_gap(from, limit);
            let Some(gap) = gap else {
                // Beyond what is here there may be more gaps.
                from = self.ledger.ranges().find(|range| from < range.end())?.end();
                continue;
            };
            let start =
                claimed.iter().fold(
                    gap.start(),
                    |start, &(at, end)| {
                        if at <= start { start.max(end) } else { start }
                    },
                );
            let next = claimed.iter().map(|&(at, _)| at).filter(|&at| start < at).min();
            if let Some(free) = ByteRange::new(start, gap.end().min(next.unwrap_or(u64::MAX))) {
                return Some(free);
            }
            from = start.max(gap.end());
        }
    }
}

#[cfg(test)]
mod tests;
