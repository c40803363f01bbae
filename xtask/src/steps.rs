//! Steps with a budget: each says how long it took and how long it may take.

use std::io::Write;
use std::time::{Duration, Instant};

/// Why a command of xtask failed; printed as it is.
pub(crate) type Failure = String;

/// One named part of a command.
pub(crate) struct Step<'a> {
    /// What `--skip` calls it.
    pub(crate) name: &'static str,
    /// How long it may take from a cold target folder on two cores. Over it, a line says so; a slow
    /// machine must not fail a right change.
    pub(crate) budget: Duration,
    /// Does the work.
    pub(crate) run: Box<dyn Fn() -> Result<(), Failure> + 'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        name: &'static str,
        budget_s: u64,
        run: impl Fn() -> Result<(), Failure> + 'a,
    ) -> Self {
        Self { name, budget: Duration::from_secs(budget_s), run: Box::new(run) }
    }
}

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run_all(steps: &[Step<'_>]) -> Result<(), Failure> {
    let mut table = Vec::new();
    for step in steps {
        say(&format!("── {}", step.name));
        let start = Instant::now();
        let result = (step.run)();
        let wall = start.elapsed();
        table.push(row(step, wall, result.is_ok()));
        if let Err(failure) = result {
            say(&table.join("\n"));
            return Err(format!("step `{}`: {failure}", step.name));
        }
    }
    say(&table.join("\n"));
    Ok(())
}

fn row(step: &Step<'_>, wall: Duration, passed: bool) -> String {
    let verdict = match (passed, wall <= step.budget) {
        (false, _) => "FAILED",
        (true, true) => "ok",
        (true, false) => "ok, over its budget",
    };
    format!(
        "{:<12} {:>7.1} s of {:>4} s  {verdict}",
        step.name,
        wall.as_secs_f64(),
        step.budget.as_secs()
    )
}

/// Writes a line to stderr. A closed stderr is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a line of the result to stdout. That nobody reads any more is no reason to stop.
pub(crate) fn out(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
