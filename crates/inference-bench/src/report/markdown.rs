//! The report as Markdown.

use std::fmt::Write;

use super::escape::markdown as escape;
use super::{Report, Summary};
use crate::case::CaseRecord;
use crate::gate::short;

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# {}: {}\n", escape(&report.tool), report.summary.verdict);
    let _ = writeln!(text, "{}\n", sentence(&report.summary));
    let _ = writeln!(text, "- machine: {}", escape(&report.environment.machine.to_string()));
    let _ = writeln!(text, "- started: {}", escape(&report.environment.started));
    if let Some(revision) = &report.environment.revision {
        let _ = writeln!(text, "- revision: {}", escape(revision));
    }
    for reason in &report.validity.reasons {
        let _ = writeln!(text, "- **not to be trusted**: {}", escape(reason));
    }
    for (suite, records) in &report.suites {
        let _ = writeln!(text, "\n## {}\n", escape(suite));
        text.push_str("| case | value | interval (95 %) | n | gate | verdict | reason |\n");
        text.push_str("|---|---:|---|---:|---|---|---|\n");
        records.iter().for_each(|record| row(&mut text, record));
    }
    if !report.recommendations.is_empty() {
        text.push_str("\n## What to do\n\n");
        for recommendation in &report.recommendations {
            let _ = writeln!(text, "- {}", escape(&recommendation.text));
        }
    }
    text
}

/// The outcome in one sentence.
pub(super) fn sentence(summary: &Summary) -> String {
    let Summary { passed, failed, undecided, not_applicable, reported, .. } = summary;
    format!(
        "{passed} passed, {failed} failed, {undecided} undecided, {not_applicable} not applicable, \
         {reported} reported; success rate {} %, real-time compliance {} %.",
        short(summary.success_rate),
        short(summary.real_time_compliance_rate)
    )
}

fn row(text: &mut String, record: &CaseRecord) {
    let value = record.value.map_or_else(|| "–".to_owned(), |value| figure(value, &record.unit));
    let interval = record
        .interval
        .map_or_else(|| "–".to_owned(), |i| format!("{} … {}", short(i.low), short(i.high)));
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} |",
        escape(&record.case),
        escape(&value),
        interval,
        record.n,
        escape(record.gate.as_deref().unwrap_or("–")),
        record.verdict,
        escape(record.reason.as_deref().unwrap_or("")),
    );
}

/// A value with its unit.
pub(super) fn figure(value: f64, unit: &str) -> String {
    format!("{} {unit}", short(value))
}
