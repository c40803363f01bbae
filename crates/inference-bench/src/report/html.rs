//! The report as one page: nothing to fetch, nothing to run.
//!
//! Plots are boxes placed in percent of their row, not pictures: they fit a phone and a desk alike, take
//! the reader's colors, and their words stay words. That is why no plotting library draws them.

mod bars;
mod plots;
mod strip;

use std::fmt::Write;

use super::escape::xml as escape;
use super::markdown::{figure, sentence};
use super::{Plot, Report, Summary};
use crate::case::CaseRecord;
use crate::gate::short;
use crate::verdict::{RunVerdict, Verdict};

const STYLE: &str = include_str!("html/page.css");

pub(super) fn render(report: &Report) -> String {
    let title = format!("{}: {}", report.tool, report.summary.verdict);
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&title)
    );
    header(&mut page, report);
    for (suite, records) in &report.suites {
        let plots = report.plots.get(suite).map_or(&[][..], Vec::as_slice);
        section(&mut page, suite, records, plots);
    }
    footer(&mut page, report);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn header(page: &mut String, report: &Report) {
    let verdict = report.summary.verdict;
    let _ = write!(
        page,
        "<header>\n<h1>{} <span class=\"badge {}\">{} {verdict}</span></h1>\n<p>{}</p>\n",
        escape(&report.tool),
        run_class(verdict),
        run_sign(verdict),
        escape(&sentence(&report.summary)),
    );
    tiles(page, &report.summary);
    for reason in &report.validity.reasons {
        let _ = writeln!(page, "<p class=\"warning\">Not to be trusted: {}</p>", escape(reason));
    }
    if !report.recommendations.is_empty() {
        page.push_str("<h2>What to do</h2>\n<ul>\n");
        for recommendation in &report.recommendations {
            let _ = writeln!(page, "<li>{}</li>", escape(&recommendation.text));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</header>\n");
}

fn tiles(page: &mut String, summary: &Summary) {
    let tiles = [
        ("passed", summary.passed),
        ("failed", summary.failed),
        ("undecided", summary.undecided),
        ("not applicable", summary.not_applicable),
        ("reported", summary.reported),
    ];
    page.push_str("<dl class=\"tiles\">\n");
    for (name, count) in tiles {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{count}</dd></div>");
    }
    page.push_str("</dl>\n");
}

fn section(page: &mut String, suite: &str, records: &[CaseRecord], plots: &[Plot]) {
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(suite));
    strip::render(page, records);
    plots::render(page, plots);
    page.push_str(
        "<div class=\"scroll\">\n<table>\n<thead><tr><th>case</th><th class=\"n\">value</th>\
         <th>interval (95 %)</th><th class=\"n\">n</th><th>gate</th><th>verdict</th>\
         <th>beside</th><th>cost</th></tr></thead>\n<tbody>\n",
    );
    records.iter().for_each(|record| row(page, record));
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn row(page: &mut String, record: &CaseRecord) {
    let value = record.value.map_or_else(|| "–".to_owned(), |value| figure(value, &record.unit));
    let interval = record.interval.map_or_else(String::new, |interval| {
        format!("{} … {}", short(interval.low), short(interval.high))
    });
    let seed_case = record.seed_case.as_deref().map(|seed_case| format!("answers {seed_case}"));
    let reason = record.reason.clone().or(seed_case).unwrap_or_default();
    let gate = record.gate.as_deref().unwrap_or("");
    let verdict = record.verdict;
    let _ = write!(page, "<tr><td>{}<small>{}</small></td>", escape(&record.case), escape(&reason));
    cell(page, "value", "n", &value);
    cell(page, "interval (95 %)", "", &interval);
    cell(page, "n", "n", &record.n.to_string());
    cell(page, "gate", "", gate);
    let _ = write!(
        page,
        "<td data-label=\"verdict\"><span class=\"badge {}\">{} {verdict}</span></td>",
        class(verdict),
        sign(verdict),
    );
    cell(page, "beside", "", &beside(record));
    cell(page, "cost", "", &cost(record));
    page.push_str("</tr>\n");
}

/// A cell that brings its column's name along: on a phone rows become cards. An empty one is left out there.
fn cell(page: &mut String, label: &str, class: &str, text: &str) {
    let text = escape(text);
    let _ = write!(page, "<td data-label=\"{label}\" class=\"{class}\">{text}</td>");
}

fn beside(record: &CaseRecord) -> String {
    let pairs: Vec<_> =
        record.beside.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
    pairs.join(", ")
}

fn cost(record: &CaseRecord) -> String {
    let mut parts = vec![format!("{} s", short(record.wall_s))];
    if let Some(cpu_s) = record.cpu_s {
        parts.push(format!("{} CPU s", short(cpu_s)));
    }
    if let Some(bytes) = record.peak_rss_bytes {
        parts.push(format!("{} MiB peak", short(bytes as f64 / f64::from(1 << 20))));
    }
    parts.join(", ")
}

fn footer(page: &mut String, report: &Report) {
    let environment = &report.environment;
    let _ = write!(
        page,
        "<footer>\n<p>{}<br>started {}",
        escape(&environment.machine.to_string()),
        escape(&environment.started)
    );
    if let Some(revision) = &environment.revision {
        let _ = write!(page, ", revision {}", escape(revision));
    }
    for (name, value) in &environment.notes {
        let _ = write!(page, "<br>{}: {}", escape(name), escape(value));
    }
    let _ = write!(page, "</p>\n<p><code>{}</code></p>\n", escape(&report.command.join(" ")));
    page.push_str("</footer>\n");
}

/// Signs beside colors: a verdict must not need an eye for red and green.
fn sign(verdict: Verdict) -> char {
    match verdict {
        Verdict::Pass => '✓',
        Verdict::Fail | Verdict::Invalid => '✕',
        Verdict::Regression => '▼',
        Verdict::Undecided => '?',
        Verdict::NotApplicable | Verdict::Reported => '·',
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "good",
        Verdict::Fail | Verdict::Invalid | Verdict::Regression => "bad",
        Verdict::Undecided => "open",
        Verdict::NotApplicable | Verdict::Reported => "plain",
    }
}

fn run_sign(verdict: RunVerdict) -> char {
    match verdict {
        RunVerdict::Pass => '✓',
        RunVerdict::Undecided | RunVerdict::Interrupted => '?',
        _ => '✕',
    }
}

fn run_class(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Pass => "good",
        RunVerdict::Undecided | RunVerdict::Interrupted => "open",
        _ => "bad",
    }
}
