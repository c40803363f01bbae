//! One measured case, as suites print it and reports keep it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::Limit;
use crate::stats::Interval;
use crate::verdict::Verdict;

/// One measured case: its figure, what is behind it, what it cost, and the verdict.
///
/// Suites print one such object a line. Keys that a reader does not know are to be ignored; a number
/// that is not known is `null`, never 0.
///
/// # Examples
///
/// ```
/// use inference_bench::{CaseRecord, Limit, Verdict};
///
/// let mut record = CaseRecord::new("limiter/admit", "ns");
/// record.value = Some(24.0);
/// record.judge(Limit::at_most(30.0));
/// assert_eq!(Verdict::Pass, record.verdict);
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CaseRecord {
    /// The case, unique within its suite.
    pub case: String,
    /// The case of the founding documents that this one answers.
    pub seed_case: Option<String>,
    /// The figure, in `unit`; `None` with a `reason` where it could not be had.
    pub value: Option<f64>,
    /// What the figure counts: `ns`, `ratio`, `bytes/s`, `%`.
    pub unit: String,
    /// How many repetitions stand behind the figure.
    pub n: u64,
    /// Covers the true figure with 95 % confidence.
    pub interval: Option<Interval>,
    /// What an ideal machine would show, in `unit`, where a model of it exists.
    pub expected: Option<f64>,
    /// Wall time of the case, in seconds.
    pub wall_s: f64,
    /// CPU time of the case and of the processes it started, in seconds.
    pub cpu_s: Option<f64>,
    /// Peak resident memory of the measured process, in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Resident memory of the measured process without page cache when the case ended, in bytes.
    #[serde(default)]
    pub working_set_bytes: Option<u64>,
    /// Bytes that the case moved.
    pub bytes: Option<u64>,
    /// What is demanded, in words: `at most 30 ns`.
    pub gate: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why the verdict is not a plain pass, or what the figure rests on.
    pub reason: Option<String>,
    /// Whether the case counts for the real-time compliance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub real_time: bool,
    /// The limit behind `gate`, where it is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Figures beside the main one, each with its unit in its name: `governor_ns`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<String, f64>,
}

impl CaseRecord {
    /// Under what name in `beside` a suite tells how long a fixed piece of arithmetic took, in microseconds:
    /// the pace of the processor, by which `cargo xtask perf` compares cases.
    pub const STRETCH_US: &str = "stretch_us";

    /// Starts a record without figures and without a gate.
    #[must_use]
    pub fn new(case: impl Into<String>, unit: impl Into<String>) -> Self {
        Self {
            case: case.into(),
            seed_case: None,
            value: None,
            unit: unit.into(),
            n: 0,
            interval: None,
            expected: None,
            wall_s: 0.0,
            cpu_s: None,
            peak_rss_bytes: None,
            working_set_bytes: None,
            bytes: None,
            gate: None,
            verdict: Verdict::Reported,
            reason: None,
            real_time: false,
            limit: None,
            beside: BTreeMap::new(),
        }
    }

    /// Judges the figure by a limit and keeps both gate and verdict.
    pub fn judge(&mut self, limit: Limit) {
        self.gate = Some(limit.in_words(&self.unit));
        self.limit = Some(limit);
        (self.verdict, self.reason) = limit.judge(self.value, self.interval, &self.unit);
    }

    /// Takes the verdict back: the measurement does not carry it, for this reason.
    pub fn withdraw(&mut self, verdict: Verdict, reason: impl Into<String>) {
        self.verdict = verdict;
        self.reason = Some(reason.into());
    }

    /// How much of the ideal was reached, where a model of it exists: expected / measured.
    #[must_use]
    pub fn efficiency(&self) -> Option<f64> {
        Some(self.expected? / self.value.filter(|&value| value != 0.0)?)
    }
}
