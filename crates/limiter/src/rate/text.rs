//! Rates and bursts as people write them.

use std::fmt;
use std::str::FromStr;

use super::{PERIOD_NANOS_MAX, Rate};

/// Digits after the point that are read: with the largest prefix they still fit 128 bits.
const DECIMALS_MAX: usize = 18;

/// What an error quotes of the text at most, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// Powers of 1000 and of 1024, largest first.
const PREFIXES: [(&str, u64); 13] = [
    ("Ei", 1 << 60),
    ("E", 1_000_000_000_000_000_000),
    ("Pi", 1 << 50),
    ("P", 1_000_000_000_000_000),
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
    ("", 1),
];

/// Periods and their nanoseconds, in the order in which printing tries them.
const PERIODS: [(&str, u64); 7] = [
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A text that is no rate or no burst.
///
/// # Examples
///
/// ```
/// use limiter::Rate;
///
/// let error = "10MB".parse::<Rate>().unwrap_err();
/// assert_eq!("rate \"10MB\" lacks a period: write it as in 10MB/s", error.to_string());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    what: &'static str,
    quoted: String,
    reason: &'static str,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, text: &str, reason: &'static str) -> Self {
        Self { what, quoted: text.chars().take(QUOTED_CHARS_MAX).collect(), reason }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.what, self.quoted, self.reason)
    }
}

impl std::error::Error for ParseError {}

/// A number with a prefix, exactly.
pub(crate) struct Amount {
    numerator: u128,
    denominator: u64,
    bytes: bool,
}

impl Amount {
    /// Reads `1.5`, `10M`, `64 KiB`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(number_ends.unwrap_or(text.len()));
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || (number.contains('.') && decimals.is_empty()) {
            return Err("does not begin with a number, such as 10 or 1.5");
        }
        if DECIMALS_MAX < decimals.len() {
            return Err("has more than 18 digits after the point");
        }
        let digits: u64 = format!("{whole}{decimals}")
            .parse()
            .map_err(|_| "is not a number of less than 2^64, its point left out")?;
        let (factor, bytes) = unit_factor(unit.trim())?;
        let denominator = 10_u64.pow(decimals.len() as u32);
        Ok(Self { numerator: u128::from(digits) * u128::from(factor), denominator, bytes })
    }

    /// The amount, if it is a whole number of less than 2⁶⁴.
    pub(crate) fn whole(&self) -> Option<u64> {
        let denominator = u128::from(self.denominator);
        let is_whole = self.numerator % denominator == 0;
        is_whole.then(|| u64::try_from(self.numerator / denominator).ok()).flatten()
    }
}

/// Reads `KiB`, `M`, `B` and the empty unit: the factor, and whether bytes are meant.
fn unit_factor(unit: &str) -> Result<(u64, bool), &'static str> {
    let prefix = unit.strip_suffix('B').unwrap_or(unit);
    let known = |(name, _): &&(&str, u64)| *name == prefix || (*name == "k" && prefix == "K");
    let (_, factor) = PREFIXES
        .iter()
        .find(known)
        .ok_or("has an unknown unit: use k, M, G, T, P, E, or Ki, Mi …, and B for bytes")?;
    Ok((*factor, unit.ends_with('B')))
}

impl FromStr for Rate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.trim() {
            "unlimited" => Ok(Self::UNLIMITED),
            "paused" => Ok(Self::PAUSED),
            fraction => {
                parse_fraction(fraction).map_err(|reason| ParseError::new("rate", text, reason))
            }
        }
    }
}

fn parse_fraction(text: &str) -> Result<Rate, &'static str> {
    let (amount, period) = text.split_once('/').ok_or("lacks a period: write it as in 10MB/s")?;
    let amount = Amount::parse(amount)?;
    let period_nanos = parse_period(period.trim())?;
    // Lowest terms decide whether it fits: 0.001/ms is 1/s.
    let period = u128::from(period_nanos) * u128::from(amount.denominator);
    let divisor = common_divisor_wide(amount.numerator, period);
    let tokens = u64::try_from(amount.numerator / divisor);
    let (tokens, period) = (tokens.map_err(|_| "is too fast: use unlimited")?, period / divisor);
    if PERIOD_NANOS_MAX < period {
        return Err("is too slow: a token every 292 years is the least");
    }
    Ok(Rate { tokens, period_nanos: period as u64, bytes: amount.bytes })
}

/// Reads `s`, `5m`, `100ms`.
fn parse_period(text: &str) -> Result<u64, &'static str> {
    const REASON: &str = "has an unknown period: use ns, us, ms, s, m, h or d, as in 10/500ms";
    let unit_begins = text.find(|c: char| !c.is_ascii_digit()).ok_or(REASON)?;
    let (count, unit) = text.split_at(unit_begins);
    let count: u64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| REASON)? };
    let (_, nanos) = PERIODS.iter().find(|(name, _)| *name == unit.trim()).ok_or(REASON)?;
    match count.checked_mul(*nanos) {
        None => Err("has a period of more than 584 years"),
        Some(0) => Err("has a period of zero: use unlimited"),
        Some(nanos) => Ok(nanos),
    }
}

/// Euclid's algorithm for what does not fit 64 bits; `b` is not 0.
fn common_divisor_wide(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = if self.bytes { "B" } else { "" };
        if self.is_unlimited() {
            return f.write_str("unlimited");
        }
        if self.is_paused() {
            return f.write_str("paused");
        }
        for (name, nanos) in PERIODS {
            let whole = nanos % self.period_nanos == 0;
            let tokens = self.tokens.checked_mul(nanos / self.period_nanos);
            if let (true, Some(tokens)) = (whole, tokens) {
                write_amount(f, tokens)?;
                return write!(f, "{b}/{name}");
            }
        }
        write_amount(f, self.tokens)?;
        let divides = |&&(_, nanos): &&(&str, u64)| self.period_nanos % nanos == 0;
        let (name, nanos) =
            PERIODS.iter().find(divides).expect("a nanosecond divides every period");
        write!(f, "{b}/{}{name}", self.period_nanos / nanos)
    }
}

/// Writes the shortest exact text: `10M`, `1.5Gi`, `1234567`.
pub(crate) fn write_amount(f: &mut fmt::Formatter<'_>, amount: u64) -> fmt::Result {
    let texts = PREFIXES.iter().filter(|(_, factor)| *factor <= amount.max(1));
    let shortest = texts
        .filter_map(|(prefix, factor)| Some(format!("{}{prefix}", decimal(amount, *factor)?)))
        .min_by_key(String::len)
        .expect("the empty prefix is always there");
    f.write_str(&shortest)
}

/// `amount / factor` in decimals, if few enough to be read back.
fn decimal(amount: u64, factor: u64) -> Option<String> {
    let mut text = (amount / factor).to_string();
    let mut rest = u128::from(amount % factor);
    if rest == 0 {
        return Some(text);
    }
    text.push('.');
    for _ in 0..DECIMALS_MAX {
        rest *= 10;
        text.push(char::from(b'0' + (rest / u128::from(factor)) as u8));
        rest %= u128::from(factor);
        if rest == 0 {
            // What is read back has its digits, without the point, below 2⁶⁴.
            return text.replace('.', "").parse::<u64>().is_ok().then_some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Burst;

    #[track_caller]
    fn check_reads(text: &str, tokens: u64, period: Duration) {
        assert_eq!(Rate::new(tokens, period), Ok(text.parse().unwrap()), "{text}");
    }

    #[track_caller]
    fn check_prints(text: &str, expected: &str) {
        assert_eq!(expected, text.parse::<Rate>().unwrap().to_string());
    }

    #[track_caller]
    fn check_refuses(text: &str, expected: &str) {
        let message = text.parse::<Rate>().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn rates_are_read() {
        const SECOND: Duration = Duration::from_secs(1);
        check_reads("10MB/s", 10_000_000, SECOND);
        check_reads(" 1.5 GiB / s ", 3 << 29, SECOND);
        check_reads("100/m", 100, 60 * SECOND);
        check_reads("1M/m", 1_000_000, 60 * SECOND);
        check_reads("64kB/s", 64_000, SECOND);
        check_reads("64KB/s", 64_000, SECOND);
        check_reads("0.5/s", 1, 2 * SECOND);
        check_reads("3/250ms", 12, SECOND);
        check_reads("0B/s", 0, SECOND);
        check_reads("1/d", 1, 86_400 * SECOND);
    }

    #[test]
    fn rates_print_the_shortest_exact_text() {
        check_prints("10MB/s", "10MB/s");
        check_prints("1.5 GiB/s", "1.5GiB/s");
        check_prints("1073741824/s", "1Gi/s");
        check_prints("60/m", "1/s");
        check_prints("100/m", "100/m");
        check_prints("1/7s", "1/7s");
        check_prints("unlimited", "unlimited");
        check_prints("0MB/s", "paused");
        check_prints("1234567/s", "1234567/s");
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_reason() {
        check_refuses("", "lacks a period");
        check_refuses("10MB", "lacks a period");
        check_refuses("MB/s", "does not begin with a number");
        check_refuses("-1/s", "does not begin with a number");
        check_refuses("1./s", "does not begin with a number");
        check_refuses("1.2.3/s", "is not a number");
        check_refuses("10Mb/s", "unknown unit");
        check_refuses("10/fortnight", "unknown period");
        check_refuses("10/0s", "period of zero");
        check_refuses("10/", "unknown period");
        check_refuses("99999999999999999999/s", "is not a number");
        check_refuses("18.9E/0.1ns", "unknown period");
        check_refuses("18.4EiB/ns", "too fast");
        check_refuses("1/200000000h", "more than 584 years");
        check_refuses("0.000000000000000001/d", "too slow");
        check_refuses(&"9".repeat(1 << 20), "lacks a period");
        assert!("9".repeat(1 << 20).parse::<Rate>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn bursts_are_read_and_printed() {
        assert_eq!(Burst::new(65_536).unwrap(), "64KiB".parse().unwrap());
        assert_eq!("64Ki", Burst::new(65_536).unwrap().to_string());
        assert!("0".parse::<Burst>().is_err());
        assert!("0.5".parse::<Burst>().is_err());
        assert!("16EiB".parse::<Burst>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(tokens in any::<u64>(), nanos in 1..=1_u64 << 63) {
            let rate = Rate::new(tokens, Duration::from_nanos(nanos)).unwrap();
            prop_assert_eq!(Ok(rate), rate.to_string().parse());
        }

        #[test]
        fn round_amounts_read_back(digits in 1_u64..10_000, prefix in 0..PREFIXES.len()) {
            let (name, _) = PREFIXES[prefix];
            prop_assume!(!name.starts_with('E') && !name.starts_with('P'));
            let rate: Rate = format!("{digits}{name}B/s").parse().unwrap();
            prop_assert_eq!(Ok(rate), rate.to_string().parse());
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Burst>();
        }
    }
}
