//! Bodies of `limiter`: what a decision costs.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use limiter::{Burst, Limiter, Moment, Rate, Share, TokenBucket};

use crate::{Body, Gate, Run};

/// Tokens of a large request: one read of a socket.
pub const READ_TOKENS: u64 = 16 << 10;

/// A rate and burst that no run exhausts.
pub const RATE_AMPLE: u64 = 4_000_000_000;

/// Requests of each of two threads that contend: enough to drown the cost of starting them.
pub const CONTENDED_REQUESTS: u64 = 10_000;

/// All bodies of this module.
pub const BODIES: &[Body] = &[
    Body { case: "limiter/admit", subject: "ours", prepare: || admit(1) },
    Body { case: "limiter/admit_read", subject: "ours", prepare: || admit(READ_TOKENS) },
    Body { case: "limiter/admit", subject: "ours, core alone", prepare: core },
    Body { case: "limiter/admit", subject: "ours, child of a child", prepare: grandchild },
    Body { case: "limiter/reject", subject: "ours", prepare: reject },
    Body { case: "limiter/unlimited", subject: "ours", prepare: unlimited },
    Body { case: "limiter/refund", subject: "ours", prepare: refund },
    Body { case: "limiter/contended", subject: "ours", prepare: contended },
];

/// What is demanded.
pub const GATES: &[(&str, Gate)] = &[
    ("limiter/admit", Gate::AtMostTimes { peer: "governor", ratio_max: 1.25 }),
    ("limiter/unlimited", Gate::AtMostNanos(5.0)),
];

fn ample() -> Limiter {
    Limiter::new(Rate::per_second(RATE_AMPLE), Burst::MAX)
}

/// One admitted request, uncontended.
fn admit(tokens: u64) -> Run {
    let limiter = ample();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let permit = limiter.try_acquire(black_box(tokens)).expect("tokens are ample");
            assert_eq!(tokens, permit.tokens());
        }
    })
}

/// The same decision, where the caller has the time already and shares it with nobody.
fn core() -> Run {
    let mut bucket = TokenBucket::new(Rate::per_second(RATE_AMPLE), Burst::MAX, Moment::ZERO);
    let mut now = Moment::ZERO;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            now = now.saturating_add(Duration::from_nanos(20));
            assert_eq!(Ok(now), bucket.try_take(black_box(1), now));
        }
    })
}

/// One admitted request that three limits have to agree to.
fn grandchild() -> Run {
    let root = ample();
    let share =
        Share { ceiling: Rate::per_second(RATE_AMPLE), burst: Burst::MAX, ..Share::default() };
    let child = root.child(share).expect("a weight of 1 and no guarantee");
    let grandchild = child.child(share).expect("a weight of 1 and no guarantee");
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(grandchild.try_acquire(black_box(1)).is_ok());
        }
    })
}

/// One refused request, and when it would not be.
fn reject() -> Run {
    let limiter = Limiter::new(Rate::per_minute(1), Burst::ONE);
    assert!(limiter.try_acquire(1).is_ok());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let refusal = limiter.try_acquire(black_box(1)).expect_err("a token takes a minute");
            assert!(black_box(refusal).wait().is_some());
        }
    })
}

/// One request while there is no limit.
fn unlimited() -> Run {
    let limiter = Limiter::new(Rate::UNLIMITED, Burst::ONE);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.try_acquire(black_box(READ_TOKENS)).is_ok());
        }
    })
}

/// One read that brought less than was granted.
fn refund() -> Run {
    let limiter = ample();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let permit = limiter.try_acquire(READ_TOKENS).expect("tokens are ample");
            permit.used(black_box(1460));
        }
    })
}

/// [`CONTENDED_REQUESTS`] from each of two threads.
fn contended() -> Run {
    let limiter = ample();
    on_two_threads(Arc::new(move || assert!(limiter.try_acquire(black_box(1)).is_ok())))
}

/// Each iteration starts two threads, and each of them does this so often: their start, some 50 µs, is
/// measured too.
pub fn on_two_threads(once: Arc<dyn Fn() + Send + Sync>) -> Run {
    Box::new(move |iterations| {
        for _ in 0..iterations {
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..CONTENDED_REQUESTS).for_each(|_| once()));
                }
            });
        }
    })
}
