//! A patch, what its head says, and what a command that noticed it said.

use std::path::{Path, PathBuf};

use crate::steps::Failure;

/// As much of a message as a row of a table holds, in characters.
const MESSAGE_CHARS_MAX: usize = 160;

/// One fault.
#[derive(Debug)]
pub(super) struct Patch {
    /// Of its file, without the ending.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// In a sentence.
    pub(super) breaks: String,
    /// A command of cargo.
    pub(super) caught_by: String,
}

impl Patch {
    /// Reads the head: what stands before the first difference.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let head = text.split("diff --git").next().unwrap_or_default();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).ok_or_else(|| format!("{}: no `{name}: `", path.display()))
        };
        let (breaks, caught_by) = (field("Breaks")?, field("Caught-by")?);
        if !caught_by.starts_with("cargo ") {
            return Err(format!("{}: `{caught_by}` is no command of cargo", path.display()));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path: path.to_owned(), breaks, caught_by })
    }
}

/// What builds all that a command runs, and runs nothing of it; none where there is no such thing.
pub(super) fn build_of(command: &str) -> Option<String> {
    let (own, _) = command.split_once(" -- ").unwrap_or((command, ""));
    if own.starts_with("cargo test ") {
        return Some(format!("{own} --no-run"));
    }
    own.starts_with("cargo xtask perf ").then(|| format!("{own} --list"))
}

/// What a failed command said: the row of a case that failed, the words of a panic, or else its first line.
pub(super) fn message_of(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let found = case_that_failed(&lines).or_else(|| words_of_panic(&lines));
    let message = found.or_else(|| lines.first().map(|line| (*line).to_owned()));
    let message = message.unwrap_or_default();
    let words: Vec<&str> = message.split_whitespace().collect();
    shortened(&words.join(" "))
}

fn case_that_failed(lines: &[&str]) -> Option<String> {
    let is_failed = |line: &&&str| line.contains(" fail ") && line.contains(" at ");
    lines.iter().find(is_failed).map(|line| (*line).to_owned())
}

/// Up to three lines after that of the place.
fn words_of_panic(lines: &[&str]) -> Option<String> {
    let at = lines.iter().position(|line| line.contains("panicked at "))?;
    let words = lines[at + 1..].iter().take_while(|l| !l.is_empty() && !l.starts_with("note: "));
    Some(words.take(3).copied().collect::<Vec<_>>().join(" "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{} …", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_breaks_and_what_notices() {
        let text =
            "Breaks: order\nCaught-by: cargo test -p queue\n\ndiff --git a/x b/x\nBreaks: no";
        let patch = Patch::parse(Path::new("a/wrong-order.patch"), text).unwrap();
        assert_eq!("wrong-order", patch.name);
        assert_eq!(("order", "cargo test -p queue"), (&*patch.breaks, &*patch.caught_by));
    }

    #[test]
    fn a_head_that_lacks_something_is_refused_by_name() {
        let lacking = Patch::parse(Path::new("a.patch"), "Breaks: order\ndiff --git").unwrap_err();
        assert_eq!("a.patch: no `Caught-by: `", lacking);
        let other = "Breaks: order\nCaught-by: rm -r /\n";
        assert!(Patch::parse(Path::new("a.patch"), other).is_err());
    }

    #[test]
    fn building_is_told_from_running() {
        let check = |expected, command| assert_eq!(expected, build_of(command).as_deref());
        check(Some("cargo test -p a --lib x --no-run"), "cargo test -p a --lib x -- --exact");
        check(Some("cargo xtask perf --suite a --list"), "cargo xtask perf --suite a");
        check(None, "cargo xtask tidy");
    }

    #[test]
    fn the_message_is_that_of_the_case_or_the_panic_or_the_first_line() {
        let row = "Building\npaced/1   2101.5 µs  fail  at most 100 µs\nverdict: fail";
        assert_eq!("paced/1 2101.5 µs fail at most 100 µs", message_of(row));
        let panic =
            "thread 'a' panicked at a.rs:1:2:\nassertion failed\n  left: 1\n right: 2\n\nmore";
        assert_eq!("assertion failed left: 1 right: 2", message_of(panic));
        assert_eq!("arrows: queue", message_of("arrows: queue\ntree: queue\nerror: 2\n"));
        assert_eq!("", message_of(""));
    }
}
