//! The pure core: P1, P2, P3, P5, P6, P8, P9, P10 and P11 on random histories, and what they come to.

use std::time::Duration;

use pool::{Options, Reuse};
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
