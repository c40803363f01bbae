//! `inference-bench compare`: the figures of two reports, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference_bench::report::{Report, SCHEMA_VERSION};
use inference_bench::{CaseRecord, exit};
use serde_json::json;

use crate::output::Output;

/// A report that is larger was not written by us: it has some kilobytes a case.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// The options of `compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The `report.json` to compare with.
    a: PathBuf,
    /// The `report.json` that is compared.
    b: PathBuf,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench compare before/report.json after/report.json
  inference-bench compare before/report.json after/report.json --json

Advice, and no verdict: two runs at different times differ by the moods of their machine. What decides is
`ab`, which runs both commands in turn.

Exit codes: 0 compared, 4 a report cannot be used, 64 usage.";

/// One figure, as each report has it.
type Pair<'a> = [Option<&'a CaseRecord>; 2];

/// Prints what both have, and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    let output = Output::new(options.json);
    let reports = read(&options.a).and_then(|a| Ok([a, read(&options.b)?]));
    let [a, b] = match reports {
        Ok(reports) => reports,
        Err(error) => {
            output.remark(&format!("error: {error}"));
            return exit::INVALID;
        }
    };
    if let Some(difference) = a.environment.machine.difference(&b.environment.machine) {
        output.result(&format!("they come from different machines: {difference}"));
    }
    for (case, pair) in paired(&a, &b) {
        output.result(&line(&case, pair));
        let [was, is] = pair.map(|record| record.map(|record| json!(record)));
        output.event(
            "case",
            json!({ "case": case, "a": was, "b": is, "ratio": ratio(pair), "apart": is_apart(pair) }),
        );
    }
    output.result("advice only: moods of the machine are in it; `inference-bench ab` decides");
    exit::OK
}

fn read(path: &Path) -> Result<Report, String> {
    let told = |what: String| format!("cannot use {}: {what}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| told(error.to_string()))?.len();
    if REPORT_BYTES_MAX < bytes {
        return Err(told("it is too large to be a report".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|error| told(format!("it is no report: {error}")))?;
    if SCHEMA_VERSION < report.schema_version {
        let version = report.schema_version;
        return Err(told(format!("it has schema {version}, and {SCHEMA_VERSION} is known here")));
    }
    Ok(report)
}

/// Every figure that one of them has, by `suite/case`.
fn paired<'a>(a: &'a Report, b: &'a Report) -> BTreeMap<String, Pair<'a>> {
    let mut pairs = BTreeMap::<String, Pair<'a>>::new();
    for (side, report) in [a, b].into_iter().enumerate() {
        for (suite, records) in &report.suites {
            for record in records.iter().filter(|record| record.value.is_some()) {
                pairs.entry(format!("{suite}/{}", record.case)).or_default()[side] = Some(record);
            }
        }
    }
    pairs
}

fn line(case: &str, pair: Pair<'_>) -> String {
    let told = |record: Option<&CaseRecord>| match record.and_then(|record| record.value) {
        Some(value) => format!("{value:.4}"),
        None => "-".to_owned(),
    };
    let unit = pair.iter().flatten().next().map_or("", |record| &record.unit);
    let ratio = ratio(pair).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
    let (a, b) = (told(pair[0]), told(pair[1]));
    format!("{case:<48} {a:>16} {b:>16} {unit:<10} {ratio:>8} {}", note(pair)).trim_end().to_owned()
}

fn note(pair: Pair<'_>) -> &'static str {
    match (pair, is_apart(pair)) {
        ([Some(_), None], _) => "in the first alone",
        ([None, Some(_)], _) => "in the second alone",
        ([Some(a), Some(b)], _) if a.unit != b.unit => "their units differ",
        (_, Some(true)) => "their intervals are apart",
        (_, Some(false)) => "their intervals overlap",
        _ => "",
    }
}

/// The second in terms of the first, where both count the same.
fn ratio(pair: Pair<'_>) -> Option<f64> {
    let [a, b] = [pair[0]?, pair[1]?];
    let was = a.value.filter(|&value| value != 0.0 && a.unit == b.unit)?;
    Some(b.value? / was)
}

/// Whether no figure is covered by both intervals, where both have one.
fn is_apart(pair: Pair<'_>) -> Option<bool> {
    let [a, b] = [pair[0]?.interval?, pair[1]?.interval?];
    Some(a.high < b.low || b.high < a.low)
}

#[cfg(test)]
mod tests {
    use inference_bench::stats::Interval;

    use super::*;

    fn record(value: f64, interval: Option<(f64, f64)>) -> CaseRecord {
        let mut record = CaseRecord::new("ttft/p50", "ms");
        record.value = Some(value);
        record.interval = interval.map(|(low, high)| Interval { low, high });
        record
    }

    #[test]
    fn a_ratio_is_told_where_both_count_the_same() {
        let (a, mut b) = (record(2.0, None), record(3.0, None));
        assert_eq!(Some(1.5), ratio([Some(&a), Some(&b)]));
        assert_eq!(None, ratio([Some(&a), None]));
        assert_eq!(None, ratio([Some(&record(0.0, None)), Some(&b)]));
        b.unit = "s".to_owned();
        assert_eq!(None, ratio([Some(&a), Some(&b)]));
        assert!(line("stream/ttft/p50", [Some(&a), Some(&b)]).ends_with("their units differ"));
        assert!(line("stream/ttft/p50", [None, Some(&a)]).ends_with("in the second alone"));
    }

    #[test]
    fn intervals_are_apart_or_overlap_where_both_have_one() {
        let apart = |a, b| is_apart([Some(&record(1.0, a)), Some(&record(1.0, b))]);
        assert_eq!(Some(true), apart(Some((1.0, 2.0)), Some((3.0, 4.0))));
        assert_eq!(Some(true), apart(Some((3.0, 4.0)), Some((1.0, 2.0))));
        assert_eq!(Some(false), apart(Some((1.0, 3.0)), Some((2.0, 4.0))));
        assert_eq!(None, apart(None, Some((2.0, 4.0))));
    }
}
