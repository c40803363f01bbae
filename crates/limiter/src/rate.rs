//! How fast tokens drip in.

pub(crate) mod text;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// The longest period of a rate: 2⁶³ ns, 292 years. It keeps the arithmetic of buckets within 128 bits.
const PERIOD_NANOS_MAX: u128 = 1 << 63;

/// Tokens per period, exactly: a fraction of whole tokens and whole nanoseconds.
///
/// Any rate from 1 token in 292 years to 2⁶⁴ − 1 tokens per nanosecond. Rates that are equal as
/// fractions are equal: 60 a minute is 1 a second. A rate of 0 is a pause ([`Rate::PAUSED`]).
///
/// # Text
///
/// Reads `10MB/s`, `1.5 GiB/s`, `100/m`, `1M/500ms`, `unlimited`, `paused`: a number of at most 18
/// digits after the point, a prefix (k, M, G, T, P, E for powers of 1000; Ki, Mi … for powers of
/// 1024), `B` for bytes, and after the slash a period: a count that may be left out and one of ns, us,
/// ms, s, m, h, d. Prints the shortest exact text that reads back as the same rate; a rate of bytes
/// (read with `B`, or made by [`Rate::bytes_per_second`]) prints its `B`.
///
/// # Examples
///
/// ```
/// use limiter::Rate;
///
/// let rate: Rate = "1.5 GiB/s".parse()?;
/// assert_eq!(Rate::bytes_per_second(3 << 29), rate);
/// assert_eq!("1.5GiB/s", rate.to_string());
/// assert_eq!("100/m", Rate::per_minute(100).to_string());
/// assert!("unlimited".parse::<Rate>()?.is_unlimited());
/// # Ok::<(), limiter::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    tokens: u64,
    period_nanos: u64,
    /// Tokens are bytes: prints `B`; says nothing else.
    bytes: bool,
}

/// A period that no [`Rate`] can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateError {
    period: Duration,
}

impl Rate {
    /// No limit. The same as 2⁶⁴ − 1 tokens per nanosecond.
    pub const UNLIMITED: Self = Self { tokens: u64::MAX, period_nanos: 1, bytes: false };

    /// Nothing at all, until the rate is changed.
    pub const PAUSED: Self = Self { tokens: 0, period_nanos: 1, bytes: false };

    /// Returns a rate of this many tokens per second; 0 is a pause.
    pub const fn per_second(tokens: u64) -> Self {
        Self::reduced(tokens, 1_000_000_000, false)
    }

    /// Returns a rate of this many tokens per minute; 0 is a pause.
    pub const fn per_minute(tokens: u64) -> Self {
        Self::reduced(tokens, 60_000_000_000, false)
    }

    /// Returns a rate of this many bytes per second; 0 is a pause.
    pub const fn bytes_per_second(bytes: u64) -> Self {
        Self::reduced(bytes, 1_000_000_000, true)
    }

    /// Returns a rate of this many tokens per period; 0 tokens are a pause.
    ///
    /// # Errors
    ///
    /// [`RateError`] for a period of zero and above 2⁶³ ns (292 years).
    pub const fn new(tokens: u64, period: Duration) -> Result<Self, RateError> {
        let nanos = period.as_nanos();
        if nanos == 0 || PERIOD_NANOS_MAX < nanos {
            return Err(RateError { period });
        }
        Ok(Self::reduced(tokens, nanos as u64, false))
    }

    /// Whether there is no limit.
    pub const fn is_unlimited(self) -> bool {
        self.tokens == u64::MAX && self.period_nanos == 1
    }

    /// Whether nothing drips in at all.
    pub const fn is_paused(self) -> bool {
        self.tokens == 0
    }

    /// Returns the tokens that drip in during `time`, rounded down, at most 2⁶⁴ − 1.
    pub fn tokens_in(self, time: Duration) -> u64 {
        let tokens = time.as_nanos().saturating_mul(self.tokens.into());
        u64::try_from(tokens / u128::from(self.period_nanos)).unwrap_or(u64::MAX)
    }

    /// Tokens per [`Rate::period_nanos`], in lowest terms.
    pub(crate) const fn tokens(self) -> u64 {
        self.tokens
    }

    /// Nanoseconds in which [`Rate::tokens`] drip in, in lowest terms; 1 to 2⁶³.
    pub(crate) const fn period_nanos(self) -> u64 {
        self.period_nanos
    }

    const fn reduced(tokens: u64, period_nanos: u64, bytes: bool) -> Self {
        let divisor = common_divisor(tokens, period_nanos);
        Self { tokens: tokens / divisor, period_nanos: period_nanos / divisor, bytes }
    }
}

impl PartialEq for Rate {
    fn eq(&self, other: &Self) -> bool {
        (self.tokens, self.period_nanos) == (other.tokens, other.period_nanos)
    }
}

impl Eq for Rate {}

impl Hash for Rate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.tokens, self.period_nanos).hash(state);
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.period.is_zero() {
            return f.write_str("a rate per zero seconds has no meaning: use Rate::UNLIMITED");
        }
        write!(f, "a period of {} s is too long: use at most 2^63 ns", self.period.as_secs())
    }
}

impl std::error::Error for RateError {}

/// Euclid's algorithm; at least 1 of the two numbers is not 0.
const fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_fractions_are_equal_rates() {
        assert_eq!(Rate::per_second(1), Rate::per_minute(60));
        assert_eq!(Rate::PAUSED, Rate::per_minute(0));
        assert_eq!(Rate::bytes_per_second(7), Rate::per_second(7));
    }

    #[test]
    fn periods_have_bounds() {
        assert!(Rate::new(1, Duration::ZERO).is_err());
        assert!(Rate::new(1, Duration::from_nanos(1 << 63)).is_ok());
        assert!(Rate::new(1, Duration::from_nanos((1 << 63) + 1)).is_err());
    }

    #[test]
    fn tokens_in_a_time_are_rounded_down_and_saturate() {
        assert_eq!(1, Rate::per_second(3).tokens_in(Duration::from_millis(666)));
        assert_eq!(2, Rate::per_second(3).tokens_in(Duration::from_millis(667)));
        assert_eq!(u64::MAX, Rate::UNLIMITED.tokens_in(Duration::MAX));
        assert_eq!(0, Rate::PAUSED.tokens_in(Duration::MAX));
    }
}
