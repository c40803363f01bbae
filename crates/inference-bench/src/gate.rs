//! Limits, and what a measured interval says about them.

use serde::{Deserialize, Serialize};

use crate::stats::Interval;
use crate::verdict::Verdict;

/// On which side of a limit the good values are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The limit and all below it.
    AtMost,
    /// The limit and all above it.
    AtLeast,
}

/// A demand on a figure.
///
/// # Examples
///
/// ```
/// use inference_bench::{Limit, Verdict, stats::Interval};
///
/// let limit = Limit::at_most(1.25);
/// let straddles = Some(Interval { low: 1.2, high: 1.3 });
/// let (verdict, reason) = limit.judge(Some(1.24), straddles, "ratio");
/// assert_eq!(Verdict::Undecided, verdict);
/// assert_eq!("1.24 ratio, but 1.2 to 1.3 holds the limit of 1.25", reason.unwrap());
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Limit {
    /// Where the good values are.
    pub side: Side,
    /// The limit itself, in the unit of the figure; it still is good.
    pub value: f64,
}

impl Limit {
    /// Demands a figure of at most this much.
    #[must_use]
    pub fn at_most(value: f64) -> Self {
        Self { side: Side::AtMost, value }
    }

    /// Demands a figure of at least this much.
    #[must_use]
    pub fn at_least(value: f64) -> Self {
        Self { side: Side::AtLeast, value }
    }

    /// Says the demand to people: `at most 30 ns`.
    #[must_use]
    pub fn in_words(&self, unit: &str) -> String {
        let side = match self.side {
            Side::AtMost => "at most",
            Side::AtLeast => "at least",
        };
        format!("{side} {} {unit}", short(self.value))
    }

    /// Judges a figure: by its whole interval, or by itself where it is exact.
    ///
    /// The reason is `None` for a plain pass.
    #[must_use]
    pub fn judge(
        &self,
        value: Option<f64>,
        interval: Option<Interval>,
        unit: &str,
    ) -> (Verdict, Option<String>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return (Verdict::Undecided, Some("there is no value to judge".to_owned()));
        };
        let Interval { low, high } = interval.unwrap_or(Interval { low: value, high: value });
        let limit = short(self.value);
        match (self.holds(low), self.holds(high)) {
            (true, true) => (Verdict::Pass, None),
            (false, false) => {
                let reason = format!("{} {unit} is beyond the limit of {limit}", short(value));
                (Verdict::Fail, Some(reason))
            }
            _ => {
                let (value, low, high) = (short(value), short(low), short(high));
                let reason =
                    format!("{value} {unit}, but {low} to {high} holds the limit of {limit}");
                (Verdict::Undecided, Some(reason))
            }
        }
    }

    fn holds(&self, value: f64) -> bool {
        match self.side {
            Side::AtMost => value <= self.value,
            Side::AtLeast => self.value <= value,
        }
    }
}

/// A number with four significant digits, and all of them before the point: enough to compare, short
/// enough to read. Thousands are set apart by a narrow space that no line breaks at.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..=15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return grouped(&text);
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(digits: &str) -> String {
    const THOUSANDS: char = '\u{202f}';
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) && 4 < digits.len() {
            text.push(THOUSANDS);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: &Limit, low: f64, high: f64, expected: Verdict) {
        let interval = Some(Interval { low, high });
        let value = Some(f64::midpoint(low, high));
        assert_eq!(expected, limit.judge(value, interval, "ns").0);
    }

    #[test]
    fn the_whole_interval_decides() {
        let limit = Limit::at_most(10.0);
        check(&limit, 8.0, 10.0, Verdict::Pass);
        check(&limit, 9.0, 10.1, Verdict::Undecided);
        check(&limit, 10.1, 12.0, Verdict::Fail);
        let limit = Limit::at_least(10.0);
        check(&limit, 10.0, 12.0, Verdict::Pass);
        check(&limit, 9.0, 10.1, Verdict::Undecided);
        check(&limit, 8.0, 9.9, Verdict::Fail);
    }

    #[test]
    fn an_exact_value_is_its_own_interval() {
        assert_eq!(Verdict::Pass, Limit::at_most(0.0).judge(Some(0.0), None, "bytes").0);
        assert_eq!(Verdict::Fail, Limit::at_most(0.0).judge(Some(1.0), None, "bytes").0);
    }

    #[test]
    fn what_is_no_number_is_never_passed() {
        for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(Verdict::Undecided, Limit::at_least(0.0).judge(value, None, "s").0);
        }
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (1.25, "1.25"), (1234.5, "1234"), (0.001_234_56, "0.001235")];
        for (value, expected) in cases {
            assert_eq!(expected, short(value));
        }
        assert_eq!("100", short(100.0));
        assert_eq!("1.000e-7", short(1e-7));
        assert_eq!("2\u{202f}147\u{202f}483\u{202f}648", short(2_147_483_648.0));
        assert_eq!("-12\u{202f}345", short(-12_345.0));
    }
}
