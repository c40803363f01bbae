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
fn a_reply_that_is_here_is_taken_however_far_behind_the_hash_is() {
    let mut here = Ledger::default();
    here.add(ByteRange::new(0, 50).unwrap());
    let mut parts = begun(Parts::new(100, here, 0, options()));
    assert_eq!(Next::Wait, parts.next(SECOND), "nothing is hashed yet");
    let first = parts.first(ByteRange::new(50, 60).unwrap(), SECOND).unwrap();
    assert_eq!(ByteRange::new(50, 60), parts.position(first));
    assert!(parts.arrived(first, 10, SECOND).done);
    assert_eq!(None, parts.first(ByteRange::new(50, 60).unwrap(), SECOND), "it is here");
    parts.hashed(60);
    fetch(&mut parts, 60, 70);
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
fn one_alone_is_judged_with_its_round_trip_and_not_in_a_moment() {
    for (until, expected) in [(3 * SECOND, Some(2.0)), (SECOND + SECOND / 25, None)] {
        let mut parts = parts(100);
        let (first, second) = (fetch(&mut parts, 0, 10), fetch(&mut parts, 10, 20));
        parts.set_round_trip(SECOND);
        parts.arrived(first, 6, until);
        assert_eq!(expected, parts.arrived(second, 1, until).alone);
    }
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
fn what_is_as_fast_as_usual_is_not_asked_for_twice() {
    for (usual, is_repeated) in [(1.0, false), (3.0, true)] {
        let mut parts = parts(6);
        let last = fetch(&mut parts, 0, 6);
        for _ in 0..3 {
            parts.pace.ended(Some(usual));
        }
        parts.arrived(last, 1, 2 * SECOND);
        assert_eq!(is_repeated, fetch_at(&mut parts, 2 * SECOND).is_some());
    }
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
