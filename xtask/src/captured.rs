//! A command whose output is kept, and which ends in time.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::perf::signals::Signals;
use crate::steps::Failure;

/// How often it is looked whether the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Captured {
    /// None when it did not end in time.
    pub(crate) status: Option<ExitStatus>,
    /// What it wrote to stdout and stderr, in its order.
    pub(crate) output: String,
}

impl Captured {
    /// Whether it ended well.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The last lines of the output.
    pub(crate) fn end(&self) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Runs a command to its end, or ends it and all that it started when `limit` is over. Its output lies in
/// the file `log` as well.
pub(crate) fn capture(
    command: &mut Command,
    limit: Duration,
    log: &Path,
    signals: &Signals,
) -> Result<Captured, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = |error: io::Error| format!("cannot run `{program}`: {error}");
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let both = file.try_clone().map_err(started)?;
    // A group of its own: what it started ends with it.
    command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(both);
    let mut child = command.spawn().map_err(started)?;
    let status = wait(&mut child, limit, signals).map_err(started)?;
    if signals.code().is_some() {
        return Err("interrupted".to_owned());
    }
    let output = fs::read(log).map_err(started)?;
    Ok(Captured { status, output: String::from_utf8_lossy(&output).into_owned() })
}

fn wait(child: &mut Child, limit: Duration, signals: &Signals) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if end < Instant::now() || signals.code().is_some() {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
