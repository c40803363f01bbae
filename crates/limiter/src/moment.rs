//! The cores' own time.

use std::time::Duration;

/// An instant: whole nanoseconds since an origin that the caller chose.
///
/// The cores read no clock; whoever drives them says what time it is. Any origin will do, as long as
/// one bucket or tree is always told moments of the same origin. The range is 584 years.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::Moment;
///
/// let start = Moment::ZERO;
/// let later = start.saturating_add(Duration::from_millis(5));
/// assert_eq!(Duration::from_millis(5), later.saturating_since(start));
/// assert_eq!(Duration::ZERO, start.saturating_since(later));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The last moment; it stands for "never" where a wait has no end.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the moment this many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the moment this much later, at most [`Moment::MAX`].
    #[inline]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        let seconds = duration.as_secs().saturating_mul(1_000_000_000);
        let nanos = seconds.saturating_add(duration.subsec_nanos() as u64);
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is in fact later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
