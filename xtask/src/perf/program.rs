//! A suite's program: what it lists, what it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use inference_bench::{CaseRecord, Verdict};
use serde_json::Value;

use super::Mode;
use super::noise::{Busy, Noise};
use super::signals::Signals;
use crate::captured::stdout_of;
use crate::steps::Failure;

/// A case that takes longer than this is killed, whatever its mode: something hangs.
const CASE_WALL_MAX: Duration = Duration::from_secs(600);

/// A case that a program can run.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Unique within the suite.
    pub(crate) name: String,
    /// The case of the founding documents that it answers.
    pub(crate) seed_case: Option<String>,
    /// How long it should take in quick mode, in seconds.
    pub(crate) expected_s: f64,
    /// Whether two builds can be compared by it.
    pub(crate) paired: bool,
}

/// A suite's program, built.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The cases of the suite.
    pub(crate) fn list(&self, mode: Mode) -> Result<Vec<Listed>, Failure> {
        let output = Command::new(&self.path)
            .args(["list", "--mode", word(mode)])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.path.display()))?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let cases: Vec<Listed> = lines.lines().filter_map(listed).collect();
        if cases.is_empty() || !output.status.success() {
            return Err(format!("{} lists no cases", self.path.display()));
        }
        Ok(cases)
    }

    /// Runs one case in a process of its own and watches the machine meanwhile.
    pub(crate) fn run_case(
        &self,
        mode: Mode,
        case: &str,
        signals: &Signals,
    ) -> (CaseRecord, Noise) {
        let busy = Busy::start();
        let record = self.records(&["run", "--mode", word(mode), "--case", case], signals);
        let noise = busy.stop();
        let record = record.and_then(|records| {
            records.into_iter().next().ok_or_else(|| "the program printed no record".to_owned())
        });
        let record = record.unwrap_or_else(|why| {
            let mut record = CaseRecord::new(case, "");
            let verdict =
                if signals.code().is_some() { Verdict::Undecided } else { Verdict::Invalid };
            record.withdraw(verdict, why);
            record
        });
        (record, noise)
    }

    /// One side of a pair: the figures of these cases.
    pub(crate) fn figures(
        &self,
        cases: &[String],
        signals: &Signals,
    ) -> Result<Vec<CaseRecord>, Failure> {
        let mut arguments = vec!["run", "--mode", "pair"];
        for case in cases {
            arguments.extend(["--case", case]);
        }
        self.records(&arguments, signals)
    }

    fn records(&self, arguments: &[&str], signals: &Signals) -> Result<Vec<CaseRecord>, Failure> {
        let mut command = Command::new(&self.path);
        let ended = stdout_of(command.args(arguments), CASE_WALL_MAX, signals)?;
        let Some(status) = ended.status else {
            return Err(format!("killed after {} s", CASE_WALL_MAX.as_secs()));
        };
        let mut records = Vec::new();
        for line in ended.output.lines() {
            records.extend(record(line)?);
        }
        if status.success() { Ok(records) } else { Err(format!("the program ended with {status}")) }
    }
}

/// What suites call a mode.
pub(super) fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Quick => "quick",
        Mode::Comprehensive => "comprehensive",
        Mode::Stress => "stress",
        Mode::Smoke => "pair",
    }
}

fn listed(line: &str) -> Option<Listed> {
    let event: Value = serde_json::from_str(line).ok()?;
    Some(Listed {
        name: event.get("case")?.as_str()?.to_owned(),
        seed_case: event.get("seed_case").and_then(Value::as_str).map(str::to_owned),
        expected_s: event.get("expected_s").and_then(Value::as_f64).unwrap_or(0.0),
        paired: event.get("paired").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn record(line: &str) -> Result<Option<CaseRecord>, Failure> {
    let event: Value =
        serde_json::from_str(line).map_err(|error| format!("no JSON from the program: {error}"))?;
    if event.get("event").and_then(Value::as_str) != Some("record") {
        return Ok(None);
    }
    serde_json::from_value(event).map(Some).map_err(|error| format!("no case record: {error}"))
}
