//! The rules of the house that a machine can check, each by its name.

mod dependencies;
mod layers;
mod licences;
mod syntax;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use self::layers::CRATES;
use crate::cargo::{metadata, output_of, root};
use crate::steps::{Failure, say};

/// One broken rule at one place.
#[derive(Debug, PartialEq)]
pub(crate) struct Offence {
    /// The rule, as `ARCHITECTURE.md` calls it.
    rule: &'static str,
    /// File and line, or package.
    place: String,
    /// What is wrong there, and what to do.
    what: String,
}

impl Offence {
    fn new(rule: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { rule, place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.place, self.what)
    }
}

/// A source file of ours.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Checks all rules and prints what breaks them.
pub(crate) fn run() -> Result<(), Failure> {
    let metadata = metadata()?;
    let sources = sources()?;
    let crate_names: Vec<String> = CRATES.iter().map(ToString::to_string).collect();

    let mut offences = layers::check(&metadata);
    offences.extend(dependencies::check(&metadata));
    offences.extend(dependencies::check_trees(output_of)?);
    for source in &sources {
        offences.extend(syntax::check(source, &crate_names));
        offences.extend(text::check(source));
    }
    for offence in &offences {
        say(&offence.to_string());
    }
    match offences.len() {
        0 => Ok(()),
        n => Err(format!("{n} offences against the rules of the house")),
    }
}

/// All Rust files that git would commit.
fn sources() -> Result<Vec<Source>, Failure> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["crates", "xtask", "benches"] {
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    paths.iter().map(|path| read(&root, path)).collect()
}

fn read(root: &Path, path: &Path) -> Result<Source, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let relative = path.strip_prefix(root).unwrap_or(path);
    Ok(Source { path: relative.to_string_lossy().replace('\\', "/"), text })
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("cannot list: {error}"))?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}
