//! `--real`: beside our own fakes, what the machine offers of the real thing: a server and files of others,
//! the libraries that our cache, hub and streams are made for. The scripts can be run alone, too.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use inference_bench::report::Report;
use inference_bench::{CaseRecord, Verdict};

use super::program::Listed;
use super::screen::Screen;
use super::signals::Signals;
use super::suites::matches;
use crate::captured::{Captured, capture};
use crate::cargo::{cargo, root};
use crate::steps::Failure;

/// What `report.json` and `--case` call it.
pub(super) const SUITE: &str = "real";
/// The longest that one of them may take; some install what they need under `target`.
const CHECK_MAX: Duration = Duration::from_secs(600);
/// How a script says what went well, and what it lacks.
const DONE: &str = "ok: ";
const SKIPPED: &str = "skipped: ";

/// A script in `xtask/scripts`, and how it is called.
struct Check {
    case: &'static str,
    script: &'static str,
    arguments: &'static [&'static str],
    gate: &'static str,
}

const CHECKS: [Check; 5] = [
    Check {
        case: "packages_behind_nginx",
        script: "real-packages",
        arguments: &["target/debug/download"],
        gate: "every digest, plain and over TLS",
    },
    Check {
        case: "huggingface_hub_of_our_hub",
        script: "hub-client",
        arguments: &[],
        gate: "contents, errors and rate limit as the library knows them",
    },
    Check {
        case: "huggingface_hub_of_our_cache",
        script: "hub-cache",
        arguments: &[],
        gate: "loads offline, finds nothing wrong, writes beside us",
    },
    Check {
        case: "clients_of_our_streams",
        script: "sse-clients",
        arguments: &["--install", "target/debug/streaming-server"],
        gate: "every token, at once",
    },
    Check {
        case: "trained_models",
        script: "real-models",
        arguments: &[],
        gate: "detectors of others load, run and find something",
    },
];

/// Runs what was asked for.
pub(super) fn run(globs: &[String], signals: &Signals, screen: &Screen, report: &mut Report) {
    if listed(globs).is_empty() {
        return;
    }
    screen.say("── real: what this machine offers");
    let built = build();
    for check in CHECKS.iter().filter(|check| matches(globs, SUITE, check.case)) {
        if signals.code().is_some() {
            return;
        }
        let start = Instant::now();
        let ended = built.clone().and_then(|()| started(check, signals));
        let mut record = record(check, ended);
        if signals.code().is_some() {
            record.withdraw(Verdict::Undecided, "interrupted");
        }
        record.wall_s = start.elapsed().as_secs_f64();
        screen.record(SUITE, &record);
        report.add(SUITE, record);
    }
}

/// What of it is asked for.
pub(super) fn listed(globs: &[String]) -> Vec<Listed> {
    let wanted = CHECKS.iter().filter(|check| matches(globs, SUITE, check.case));
    let listed = |check: &Check| Listed {
        name: check.case.to_owned(),
        seed_case: None,
        expected_s: 0.0,
        paired: false,
    };
    wanted.map(listed).collect()
}

/// Whether nothing else is asked for, so that no suite has to be built.
pub(super) fn is_all_of(globs: &[String]) -> bool {
    let own = format!("{SUITE}/");
    !globs.is_empty() && globs.iter().all(|glob| glob.starts_with(&own))
}

fn build() -> Result<(), Failure> {
    let packages = ["download", "streaming-server", "testkit"];
    let mut arguments = vec!["build", "--quiet"];
    packages.iter().for_each(|package| arguments.extend(["--package", package]));
    arguments.extend(["--features", "download/cli,streaming-server/cli,testkit/cli"]);
    cargo(&arguments, &[])
}

fn started(check: &Check, signals: &Signals) -> Result<Captured, Failure> {
    let mut command = Command::new(Path::new("xtask/scripts").join(check.script));
    command.args(check.arguments).current_dir(root());
    capture(&mut command, CHECK_MAX, &root().join("target/perf/real.log"), signals)
}

/// What a script printed: a line for each thing that went well, one for each that is not there, and, where
/// something went wrong, what that was.
fn record(check: &Check, ended: Result<Captured, Failure>) -> CaseRecord {
    let mut record = CaseRecord::new(check.case, "checks");
    record.gate = Some(check.gate.to_owned());
    let ended = match ended {
        Ok(ended) => ended,
        Err(why) => {
            record.withdraw(Verdict::Invalid, why);
            return record;
        }
    };
    let lines = |word: &str| -> Vec<&str> {
        ended.output.lines().filter_map(|line| line.strip_prefix(word)).collect()
    };
    let (done, skipped) = (lines(DONE), lines(SKIPPED));
    (record.n, record.value) = (1, Some(done.len() as f64));
    let lacking = if skipped.is_empty() { "" } else { "; skipped: " };
    let told = format!("{}{lacking}{}", done.join("; "), skipped.join("; "));
    (record.verdict, record.reason) = match (ended.succeeded(), done.is_empty()) {
        (false, _) => (Verdict::Fail, ended.output.lines().last().map(str::to_owned)),
        (true, true) => (Verdict::NotApplicable, Some(format!("{SKIPPED}{}", skipped.join("; ")))),
        (true, false) => (Verdict::Pass, Some(told)),
    };
    record
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[track_caller]
    fn check(code: i32, output: &str, verdict: Verdict, reason: &str) {
        let status = Some(ExitStatus::from_raw(code << 8));
        let told = record(&CHECKS[0], Ok(Captured { status, output: output.to_owned() }));
        assert_eq!((verdict, Some(reason)), (told.verdict, told.reason.as_deref()));
    }

    #[test]
    fn only_scripts_that_there_are_can_be_asked_for() {
        assert_eq!(CHECKS.len(), listed(&[]).len());
        assert_eq!(CHECKS.len(), listed(&["real/*".to_owned()]).len());
        assert!(listed(&["real/nope".to_owned(), "memory/*".to_owned()]).is_empty());
    }

    #[test]
    fn a_script_is_judged_by_its_end_and_told_by_its_lines() {
        check(0, "ok: a\nnoise\nok: b\n", Verdict::Pass, "a; b");
        check(0, "ok: a\nskipped: no b\n", Verdict::Pass, "a; skipped: no b");
        check(0, "skipped: no a\nskipped: b\n", Verdict::NotApplicable, "skipped: no a; b");
        check(1, "ok: a\nb is wrong\n", Verdict::Fail, "b is wrong");
    }
}
