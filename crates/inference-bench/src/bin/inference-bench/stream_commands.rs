//! `inference-bench stream`: an endpoint under load.

mod options;
mod run;
mod screen;
mod searched;
mod urls;

use inference_bench::{CaseRecord, Verdict, exit};
use serde_json::json;

pub(crate) use self::options::Options;
use self::run::Session;
use crate::ending::{self, Leavings};
use crate::interrupt::Interrupt;
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
    let (found, measured) = (session.found(), session.measured());
    let (mut report, rates, reasons, lines) = session.into_report();
    ending::finish(&mut report, rates, reasons, interrupt.code());
    let leavings = Leavings {
        folder: options.output.as_deref(),
        records: Some(&lines),
        baseline: options.save_baseline.as_deref().map(|path| (path, &measured)),
    };
    leavings.write(&mut report, output);
    ending::tell(&report, &[], output);
    let fields = json!({ "search": found, "summary": report.summary,
        "results_by_model": report.results_by_model, "recommendations": report.recommendations });
    ending::end(&report, fields, output)
}

/// Whether a machine that was not quiet may have made this verdict: on times it then is nobody's.
fn is_doubtful(record: &CaseRecord) -> bool {
    let judged = matches!(record.verdict, Verdict::Pass | Verdict::Fail | Verdict::Regression);
    record.unit == "ms" && judged
}
