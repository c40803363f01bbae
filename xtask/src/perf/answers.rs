//! Runs for their answers alone: the smoke run of CI, and ours against the programs of others.

use inference_bench::report::Report;
use inference_bench::{CaseRecord, Verdict};

use super::signals::Signals;
use super::{Mode, Options, Stop, choose, founding, measure, real};
use crate::steps::Failure;

/// Runs every case as shortly as it can be: no verdict on speed, but each answer is checked. In runs as short
/// as these, suites fail a case for a wrong answer alone (`benches::suite`).
pub(crate) fn smoke() -> Result<(), Failure> {
    let options = checking(Mode::Smoke, "target/perf/smoke");
    check_founding(&options).map_err(stopped)?;
    no_wrong_answers(&options)
}

/// Ours against the programs and libraries of others, as far as they are here: the scripts of `--real`.
pub(crate) fn peers() -> Result<(), Failure> {
    let cases = vec![format!("{}/*", real::SUITE)];
    let options = checking(Mode::Quick, "target/perf/peers");
    no_wrong_answers(&Options { real: true, cases, ..options })
}

/// A run for its answers.
fn checking(mode: Mode, output: &str) -> Options {
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

fn no_wrong_answers(options: &Options) -> Result<(), Failure> {
    let report = measure(options).map_err(stopped)?;
    let wrong = wrong_answers(&report);
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
    use std::collections::BTreeMap;

    use inference_bench::process;
    use inference_bench::report::Environment;

    use super::*;

    #[test]
    fn a_failed_case_is_a_wrong_answer() {
        let environment = Environment {
            machine: process::fingerprint(),
            started: String::new(),
            revision: None,
            notes: BTreeMap::new(),
        };
        let mut report = Report::new("test", environment);
        for verdict in [Verdict::Pass, Verdict::Reported, Verdict::Fail, Verdict::Invalid] {
            let mut record = CaseRecord::new(verdict.word(), "tokens");
            record.verdict = verdict;
            report.add("s", record);
        }
        assert_eq!(["s/fail", "s/invalid"], *wrong_answers(&report));
    }
}
