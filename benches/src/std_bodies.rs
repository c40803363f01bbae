//! Bodies from the standard library: what a lock, a clock and a map cost on this machine.
//!
//! They are the floor that the figures of our crates stand on.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use crate::{Body, Run};

/// All bodies of this module.
pub const BODIES: &[Body] = &[
    Body { case: "std/clock", subject: "instant", prepare: clock },
    Body { case: "std/lock", subject: "mutex", prepare: lock },
    Body { case: "std/ordered", subject: "btreemap", prepare: ordered },
];

/// One reading of the monotonic clock.
fn clock() -> Run {
    let mut last = Instant::now();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let now = Instant::now();
            assert!(last <= now, "a monotonic clock does not go back");
            last = now;
        }
    })
}

/// Taking and leaving a lock that nobody else wants.
fn lock() -> Run {
    let counter = Mutex::new(0_u64);
    let mut expected = 0;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            *black_box(&counter).lock().expect("no holder panics") += 1;
        }
        expected += iterations;
        assert_eq!(expected, *counter.lock().expect("no holder panics"));
    })
}

/// One entry into an ordered map of 10 000, and the least one out.
fn ordered() -> Run {
    const ENTRIES: u64 = 10_000;
    let mut map: BTreeMap<u64, u64> = (0..ENTRIES).map(|rank| (rank, rank)).collect();
    let mut next = ENTRIES;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            map.insert(next, next);
            next += 1;
            let (rank, value) = map.pop_first().expect("the map is never empty");
            assert_eq!(rank, value);
        }
    })
}
