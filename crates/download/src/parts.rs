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
        let flight = Flight(self.next_flight);
        self.next_flight += 1;
        let part = InFlight { at, end, started: now, received: 0, repeats, hedged: false };
        self.flights.insert(flight, part);
        let range =
            ByteRange::new(at, end).expect("parts are drawn from gaps, which are not empty");
        Next::Fetch { flight, range }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn options() -> PartsOptions {
        PartsOptions {
            part_bytes: 10,
            part_bytes_min: 4,
            lag_bytes: 30,
            backlog_bytes: 100,
            may_hedge: true,
        }
    }

    /// A plan that has seen long ago that the link is not fast.
    fn parts(total: u64) -> Parts {
        begun(Parts::new(total, Ledger::default(), 0, options()))
    }

    fn begun(mut parts: Parts) -> Parts {
        parts.arrivals.begin(Duration::ZERO);
        parts
    }

    #[track_caller]
    fn fetch(parts: &mut Parts, start: u64, end: u64) -> Flight {
        match parts.next(SECOND) {
            Next::Fetch { flight, range } => {
                assert_eq!(ByteRange::new(start, end), Some(range));
                flight
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_are_drawn_in_order_and_within_the_lag() {
        let mut parts = parts(100);
        let first = fetch(&mut parts, 0, 10);
        fetch(&mut parts, 10, 20);
        fetch(&mut parts, 20, 30);
        assert_eq!(Next::Wait, parts.next(SECOND));
        assert!(parts.arrived(first, 10, SECOND).done);
        assert_eq!(Next::Wait, parts.next(SECOND), "here, but not hashed");
        parts.hashed(10);
        fetch(&mut parts, 30, 40);
    }

    #[test]
    fn while_the_hash_is_behind_two_parts_feed_it() {
        let options = PartsOptions { backlog_bytes: 10, lag_bytes: 100, ..options() };
        let mut parts = begun(Parts::new(100, Ledger::default(), 0, options));
        let flights = [0, 10, 20].map(|at| fetch(&mut parts, at, at + 10));
        parts.arrived(flights[0], 10, SECOND);
        assert_eq!(Next::Wait, parts.next(SECOND), "ten bytes wait, two parts come");
        parts.arrived(flights[1], 10, SECOND);
        fetch(&mut parts, 30, 40);
        assert_eq!(Next::Wait, parts.next(SECOND));
        parts.hashed(11);
        fetch(&mut parts, 40, 50);
    }

    #[test]
    fn two_connections_begin_and_more_come_unless_those_are_fast() {
        const MS: Duration = Duration::from_millis(1);
        let mebibyte = 1 << 20;
        for (bytes, may_open) in [(mebibyte, true), (16 * mebibyte, false)] {
            let (part_bytes, lag_bytes) = (32 << 20, 1 << 30);
            let options = PartsOptions { part_bytes, lag_bytes, ..PartsOptions::default() };
            let mut parts = Parts::new(1 << 30, Ledger::default(), 0, options);
            let first = fetch_at(&mut parts, SECOND).expect("the first part");
            fetch_at(&mut parts, SECOND).expect("the second part");
            assert_eq!(None, fetch_at(&mut parts, SECOND + MS), "nothing is known yet");
            assert!(!parts.arrived(first, bytes, SECOND + MS).opens, "too early to tell");
            parts.hashed(parts.ledger().frontier());
            assert_eq!(may_open, parts.arrived(first, bytes / 4, SECOND + 21 * MS).opens);
            parts.hashed(parts.ledger().frontier());
            assert_eq!(may_open, fetch_at(&mut parts, SECOND + 22 * MS).is_some());
            // Nothing has come for long: it is not fast any more.
            assert!(fetch_at(&mut parts, 2 * SECOND).is_some());
        }
    }

    fn fetch_at(parts: &mut Parts, now: Duration) -> Option<Flight> {
        match parts.next(now) {
            Next::Fetch { flight, .. } => Some(flight),
            _ => None,
        }
    }

    #[test]
    fn what_a_failed_part_lacked_is_drawn_again() {
        let mut parts = parts(50);
        let first = fetch(&mut parts, 0, 10);
        fetch(&mut parts, 10, 20);
        parts.arrived(first, 3, SECOND);
        parts.abandon(first);
        fetch(&mut parts, 3, 10);
    }

    #[test]
    fn parts_become_smaller_towards_the_end_but_take_some_round_trips() {
        let mut parts = parts(60);
        parts.set_lag_bytes(100);
        let borders = [0, 10, 20, 26, 30, 34];
        for pair in borders.windows(2) {
            fetch(&mut parts, pair[0], pair[1]);
        }
        for _ in 0..3 {
            parts.pace.ended(Some(2.0));
        }
        parts.set_round_trip(SECOND);
        fetch(&mut parts, 34, 42);
    }

    #[test]
    fn the_last_parts_end_together() {
        let options = PartsOptions { part_bytes_min: 1, ..options() };
        let mut parts = begun(Parts::new(30, Ledger::default(), 0, options));
        let (first, second) = (fetch(&mut parts, 0, 10), fetch(&mut parts, 10, 15));
        for _ in 0..3 {
            parts.pace.ended(Some(1.0));
        }
        parts.arrived(first, 8, SECOND);
        parts.arrived(second, 3, SECOND);
        parts.set_round_trip(2 * SECOND);
        // Nineteen bytes over three connections.
        fetch(&mut parts, 15, 21);
    }

    /// Of thirty bytes the first ten are being fetched, where so many a second are usual.
    fn last_part(usual: f64) -> (Parts, Flight) {
        let mut ledger = Ledger::default();
        ledger.add(ByteRange::new(10, 30).unwrap());
        let mut parts = begun(Parts::new(30, ledger, 0, options()));
        let flight = fetch(&mut parts, 0, 10);
        for _ in 0..3 {
            parts.pace.ended(Some(usual));
        }
        (parts, flight)
    }

    #[test]
    fn what_was_just_asked_for_afar_is_left_to_come() {
        let (mut parts, _) = last_part(100.0);
        parts.set_round_trip(SECOND / 10);
        assert_eq!(None, fetch_at(&mut parts, SECOND + SECOND / 10), "it is here in no time");
        assert!(fetch_at(&mut parts, 9 * SECOND).is_some());
    }

    #[test]
    fn of_a_slow_part_more_than_half_is_taken() {
        let (mut parts, slow) = last_part(9.0);
        parts.arrived(slow, 1, 2 * SECOND);
        // It brings a byte per second: of nine it keeps one.
        let Next::Fetch { range, .. } = parts.next(2 * SECOND) else { panic!("nothing is taken") };
        assert_eq!(ByteRange::new(2, 10), Some(range));
    }

    #[test]
    fn from_afar_more_than_two_connections_come_at_once() {
        let mut parts = Parts::new(100, Ledger::default(), 0, options());
        parts.set_round_trip(NEAR);
        for at in [0, 10, 20] {
            fetch(&mut parts, at, at + 10);
        }
    }

    #[test]
    fn how_fast_one_alone_is_shows_when_another_brings_something() {
        let mut parts = parts(100);
        let (first, second) = (fetch(&mut parts, 0, 10), fetch(&mut parts, 10, 20));
        assert_eq!(None, parts.arrived(first, 4, 2 * SECOND).alone);
        assert_eq!(Some(2.0), parts.arrived(second, 1, 3 * SECOND).alone);
        assert_eq!(None, parts.arrived(second, 1, 3 * SECOND).alone, "once");
    }

    #[test]
    fn what_comes_soon_is_left_to_come() {
        let mut parts = parts(10);
        let first = fetch(&mut parts, 0, 10);
        parts.arrived(first, 1, 2 * SECOND);
        // It needs nine seconds more.
        parts.set_round_trip(5 * SECOND);
        assert_eq!(Next::Wait, parts.next(2 * SECOND));
        parts.set_round_trip(4 * SECOND);
        assert!(matches!(parts.next(2 * SECOND), Next::Fetch { .. }));
    }

    #[test]
    fn under_a_limit_of_rate_nothing_is_asked_for_twice() {
        let options = PartsOptions { may_hedge: false, ..options() };
        let mut parts = begun(Parts::new(6, Ledger::default(), 0, options));
        let slow = fetch(&mut parts, 0, 6);
        parts.arrived(slow, 1, SECOND);
        assert_eq!(None, fetch_at(&mut parts, 9 * SECOND));
    }

    #[test]
    fn a_repetition_that_is_slow_is_repeated_once_more() {
        let mut parts = parts(6);
        let slow = fetch(&mut parts, 0, 6);
        parts.arrived(slow, 1, SECOND);
        for k in 2..=3 {
            assert!(fetch_at(&mut parts, k * SECOND).is_some(), "repetition {}", k - 1);
            assert_eq!(None, fetch_at(&mut parts, k * SECOND), "it is young");
        }
        assert_eq!(None, fetch_at(&mut parts, 9 * SECOND), "twice is enough");
    }

    #[test]
    fn the_tail_is_shared() {
        let mut parts = parts(10);
        let first = fetch(&mut parts, 0, 10);
        let second = fetch(&mut parts, 5, 10);
        // The first goes on reading what it asked for: only its own half counts.
        let arrival = parts.arrived(first, 8, SECOND);
        assert_eq!((5, true), (arrival.keep, arrival.done));
        assert!(parts.arrived(second, 5, SECOND).done);
        assert_eq!(Next::Whole, parts.next(SECOND));
        assert_eq!(0, parts.hedged_bytes());
    }

    #[test]
    fn what_is_too_small_to_share_is_asked_for_twice_but_once_only() {
        let mut parts = parts(6);
        let slow = fetch(&mut parts, 0, 6);
        assert_eq!(Next::Wait, parts.next(SECOND), "what is young is not asked for twice");
        let Next::Fetch { flight: hedge, .. } = parts.next(2 * SECOND) else { panic!("no hedge") };
        assert_eq!(Next::Wait, parts.next(2 * SECOND));
        parts.arrived(slow, 2, SECOND);
        assert!(parts.arrived(hedge, 6, SECOND).done);
        assert_eq!(2, parts.hedged_bytes());
        assert_eq!(Next::Whole, parts.next(SECOND));
        assert!(parts.arrived(slow, 1, SECOND).done, "the slow one is told to stop");
    }

    #[test]
    fn a_connection_that_is_much_slower_than_usual_is_seen() {
        let mut parts = parts(1000);
        parts.set_lag_bytes(1000);
        let slow = fetch(&mut parts, 0, 10);
        for k in 1..=3 {
            let fast = fetch(&mut parts, 10 * k, 10 * k + 10);
            parts.arrived(fast, 10, 2 * SECOND);
        }
        assert_eq!(Some(10.0), parts.usual_rate());
        parts.arrived(slow, 9, 3 * SECOND);
        assert!(!parts.is_slow(slow, 5 * SECOND), "the rest comes soon");
        let other = fetch(&mut parts, 40, 50);
        parts.arrived(other, 1, 3 * SECOND);
        assert!(!parts.is_slow(other, 3 * SECOND), "too young");
        assert!(parts.is_slow(other, 5 * SECOND));
    }

    #[test]
    fn a_slow_part_at_the_frontier_is_helped() {
        let mut parts = parts(100);
        let slow = fetch(&mut parts, 0, 10);
        for k in 1..3 {
            let part = fetch(&mut parts, 10 * k, 10 * k + 10);
            parts.arrived(part, 10, 2 * SECOND);
        }
        assert_eq!(Next::Wait, parts.next(SECOND), "it is young");
        let Next::Fetch { range, .. } = parts.next(2 * SECOND) else { panic!("it is not helped") };
        assert_eq!(ByteRange::new(5, 10), Some(range));
        parts.arrived(slow, 1, 2 * SECOND);
        assert_eq!(Next::Wait, parts.next(2 * SECOND), "the hash is behind");
    }

    #[test]
    fn a_resumed_object_lacks_only_its_gaps() {
        let mut ledger = Ledger::default();
        ledger.add(ByteRange::new(0, 10).unwrap());
        ledger.add(ByteRange::new(12, 18).unwrap());
        let mut parts = Parts::new(20, ledger, 10, options());
        fetch(&mut parts, 10, 12);
        fetch(&mut parts, 18, 20);
    }

    /// Any number of connections, any order of arrivals and failures: every byte comes, nothing is
    /// fetched twice unless it is hedged, and nothing is drawn beyond the lag.
    fn play(total: u64, steps: &[(u8, u8)]) -> Result<(), TestCaseError> {
        let mut parts = parts(total);
        let mut fetched = 0;
        let mut now = Duration::ZERO;
        let mut open: Vec<Flight> = Vec::new();
        let scripted = steps.iter().copied();
        // After the script one polite connection finishes the work.
        for (kind, amount) in scripted.chain(std::iter::repeat_n((0, 255), 4096)) {
            now += SECOND;
            if open.len() < 6
                && let Next::Fetch { flight, range } = parts.next(now)
            {
                let PartsOptions { lag_bytes, part_bytes, .. } = options();
                prop_assert!(range.end() < parts.hashed + lag_bytes + part_bytes);
                open.push(flight);
            }
            let Some(&flight) = open.get(usize::from(amount) % open.len().max(1)) else {
                prop_assert_eq!(Next::Whole, parts.next(now));
                break;
            };
            if kind % 8 == 7 {
                parts.abandon(flight);
                open.retain(|&other| other != flight);
            } else {
                let arrival = parts.arrived(flight, u64::from(amount % 7) + 1, now);
                fetched += arrival.keep;
                if arrival.done {
                    open.retain(|&other| other != flight);
                }
            }
            parts.hashed(parts.ledger().frontier());
        }
        prop_assert!(parts.ledger().is_whole(total), "{:?}", parts);
        prop_assert_eq!(total, fetched - parts.hedged_bytes());
        Ok(())
    }

    proptest! {
        #[test]
        fn every_byte_comes(total in 0_u64..200, steps in prop::collection::vec(any::<(u8, u8)>(), 0..200)) {
            play(total, &steps)?;
        }
    }
}
