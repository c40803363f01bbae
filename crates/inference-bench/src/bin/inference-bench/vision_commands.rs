//! `inference-bench vision`: models that see, each measured in a process of its own.

mod child;
mod generated;
mod options;
mod run;
mod screen;
mod worker;

use inference_bench::exit;
use inference_bench::report::Report;
use serde_json::json;

pub(crate) use self::options::Options;
use self::run::Session;
pub(crate) use self::worker::see;
use crate::ending::{self, Leavings, finish};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Measures the models and returns the exit code.
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
    session.measure();
    conclude(options, session, &output, &interrupt)
}

fn conclude(options: &Options, session: Session<'_>, output: &Output, interrupt: &Interrupt) -> u8 {
    let finish =
        |report: &mut Report, rates, reasons| finish(report, rates, reasons, interrupt.code());
    let measured = options.measured();
    let (mut report, lines) = session.into_report(finish);
    let leavings = Leavings {
        folder: options.output.as_deref(),
        records: Some(&lines),
        baseline: options.save_baseline.as_deref().map(|path| (path, &measured)),
    };
    leavings.write(&mut report, output);
    ending::tell(&report, &report.recommendations, output);
    let fields = json!({ "summary": report.summary, "results_by_model": report.results_by_model,
        "recommendations": report.recommendations });
    ending::end(&report, fields, output)
}
