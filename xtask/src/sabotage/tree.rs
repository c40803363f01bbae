//! The worktree in which things are broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use inference_bench::exit;

use super::patch::{Patch, build_of, message_of};
use crate::captured::{Captured, capture};
use crate::cargo::program;
use crate::perf::signals::Signals;
use crate::steps::{Failure, say};

/// The longest that building may take, and that what is built may run.
const COMMAND_MAX: Duration = Duration::from_secs(1200);
/// How a run of `perf` ends that missed a target; other failures are its own.
const MISSED: [u8; 4] = [exit::SUCCESS_RATE, exit::COMPLIANCE, exit::REGRESSION, exit::TARGET];

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It noticed nothing.
    Passed,
    /// It noticed something, and said this.
    Failed(String),
    /// The machine was too busy to say.
    Undecided(String),
    /// There was nothing to run.
    NotBuilt(String),
}

/// The last commit, checked out beside the project's own files. It stays for the next run, which then
/// has less to build.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    folder: PathBuf,
    target: PathBuf,
    signals: &'a Signals,
}

impl<'a> Tree<'a> {
    pub(super) fn check_out(root: &Path, signals: &'a Signals) -> Result<Self, Failure> {
        let (folder, target) =
            (root.join("target/sabotage/tree"), root.join("target/sabotage/target"));
        let commit = git(root, &["rev-parse", "HEAD"])?;
        // Without this file git would take the folder for a part of the project, and reset that.
        if folder.join(".git").is_file() {
            git(&folder, &["reset", "--quiet", "--hard", &commit])?;
            git(&folder, &["clean", "--quiet", "--force", "-d"])?;
        } else {
            git(root, &["worktree", "prune"])?;
            let place = folder.to_string_lossy();
            git(root, &["worktree", "add", "--quiet", "--detach", &place, &commit])?;
        }
        if !git(root, &["status", "--porcelain"])?.is_empty() {
            say("what is not committed is not in it: the last commit is what gets broken");
        }
        Ok(Self { folder, target, signals })
    }

    pub(super) fn apply(&self, patch: &Patch) -> Result<(), Failure> {
        git(&self.folder, &["apply", &patch.path.to_string_lossy()]).map(drop)
    }

    pub(super) fn revert(&self, patch: &Patch) -> Result<(), Failure> {
        git(&self.folder, &["apply", "--reverse", &patch.path.to_string_lossy()]).map(drop)
    }

    /// Builds what a command of cargo runs, then runs it.
    pub(super) fn run(&self, command: &str) -> Result<Ended, Failure> {
        if let Some(build) = build_of(command) {
            let built = self.capture(&build)?;
            if !built.succeeded() {
                return Ok(Ended::NotBuilt(built.end()));
            }
        }
        let run = self.capture(command)?;
        let code = run.status.and_then(|status| status.code());
        let missed = code.is_some_and(|code| MISSED.map(i32::from).contains(&code));
        Ok(match run.status {
            None => Ended::Failed(format!("killed after {} s", COMMAND_MAX.as_secs())),
            Some(status) if status.success() => Ended::Passed,
            Some(_) if command.starts_with("cargo xtask perf ") && !missed => {
                Ended::Undecided(run.end())
            }
            Some(_) => Ended::Failed(message_of(&run.output)),
        })
    }

    fn capture(&self, command: &str) -> Result<Captured, Failure> {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let mut command = program();
        command.args(words).current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.target);
        // The message is wanted, not the way there.
        command.env("RUST_BACKTRACE", "0");
        capture(&mut command, COMMAND_MAX, &self.target.with_extension("log"), self.signals)
    }
}

/// Runs git in a folder; returns what it printed.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("cannot start git: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("`git {}`: {}", arguments.join(" "), stderr.trim_end()))
}
