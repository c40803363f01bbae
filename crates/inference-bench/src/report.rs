//! The report of a run: one object, told as JSON, Markdown, JUnit and a page to look at.

mod csv;
mod escape;
mod html;
mod junit;
mod markdown;
mod plot;
mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::CaseRecord;
use crate::machine::Fingerprint;
use crate::verdict::Verdict;

pub use plot::{Axis, BarRow, Drawing, HeatRow, Plot, Series};
pub use summary::{Rates, Run, Summary};

/// The form of `report.json` that this version writes; `schema/report.schema.json` describes it.
pub const SCHEMA_VERSION: u64 = 1;

/// Where and when a run took place.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Environment {
    /// The machine.
    #[serde(flatten)]
    pub machine: Fingerprint,
    /// When it began, as RFC 3339 in UTC.
    pub started: String,
    /// The revision of the sources, where known; `+` at the end where files differ from it.
    pub revision: Option<String>,
    /// What was noticed about the machine: congestion control, frequency governor, container limits.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

impl Environment {
    /// This machine, from this instant on, as RFC 3339 in UTC; nothing else is known.
    #[must_use]
    pub fn new(machine: Fingerprint, started: impl Into<String>) -> Self {
        Self { machine, started: started.into(), revision: None, notes: BTreeMap::new() }
    }
}

/// What can be said about the measurement itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Measurement {
    /// Which clock stamped the events: `kernel` or `user`.
    pub stamp: Option<String>,
    /// Error of the time to first token, in microseconds by quantile.
    pub ttft_err_us: Option<BTreeMap<String, f64>>,
    /// Error of the gaps between chunks, in microseconds by quantile.
    pub icl_err_us: Option<BTreeMap<String, f64>>,
    /// Error of the gaps of a stream of our own beside the load, in microseconds by quantile.
    #[serde(default)]
    pub canary_err_us: Option<BTreeMap<String, f64>>,
    /// How late requests were sent, in microseconds by quantile.
    pub send_lag_us: Option<BTreeMap<String, f64>>,
    /// Events that shared a read, in percent.
    pub coalesced_pct: Option<f64>,
    /// CPU time that the hypervisor kept for itself, in percent of the machine.
    pub steal_pct: Option<f64>,
    /// CPU time of processes that are not ours, in percent of the machine.
    pub foreign_cpu_pct: Option<f64>,
    /// CPU time of ours, in percent of the machine.
    pub cpu_pct: Option<f64>,
}

/// Whether the run as a whole can be trusted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Validity {
    /// No reason against it was found.
    pub valid: bool,
    /// The reasons against it.
    pub reasons: Vec<String>,
}

/// Something to do, and the number behind it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Recommendation {
    /// Which figure.
    pub metric: String,
    /// What it is.
    pub value: Option<f64>,
    /// What it should be.
    pub limit: Option<f64>,
    /// What to do.
    pub text: String,
}

/// All that is known about a run.
///
/// # Examples
///
/// ```
/// use inference_bench::report::{Environment, Report, Run};
/// use inference_bench::{CaseRecord, Fingerprint, Limit};
///
/// let machine = Fingerprint::read("", "", "", 2);
/// let environment = Environment::new(machine, "2026-11-22T10:00:00Z");
/// let mut record = CaseRecord::new("sum", "ns");
/// record.value = Some(3.0);
/// record.judge(Limit::at_most(5.0));
///
/// let mut report = Report::new("perf", environment);
/// report.add("micro", record);
/// report.finish(Run::default());
/// assert_eq!(0, report.summary.exit_code);
/// assert!(report.to_markdown().contains("| sum |"));
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u64,
    /// What wrote it: name and version.
    pub tool: String,
    /// The command line, without secrets.
    pub command: Vec<String>,
    /// Where and when.
    pub environment: Environment,
    /// The outcome.
    pub summary: Summary,
    /// What was demanded, in words by `suite/case`; the founding suite's targets are numbers, by its names.
    pub performance_targets: BTreeMap<String, Value>,
    /// Figures by model; empty where no model was measured.
    pub results_by_model: BTreeMap<String, Value>,
    /// What to do, the most urgent first.
    pub recommendations: Vec<Recommendation>,
    /// What is known about the measurement itself.
    pub measurement: Measurement,
    /// Whether the run can be trusted.
    pub validity: Validity,
    /// The raw records, relative to the report.
    pub records_path: Option<String>,
    /// The cases by suite.
    #[serde(default)]
    pub suites: BTreeMap<String, Vec<CaseRecord>>,
    /// The plots by suite, beside those that every suite has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plots: BTreeMap<String, Vec<Plot>>,
}

impl Report {
    /// Starts the report of this tool.
    #[must_use]
    pub fn new(tool: impl Into<String>, environment: Environment) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool: tool.into(),
            command: Vec::new(),
            environment,
            summary: Summary::of(&[], &Run::default()),
            performance_targets: BTreeMap::new(),
            results_by_model: BTreeMap::new(),
            recommendations: Vec::new(),
            measurement: Measurement::default(),
            validity: Validity { valid: true, reasons: Vec::new() },
            records_path: None,
            suites: BTreeMap::new(),
            plots: BTreeMap::new(),
        }
    }

    /// Adds a case to a suite.
    pub fn add(&mut self, suite: &str, record: CaseRecord) {
        self.suites.entry(suite.to_owned()).or_default().push(record);
    }

    /// Adds a plot to a suite. What has nothing to draw is left out.
    pub fn add_plot(&mut self, suite: &str, plot: Plot) {
        if !plot.is_empty() {
            self.plots.entry(suite.to_owned()).or_default().push(plot);
        }
    }

    /// Draws the conclusions: summary, targets, recommendations.
    pub fn finish(&mut self, run: Run) {
        self.finish_with_rates(run, Rates::default());
    }

    /// The same, where the rates count something else than cases: requests.
    pub fn finish_with_rates(&mut self, run: Run, rates: Rates) {
        let records: Vec<&CaseRecord> = self.suites.values().flatten().collect();
        self.summary = Summary::with_rates(&records, &run, rates);
        for (suite, records) in &self.suites {
            for record in records {
                if let Some(gate) = &record.gate {
                    let case = format!("{suite}/{}", record.case);
                    self.performance_targets.insert(case, gate.as_str().into());
                }
            }
        }
        self.recommendations = self.recommend();
        self.validity.reasons.extend(run.invalid_reasons);
        self.validity.valid = self.validity.reasons.is_empty();
    }

    fn recommend(&self) -> Vec<Recommendation> {
        let mut recommendations = Vec::new();
        for (suite, records) in &self.suites {
            let urgent = |record: &&CaseRecord| record.verdict.is_decided();
            for record in records.iter().filter(urgent) {
                recommendations.extend(recommendation(suite, record));
            }
        }
        recommendations
    }

    /// The text of `report.json`.
    ///
    /// # Panics
    ///
    /// Never: all keys are strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are strings") + "\n"
    }

    /// The text of `report.md`: tables that read well as plain text too.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The text of `report.csv`: the cases, for tables.
    #[must_use]
    pub fn to_csv(&self) -> String {
        csv::render(self)
    }

    /// The text of `junit.xml`, for CI systems that list failed cases.
    #[must_use]
    pub fn to_junit(&self) -> String {
        junit::render(self)
    }

    /// The text of `report.html`: one page with its styles and plots inside, no request to any network,
    /// light and dark as the reader's system has it, for screens from 390 pixels on.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(self)
    }
}

fn recommendation(suite: &str, record: &CaseRecord) -> Option<Recommendation> {
    let what_to_do = match record.verdict {
        Verdict::Fail => "misses its target",
        Verdict::Regression => "is slower than the baseline; compare the two revisions",
        Verdict::Invalid => "measured something wrong; mend the case before reading its numbers",
        _ => return None,
    };
    let reason = record.reason.as_deref().unwrap_or_default();
    Some(Recommendation {
        metric: format!("{suite}/{}", record.case),
        value: record.value,
        limit: record.limit.as_ref().map(|limit| limit.value),
        text: format!("{suite}/{} {what_to_do}: {reason}", record.case),
    })
}
