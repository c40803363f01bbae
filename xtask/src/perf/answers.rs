//! Runs for their answers alone: the smoke run of CI, and ours against the programs of others.

use std::path::PathBuf;

use inference_bench::report::Report;
use inference_bench::{CaseRecord, RunVerdict, Verdict};

use super::signals::Signals;
use super::{Mode, Options, Stop, choose, founding, measure, real};
use crate::steps::Failure;

/// Runs every case as shortly as it can be: no verdict on speed, but each answer is checked. In runs as short
/// as these, suites fail a case for a wrong answer alone (`benches::suite`).
pub(crate) fn smoke() -> Result<(), Failure> {
    let options = checking(Mode::Smoke, "target/perf/smoke");
    check_founding(&options).map_err(stopped)?;
    no_wrong_answers(&measure(&options).map_err(stopped)?)
}

/// Ours against the programs and libraries of others, as far as they are here: the scripts of `--real`.
pub(crate) fn peers() -> Result<(), Failure> {
    let cases = vec![format!("{}/*", real::SUITE)];
    let options = checking(Mode::Quick, "target/perf/peers");
    let options = Options { real: true, cases, ..options };
    no_wrong_answers(&measure(&options).map_err(stopped)?)
}

/// A run for its answers.
pub(super) fn checking(mode: Mode, output: impl Into<PathBuf>) -> Options {
    Options {
        mode,
        suites: Vec::new(),
        cases: Vec::new(),
        list: false,
        baseline: None,
        save_baseline: None,
        real: false,
        strict: false,
        output: output.into(),
        json: false,
    }
}

fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Usage(why) | Stop::Broken(why) => why,
        Stop::Interrupted(_) => "interrupted".to_owned(),
    }
}

fn no_wrong_answers(report: &Report) -> Result<(), Failure> {
    if report.summary.verdict == RunVerdict::Interrupted {
        return Err("interrupted".to_owned());
    }
    if !report.validity.valid {
        return Err(report.validity.reasons.join("; "));
    }
    let wrong = wrong_answers(report);
    if wrong.is_empty() { Ok(()) } else { Err(format!("wrong answers: {}", wrong.join(", "))) }
}

fn wrong_answers(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    for (suite, records) in &report.suites {
        let is_wrong = |record: &&CaseRecord| {
            matches!(record.verdict, Verdict::Invalid | Verdict::Fail | Verdict::Regression)
        };
        wrong.extend(
            records.iter().filter(is_wrong).map(|record| format!("{suite}/{}", record.case)),
        );
    }
    wrong
}

/// Holds the table of the founding tests against the cases that there are.
fn check_founding(options: &Options) -> Result<(), Stop> {
    let signals = Signals::listen().map_err(Stop::Broken)?;
    let chosen = choose(options, &signals)?;
    let mut listed = Vec::new();
    for chosen in &chosen {
        listed.extend(chosen.cases.iter().map(|case| (chosen.suite.name, case)));
    }
    let wrong = founding::check(include_str!("../../../ARCHITECTURE.md"), &listed);
    if wrong.is_empty() { Ok(()) } else { Err(Stop::Broken(wrong.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use inference_bench::process;
    use inference_bench::report::{Environment, Run};

    use super::*;

    fn report() -> Report {
        Report::new("test", Environment::new(process::fingerprint(), ""))
    }

    #[test]
    fn a_run_that_did_not_come_to_its_end_has_no_right_answers() {
        let end = |run: Run| {
            let mut report = report();
            report.finish(run);
            no_wrong_answers(&report)
        };
        assert_eq!(Ok(()), end(Run::default()));
        let interrupted = Run { interrupted: true, ..Run::default() };
        assert_eq!(Err("interrupted".to_owned()), end(interrupted));
        let broken = Run { invalid_reasons: vec!["no cargo".to_owned()], ..Run::default() };
        assert_eq!(Err("no cargo".to_owned()), end(broken));
    }

    #[test]
    fn a_failed_case_is_a_wrong_answer() {
        let mut report = report();
        for verdict in [Verdict::Pass, Verdict::Reported, Verdict::Fail, Verdict::Invalid] {
            let mut record = CaseRecord::new(verdict.word(), "tokens");
            record.verdict = verdict;
            report.add("s", record);
        }
        assert_eq!(["s/fail", "s/invalid"], *wrong_answers(&report));
    }
}
