//! How commands end: what they leave behind, what they tell, their last line and their code.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use inference_bench::report::{Environment, Rates, Recommendation, Report, Run, Summary};
use inference_bench::{CaseRecord, RunVerdict, Verdict, exit, process};
use serde_json::{Value, json};

use crate::kept_figures::Measured;
use crate::output::{Output, write_report};

/// What a run leaves behind beside its report, and where; `None` was not asked for, or is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leavings<'a> {
    /// The folder of the report in all its forms.
    pub(crate) folder: Option<&'a Path>,
    /// The raw records, a line each.
    pub(crate) records: Option<&'a str>,
    /// The file of the baseline, and of what it is.
    pub(crate) baseline: Option<(&'a Path, &'a Measured)>,
}

/// The report that a command fills, which began at this time under these settings.
pub(crate) fn empty_report(started: SystemTime, notes: BTreeMap<String, String>) -> Report {
    let started = humantime::format_rfc3339_seconds(started).to_string();
    let environment = Environment { notes, ..Environment::new(process::fingerprint(), started) };
    Report::new(concat!("inference-bench ", env!("CARGO_PKG_VERSION")), environment)
}

/// Takes back what others may have spoiled who had the machine, and says why beside what was found.
pub(crate) fn withhold(report: &mut Report, reason: &str, is_doubtful: fn(&CaseRecord) -> bool) {
    let doubtful = report.suites.values_mut().flatten().filter(|record| is_doubtful(record));
    for record in doubtful {
        let found = record.reason.take().map_or_else(String::new, |found| found + "; ");
        record.withdraw(Verdict::Undecided, found + reason);
    }
}

/// Draws the conclusions. After a signal they are those of a part.
pub(crate) fn finish(report: &mut Report, rates: Rates, reasons: Vec<String>, signal: Option<u8>) {
    let run = Run { interrupted: signal.is_some(), strict: true, invalid_reasons: reasons };
    report.finish_with_rates(run, rates);
    report.summary.exit_code = signal.unwrap_or(report.summary.exit_code);
}

impl Leavings<'_> {
    /// Writes all of it. What cannot be written is told, and makes the run invalid where nothing worse did:
    /// its figures are still there to be told.
    pub(crate) fn write(&self, report: &mut Report, output: &Output) {
        let written = self.folder.map_or(Ok(()), |folder| self.write_all(report, folder));
        let saved = self.baseline.map_or(Ok(()), |(path, of)| save(of, report, path, output));
        for error in [written, saved].into_iter().filter_map(Result::err) {
            output.remark(&format!("error: {error}"));
            let worse = [exit::INTERRUPTED, exit::TERMINATED, exit::SUCCESS_RATE];
            if !worse.contains(&report.summary.exit_code) {
                report.summary.verdict = RunVerdict::Invalid;
                report.summary.exit_code = exit::INVALID;
            }
        }
    }

    fn write_all(&self, report: &Report, folder: &Path) -> Result<(), String> {
        write_report(report, folder)?;
        let Some(lines) = self.records else { return Ok(()) };
        let path = folder.join("records.ndjson");
        std::fs::write(&path, lines)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// Keeps the figures of a run that is whole and to be trusted: later ones are held against them.
fn save(of: &Measured, report: &Report, path: &Path, output: &Output) -> Result<(), String> {
    let verdict = report.summary.verdict;
    let is_partial = matches!(verdict, RunVerdict::Interrupted | RunVerdict::Invalid);
    if is_partial || report.summary.exit_code == exit::SUCCESS_RATE {
        output
            .remark(&format!("the baseline is left as it was: this run is no measure ({verdict})"));
        return Ok(());
    }
    of.save(report, path)
}

/// Tells every case, what to do beyond what the cases say, and why not to trust it.
pub(crate) fn tell(report: &Report, advice: &[Recommendation], output: &Output) {
    for record in report.suites.values().flatten() {
        output.result(&crate::line::of(record));
    }
    for recommendation in advice {
        // Words of servers and engines must not reach the terminal as commands.
        output.result(&format!("to do: {}", recommendation.text.replace(char::is_control, " ")));
    }
    for reason in &report.validity.reasons {
        output.result(&format!("not to be trusted: {reason}"));
    }
}

/// Says how it ended: the last event, with these fields, and the last line. Returns the exit code.
pub(crate) fn end(report: &Report, fields: Value, output: &Output) -> u8 {
    let Summary { verdict, exit_code, .. } = report.summary;
    let mut all = json!({ "verdict": verdict, "exit_code": exit_code });
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    output.event("end", all);
    output.result(&format!("verdict: {verdict}"));
    exit_code
}

#[cfg(test)]
mod tests {
    use inference_bench::Limit;

    use super::*;

    #[test]
    fn what_is_withheld_still_tells_what_was_found() {
        let environment = Environment::new(process::fingerprint(), "");
        let mut report = Report::new("stream", environment);
        for (case, value) in [("slow", 9.0), ("fast", 1.0)] {
            let mut record = CaseRecord::new(case, "ms");
            record.value = Some(value);
            record.judge(Limit::at_most(5.0));
            report.add("stream", record);
        }
        withhold(&mut report, "the machine was busy", |record| record.verdict == Verdict::Fail);
        let told = report.suites["stream"].iter().map(|r| (r.verdict, r.reason.as_deref()));
        let words = "9 ms is beyond the limit of 5; the machine was busy";
        let expected = [(Verdict::Undecided, Some(words)), (Verdict::Pass, None)];
        assert_eq!(expected.to_vec(), told.collect::<Vec<_>>());
    }
}
