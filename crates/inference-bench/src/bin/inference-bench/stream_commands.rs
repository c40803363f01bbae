//! `inference-bench stream`: an endpoint under load.

mod options;
mod run;
mod screen;
mod searched;
mod urls;

use inference_bench::report::{Report, Run};
use inference_bench::{Verdict, exit};
use serde_json::json;

pub(crate) use self::options::Options;
use self::run::Session;
pub(crate) use self::screen::line;
use crate::interrupt::Interrupt;
use crate::leavings::Leavings;
use crate::output::Output;

/// Runs the load and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    let output = Output::new(options.json);
    let Ok(interrupt) = Interrupt::listen() else {
        output.remark("error: cannot listen to signals");
        return exit::INVALID;
    };
    let asked = match options.check() {
        Ok(asked) => asked,
        Err(error) => {
            output.remark(&format!("error: {error}"));
            return exit::USAGE;
        }
    };
    let mut session = Session::new(options, asked, &output, &interrupt);
    match session.measure() {
        Ok(()) => {}
        Err(run::Failure::Usage(reason)) => {
            output.remark(&format!("error: {reason}"));
            return exit::USAGE;
        }
        Err(run::Failure::Invalid(reason)) => session.distrust(reason),
    }
    conclude(options, session, &output, &interrupt)
}

fn conclude(options: &Options, session: Session<'_>, output: &Output, interrupt: &Interrupt) -> u8 {
    let signal = interrupt.code();
    let found = session.found();
    let (mut report, rates, invalid_reasons, lines) = session.into_report();
    let run = Run { interrupted: signal.is_some(), strict: true, invalid_reasons };
    report.finish_with_rates(run, rates);
    report.summary.exit_code = signal.unwrap_or(report.summary.exit_code);
    let folder = options.output.as_deref();
    let leavings = Leavings { folder, baseline: options.save_baseline.as_deref() };
    leavings.write("stream", &mut report, &lines, output);
    tell(&report, output);
    let code = report.summary.exit_code;
    let results = json!(report.results_by_model);
    output.event(
        "end",
        json!({ "verdict": report.summary.verdict, "exit_code": code, "search": found,
            "results_by_model": results }),
    );
    output.result(&format!("verdict: {}", report.summary.verdict));
    code
}

fn tell(report: &Report, output: &Output) {
    for record in report.suites.values().flatten() {
        output.result(&line(record));
    }
    for reason in &report.validity.reasons {
        output.result(&format!("not to be trusted: {reason}"));
    }
}

/// Takes back the verdicts on times: on a machine that was not quiet they are nobody's.
fn withhold(report: &mut Report, reason: &str) {
    for record in report.suites.values_mut().flatten() {
        let judged = matches!(record.verdict, Verdict::Pass | Verdict::Fail | Verdict::Regression);
        if record.unit == "ms" && judged {
            record.withdraw(Verdict::Undecided, reason);
        }
    }
}
