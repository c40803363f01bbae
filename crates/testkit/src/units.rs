//! Sizes, rates and durations as people write them: `64MiB`, `10MB/s`, `250ms`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a quantity could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, what, example } = self;
        write!(f, "`{text}` is no {what}: write it like {example}")
    }
}

impl Error for UnitError {}

const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const DURATIONS_NS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Returns a size in bytes: `0`, `1000`, `64MiB`, `1.5GB`. KB is 1000 bytes, KiB 1024.
///
/// # Errors
///
/// When it is no number with one of these units, or beyond 2⁶³ bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    quantity(text, &SIZES).ok_or_else(|| UnitError {
        text: text.to_owned(),
        what: "size",
        example: "64MiB, 1.5GB or 1000 (bytes)",
    })
}

/// Returns a rate in bytes per second, at least 1: `10MB/s`, `1.5 GiB/s`, `1000`.
///
/// # Errors
///
/// When it is no size, followed by `/s` or not, or zero.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    quantity(size, &SIZES).filter(|&rate| 0 < rate).ok_or_else(|| UnitError {
        text: text.to_owned(),
        what: "rate",
        example: "10MB/s or 1.5GiB/s, above zero",
    })
}

/// Returns a duration: `250ms`, `1.5s`, `10us`, `2m`, `1h`. A bare `0` is one, other numbers need a unit.
///
/// # Errors
///
/// When it is no number with one of these units, or beyond 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    quantity(text, &DURATIONS_NS).map(Duration::from_nanos).ok_or_else(|| UnitError {
        text: text.to_owned(),
        what: "duration",
        example: "250ms, 1.5s, 10us or 2m",
    })
}

/// Returns the number times its unit, if both are known and the product fits.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (number, unit) = text.split_at(text.len() - digits.len());
    let unit = unit.trim_start();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(factor);
    }
    let product = number.parse::<f64>().ok()? * factor as f64;
    (product < (1_u64 << 63) as f64).then_some(product.round() as u64)
}

/// Renders a duration so that [`parse_duration`] reads it back.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let fits = |&&(_, factor): &&(&str, u64)| nanos.is_multiple_of(factor);
    let (unit, factor) = DURATIONS_NS[..4].iter().rfind(fits).expect("1 divides all numbers");
    format!("{}{unit}", nanos / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_size(text: &str, expected: Option<u64>) {
        assert_eq!(expected, parse_size(text).ok(), "{text}");
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        check_size("0", Some(0));
        check_size("1000", Some(1000));
        check_size("64MiB", Some(64 << 20));
        check_size("1.5GB", Some(1_500_000_000));
        check_size("10 KB", Some(10_000));
        check_size("100GB", Some(100_000_000_000));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1e3", "1.2.3", "5 parsecs", "99999999999TiB", "."] {
            check_size(text, None);
        }
    }

    #[test]
    fn rates_are_per_second_and_above_zero() {
        assert_eq!(Ok(10_000_000), parse_rate("10MB/s"));
        assert_eq!(Ok(1_610_612_736), parse_rate("1.5 GiB/s"));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("10MB/h").is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Ok(Duration::from_millis(250)), parse_duration("250ms"));
        assert_eq!(Ok(Duration::from_nanos(8_330)), parse_duration("8.33us"));
        assert_eq!(Ok(Duration::ZERO), parse_duration("0"));
        assert!(parse_duration("250").is_err());
    }

    #[test]
    fn durations_read_back() {
        for text in ["250ms", "1500us", "2s", "90s", "17ns"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(Ok(duration), parse_duration(&show_duration(duration)), "{text}");
        }
    }

    #[test]
    fn errors_say_how_to_write_it() {
        let error = parse_rate("fast").unwrap_err().to_string();
        assert_eq!("`fast` is no rate: write it like 10MB/s or 1.5GiB/s, above zero", error);
    }
}
