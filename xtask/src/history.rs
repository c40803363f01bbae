//! `cargo xtask report`: the last runs of `cargo xtask perf` on this machine, case by case.
//!
//! Each complete run of all cases leaves a line in `target/perf/history.ndjson`, which keeps the last 50. Where a case
//! seems to have changed, the first run after the change is named. That is advice: runs of different days
//! differ for reasons of their own, and only pairs against a kept build decide (`perf --baseline`).

mod change;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use inference_bench::report::Report;
use inference_bench::stats::median;
use serde_json::{Value, json};

use self::change::{Change, change};
use crate::cargo::root;
use crate::perf::suites::matches;
use crate::steps::{Failure, out};

/// Runs that are kept, whatever was run in them.
const RUNS_MAX: usize = 50;
/// The heights of a line of figures.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What to show.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Shows cases whose `suite/case` or `case` matches; `*` stands for any text.
    #[arg(long = "case", value_name = "GLOB")]
    cases: Vec<String>,
}

fn path() -> PathBuf {
    root().join("target/perf/history.ndjson")
}

/// Adds a run to the history.
pub(crate) fn add(report: &Report, mode: &str) -> Result<(), Failure> {
    let figures: BTreeMap<String, Value> = report
        .suites
        .iter()
        .flat_map(|(suite, records)| records.iter().map(move |record| (suite, record)))
        .filter_map(|(suite, record)| {
            let figure = json!({ "value": record.value?, "unit": record.unit });
            Some((format!("{suite}/{}", record.case), figure))
        })
        .collect();
    let environment = &report.environment;
    let line = json!({ "started": environment.started, "revision": environment.revision,
        "machine": environment.machine.to_string(), "mode": mode,
        "verdict": report.summary.verdict.to_string(), "figures": figures });
    let path = path();
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut lines: Vec<&str> = before.lines().collect();
    let line = line.to_string();
    lines.push(&line);
    let kept = lines[lines.len().saturating_sub(RUNS_MAX)..].join("\n") + "\n";
    // A reader finds the old file or the new one, never a half of either.
    let new = path.with_extension("new");
    fs::create_dir_all(root().join("target/perf"))
        .and_then(|()| fs::write(&new, kept))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Prints the history.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let text = fs::read_to_string(path()).unwrap_or_default();
    let runs: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let Some(last) = runs.last() else {
        return Err("there is no run yet: `cargo xtask perf` makes one".to_owned());
    };
    let alike = |run: &&Value| run["machine"] == last["machine"] && run["mode"] == last["mode"];
    let runs: Vec<&Value> = runs.iter().filter(alike).collect();
    out(&format!("{} runs, {}, on {}:", runs.len(), word(last, "mode"), word(last, "machine")));
    for (number, run) in runs.iter().enumerate() {
        let [started, revision, verdict] = ["started", "revision", "verdict"].map(|k| word(run, k));
        out(&format!("{:>3}  {started}  {revision:<13}  {verdict}", number + 1));
    }
    out(&format!("\n{:<52} {:>4} {:>14} {:>14}", "case", "runs", "median", "last"));
    for (case, series) in series(&runs) {
        let (suite, name) = case.split_once('/').unwrap_or(("", case));
        if matches(&options.cases, suite, name) {
            out(&row(case, &series));
        }
    }
    Ok(())
}

fn word<'a>(run: &'a Value, key: &str) -> &'a str {
    run[key].as_str().unwrap_or("unknown")
}

/// The figures of one case, with the numbers of their runs.
#[derive(Debug, Default)]
struct Series<'a> {
    unit: &'a str,
    runs: Vec<usize>,
    values: Vec<f64>,
}

fn series<'a>(runs: &[&'a Value]) -> BTreeMap<&'a str, Series<'a>> {
    let mut all: BTreeMap<&str, Series<'_>> = BTreeMap::new();
    for (number, run) in runs.iter().enumerate() {
        for (case, figure) in run["figures"].as_object().into_iter().flatten() {
            if let (Some(value), Some(unit)) = (figure["value"].as_f64(), figure["unit"].as_str()) {
                let series = all.entry(case).or_default();
                series.unit = unit;
                series.runs.push(number + 1);
                series.values.push(value);
            }
        }
    }
    all
}

fn row(case: &str, series: &Series<'_>) -> String {
    let Series { unit, runs, values } = series;
    let last = values.last().copied().unwrap_or(f64::NAN);
    let changed = change(values).map_or_else(String::new, |Change { at, ratio }| {
        format!("  changed with run {}, × {ratio:.3} (advisory)", runs[at])
    });
    let (median, line) = (median(values), line(values));
    format!("{case:<52} {:>4} {median:>14.4} {last:>14.4} {unit:<12} {line}{changed}", values.len())
}

/// The figures as a line of heights between the least and the greatest.
fn line(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let steps = (HEIGHTS.len() - 1) as f64;
    let share = |value: &f64| if low < high { (value - low) / (high - low) } else { 0.0 };
    values.iter().map(|value| HEIGHTS[(share(value) * steps).round() as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_drawn_between_the_least_and_the_greatest() {
        assert_eq!("▁█▅", line(&[1.0, 8.0, 5.0]));
        assert_eq!("▁▁", line(&[3.0, 3.0]));
    }

    #[test]
    fn a_series_knows_the_numbers_of_its_runs() {
        let figure = |value: f64| json!({ "figures": { "a/b": { "value": value, "unit": "ns" } } });
        let (first, second, third) = (figure(1.0), json!({ "figures": {} }), figure(3.0));
        let all = series(&[&first, &second, &third]);
        assert_eq!(
            (vec![1, 3], vec![1.0, 3.0]),
            (all["a/b"].runs.clone(), all["a/b"].values.clone())
        );
        assert!(row("a/b", &all["a/b"]).ends_with("▁█"));
    }
}
