//! `cargo xtask sabotage`: breaks the project on purpose, one fault at a time, and demands that something
//! notices.
//!
//! A fault is a patch in `xtask/sabotage` whose head says what it breaks, and which command is to notice:
//!
//! ```text
//! Breaks: a token waits 2 ms on its way to its socket
//! Caught-by: cargo xtask perf --suite stream --case paced/1/latency
//! ```
//!
//! First the commands run on the last commit as it is, and must pass: a test that always fails catches
//! nothing. Then each patch is put in alone; it must build, and its command must fail. All of that happens
//! in a worktree of its own, under `target/sabotage`.

mod patch;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::patch::Patch;
use self::tree::{Ended, Tree};
use crate::cargo::root;
use crate::perf::signals::Signals;
use crate::steps::{Failure, out, say};

/// Where the list of what was seen lies.
const LIST: &str = "README.md";

/// What to break.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The patches to try, by name; all of them when left out.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Says only whether each patch still applies, and stands in the list; takes a second.
    #[arg(long)]
    check: bool,
    /// Does not run the commands on the unbroken project first.
    #[arg(long)]
    without_control: bool,
}

const EXAMPLES: &str = "Examples:
  cargo xtask sabotage                    break, and demand that it is noticed: some 35 minutes
  cargo xtask sabotage lost-token leak    two of them
  cargo xtask sabotage --check            do they still apply?

The table of what caught what, and how, goes to stdout; the last one seen is in xtask/sabotage/README.md.";

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let patches = chosen(&options.names)?;
    if options.check {
        return check_all(&patches);
    }
    let signals = Signals::listen()?;
    let tree = Tree::check_out(&root(), &signals)?;
    if !options.without_control {
        control(&tree, &patches)?;
    }
    let mut missed = Vec::new();
    out("| patch | what it breaks | what caught it | what that said |\n|---|---|---|---|");
    for patch in &patches {
        say(&format!("── {}: {}", patch.name, patch.breaks));
        let message = attempt(&tree, patch)?;
        out(&row(patch, message.as_deref()));
        missed.extend(message.is_none().then_some(&*patch.name));
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("not caught: {}", missed.join(", "))) }
}

/// Whether all patches apply to the files as they are; a step of CI.
pub(crate) fn check() -> Result<(), Failure> {
    check_all(&chosen(&[])?)
}

fn check_all(patches: &[Patch]) -> Result<(), Failure> {
    let list = fs::read_to_string(folder().join(LIST)).unwrap_or_default();
    let mut wrong = Vec::new();
    for patch in patches {
        if let Err(why) = tree::git(&root(), &["apply", "--check", &patch.path.to_string_lossy()]) {
            wrong.push(format!("{} does not apply any more: {why}", patch.name));
        }
        if !list.contains(&format!("| `{}` |", patch.name)) {
            wrong.push(format!("{} is not in xtask/sabotage/{LIST}", patch.name));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn folder() -> PathBuf {
    root().join("xtask/sabotage")
}

/// The patches of these names, or all, in the order of their names.
fn chosen(names: &[String]) -> Result<Vec<Patch>, Failure> {
    let folder = folder();
    let told = |error| format!("cannot read {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        paths.extend((path.extension().is_some_and(|end| end == "patch")).then_some(path));
    }
    paths.sort();
    let patches: Vec<Patch> = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    if let Some(name) = names.iter().find(|name| !patches.iter().any(|p| p.name == **name)) {
        let all: Vec<&str> = patches.iter().map(|patch| &*patch.name).collect();
        return Err(format!("no patch `{name}`; there are: {}", all.join(", ")));
    }
    let wanted = |patch: &Patch| names.is_empty() || names.contains(&patch.name);
    Ok(patches.into_iter().filter(wanted).collect())
}

fn read(path: &Path) -> Result<Patch, Failure> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Patch::parse(path, &text)
}

/// What is to notice a fault must pass without it.
fn control(tree: &Tree<'_>, patches: &[Patch]) -> Result<(), Failure> {
    let commands: BTreeSet<&str> = patches.iter().map(|patch| &*patch.caught_by).collect();
    for command in commands {
        say(&format!("── as it is: {command}"));
        match tree.run(command)? {
            Ended::Passed => {}
            Ended::NotBuilt(why) => return Err(format!("`{command}` does not build:\n{why}")),
            Ended::Failed(why) | Ended::Undecided(why) => {
                return Err(format!("`{command}` fails without any fault: {why}"));
            }
        }
    }
    Ok(())
}

/// Puts one fault in and takes it out again; returns what was said about it, if it was noticed.
fn attempt(tree: &Tree<'_>, patch: &Patch) -> Result<Option<String>, Failure> {
    tree.apply(patch)?;
    let ended = tree.run(&patch.caught_by);
    tree.revert(patch)?;
    match ended? {
        Ended::Failed(message) => Ok(Some(message)),
        Ended::Passed => Ok(None),
        Ended::Undecided(why) => {
            say(&format!("{}: undecided, so not caught: {why}", patch.name));
            Ok(None)
        }
        Ended::NotBuilt(why) => Err(format!("{} does not build:\n{why}", patch.name)),
    }
}

fn row(patch: &Patch, message: Option<&str>) -> String {
    let Patch { name, breaks, caught_by, .. } = patch;
    let said = message.unwrap_or("**not caught**").replace('|', "\\|");
    format!("| `{name}` | {breaks} | `{caught_by}` | {said} |")
}
