//! Figures of an earlier run: kept, and compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use inference_bench::report::Report;
use inference_bench::{Baseline, CaseRecord, Verdict, process};

/// A percentile that is worse by less than this is as good as equal: what moods of a machine do.
const WORSE_MIN: f64 = 1.05;
/// How much a regression by kept figures is worth.
const ADVICE: &str = "stored figures know no moods: measure both again, in turn";

/// Of which figures a baseline is: those of this command under this load.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) command: &'static str,
    /// What changes the figures, and is the user's to choose.
    pub(crate) load: BTreeMap<String, String>,
}

impl Measured {
    /// Keeps the figures of a report.
    pub(crate) fn save(&self, report: &Report, path: &Path) -> Result<(), String> {
        let mut baseline = Baseline::new(self.command, process::fingerprint());
        baseline.load.clone_from(&self.load);
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

    /// Reads the figures to compare with, before anything is measured in vain.
    pub(crate) fn read(&self, path: &Path) -> Result<Kept, String> {
        let told = |what: String| format!("cannot compare with {}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        let baseline = Baseline::parse(&text).map_err(|error| told(error.to_string()))?;
        if baseline.name != self.command {
            let (was, is) = (&baseline.name, self.command);
            return Err(told(format!("it is of `{was}`, and this is `{is}`")));
        }
        if let Some(other) = baseline.unlike(&self.load) {
            return Err(told(format!("it is of another load, {other}")));
        }
        Ok(Kept { baseline, path: path.to_owned() })
    }
}

/// Kept figures of the same command under the same load.
#[derive(Debug)]
pub(crate) struct Kept {
    baseline: Baseline,
    path: PathBuf,
}

impl Kept {
    /// The cases, as `suite/case`, that are worse than before. On another machine none is.
    pub(crate) fn worse(&self, report: &Report) -> BTreeSet<String> {
        if self.elsewhere().is_some() {
            return BTreeSet::new();
        }
        let all = report.suites.iter().flat_map(|(suite, records)| {
            records.iter().map(move |record| (format!("{suite}/{}", record.case), record))
        });
        let is_worse = |(name, record): &(String, &CaseRecord)| {
            self.baseline.cases.get(name).is_some_and(|before| worse(record, before).is_some())
        };
        all.filter(is_worse).map(|(name, _)| name).collect()
    }

    /// Compares a report with them: a latency whose whole interval is worse than the whole interval before
    /// is a regression, if it is among those that were worse again, where they were measured again.
    pub(crate) fn compare(
        &self,
        report: &mut Report,
        again: Option<&BTreeSet<String>>,
    ) -> Result<(), String> {
        let mut common = 0;
        let elsewhere = self.elsewhere();
        for (suite, records) in &mut report.suites {
            for record in records {
                let name = format!("{suite}/{}", record.case);
                let Some(before) = self.baseline.cases.get(&name) else { continue };
                common += 1;
                let Some(found) = worse(record, before) else { continue };
                if let Some(difference) = &elsewhere {
                    record.reason = Some(format!("{found}, but on another machine ({difference})"));
                } else if again.is_some_and(|again| !again.contains(&name)) {
                    record.reason = Some(format!("{found}, but not when measured once more"));
                } else {
                    record.withdraw(Verdict::Regression, format!("{found}; {ADVICE}"));
                }
            }
        }
        if common == 0 {
            let path = self.path.display();
            return Err(format!(
                "cannot compare with {path}: it has none of these figures; save it again"
            ));
        }
        Ok(())
    }

    fn elsewhere(&self) -> Option<String> {
        self.baseline.machine.difference(&process::fingerprint())
    }
}

/// A choice as the command line has it.
pub(crate) fn word(choice: &impl clap::ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Why a figure is worse than before; for latencies alone, of which less is better.
fn worse(now: &CaseRecord, before: &CaseRecord) -> Option<String> {
    if now.unit != "ms" || now.case.ends_with("overhead") {
        return None;
    }
    let (new, old) = (now.interval?, before.interval?);
    (old.high * WORSE_MIN < new.low).then(|| {
        let (value, was) = (now.value.unwrap_or(new.low), before.value.unwrap_or(old.high));
        let percent = 100.0 * (WORSE_MIN - 1.0);
        format!(
            "{value:.3} ms, {was:.3} ms before, and the intervals are over {percent:.0} % apart"
        )
    })
}

#[cfg(test)]
mod tests {
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

    fn measured(command: &'static str, tokens: &str) -> Measured {
        Measured { command, load: BTreeMap::from([("tokens".to_owned(), tokens.to_owned())]) }
    }

    fn report() -> Report {
        Report::new("stream", Environment::new(process::fingerprint(), ""))
    }

    /// What is said of a run of `stream` beside kept figures of this case.
    fn compared(kept: &Measured, case: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let (mut before, mut now) = (report(), report());
        let mut record = latency(100.0);
        case.clone_into(&mut record.case);
        before.add("stream", record);
        kept.save(&before, &path)?;
        now.add("stream", latency(100.0));
        measured("stream", "20").read(&path)?.compare(&mut now, None)
    }

    #[test]
    fn what_was_worse_only_once_is_no_regression() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let of = |value: f64| {
            let mut report = report();
            report.add("stream", latency(value));
            report
        };
        let measured = measured("stream", "20");
        measured.save(&of(100.0), &path).unwrap();
        let kept = measured.read(&path).unwrap();
        let compared = |again: Option<f64>| {
            let mut report = of(120.0);
            let again = again.map(|value| kept.worse(&of(value)));
            kept.compare(&mut report, again.as_ref()).unwrap();
            report.suites["stream"][0].verdict
        };
        assert_eq!(Verdict::Regression, compared(None));
        assert_eq!(Verdict::Regression, compared(Some(115.0)));
        assert_eq!(Verdict::Reported, compared(Some(101.0)));
    }

    #[test]
    fn a_baseline_of_something_else_is_refused() {
        let (case, here) = ("model/real_time", measured("stream", "20"));
        assert_eq!(Ok(()), compared(&here, case));
        let error = compared(&measured("vision", "20"), case).unwrap_err();
        assert!(error.contains("it is of `vision`, and this is `stream`"), "{error}");
        let error = compared(&measured("stream", "40"), case).unwrap_err();
        assert!(error.contains("another load, tokens: 40 there, 20 here"), "{error}");
        let error = compared(&here, "other").unwrap_err();
        assert!(error.contains("none of these figures"), "{error}");
    }
}
