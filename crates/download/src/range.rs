//! Byte ranges: what is asked for, and whether the answer is just that.

use std::fmt;

/// A piece of an object: bytes `start..end`, never empty.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Returns the range `start..end`, or `None` when nothing is in it.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// Returns the first byte's offset.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Returns the offset after the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// Returns the number of bytes, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Returns the part that both have, if there is one.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Returns the value of a `Range` header; its last byte is inclusive (RFC 9110, 14.2).
    #[must_use]
    pub fn header(self) -> String {
        format!("bytes={}-{}", self.start, self.end - 1)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// What a `Content-Range` header says (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentRange {
    /// The bytes in the body.
    pub range: ByteRange,
    /// The size of the whole object, if it is told.
    pub total: Option<u64>,
}

/// Why the body of a 206 must not be written where it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RangeMismatch {
    /// There is no `Content-Range`, or several, or it cannot be read.
    Unreadable {
        /// The header as it came, cut to a readable length.
        header: Option<String>,
    },
    /// The body begins elsewhere or goes on too far.
    Elsewhere {
        /// What was asked for.
        asked: ByteRange,
        /// What came.
        came: ByteRange,
    },
    /// The object has another size than before.
    OtherSize {
        /// The size known so far, in bytes.
        known: u64,
        /// The size that came, in bytes.
        came: u64,
    },
}

impl fmt::Display for RangeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { header: None } => f.write_str("a partial answer without its range"),
            Self::Unreadable { header: Some(header) } => {
                write!(f, "a partial answer with the unreadable range `{header}`")
            }
            Self::Elsewhere { asked, came } => {
                write!(f, "asked for bytes {asked}, answered with bytes {came}")
            }
            Self::OtherSize { known, came } => {
                write!(f, "the object had {known} bytes and now has {came}")
            }
        }
    }
}

impl std::error::Error for RangeMismatch {}

impl ContentRange {
    /// Reads `bytes 0-99/200` or `bytes 0-99/*`.
    ///
    /// `bytes=0-99/200`, which some servers send, is understood too: it cannot mean anything else.
    /// Numbers with a sign, overflowing numbers and ranges beyond the total are refused.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let rest = header.trim().strip_prefix("bytes")?;
        let rest = rest.strip_prefix([' ', '='])?.trim_start();
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.trim().split_once('-')?;
        let range = ByteRange::new(number(first)?, number(last)?.checked_add(1)?)?;
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        let fits = total.is_none_or(|total| range.end <= total);
        fits.then_some(Self { range, total })
    }

    /// Checks an answer against the question and returns the bytes that are in its body.
    ///
    /// They may be fewer than asked for: a server may shorten a range (RFC 9110, 15.3.7); the rest is
    /// then asked for again.
    ///
    /// # Errors
    ///
    /// [`RangeMismatch`] when the body must not be used; nothing of it may be written.
    pub fn accept(
        header: Option<&str>,
        asked: ByteRange,
        total_known: Option<u64>,
    ) -> Result<Self, RangeMismatch> {
        let readable = header.and_then(Self::parse);
        let came =
            readable.ok_or_else(|| RangeMismatch::Unreadable { header: shortened(header) })?;
        if came.range.start != asked.start || asked.end < came.range.end {
            return Err(RangeMismatch::Elsewhere { asked, came: came.range });
        }
        match (total_known, came.total) {
            (Some(known), Some(came)) if known != came => {
                Err(RangeMismatch::OtherSize { known, came })
            }
            // Without any total nobody would know where the object ends.
            (None, None) => Err(RangeMismatch::Unreadable { header: shortened(header) }),
            _ => Ok(came),
        }
    }
}

/// Digits alone; `u64::from_str` would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A header in an error message is cut here: it comes from outside and may be long.
const HEADER_TOLD_MAX: usize = 80;

fn shortened(header: Option<&str>) -> Option<String> {
    header.map(|header| header.chars().filter(|c| !c.is_control()).take(HEADER_TOLD_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    #[test]
    fn a_range_is_inclusive_in_its_header_alone() {
        assert_eq!("bytes=0-99", range(0, 100).header());
        assert_eq!(None, ByteRange::new(5, 5));
        assert_eq!(Some(range(5, 7)), range(0, 7).intersection(range(5, 9)));
        assert_eq!(None, range(0, 5).intersection(range(5, 9)));
    }

    #[test]
    fn content_ranges_are_read() {
        let total = |total| Some(ContentRange { range: range(0, 100), total });
        assert_eq!(total(Some(200)), ContentRange::parse("bytes 0-99/200"));
        assert_eq!(total(None), ContentRange::parse("bytes 0-99/*"));
        assert_eq!(total(Some(200)), ContentRange::parse(" bytes=0-99/200 "));
    }

    #[test]
    fn what_is_no_content_range_is_refused() {
        let wrong = [
            "",
            "bytes",
            "bytes */200",
            "bytes 0-99",
            "bytes -1-99/200",
            "bytes +0-99/200",
            "bytes 99-0/200",
            "bytes 0-200/200",
            "bytes 0-18446744073709551615/*",
            "items 0-9/10",
            "bytes 0-9/18446744073709551616",
            "bytes 0x0-9/10",
            "bytes0-9/10",
            "bytes 0-9/ten",
        ];
        for header in wrong {
            assert_eq!(None, ContentRange::parse(header), "{header}");
        }
    }

    #[track_caller]
    fn check(header: Option<&str>, total_known: Option<u64>, expected: Result<u64, &str>) {
        let accepted = ContentRange::accept(header, range(100, 200), total_known);
        let told = accepted.map(|came| came.range.end()).map_err(|error| error.to_string());
        assert_eq!(expected.map_err(str::to_owned), told);
    }

    #[test]
    fn only_what_was_asked_for_is_accepted() {
        check(Some("bytes 100-199/1000"), Some(1000), Ok(200));
        check(Some("bytes 100-199/*"), Some(1000), Ok(200));
        check(Some("bytes 100-149/1000"), Some(1000), Ok(150));
        check(Some("bytes 100-199/1000"), None, Ok(200));
    }

    #[test]
    fn all_else_is_refused_with_what_came() {
        check(None, Some(1000), Err("a partial answer without its range"));
        let elsewhere = Err("asked for bytes 100..200, answered with bytes 101..200");
        check(Some("bytes 101-199/1000"), Some(1000), elsewhere);
        let too_far = Err("asked for bytes 100..200, answered with bytes 100..201");
        check(Some("bytes 100-200/1000"), Some(1000), too_far);
        let other = Err("the object had 1000 bytes and now has 999");
        check(Some("bytes 100-199/999"), Some(1000), other);
        let endless = Err("a partial answer with the unreadable range `bytes 100-199/*`");
        check(Some("bytes 100-199/*"), None, endless);
    }
}
