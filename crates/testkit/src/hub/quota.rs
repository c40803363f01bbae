//! So many requests in a window of time. Pure.

use std::time::Duration;

use super::describe::HubRateLimit;

/// The present window.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// Since the hub started.
    began: Duration,
    used: u64,
}

/// What is left after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether the request itself was within the quota.
    pub(super) granted: bool,
    pub(super) requests: u64,
    /// Until the window is over, rounded up.
    pub(super) seconds: u64,
}

impl Quota {
    /// Takes one request, `now` after the hub started.
    pub(super) fn take(&mut self, limit: HubRateLimit, now: Duration) -> Left {
        if self.used == 0 || self.began + limit.window <= now {
            *self = Self { began: now, used: 0 };
        }
        let granted = self.used < limit.quota;
        // A refused request does not lengthen the wait.
        self.used += u64::from(granted);
        let left = (self.began + limit.window).saturating_sub(now);
        let seconds = left.as_secs() + u64::from(0 < left.subsec_nanos());
        Left { granted, requests: limit.quota - self.used, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_quota_and_then_another_begins() {
        let limit = HubRateLimit { quota: 2, window: Duration::from_secs(10) };
        let mut quota = Quota::default();
        let mut take = |ms| {
            let Left { granted, requests, seconds } = quota.take(limit, Duration::from_millis(ms));
            (granted, requests, seconds)
        };
        assert_eq!((true, 1, 10), take(500));
        assert_eq!((true, 0, 9), take(1600));
        assert_eq!((false, 0, 1), take(10_499));
        assert_eq!((true, 1, 10), take(10_500));
    }
}
