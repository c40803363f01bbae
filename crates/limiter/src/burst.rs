//! How many tokens may go at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Rate;
use crate::rate::text::{Amount, ParseError, write_amount};

/// How many tokens a bucket keeps, and so how many may go at once: 1 to 2⁶³.
///
/// A larger request is served too: when the bucket is full, on credit (see [`TokenBucket`]).
///
/// Choose it from the rate and the grain of the clock that serves the waiters. Tokio's timers fire up
/// to 2 ms late; a bucket that overflows meanwhile loses what did not fit. So keep at least 5 ms worth
/// of tokens ([`Burst::lasting`]), more where the tasks themselves are slow to come back, and no less
/// than the pieces in which tokens are asked for.
///
/// [`TokenBucket`]: crate::TokenBucket
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::{Burst, Rate};
///
/// let rate: Rate = "50MB/s".parse()?;
/// assert_eq!(500_000, Burst::lasting(Duration::from_millis(10), rate).tokens());
/// assert_eq!(65_536, "64KiB".parse::<Burst>()?.tokens());
/// assert_eq!("a burst of 0 tokens grants nothing: use 1 to 2^63", Burst::new(0).unwrap_err().to_string());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Burst(u64);

/// A number of tokens that is no [`Burst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstError {
    tokens: u64,
}

impl Burst {
    /// One token: requests leave one by one, evenly spaced.
    pub const ONE: Self = Self(1);

    /// The largest burst, 2⁶³ tokens.
    pub const MAX: Self = Self(1 << 63);

    /// Returns a burst of this many tokens.
    ///
    /// # Errors
    ///
    /// [`BurstError`] for 0, which would grant nothing, and above 2⁶³.
    pub const fn new(tokens: u64) -> Result<Self, BurstError> {
        if tokens == 0 || Self::MAX.0 < tokens {
            return Err(BurstError { tokens });
        }
        Ok(Self(tokens))
    }

    /// Returns what drips in at `rate` during `time`, rounded down, at least 1 and at most
    /// [`Burst::MAX`].
    pub fn lasting(time: Duration, rate: Rate) -> Self {
        Self(rate.tokens_in(time).clamp(1, Self::MAX.0))
    }

    /// Returns the number of tokens.
    pub const fn tokens(self) -> u64 {
        self.0
    }
}

/// Shortest exact form, as [`Rate`] prints its tokens: `64Ki`, `1.5M`.
impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amount(f, self.0)
    }
}

/// Reads `64KiB`, `10M`, `1.5 MiB`, `4096`: k, M, G, T, P are powers of 1000, Ki, Mi … of 1024; the `B`
/// of bytes may be left out.
impl FromStr for Burst {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let amount =
            Amount::parse(text).map_err(|reason| ParseError::new("burst", text, reason))?;
        amount
            .whole()
            .and_then(|tokens| Self::new(tokens).ok())
            .ok_or_else(|| ParseError::new("burst", text, "is not a whole number from 1 to 2^63"))
    }
}

impl fmt::Display for BurstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokens {
            0 => f.write_str("a burst of 0 tokens grants nothing: use 1 to 2^63"),
            tokens => write!(f, "a burst of {tokens} tokens is too large: use 1 to 2^63"),
        }
    }
}

impl std::error::Error for BurstError {}
