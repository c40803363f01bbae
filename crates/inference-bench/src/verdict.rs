//! Verdicts of cases and of whole runs, and the exit codes that scripts rely on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of one case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The gate is met, and the interval says so too.
    Pass,
    /// The gate is missed, and the interval says so too.
    Fail,
    /// Worse than the baseline, twice.
    Regression,
    /// The measurement does not carry a verdict: the interval holds the limit, or the machine was busy.
    Undecided,
    /// The measurement itself is wrong: an answer did not check, a program died.
    Invalid,
    /// The gate makes no sense on this machine; the reason has the numbers.
    NotApplicable,
    /// There is no gate; the value is for the reader.
    Reported,
}

impl Verdict {
    /// Whether the case was to be judged at all.
    #[must_use]
    pub fn is_gated(self) -> bool {
        !matches!(self, Self::Reported | Self::NotApplicable)
    }

    /// Whether the case was judged, one way or the other.
    #[must_use]
    pub fn is_decided(self) -> bool {
        self.is_gated() && self != Self::Undecided
    }

    /// The word in reports: that of the JSON, with spaces.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Regression => "regression",
            Self::Undecided => "undecided",
            Self::Invalid => "invalid",
            Self::NotApplicable => "not applicable",
            Self::Reported => "reported",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of a whole run: the last word that a program prints.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunVerdict {
    /// Nothing failed.
    Pass,
    /// A target was missed.
    Fail,
    /// Something is worse than the baseline.
    Regression,
    /// A measurement is wrong or cannot be trusted.
    Invalid,
    /// A verdict was demanded where the measurement carries none.
    Undecided,
    /// Somebody ended the run; the report holds what was done until then.
    Interrupted,
}

impl fmt::Display for RunVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Regression => "regression",
            Self::Invalid => "invalid",
            Self::Undecided => "undecided",
            Self::Interrupted => "interrupted",
        })
    }
}

/// The exit codes, as the programs' contract has them.
pub mod exit {
    /// All targets met.
    pub const OK: u8 = 0;
    /// The success rate is under 80 %.
    pub const SUCCESS_RATE: u8 = 1;
    /// The real-time compliance is under 90 %.
    pub const COMPLIANCE: u8 = 2;
    /// Worse than the baseline.
    pub const REGRESSION: u8 = 3;
    /// Invalid, untrusted, or undecided where a verdict was demanded.
    pub const INVALID: u8 = 4;
    /// Another target missed.
    pub const TARGET: u8 = 5;
    /// The command line is wrong. Not 2: there it would pass for a verdict.
    pub const USAGE: u8 = 64;
    /// Interrupted; a valid partial report is left.
    pub const INTERRUPTED: u8 = 130;
    /// The same, by SIGTERM.
    pub const TERMINATED: u8 = 143;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_json_is_in_snake_case() {
        let json = serde_json::to_string(&Verdict::NotApplicable).unwrap();
        assert_eq!(r#""not_applicable""#, json);
    }

    #[test]
    fn what_is_reported_is_not_judged() {
        assert!(!Verdict::Reported.is_gated());
        assert!(Verdict::Undecided.is_gated() && !Verdict::Undecided.is_decided());
        assert!(Verdict::Invalid.is_decided());
    }
}
