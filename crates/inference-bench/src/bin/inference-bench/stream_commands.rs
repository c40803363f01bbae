//! `inference-bench stream`: an endpoint under load.

mod options;
mod run;
mod screen;
mod searched;
mod urls;

use inference_bench::report::Report;
use inference_bench::{Verdict, exit};
use serde_json::json;

pub(crate) use self::options::Options;
use self::run::Session;
use crate::ending::{self, Leavings};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The command, of whose figures a baseline is.
const NAME: &str = "stream";

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
    let found = session.found();
    let (mut report, rates, reasons, lines) = session.into_report();
    ending::finish(&mut report, rates, reasons, interrupt.code());
    let leavings = Leavings {
        folder: options.output.as_deref(),
        records: Some(&lines),
        baseline: options.save_baseline.as_deref().map(|path| (path, NAME)),
    };
    leavings.write(&mut report, output);
    ending::tell(&report, output);
    let fields = json!({ "search": found, "summary": report.summary,
        "results_by_model": report.results_by_model, "recommendations": report.recommendations });
    ending::end(&report, fields, output)
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
