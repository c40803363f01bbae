//! Counts that add up, and the distribution of waits.

use std::ops::AddAssign;
use std::time::Duration;

/// Why the pool no longer holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was idle for longer than the idle time-out.
    IdleTimeout,
    /// It was older than its lifetime.
    Lifetime,
    /// It was found closed while nobody used it.
    Lost,
    /// It came back in a state in which it cannot be lent again.
    Unusable,
    /// Its user discarded it.
    Discarded,
    /// Its user took it out of the pool.
    Detached,
    /// It was idle, and a caller for another key needed its place.
    Evicted,
    /// Its key was drained.
    Drained,
    /// The caps were lowered.
    CapLowered,
    /// The pool was closed.
    PoolClosed,
}

impl CloseReason {
    /// All of them, in the order of the reports.
    pub const ALL: [Self; 10] = [
        Self::IdleTimeout,
        Self::Lifetime,
        Self::Lost,
        Self::Unusable,
        Self::Discarded,
        Self::Detached,
        Self::Evicted,
        Self::Drained,
        Self::CapLowered,
        Self::PoolClosed,
    ];
}

/// How many connections were closed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed([u64; CloseReason::ALL.len()]);

impl Closed {
    /// Those closed for this reason.
    pub fn by(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize]
    }

    /// Those closed for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn count(&mut self, reason: CloseReason) {
        self.0[reason as usize] += 1;
    }
}

/// How long callers waited for their connection, in powers of two of a microsecond.
///
/// Callers that did not have to wait are in it with a wait of zero, so that its total is the number of
/// checkouts.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// let waits = pool::WaitHistogram::default();
/// assert_eq!((0, None), (waits.total(), waits.quantile(0.5)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitHistogram([u64; WAIT_BUCKETS]);

/// The last bucket begins at 2^30 µs, 18 minutes: nobody waits longer and still wants the answer.
const WAIT_BUCKETS: usize = 32;

impl WaitHistogram {
    /// The counts: bucket 0 holds waits under 1 µs, bucket `i` those from 2^(i−1) µs to under 2^i µs, and
    /// the last one all longer ones.
    pub fn buckets(&self) -> &[u64] {
        &self.0
    }

    /// How many waits were counted.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// An upper bound of the wait that the share `quantile` (0 to 1) of callers did not exceed; at most
    /// twice the true value. `None` when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (quantile * self.total() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            rank <= seen
        })?;
        Some(if bucket == 0 { Duration::ZERO } else { Duration::from_micros(1 << bucket) })
    }

    pub(crate) fn record(&mut self, wait: Duration) {
        self.0[Self::bucket(wait)] += 1;
    }

    /// Takes a wait out again: its connection was never received.
    pub(crate) fn forget(&mut self, wait: Duration) {
        self.0[Self::bucket(wait)] -= 1;
    }

    fn bucket(wait: Duration) -> usize {
        let micros = u64::from(wait.subsec_micros());
        let micros = wait.as_secs().saturating_mul(1_000_000).saturating_add(micros);
        let bits = u64::BITS - micros.leading_zeros();
        (bits as usize).min(WAIT_BUCKETS - 1)
    }
}

/// What a pool, or one key of it, holds and has done.
///
/// These laws hold at every instant, whatever is cancelled and whatever panics; [`Stats::adds_up`] checks
/// them:
///
/// - `opened = closed + idle + leased + closing`
/// - `fresh + reused = returned + discarded + leased`
/// - the waits counted are as many as `fresh + reused`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections being opened now.
    pub connecting: usize,
    /// Open connections that nobody uses now.
    pub idle: usize,
    /// Connections lent out now.
    pub leased: usize,
    /// Connections being closed now; they still take their place.
    pub closing: usize,
    /// Callers that wait now.
    pub waiting: usize,
    /// Connections ever opened.
    pub opened: u64,
    /// Attempts to open one that failed, were cut off by the time-out, or panicked.
    pub connects_failed: u64,
    /// Connections ever closed, by reason.
    pub closed: Closed,
    /// Leases of a connection straight from its connect.
    pub fresh: u64,
    /// Leases of a connection that had been idle or lent before.
    pub reused: u64,
    /// Leases that ended with the connection handed back.
    pub returned: u64,
    /// Leases that ended with the connection discarded, detached, replaced or unusable.
    pub discarded: u64,
    /// How long callers waited.
    pub waits: WaitHistogram,
}

impl Stats {
    /// Leases ever given.
    pub fn checkouts(&self) -> u64 {
        self.fresh + self.reused
    }

    /// Places taken now: `connecting + idle + leased + closing`.
    pub fn live(&self) -> usize {
        self.connecting + self.idle + self.leased + self.closing
    }

    /// The share of leases that needed no new connection, 0 to 1; 0 when there were none.
    pub fn reuse_ratio(&self) -> f64 {
        self.reused as f64 / self.checkouts().max(1) as f64
    }

    /// Whether the laws of conservation hold.
    pub fn adds_up(&self) -> bool {
        let open = (self.idle + self.leased + self.closing) as u64;
        self.opened == self.closed.total() + open
            && self.checkouts() == self.returned + self.discarded + self.leased as u64
            && self.checkouts() == self.waits.total()
    }
}

impl AddAssign<&Self> for Stats {
    fn add_assign(&mut self, other: &Self) {
        self.connecting += other.connecting;
        self.idle += other.idle;
        self.leased += other.leased;
        self.closing += other.closing;
        self.waiting += other.waiting;
        self.opened += other.opened;
        self.connects_failed += other.connects_failed;
        add_all(&mut self.closed.0, &other.closed.0);
        self.fresh += other.fresh;
        self.reused += other.reused;
        self.returned += other.returned;
        self.discarded += other.discarded;
        add_all(&mut self.waits.0, &other.waits.0);
    }
}

fn add_all(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bucket(wait: Duration, expected: usize) {
        assert_eq!(expected, WaitHistogram::bucket(wait), "{wait:?}");
    }

    #[test]
    fn buckets_begin_at_powers_of_two() {
        check_bucket(Duration::ZERO, 0);
        check_bucket(Duration::from_nanos(999), 0);
        check_bucket(Duration::from_micros(1), 1);
        check_bucket(Duration::from_micros(1023), 10);
        check_bucket(Duration::from_micros(1024), 11);
        check_bucket(Duration::MAX, WAIT_BUCKETS - 1);
    }

    #[test]
    fn a_quantile_bounds_its_share_from_above() {
        let mut waits = WaitHistogram::default();
        for micros in [0, 0, 3, 100] {
            waits.record(Duration::from_micros(micros));
        }
        assert_eq!(Some(Duration::ZERO), waits.quantile(0.5));
        assert_eq!(Some(Duration::from_micros(4)), waits.quantile(0.75));
        assert_eq!(Some(Duration::from_micros(128)), waits.quantile(1.0));
    }
}
