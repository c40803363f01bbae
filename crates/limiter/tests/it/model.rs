//! What the guarantees say, computed from a log in exact rational arithmetic, without any bucket.

use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use limiter::{Moment, Rate};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// How many cases each property is tried on: `LIMITER_CASES` for a longer run.
pub(crate) fn cases(default: u32) -> Config {
    let asked = std::env::var("LIMITER_CASES").ok().and_then(|text| text.parse().ok());
    Config { cases: asked.unwrap_or(default), failure_persistence: None, ..Config::default() }
}

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A waker that owns something, as that of a task owns what the task holds.
struct Owner(#[expect(dead_code, reason = "only its drop matters")] Mutex<Box<dyn Send>>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

pub(crate) fn owner(owned: impl Send + 'static) -> Waker {
    Arc::new(Owner(Mutex::new(Box::new(owned)))).into()
}

/// Tokens per nanoseconds, as a test has chosen them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction {
    pub(crate) tokens: u64,
    pub(crate) nanos: u64,
}

impl Fraction {
    pub(crate) fn rate(self) -> Rate {
        Rate::new(self.tokens, Duration::from_nanos(self.nanos)).unwrap()
    }

    /// Whether `tokens` exceed what drips in during `nanos`: `tokens / 1 > nanos · rate`.
    pub(crate) fn is_exceeded(self, tokens: u128, nanos: u128) -> bool {
        // Both sides are scaled by the period; a left side beyond 128 bits exceeds any right side.
        let dripped = nanos * u128::from(self.tokens);
        tokens.checked_mul(self.nanos.into()).is_none_or(|tokens| dripped < tokens)
    }
}

/// One request that was granted, and what of it was used in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) nanos: u64,
    pub(crate) asked: u64,
    pub(crate) used: u64,
}

/// L1: in every interval from one grant to another, what was used is at most what drips in, a burst, and
/// what the last request exceeds the burst by.
#[track_caller]
pub(crate) fn assert_conforms(log: &[Granted], rate: Fraction, burst: u64) {
    for first in 0..log.len() {
        let mut used = 0_u128;
        for granted in &log[first..] {
            used += u128::from(granted.used);
            let elapsed = u128::from(granted.nanos - log[first].nanos);
            let allowed = u128::from(burst) + u128::from(granted.asked.saturating_sub(burst));
            let dripped = used.saturating_sub(allowed);
            assert!(
                !rate.is_exceeded(dripped, elapsed),
                "{used} tokens in {elapsed} ns at {rate:?} and a burst of {burst}, from grant {first}: \
                 {log:?}",
            );
        }
    }
}

/// Rates from one token in hours to many per nanosecond, most of them with an awkward period.
pub(crate) fn any_rate() -> impl Strategy<Value = Fraction> {
    let tokens = prop_oneof![1..=100_u64, 1..=u64::from(u32::MAX), 1..=1_u64 << 63];
    let nanos = prop_oneof![Just(SECOND), Just(60 * SECOND), 1..=100_u64, 1..=1_u64 << 63];
    (tokens, nanos).prop_map(|(tokens, nanos)| Fraction { tokens, nanos })
}

/// The rates of the issue: 1 B/s to 100 GB/s.
pub(crate) fn byte_rate() -> impl Strategy<Value = Fraction> {
    let tokens = prop_oneof![1..=1000_u64, 1..=1_000_000_u64, 1..=100_000_000_000_u64];
    tokens.prop_map(|tokens| Fraction { tokens, nanos: SECOND })
}
