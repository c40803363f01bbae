//! Figures of an earlier run: kept, and compared with.

use std::path::Path;

use inference_bench::report::Report;
use inference_bench::{Baseline, CaseRecord, Verdict, process};

/// A percentile that is worse by less than this is as good as equal: what moods of a machine do.
const WORSE_MIN: f64 = 1.05;

/// Keeps the figures of a report.
pub(crate) fn save_baseline(name: &str, report: &Report, path: &Path) -> Result<(), String> {
    let mut baseline = Baseline::new(name, process::fingerprint());
    for (suite, records) in &report.suites {
        for record in records.iter().filter(|record| record.value.is_some()) {
            baseline.cases.insert(format!("{suite}/{}", record.case), record.clone());
        }
    }
    if baseline.cases.is_empty() {
        return Err("there are no figures to keep".to_owned());
    }
    std::fs::write(path, baseline.to_json())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Compares a report with kept figures of the same command: a latency whose whole interval is worse than the whole interval
/// before is a regression. On another machine nothing is.
pub(crate) fn compare(name: &str, report: &mut Report, path: &Path) -> Result<(), String> {
    let told = |what: String| format!("cannot compare with {}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let baseline = Baseline::parse(&text).map_err(|error| told(error.to_string()))?;
    if baseline.name != name {
        return Err(told(format!("it is of `{}`, and this is `{name}`", baseline.name)));
    }
    let mut common = 0;
    let elsewhere = baseline.machine.difference(&process::fingerprint());
    for (suite, records) in &mut report.suites {
        for record in records {
            let Some(before) = baseline.cases.get(&format!("{suite}/{}", record.case)) else {
                continue;
            };
            common += 1;
            let Some(reason) = worse(record, before) else { continue };
            match &elsewhere {
                Some(difference) => {
                    record.reason =
                        Some(format!("{reason}, but on another machine ({difference})"));
                }
                None => record.withdraw(Verdict::Regression, reason),
            }
        }
    }
    if common == 0 {
        return Err(told("it has none of these figures; save it again with this load".to_owned()));
    }
    Ok(())
}

/// Why a figure is worse than before; for latencies alone, of which less is better.
fn worse(now: &CaseRecord, before: &CaseRecord) -> Option<String> {
    if now.unit != "ms" || now.case.ends_with("overhead") {
        return None;
    }
    let (new, old) = (now.interval?, before.interval?);
    (old.high * WORSE_MIN < new.low).then(|| {
        let (value, was) = (now.value.unwrap_or(new.low), before.value.unwrap_or(old.high));
        format!("{value:.3} ms, {was:.3} ms before, and the intervals are {WORSE_MIN} apart")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use inference_bench::report::Environment;
    use inference_bench::stats::Interval;

    use super::*;

    fn latency(value: f64) -> CaseRecord {
        let mut record = CaseRecord::new("model/real_time", "ms");
        record.value = Some(value);
        record.interval = Some(Interval { low: 0.98 * value, high: 1.02 * value });
        record
    }

    #[test]
    fn ten_percent_more_is_worse_and_five_are_not() {
        let reason = worse(&latency(110.0), &latency(100.0)).unwrap();
        assert!(reason.starts_with("110.000 ms, 100.000 ms before"), "{reason}");
        for now in [90.0, 100.0, 105.0] {
            assert_eq!(None, worse(&latency(now), &latency(100.0)), "{now}");
        }
    }

    #[test]
    fn what_is_no_latency_is_not_compared() {
        let mut rate = latency(110.0);
        rate.unit = "images/s".to_owned();
        assert_eq!(None, worse(&rate, &latency(100.0)));
    }

    /// What is said of a report of `stream` beside a baseline of this name that keeps this case.
    fn compared(name: &str, case: &str) -> Result<(), String> {
        let environment = Environment {
            machine: process::fingerprint(),
            started: String::new(),
            revision: None,
            notes: BTreeMap::new(),
        };
        let mut report = Report::new("stream", environment);
        report.add("stream", latency(100.0));
        let mut baseline = Baseline::new(name, process::fingerprint());
        baseline.cases.insert(case.to_owned(), latency(100.0));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        std::fs::write(&path, baseline.to_json()).unwrap();
        compare("stream", &mut report, &path)
    }

    #[test]
    fn a_baseline_of_something_else_is_refused() {
        assert_eq!(Ok(()), compared("stream", "stream/model/real_time"));
        let error = compared("vision", "stream/model/real_time").unwrap_err();
        assert!(error.contains("it is of `vision`, and this is `stream`"), "{error}");
        let error = compared("stream", "stream/other").unwrap_err();
        assert!(error.contains("none of these figures"), "{error}");
    }
}
