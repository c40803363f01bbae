//! `inference-bench vision`: models that see, each measured in a process of its own.

mod child;
mod options;
mod run;
mod screen;
mod worker;

use inference_bench::exit;
use inference_bench::report::{Report, Run};
use serde_json::json;

pub(crate) use self::options::Options;
use self::run::Session;
pub(crate) use self::worker::see;
use crate::interrupt::Interrupt;
use crate::leavings::Leavings;
use crate::output::Output;
use crate::stream_commands::line;

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
    let signal = interrupt.code();
    let (mut report, lines) = session.into_report(|report, rates, invalid_reasons| {
        let run = Run { interrupted: signal.is_some(), strict: true, invalid_reasons };
        report.finish_with_rates(run, rates);
        report.summary.exit_code = signal.unwrap_or(report.summary.exit_code);
    });
    let folder = options.output.as_deref();
    let leavings = Leavings { folder, baseline: options.save_baseline.as_deref() };
    leavings.write("vision", &mut report, &lines, output);
    tell(&report, output);
    let code = report.summary.exit_code;
    output.event(
        "end",
        json!({ "verdict": report.summary.verdict, "exit_code": code, "summary": report.summary,
            "results_by_model": report.results_by_model,
            "recommendations": report.recommendations }),
    );
    output.result(&format!("verdict: {}", report.summary.verdict));
    code
}

fn tell(report: &Report, output: &Output) {
    for record in report.suites.values().flatten() {
        output.result(&line(record));
    }
    for recommendation in &report.recommendations {
        // Words of engines must not reach the terminal as commands.
        output.result(&format!("to do: {}", recommendation.text.replace(char::is_control, " ")));
    }
    for reason in &report.validity.reasons {
        output.result(&format!("not to be trusted: {reason}"));
    }
}
