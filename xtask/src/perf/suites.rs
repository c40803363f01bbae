//! The suites there are, and how they are asked for.

use std::slice;

use crate::steps::Failure;

/// How cargo calls a suite's program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// A bench target: it may use peers.
    Bench(&'static str),
    /// A program.
    Bin(&'static str),
}

impl Target {
    /// The name and how cargo is told to build it.
    pub(crate) fn selector(self) -> (&'static str, &'static str) {
        match self {
            Self::Bench(name) => ("--bench", name),
            Self::Bin(name) => ("--bin", name),
        }
    }
}

/// A suite of `cargo xtask perf`.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What `--suite` calls it.
    pub(crate) name: &'static str,
    /// Its program, in `benches`.
    pub(crate) target: Target,
    /// How long it may take in quick mode, in seconds.
    pub(crate) budget_s: u64,
}

/// All suites, in the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "download", target: Target::Bin("suite-download"), budget_s: 45 },
    Suite { name: "bandwidth", target: Target::Bin("suite-bandwidth"), budget_s: 30 },
    Suite { name: "memory", target: Target::Bin("suite-memory"), budget_s: 20 },
    Suite { name: "storage", target: Target::Bin("suite-storage"), budget_s: 25 },
    Suite { name: "scale", target: Target::Bin("suite-scale"), budget_s: 25 },
    Suite { name: "stream", target: Target::Bin("suite-stream"), budget_s: 75 },
    Suite { name: "infer", target: Target::Bin("suite-infer"), budget_s: 50 },
    Suite { name: "micro", target: Target::Bench("micro"), budget_s: 25 },
];

/// The suites of these names; all of them for none.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static Suite>, Failure> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let all: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            return Err(format!("no suite `{name}`; there are: {}", all.join(", ")));
        }
    }
    let wanted = |suite: &&Suite| names.is_empty() || names.iter().any(|name| name == suite.name);
    Ok(SUITES.iter().filter(wanted).collect())
}

/// Whether a case is asked for: by its name, or by its name after that of its suite.
pub(crate) fn matches(globs: &[String], suite: &str, case: &str) -> bool {
    let full = format!("{suite}/{case}");
    globs.is_empty() || globs.iter().any(|glob| fits(glob, case) || fits(glob, &full))
}

/// The first pattern that none of these, each a suite and a case, fits: a slip of the pen, and what it was to
/// watch would go unwatched.
pub(crate) fn unmatched<'a>(globs: &'a [String], found: &[(&str, &str)]) -> Option<&'a String> {
    let fits_some = |glob: &String| {
        found.iter().any(|(suite, case)| matches(slice::from_ref(glob), suite, case))
    };
    globs.iter().find(|glob| !fits_some(glob))
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(super) fn fits(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let yes = [("*", ""), ("a*", "a/b"), ("*b", "a/b"), ("a*c*e", "abcde"), ("a", "a")];
        for (glob, text) in yes {
            assert!(fits(glob, text), "{glob} {text}");
        }
        for (glob, text) in [("a", "ab"), ("a*b", "a"), ("a*c*e", "ace "), ("ab*ba", "aba")] {
            assert!(!fits(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn cases_are_found_with_and_without_their_suite() {
        assert!(matches(&[], "micro", "a"));
        assert!(matches(&["micro/a".to_owned()], "micro", "a"));
        assert!(matches(&["a".to_owned()], "micro", "a"));
        assert!(!matches(&["memory/*".to_owned()], "micro", "a"));
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_told_beside_one_that_does() {
        let globs = ["micro/a*", "micro/typo"].map(str::to_owned);
        assert_eq!(Some(&globs[1]), unmatched(&globs, &[("micro", "ab")]));
        assert_eq!(None, unmatched(&globs, &[("micro", "ab"), ("micro", "typo")]));
        assert_eq!(None, unmatched(&[], &[("micro", "ab")]));
    }

    #[test]
    fn an_unknown_suite_is_refused_by_name() {
        assert!(named(&["nope".to_owned()]).unwrap_err().contains("micro"));
    }
}
