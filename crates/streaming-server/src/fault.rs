//! What a request may ask to go wrong.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One injected fault: the header `x-fault`, heeded where [`Options::faults`](crate::Options::faults)
/// is set.
///
/// | text | what goes wrong |
/// |---|---|
/// | `stall@K=DUR` | silence of `DUR` before token `K` |
/// | `cut@K` | the connection is closed before token `K`, without an end |
/// | `error@K` | an error event in the place of token `K` |
/// | `split@BYTE` | each event leaves in two writes, the first of `BYTE` bytes |
/// | `slow-head=DUR` | the head of the reply is late |
/// | `status=429` or `status=503` | the request is refused |
///
/// The first four are for streams: with a reply that is not streamed they are refused. Durations are whole
/// numbers of `us`, `ms` or `s`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use streaming_server::Fault;
///
/// let fault: Fault = "stall@3=250ms".parse()?;
/// assert_eq!(Fault::Stall { token: 3, time: Duration::from_millis(250) }, fault);
/// assert!("stall".parse::<Fault>().is_err());
/// # Ok::<(), streaming_server::FaultError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Silence before a token.
    Stall {
        /// Before this token, counted from 0.
        token: u64,
        /// How long.
        time: Duration,
    },
    /// The connection is closed.
    Cut {
        /// Before this token, counted from 0.
        token: u64,
    },
    /// An error event.
    Error {
        /// In the place of this token, counted from 0.
        token: u64,
    },
    /// Each event in two writes.
    Split {
        /// How many bytes the first has.
        byte: usize,
    },
    /// The head is late.
    SlowHead {
        /// How long.
        time: Duration,
    },
    /// The request is refused.
    Status {
        /// 429 or 503.
        status: u16,
    },
}

impl Fault {
    /// Whether it is about the events of a stream.
    pub(crate) fn is_of_streams(self) -> bool {
        !matches!(self, Self::SlowHead { .. } | Self::Status { .. })
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no fault; there are stall@K=DUR, cut@K, error@K, split@BYTE, slow-head=DUR, \
             status=429, status=503",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for FaultError {}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        parse(text.trim()).ok_or_else(|| FaultError(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    if let Some(time) = text.strip_prefix("slow-head=") {
        return Some(Fault::SlowHead { time: duration(time)? });
    }
    if let Some(status) = text.strip_prefix("status=") {
        let status = status.parse().ok().filter(|status| [429, 503].contains(status))?;
        return Some(Fault::Status { status });
    }
    let (kind, rest) = text.split_once('@')?;
    match (kind, rest.split_once('=')) {
        ("stall", Some((token, time))) => {
            Some(Fault::Stall { token: token.parse().ok()?, time: duration(time)? })
        }
        ("cut", None) => Some(Fault::Cut { token: rest.parse().ok()? }),
        ("error", None) => Some(Fault::Error { token: rest.parse().ok()? }),
        ("split", None) => Some(Fault::Split { byte: rest.parse().ok()? }),
        _ => None,
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|digit: char| !digit.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        for (text, expected) in [
            ("cut@0", Fault::Cut { token: 0 }),
            ("error@7", Fault::Error { token: 7 }),
            ("split@11", Fault::Split { byte: 11 }),
            ("slow-head=2s", Fault::SlowHead { time: Duration::from_secs(2) }),
            ("status=429", Fault::Status { status: 429 }),
            (" stall@2=5us ", Fault::Stall { token: 2, time: Duration::from_micros(5) }),
        ] {
            assert_eq!(Ok(expected), text.parse());
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for text in ["", "cut", "cut@", "cut@-1", "cut@1=2ms", "stall@1", "stall@1=2", "status=200"]
        {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
