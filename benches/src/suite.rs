//! The frame of a suite: a program that lists its cases and prints a record for each that it runs.
//!
//! ```text
//! SUITE list [--mode quick|comprehensive|stress]
//! SUITE run  [--mode …] [--case NAME]… [--seed N]
//! ```
//!
//! On stdout stands one JSON object a line: `{"event":"case",…}` from `list`; `{"event":"start",…}` and
//! `{"event":"record",…}` from `run`. All else goes to stderr. A case that panics is recorded as invalid
//! and does not stop the others.

pub mod micro;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use inference_bench::{CaseRecord, Limit, Verdict, exit};
use serde_json::{Value, json};

use crate::{Meter, pace};

/// Counts of what happened whose limit is above none; they are the same however fast it happened.
const COUNTS: [&str; 1] = ["transfers"];

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Mode {
    /// A few rounds: one side of a pair in a comparison of two builds.
    Pair,
    /// All suites together under five minutes.
    #[default]
    Quick,
    /// Under thirty.
    Comprehensive,
    /// As long as it takes.
    Stress,
}

/// What a case gets to know.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// How thorough to be.
    pub mode: Mode,
    /// Decides whatever is drawn.
    pub seed: u64,
}

impl Context {
    /// A stretch that takes so many seconds in quick mode.
    #[must_use]
    pub fn seconds(&self, quick: f64) -> Duration {
        Duration::from_secs_f64(match self.mode {
            Mode::Pair => 0.3,
            Mode::Quick => quick,
            Mode::Comprehensive => 3.0 * quick,
            Mode::Stress => 10.0 * quick,
        })
    }
}

impl Mode {
    /// A record with its value, judged where the run is long enough for that.
    #[must_use]
    pub fn judged(self, unit: &str, value: f64, n: u64, limit: Option<Limit>) -> CaseRecord {
        let mut record = CaseRecord::new("", unit);
        (record.n, record.value) = (n, Some(value));
        // One side of a pair lasts long enough to be right or wrong, not to be judged on its speed.
        if let Some(limit) = limit.filter(|limit| self != Self::Pair || is_answer(unit, limit)) {
            record.judge(limit);
        }
        record
    }
}

/// Whether a demand is on an answer, which is right or wrong at any speed: that there be none of something,
/// or no more of a count.
fn is_answer(unit: &str, limit: &Limit) -> bool {
    *limit == Limit::at_most(0.0) || COUNTS.contains(&unit)
}

/// What was measured has given a wrong answer: its figure says nothing, and no run is too short to fail by it.
pub fn refute(record: &mut CaseRecord, reason: impl Into<String>) {
    (record.value, record.interval) = (None, None);
    (record.limit, record.gate) = (Some(Limit::at_most(0.0)), Some("no wrong answer".to_owned()));
    record.withdraw(Verdict::Fail, reason);
}

/// Takes verdicts on speed out of a run that is too short for them; what then fails is wrong.
fn keep_answers(record: &mut CaseRecord) {
    let is_answer = record.limit.is_some_and(|limit| is_answer(&record.unit, &limit));
    if record.verdict.is_gated() && record.verdict != Verdict::Invalid && !is_answer {
        record.withdraw(Verdict::Reported, "too short to be judged");
    }
}

/// One case of a suite.
pub struct Case {
    /// Unique within the suite.
    pub name: String,
    /// The case of the founding documents that it answers.
    pub seed_case: &'static str,
    /// How long it is expected to take in quick mode, in seconds.
    pub expected_s: f64,
    /// Whether two builds can be compared by it in pairs: it is short, and smaller is better.
    pub paired: bool,
    /// Measures and judges.
    pub run: Box<dyn Fn(&Context) -> CaseRecord>,
}

impl Case {
    /// A case that answers one of the founding documents, and is no pair of two builds.
    pub fn new(
        name: &str,
        seed_case: &'static str,
        expected_s: f64,
        run: impl Fn(&Context) -> CaseRecord + 'static,
    ) -> Self {
        Self { name: name.to_owned(), seed_case, expected_s, paired: false, run: Box::new(run) }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Cargo passes it to bench targets.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the cases.
    List {
        #[arg(long, value_enum, default_value_t)]
        mode: Mode,
    },
    /// Runs cases and prints their records.
    Run {
        #[arg(long, value_enum, default_value_t)]
        mode: Mode,
        /// The case to run; all of them when left out.
        #[arg(long = "case", value_name = "NAME")]
        cases: Vec<String>,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// Runs the program of a suite. Without a command it runs each case once, as `cargo test --benches` does.
#[must_use]
pub fn main(cases: &[Case]) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match arguments.command {
        Some(Command::List { .. }) => list(cases),
        Some(Command::Run { mode, cases: wanted, seed }) => {
            run(cases, &wanted, Context { mode, seed })
        }
        None => smoke(cases),
    }
}

fn list(cases: &[Case]) -> ExitCode {
    for case in cases {
        print(&json!({ "event": "case", "case": case.name, "seed_case": case.seed_case,
            "expected_s": case.expected_s, "paired": case.paired }));
    }
    ExitCode::SUCCESS
}

fn run(cases: &[Case], wanted: &[String], context: Context) -> ExitCode {
    if let Some(unknown) = wanted.iter().find(|name| !cases.iter().any(|case| case.name == **name))
    {
        let _ = writeln!(std::io::stderr(), "error: no case `{unknown}`; `list` names them all");
        return ExitCode::from(exit::USAGE);
    }
    for case in cases.iter().filter(|case| wanted.is_empty() || wanted.contains(&case.name)) {
        print(&json!({ "event": "start", "case": case.name }));
        let record = run_case(case, &context);
        let mut event = serde_json::to_value(&record).expect("keys are strings");
        if let Value::Object(fields) = &mut event {
            fields.insert("event".to_owned(), "record".into());
        }
        print(&event);
    }
    ExitCode::SUCCESS
}

/// Runs a case and adds what it cost.
fn run_case(case: &Case, context: &Context) -> CaseRecord {
    // One side of a pair is no verdict that a slow processor could explain.
    let stretch_us = || (context.mode != Mode::Pair).then(pace::stretch_us);
    let before_us = stretch_us();
    let meter = Meter::start();
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(context)));
    let mut record = outcome.unwrap_or_else(|panic| {
        let mut record = CaseRecord::new(&*case.name, "");
        record.withdraw(Verdict::Invalid, format!("the case panicked: {}", message(&*panic)));
        record
    });
    if context.mode == Mode::Pair {
        keep_answers(&mut record);
    }
    let cost = meter.cost();
    if let (Some(before_us), Some(after_us)) = (before_us, stretch_us()) {
        record.beside.insert(CaseRecord::STRETCH_US.to_owned(), before_us.max(after_us));
    }
    record.case.clone_from(&case.name);
    record.seed_case = Some(case.seed_case.to_owned());
    record.wall_s = cost.wall.as_secs_f64();
    record.cpu_s = record.cpu_s.or(Some(cost.cpu.as_secs_f64()));
    record.peak_rss_bytes = record.peak_rss_bytes.or(cost.peak_rss_bytes);
    record.working_set_bytes = record.working_set_bytes.or(cost.working_set_bytes);
    record
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned())
}

/// Each case once, for its answers: no verdict on its speed.
fn smoke(cases: &[Case]) -> ExitCode {
    let context = Context { mode: Mode::Pair, seed: 1 };
    let wrong: Vec<_> = cases
        .iter()
        .map(|case| run_case(case, &context))
        .filter(|record| matches!(record.verdict, Verdict::Invalid | Verdict::Fail))
        .collect();
    for record in &wrong {
        let reason = record.reason.as_deref().unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "{}: {reason}", record.case);
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(event: &Value) {
    let mut stdout = std::io::stdout().lock();
    // The reader has gone: the run has no use any more, but panicking helps nobody.
    let _ = writeln!(stdout, "{event}");
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: Mode, judged: impl Fn(&Context) -> CaseRecord + 'static, expected: Verdict) {
        let case = Case::new("case", "test", 0.0, judged);
        assert_eq!(expected, run_case(&case, &Context { mode, seed: 1 }).verdict);
    }

    fn figure(context: &Context, unit: &str, value: f64, limit: f64) -> CaseRecord {
        context.mode.judged(unit, value, 1, Some(Limit::at_most(limit)))
    }

    #[test]
    fn no_run_is_too_short_for_a_wrong_answer() {
        for mode in [Mode::Pair, Mode::Quick] {
            check(mode, |context| figure(context, "wrong files", 1.0, 0.0), Verdict::Fail);
            check(mode, |context| figure(context, "wrong files", 0.0, 0.0), Verdict::Pass);
            check(mode, |context| figure(context, "transfers", 2.0, 1.2), Verdict::Fail);
        }
        let lost = |context: &Context| {
            let mut record = figure(context, "ms", 1.0, 20.0);
            refute(&mut record, "a token was lost");
            record
        };
        check(Mode::Pair, lost, Verdict::Fail);
        check(Mode::Pair, |_| panic!("it is wrong"), Verdict::Invalid);
    }

    #[test]
    fn one_side_of_a_pair_is_not_judged_on_its_speed() {
        check(Mode::Quick, |context| figure(context, "ms", 30.0, 20.0), Verdict::Fail);
        check(Mode::Pair, |context| figure(context, "ms", 30.0, 20.0), Verdict::Reported);
        let slow = |_: &Context| {
            let mut record = Mode::Quick.judged("ms", 30.0, 1, Some(Limit::at_most(20.0)));
            record.withdraw(Verdict::Fail, "too slow, all told");
            record
        };
        check(Mode::Pair, slow, Verdict::Reported);
    }
}
