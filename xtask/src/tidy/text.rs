//! Rules on the text: left-over markers, direct use of the outside world, unsafe code.

use super::{Offence, Source};

/// What marks unfinished work. Written in two halves, so that this file does not offend itself.
const MARKERS: [&str; 6] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// The crates whose clock, files and sockets must be replaceable in tests.
const WITH_SEAMS: [&str; 6] =
    ["limiter", "pool", "queue", "memory", "download", "streaming-server"];

/// What only the seam of a crate may touch.
const OUTSIDE_WORLD: [&str; 7] = [
    "Instant::now(",
    "SystemTime::now(",
    "std::fs::",
    "use std::fs;",
    "TcpStream::connect",
    "TcpListener::bind",
    "rand::random",
];

/// Checks one file, line by line.
pub(super) fn check(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let seam_rule_applies = needs_seam(&source.path);
    for (index, line) in source.text.lines().enumerate() {
        // Modules of tests come last in a file (EXAMPLES of the house: "tests" end a file).
        if seam_rule_applies && line.trim() == "#[cfg(test)]" {
            break;
        }
        let place = || format!("{}:{}", source.path, index + 1);
        for marker in MARKERS.into_iter().filter(|marker| line.contains(marker)) {
            offences.push(Offence::new("marker", place(), format!("left-over `{marker}`")));
        }
        if !seam_rule_applies || line.trim_start().starts_with("//") {
            continue;
        }
        for call in OUTSIDE_WORLD.into_iter().filter(|call| line.contains(call)) {
            let what = format!("`{call}` outside of the crate's seam (seam.rs or seam/)");
            offences.push(Offence::new("seam", place(), what));
        }
    }
    offences.extend(check_sleeps(source));
    offences.extend(check_unsafe(source));
    offences
}

fn needs_seam(path: &str) -> bool {
    let of_crate = |name: &&str| path.starts_with(&format!("crates/{name}/src/"));
    let is_seam = path.contains("/seam/") || path.ends_with("/seam.rs");
    let is_program = path.contains("/src/bin/");
    WITH_SEAMS.iter().any(of_crate) && !is_seam && !is_program
}

/// Tests run in virtual time; what must be measured in real time says so by the name of its module.
fn check_sleeps(source: &Source) -> Vec<Offence> {
    let in_tests = source.path.contains("/tests/") && !source.path.contains("real_time");
    let sleep = concat!("thread::", "sleep(");
    let imports = |line: &str| line.starts_with("use std::thread") && line.contains("sleep");
    let sleeps = |line: &str| in_tests && (line.contains(sleep) || imports(line.trim_start()));
    let offend = |index: usize| {
        let place = format!("{}:{}", source.path, index + 1);
        Offence::new("sleep", place, "a test that sleeps belongs in a module named `real_time`")
    };
    let lines = source.text.lines().enumerate();
    lines.filter(|(_, line)| sleeps(line)).map(|(index, _)| offend(index)).collect()
}

fn check_unsafe(source: &Source) -> Option<Offence> {
    let is_root = source.path.ends_with("/src/lib.rs") || source.path.ends_with("/src/main.rs");
    let exempt = source.path.starts_with("crates/memory/");
    let forbids = source.text.contains("#![forbid(unsafe_code)]");
    (is_root && !exempt && !forbids)
        .then(|| Offence::new("unsafe", &source.path, "lacks `#![forbid(unsafe_code)]`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rules(path: &str, text: &str, expected: &[&str]) {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        let rules: Vec<_> = check(&source).iter().map(|offence| offence.rule).collect();
        assert_eq!(expected, rules);
    }

    #[test]
    fn markers_are_found_anywhere() {
        check_rules("xtask/src/a.rs", concat!("fn f() { todo", "!() }"), &["marker"]);
        check_rules("crates/pool/tests/it/a.rs", concat!("// FIX", "ME later"), &["marker"]);
    }

    #[test]
    fn the_clock_is_read_in_the_seam_alone() {
        let reads = "let now = Instant::now();";
        check_rules("crates/limiter/src/bucket.rs", reads, &["seam"]);
        check_rules("crates/limiter/src/seam.rs", reads, &[]);
        check_rules("crates/limiter/src/bucket.rs", "use std::fs;", &["seam"]);
        check_rules("crates/limiter/src/bucket.rs", &format!("#[cfg(test)]\n{reads}"), &[]);
        check_rules("crates/testkit/src/origin.rs", reads, &[]);
    }

    #[test]
    fn only_real_time_tests_sleep() {
        let sleeps = concat!("std::thread::", "sleep(second);");
        check_rules("crates/pool/tests/it/a.rs", sleeps, &["sleep"]);
        check_rules("crates/pool/tests/it/real_time.rs", sleeps, &[]);
        check_rules(
            "crates/pool/tests/it/a.rs",
            concat!("use std::thread", "::{scope, sleep};"),
            &["sleep"],
        );
    }

    #[test]
    fn every_root_but_that_of_memory_forbids_unsafe_code() {
        check_rules("crates/pool/src/lib.rs", "", &["unsafe"]);
        check_rules("crates/pool/src/lib.rs", "#![forbid(unsafe_code)]", &[]);
        check_rules("crates/memory/src/lib.rs", "", &[]);
    }
}
