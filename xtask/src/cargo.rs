//! Runs cargo, and asks it about the workspace.

use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::steps::Failure;

/// Features that replace a crate's primitives by those of a checker; they are built alone.
pub(crate) const CHECKERS: [&str; 2] = ["loom", "shuttle"];

/// How the names begin by which cargo tells a program of its package.
const TOLD: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// The folder that holds the workspace: cargo tells it to what it runs. What was known when this was
/// built is no longer true in a checkout that was moved with its `target`.
pub(crate) fn root() -> PathBuf {
    let told = std::env::var_os("CARGO_MANIFEST_DIR");
    let xtask = told.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Runs `cargo` with these arguments and environment, in the root.
pub(crate) fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let status = program()
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`cargo {}` ended with {status}", arguments.join(" ")))
}

/// What `cargo` prints with these arguments.
pub(crate) fn output_of(arguments: &[&str]) -> Result<String, Failure> {
    let output = program()
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`cargo {}` failed: {stderr}", arguments.join(" ")));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("cargo printed no UTF-8: {error}"))
}

/// What `git` prints with these arguments, without the last line break; `None` outside of a checkout.
pub(crate) fn output_of_git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(root()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// The cargo that runs this, without what it has told this program of itself: build scripts look at that
/// (ring's does), and would build again what somebody without `xtask` has built.
pub(crate) fn program() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    for (name, _) in std::env::vars_os() {
        if TOLD.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
    command
}

/// The whole graph: our packages and all they depend on.
pub(crate) fn metadata() -> Result<Metadata, Failure> {
    MetadataCommand::new()
        .current_dir(root())
        .exec()
        .map_err(|error| format!("cannot read the workspace: {error}"))
}

/// Our own packages, in the order of their names.
pub(crate) fn members(metadata: &Metadata) -> Vec<&Package> {
    let mut members = metadata.workspace_packages();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

/// All features of all members that can be on together, as `crate/feature`.
///
/// The checkers are left out: they replace the locks of a crate, and its ordinary tests would not run.
pub(crate) fn features_together(metadata: &Metadata) -> String {
    let mut all = Vec::new();
    for package in members(metadata) {
        for feature in package.features.keys() {
            if !CHECKERS.contains(&feature.as_str()) {
                all.push(format!("{}/{feature}", package.name));
            }
        }
    }
    all.join(",")
}
