//! The pure core: P1, P2, P3, P5, P6, P8, P9, P10 and P11 on random histories, and what they come to.

use std::time::{Duration, Instant};

use pool::{CloseReason, Command, Fate, Granted, Options, Reuse, Slots};
use proptest::prelude::*;

use crate::slots_model::{How, KEYS, Key, World};

/// The largest total cap of a history.
const PLACES_MAX: usize = 5;

#[derive(Clone, Debug)]
enum Op {
    Get(Key),
    Cancel(usize),
    Connected(usize, u32),
    Failed(usize),
    End(usize, How),
    Renewed(usize, u32),
    Closed(usize),
    Lost(usize),
    Wait(Duration),
    Date,
    Sweep,
    Drain(Key),
    Resize(usize, usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        4 => Just(How::Return),
        4 => Just(How::ReturnUndated),
        1 => Just(How::Unclaimed),
        2 => Just(How::Discard),
        1 => Just(How::FoundDead),
        1 => Just(How::Vanish),
        1 => Just(How::Renew),
    ];
    prop_oneof![
        20 => (0..KEYS).prop_map(Op::Get),
        3 => any::<usize>().prop_map(Op::Cancel),
        12 => (any::<usize>(), any::<u32>()).prop_map(|(nth, random)| Op::Connected(nth, random)),
        2 => any::<usize>().prop_map(Op::Failed),
        16 => (any::<usize>(), how).prop_map(|(nth, how)| Op::End(nth, how)),
        4 => (any::<usize>(), any::<u32>()).prop_map(|(nth, random)| Op::Renewed(nth, random)),
        8 => any::<usize>().prop_map(Op::Closed),
        2 => any::<usize>().prop_map(Op::Lost),
        4 => (0..60_u64).prop_map(|seconds| Op::Wait(Duration::from_secs(seconds))),
        2 => Just(Op::Date),
        2 => Just(Op::Sweep),
        1 => (0..KEYS).prop_map(Op::Drain),
        1 => (1..=PLACES_MAX, 1..4_usize).prop_map(|(total, per_key)| Op::Resize(total, per_key)),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    (1..=PLACES_MAX, 1..4_usize, 1..12_usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(connections_max, connections_per_key_max, waiters_max, idle, lifetime, oldest)| Options {
            connections_max,
            connections_per_key_max,
            waiters_max,
            idle_timeout: idle.then_some(Duration::from_secs(30)),
            lifetime_max: lifetime.then_some(Duration::from_secs(100)),
            lifetime_jitter: Duration::from_secs(20),
            reuse: if oldest { Reuse::Oldest } else { Reuse::Newest },
            ..Options::default()
        },
    )
}

fn apply(world: &mut World, op: &Op) {
    match *op {
        Op::Get(key) => world.get(key),
        Op::Cancel(nth) => world.cancel(nth),
        Op::Connected(nth, random) => world.connected(nth, random),
        Op::Failed(nth) => world.failed(nth),
        Op::End(nth, how) => world.end(nth, how),
        Op::Renewed(nth, random) => world.renewed(nth, random),
        Op::Closed(nth) => world.closed(nth),
        Op::Lost(nth) => world.lost(nth),
        Op::Wait(time) => world.now += time,
        Op::Date => world.date(),
        Op::Sweep => world.sweep(),
        Op::Drain(key) => world.drain(key),
        Op::Resize(total, per_key) => world.resize(total, per_key),
        Op::Close => world.close(),
    }
    world.check();
}

/// 256 histories of up to 200 steps; `POOL_CASES` sets another number.
fn config() -> ProptestConfig {
    let cases = std::env::var("POOL_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(256), failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_history_keeps_every_promise(
        options in options(),
        ops in proptest::collection::vec(op(), 1..200),
        closes_at in proptest::option::weighted(0.3, 0..200_usize),
    ) {
        let mut world = World::new(options);
        for (at, op) in ops.iter().enumerate() {
            if closes_at == Some(at) {
                apply(&mut world, &Op::Close);
            }
            apply(&mut world, op);
        }
        // P11, and no place lost: what runs comes to its end, and nothing is left.
        apply(&mut world, &Op::Close);
        let endings = [Op::Connected(0, 0), Op::Renewed(0, 0), Op::End(0, How::Return), Op::Closed(0)];
        for op in std::iter::repeat_n(endings, PLACES_MAX).flatten() {
            apply(&mut world, &op);
        }
        prop_assert_eq!(0, world.slots.live());
        prop_assert_eq!(world.slots.stats().opened, world.slots.stats().closed.total());
    }
}

const SECOND: Duration = Duration::from_secs(1);

type Core = Slots<Key, u64, Key, ()>;

/// A caller of key 0 who came at this instant and was handed the only connection without a date.
fn handed_without_a_date(came: Instant) -> (Core, Granted<u64>) {
    let options = Options { connections_max: 1, idle_timeout: None, ..Options::default() };
    let mut slots = Slots::new(options);
    wait(&mut slots, 0, came);
    let Some(Command::Connect { slot, .. }) = slots.command() else { unreachable!() };
    let first = handed(slots.connected(slot, 7, came, 0));
    wait(&mut slots, 0, came);
    let granted = handed(slots.give_back(first.slot, first.connection, None));
    (slots, granted)
}

fn wait(slots: &mut Core, key: Key, now: Instant) {
    let ticket = slots.ticket(now);
    slots.wait(&key, ticket, key, ()).expect("the pool is open, and nobody waits");
}

#[track_caller]
fn handed(fate: Fate<u64, Key>) -> Granted<u64> {
    match fate {
        Fate::Handed { granted, .. } => granted,
        fate => panic!("handed to nobody who waits: {fate:?}"),
    }
}

/// Premise: a connect for another key has begun in its place when the clock is read.
#[test]
fn a_wait_without_an_end_is_not_ended_for_who_has_the_place_next() {
    let came = Instant::now();
    let (mut slots, granted) = handed_without_a_date(came);
    slots.vanished(granted.slot, CloseReason::Detached);
    wait(&mut slots, 1, came);
    let begun = slots.command();
    assert!(matches!(begun, Some(Command::Connect { key: 1, .. })));
    slots.date(came + SECOND);
    assert!(slots.stats_by_key().all(|(_, stats)| stats.adds_up()));
}

/// Premise: the connection was given back and lent again when the clock is read.
#[test]
fn a_wait_without_an_end_is_not_ended_for_who_has_the_connection_next() {
    let came = Instant::now();
    let (mut slots, granted) = handed_without_a_date(came);
    let slot = granted.slot;
    assert!(matches!(slots.give_back(slot, 7, None), Fate::Idle { .. }));
    let ticket = slots.ticket(came);
    assert_eq!(slot, slots.take(&0, ticket, came).unwrap().slot);
    slots.date(came + SECOND);
    assert_eq!(Duration::ZERO, slots.waited(slot));
}
