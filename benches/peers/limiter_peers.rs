//! The peers' answers to the questions of `limiter_bodies`, each in its best configuration.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_speed_limit::clock::StandardClock;
use benches::limiter_bodies::{RATE_AMPLE, READ_TOKENS, on_two_threads};
use benches::{Body, Run};
use governor::clock::{Clock, MonotonicClock, QuantaClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use leaky_bucket::RateLimiter as LeakyBucket;
use ratelimit::Ratelimiter;

/// All bodies of this module. "governor" reads the same clock as ours; quanta reads the processor's. It
/// has no answer to `admit_read`: a cell takes a nanosecond at least, so reads in a row exhaust any burst.
pub(crate) const BODIES: &[Body] = &[
    Body { case: "limiter/admit", subject: "governor", prepare: || admit(MonotonicClock) },
    Body {
        case: "limiter/admit",
        subject: "governor, quanta",
        prepare: || admit(QuantaClock::default()),
    },
    Body { case: "limiter/admit", subject: "ratelimit", prepare: || ratelimit(1) },
    Body { case: "limiter/admit", subject: "leaky-bucket, fair", prepare: || leaky(true) },
    Body { case: "limiter/admit", subject: "leaky-bucket, unfair", prepare: || leaky(false) },
    Body { case: "limiter/admit", subject: "async-speed-limit", prepare: || speed_limit(1e18) },
    Body { case: "limiter/admit_read", subject: "ratelimit", prepare: || ratelimit(READ_TOKENS) },
    Body { case: "limiter/reject", subject: "governor", prepare: || reject(MonotonicClock) },
    Body {
        case: "limiter/reject",
        subject: "governor, quanta",
        prepare: || reject(QuantaClock::default()),
    },
    Body { case: "limiter/reject", subject: "ratelimit", prepare: ratelimit_rejects },
    Body {
        case: "limiter/unlimited",
        subject: "async-speed-limit",
        prepare: || speed_limit(f64::INFINITY),
    },
    Body { case: "limiter/contended", subject: "governor", prepare: contended },
    Body { case: "limiter/contended", subject: "ratelimit", prepare: ratelimit_contended },
];

type Governor<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

const ONE: NonZeroU32 = NonZeroU32::MIN;

/// A cell per nanosecond, the fastest there is, and the largest burst.
fn governor<C: Clock>(clock: C) -> Governor<C> {
    let quota = Quota::per_second(NonZeroU32::new(1_000_000_000).expect("it is not 0"));
    RateLimiter::direct_with_clock(quota.allow_burst(NonZeroU32::MAX), clock)
}

fn admit<C: Clock + 'static>(clock: C) -> Run {
    let limiter = governor(clock);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.check_n(black_box(ONE)).is_ok_and(|checked| checked.is_ok()));
        }
    })
}

fn reject<C: Clock + 'static>(clock: C) -> Run {
    let quota = Quota::with_period(Duration::from_secs(60)).expect("it is not 0");
    let limiter = RateLimiter::direct_with_clock(quota, clock);
    assert!(limiter.check().is_ok());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.check_n(black_box(ONE)).is_ok_and(|checked| checked.is_err()));
        }
    })
}

fn contended() -> Run {
    let limiter = governor(MonotonicClock);
    on_two_threads(Arc::new(move || assert!(limiter.check_n(black_box(ONE)).is_ok())))
}

fn ratelimiter(rate: u64, tokens: u64) -> Ratelimiter {
    let builder = Ratelimiter::builder(rate).max_tokens(tokens).initial_available(tokens);
    builder.build().expect("rate and tokens are in bounds")
}

fn ratelimit(tokens: u64) -> Run {
    let limiter = ratelimiter(RATE_AMPLE, 1 << 43);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.try_wait_n(black_box(tokens)).is_ok());
        }
    })
}

fn ratelimit_rejects() -> Run {
    let limiter = ratelimiter(1, 1);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.try_wait_n(black_box(2)).is_err());
        }
    })
}

fn ratelimit_contended() -> Run {
    let limiter = ratelimiter(RATE_AMPLE, 1 << 43);
    on_two_threads(Arc::new(move || assert!(limiter.try_wait_n(black_box(1)).is_ok())))
}

fn leaky(fair: bool) -> Run {
    // It asserts that its fields make sense to tokio's clock, so it is built inside of a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of one thread");
    let limiter = runtime.block_on(async {
        let ample = usize::MAX / 4;
        LeakyBucket::builder().max(ample).initial(ample).refill(1).fair(fair).build()
    });
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.try_acquire(black_box(1)));
        }
    })
}

fn speed_limit(rate: f64) -> Run {
    let limiter = async_speed_limit::Limiter::<StandardClock>::new(rate);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(limiter.consume_duration(black_box(1)).is_zero());
        }
    })
}
