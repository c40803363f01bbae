//! How many, how long, in which order.

use std::time::Duration;

/// The limits of a pool.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let options = pool::Options {
///     connections_max: 20,
///     idle_timeout: Some(Duration::from_secs(4)),
///     ..pool::Options::default()
/// };
/// assert_eq!(16, options.connections_per_key_max);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections may be live over all keys: connecting, idle, leased and closing together.
    /// At least 1; 64 by default, far below the 1024 open files that a process may have by default.
    pub connections_max: usize,
    /// How many connections of one key may be live. At least 1; 16 by default, a quarter of the total, so
    /// that one busy key leaves room for three more.
    pub connections_per_key_max: usize,
    /// How many callers may wait at once, over all keys; one more is refused. 65 536 by default: beyond,
    /// more waiting has never been the answer.
    pub waiters_max: usize,
    /// How long a connection may be idle. One minute by default.
    ///
    /// It has to be shorter than the peer's own, or the peer closes connections under the feet of their
    /// next users.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become. None by default.
    ///
    /// It is what makes a busy pool follow a host to its new address. An older connection is closed when
    /// it comes back; a lease is never cut.
    pub lifetime_max: Option<Duration>,
    /// Each lifetime is shorter by a random part of this, so that connections opened together do not
    /// end together. Zero by default.
    pub lifetime_jitter: Duration,
    /// How long an attempt to connect may take. 10 s by default: three retransmissions of a lost SYN
    /// (1 s + 2 s + 4 s; RFC 6298, 2.1 and 5.5) and time to spare.
    pub connect_timeout: Option<Duration>,
    /// How long a connection may take to close before its place is given away regardless. 5 s by default.
    pub close_timeout: Duration,
    /// Which idle connection is lent first.
    pub reuse: Reuse,
}

/// Which of several idle connections of a key is lent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// The one returned last: the least likely to be stale, and a surplus times out.
    #[default]
    Newest,
    /// The one idle for longest: all of them are kept warm.
    Oldest,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 64,
            connections_per_key_max: 16,
            waiters_max: 1 << 16,
            idle_timeout: Some(Duration::from_secs(60)),
            lifetime_max: None,
            lifetime_jitter: Duration::ZERO,
            connect_timeout: Some(Duration::from_secs(10)),
            close_timeout: Duration::from_secs(5),
            reuse: Reuse::default(),
        }
    }
}

impl Options {
    /// # Panics
    ///
    /// When a cap is 0: nobody would ever be served.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(0 < self.connections_max, "`connections_max` is 0: nobody would be served");
        assert!(
            0 < self.connections_per_key_max,
            "`connections_per_key_max` is 0: nobody would be served"
        );
    }
}
