//! When to try again: what servers say about it, and our own patience.

use std::time::{Duration, SystemTime};

/// A server that asks for more patience than this is not waited for: the quotas of model hubs are told for
/// windows of five minutes, and the clocks of server and client differ.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(301);

/// Reads a `Retry-After` header: seconds, or a date (RFC 9110, 10.2.3).
///
/// A date that has passed is no wait. `None` for what is neither: the caller's own back-off stands.
#[must_use]
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a long wait, not nonsense.
        return Some(header.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// What is left of a quota, as a server tells it before it refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Requests left in this window.
    pub remaining: u64,
    /// Until the window ends.
    pub resets_in: Duration,
}

impl Quota {
    /// Reads a `RateLimit` header, `"api";r=0;t=55`; of several policies the tightest.
    ///
    /// Source: draft-ietf-httpapi-ratelimit-headers; model hubs send it in this form.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        header.split(',').filter_map(Self::parse_one).min_by_key(|quota| quota.remaining)
    }

    fn parse_one(policy: &str) -> Option<Self> {
        let parameter = |name: &str| {
            let prefix = format!("{name}=");
            policy.split(';').find_map(|part| part.trim().strip_prefix(&*prefix)?.parse().ok())
        };
        Some(Self { remaining: parameter("r")?, resets_in: Duration::from_secs(parameter("t")?) })
    }

    /// How long to hold the next request back; nothing while some are left.
    ///
    /// One second more than told: the clocks of server and client differ.
    #[must_use]
    pub fn wait(self) -> Option<Duration> {
        let wait = self.resets_in.saturating_add(Duration::from_secs(1));
        (self.remaining == 0).then_some(wait.min(RETRY_AFTER_MAX))
    }
}

/// How patient to be with failures of one kind of request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Attempts after the first.
    pub retries_max: u32,
    /// The longest pause before the first of them; it doubles from one to the next.
    pub pause: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries_max: 5,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// The pauses between attempts: growing, with full jitter, and finitely many.
///
/// Source: Brooker, "Exponential backoff and jitter", 2015: with full jitter clients that failed together
/// do not come back together.
///
/// # Examples
///
/// ```
/// use download::{Backoff, Patience};
///
/// let mut backoff = Backoff::new(Patience::default());
/// let pauses: Vec<_> = std::iter::from_fn(|| backoff.next(1.0, None)).collect();
/// assert_eq!([500, 1000, 2000, 4000, 8000].to_vec(), pauses.iter().map(|p| p.as_millis()).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    patience: Patience,
    attempts: u32,
}

impl Backoff {
    /// Starts before the first failure.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, attempts: 0 }
    }

    /// Returns the pause before the next attempt, or `None` when there is none left.
    ///
    /// `jitter` is a random number from 0 to 1. A server's own wish is taken in place of our pause, never
    /// shortened by jitter, and refused when it is longer than [`RETRY_AFTER_MAX`].
    pub fn next(&mut self, jitter: f64, wish: Option<Duration>) -> Option<Duration> {
        if self.patience.retries_max <= self.attempts {
            return None;
        }
        self.attempts += 1;
        if let Some(wish) = wish {
            return (wish <= RETRY_AFTER_MAX).then_some(wish);
        }
        let factor = 1_u32.checked_shl(self.attempts - 1).unwrap_or(u32::MAX);
        let longest = self.patience.pause.saturating_mul(factor).min(self.patience.pause_max);
        Some(longest.mul_f64(jitter.clamp(0.0, 1.0)))
    }

    /// Begins anew: something was achieved since the last failure.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts that failed since the last achievement.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn seconds_and_dates_are_read() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        let read = |header| retry_after(header, now);
        assert_eq!(Some(2 * SECOND), read("2"));
        assert_eq!(Some(90 * SECOND), read("Sun, 22 Nov 2026 10:01:30 GMT"));
        assert_eq!(Some(Duration::ZERO), read("Sun, 22 Nov 2026 09:00:00 GMT"));
        assert_eq!(Some(Duration::MAX), read("99999999999999999999999"));
    }

    #[test]
    fn nonsense_is_no_wish() {
        for header in ["", "-1", "1.5", "soon", "Sun, 99 Nov 2026 10:00:00 GMT"] {
            assert_eq!(None, retry_after(header, SystemTime::UNIX_EPOCH), "{header}");
        }
    }

    #[test]
    fn quotas_are_read() {
        let quota = Quota { remaining: 0, resets_in: 55 * SECOND };
        assert_eq!(Some(quota), Quota::parse(r#""api";r=0;t=55"#));
        assert_eq!(Some(quota), Quota::parse(r#""a";r=9;t=1, "b";r=0;t=55"#));
        assert_eq!(Some(56 * SECOND), quota.wait());
        assert_eq!(None, Quota { remaining: 1, ..quota }.wait());
        let window = Quota { resets_in: 300 * SECOND, ..quota };
        assert_eq!(Some(301 * SECOND), window.wait(), "a whole window of the real hub");
        assert_eq!(None, Quota::parse(r#""api";r=x"#));
    }

    #[test]
    fn a_wish_is_granted_as_it_is_or_not_at_all() {
        let mut backoff = Backoff::new(Patience::default());
        assert_eq!(Some(7 * SECOND), backoff.next(0.0, Some(7 * SECOND)));
        assert_eq!(None, backoff.next(0.0, Some(RETRY_AFTER_MAX + SECOND)));
    }

    #[test]
    fn pauses_end_and_begin_anew() {
        let mut backoff = Backoff::new(Patience { retries_max: 2, ..Patience::default() });
        assert!(backoff.next(0.5, None).is_some() && backoff.next(0.5, None).is_some());
        assert_eq!(None, backoff.next(0.5, None));
        backoff.reset();
        assert_eq!(Some(Duration::from_millis(250)), backoff.next(0.5, None));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let patience = Patience { retries_max: 100, ..Patience::default() };
        let mut backoff = Backoff::new(patience);
        let pauses = std::iter::from_fn(|| backoff.next(1.0, None));
        assert!(pauses.into_iter().all(|pause| pause <= patience.pause_max));
    }
}
