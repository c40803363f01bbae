//! Builds the suites' programs.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use cargo_metadata::Message;

use super::Stop;
use super::program::Program;
use super::signals::Signals;
use super::suites::Suite;
use crate::captured::ended_by_signals;
use crate::cargo::{features_together, metadata, program, root};
use crate::steps::say;

/// Where the programs lie, by the name of their target.
pub(crate) struct Programs {
    paths: HashMap<String, PathBuf>,
}

impl Programs {
    /// The program of a suite.
    pub(crate) fn of(&self, suite: &Suite) -> Program {
        let (_, name) = suite.target.selector();
        Program::new(self.paths[name].clone())
    }
}

/// How the programs are built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Profile {
    /// To be measured.
    Release,
    /// To be tried: as the tests have built them already, which is four minutes less.
    Dev,
}

/// Builds the programs of these suites and finds them.
pub(crate) fn build(
    suites: &[&Suite],
    profile: Profile,
    signals: &Signals,
) -> Result<Programs, Stop> {
    let mut command = program();
    command.arg("build");
    match profile {
        Profile::Release => {
            say("building the suites in release …");
            command.args(["--release", "--package", "benches"]);
        }
        Profile::Dev => {
            command.args([
                "--workspace",
                "--features",
                &features_together(&metadata().map_err(Stop::Broken)?),
            ]);
        }
    }
    command.arg("--message-format=json-render-diagnostics");
    for suite in suites {
        let (kind, name) = suite.target.selector();
        command.args([kind, name]);
    }
    let mut child = command
        .current_dir(root())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Stop::Broken(format!("cannot start cargo: {error}")))?;
    let stdout = child.stdout.take().expect("it is piped");
    let paths = ended_by_signals(child.id(), signals, || executables(stdout));
    let status = child.wait();
    if let Some(code) = signals.code() {
        return Err(Stop::Interrupted(code));
    }
    match status {
        Ok(status) if status.success() => Ok(Programs { paths }),
        Ok(status) => {
            Err(Stop::Broken(format!("the suites do not build: cargo ended with {status}")))
        }
        Err(error) => Err(Stop::Broken(format!("lost sight of cargo: {error}"))),
    }
}

/// The programs that cargo tells of, by the name of their target.
fn executables(stdout: impl std::io::Read) -> HashMap<String, PathBuf> {
    let mut paths = HashMap::new();
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        if let Ok(Message::CompilerArtifact(artifact)) = message
            && let Some(path) = artifact.executable
        {
            paths.insert(artifact.target.name, path.into_std_path_buf());
        }
    }
    paths
}
