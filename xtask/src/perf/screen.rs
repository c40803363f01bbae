//! What a run shows while it works and when it is done.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use inference_bench::CaseRecord;
use inference_bench::report::Report;
use serde_json::{Value, json};

use super::program::Listed;
use super::suites::Suite;
use crate::steps::{out, say};

/// Lines for people, or events for programs.
pub(crate) struct Screen {
    json: bool,
    start: Instant,
    bar: ProgressBar,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        let visible = !json && std::io::stderr().is_terminal();
        let bar = if visible { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{wide_bar:.cyan} {pos}/{len} {msg} {elapsed}")
            .expect("the template is well formed");
        Self { json, start: Instant::now(), bar: bar.with_style(style) }
    }

    /// Lists the cases of a suite.
    pub(crate) fn list(&self, suite: &str, cases: &[Listed]) {
        for case in cases {
            if self.json {
                let event = json!({ "suite": suite, "case": case.name, "paired": case.paired,
                    "seed_case": case.seed_case, "expected_ms": case.expected_s * 1e3 });
                self.event("case", event);
                continue;
            }
            let seed_case = case.seed_case.as_deref().unwrap_or("");
            let name = format!("{suite}/{}", case.name);
            out(&format!("{name:<56} {:>7.1} s  {seed_case}", case.expected_s));
        }
    }

    /// A suite begins.
    pub(crate) fn suite(&self, suite: &Suite, cases: usize, expected_s: f64) {
        let event = json!({ "suite": suite.name, "cases": cases, "expected_ms": expected_s * 1e3 });
        self.event("suite", event);
        let budget = suite.budget_s;
        let line = format!(
            "── {}: {cases} cases, about {expected_s:.0} s (budget {budget} s)",
            suite.name
        );
        self.say(&line);
        self.bar.set_length(cases as u64);
    }

    /// A case begins.
    pub(crate) fn case(&self, name: &str, done: usize, _cases: usize) {
        self.bar.set_position(done as u64);
        self.bar.set_message(name.to_owned());
    }

    /// A case is done.
    pub(crate) fn record(&self, suite: &str, record: &CaseRecord) {
        let mut event = json!(record);
        event["suite"] = suite.into();
        self.event("record", event);
        self.bar.suspend(|| self.result(&row(record)));
    }

    /// Something to know.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// A suite is done.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
        self.bar.reset();
    }

    /// The run is done.
    pub(crate) fn end(&self, report: &Report, folder: &Path) {
        let summary = &report.summary;
        self.event("end", json!({ "summary": summary, "report": folder.join("report.json") }));
        let open = report.suites.iter().flat_map(|(suite, records)| {
            let undecided = |r: &&CaseRecord| r.verdict == inference_bench::Verdict::Undecided;
            records.iter().filter(undecided).map(move |record| (suite, record))
        });
        for (suite, record) in open {
            let reason = record.reason.as_deref().unwrap_or_default();
            self.result(&format!("undecided: {suite}/{}: {reason}", record.case));
        }
        for recommendation in &report.recommendations {
            self.result(&recommendation.text);
        }
        self.result(&format!("report: {}", folder.join("report.html").display()));
        self.result(&format!(
            "{} passed, {} failed, {} undecided, {} not applicable, {} reported",
            summary.passed,
            summary.failed,
            summary.undecided,
            summary.not_applicable,
            summary.reported
        ));
        self.result(&format!("verdict: {}", summary.verdict));
    }

    /// A line of the result: on stdout, unless that belongs to NDJSON.
    fn result(&self, line: &str) {
        if self.json { say(line) } else { out(line) }
    }

    fn event(&self, name: &str, mut fields: Value) {
        if self.json {
            fields["event"] = name.into();
            fields["t_ms"] = (self.start.elapsed().as_millis() as u64).into();
            out(&fields.to_string());
        }
    }
}

fn row(record: &CaseRecord) -> String {
    let value = record.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let gate = record.gate.as_deref().unwrap_or("");
    let reason = record.reason.as_deref().unwrap_or("");
    let (case, unit, verdict) = (&record.case, &record.unit, record.verdict);
    format!("{case:<44} {value:>14} {unit:<8} {verdict:<10} {gate}  {reason}").trim_end().to_owned()
}
