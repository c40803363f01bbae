//! Who may use whom.

use cargo_metadata::{DependencyKind, Metadata};

use super::Offence;
use crate::cargo::members;

/// Our crates. No module may have one of these names: `mod queue;` would hide the crate `queue`.
pub(crate) const CRATES: [&str; 8] = [
    "limiter",
    "pool",
    "queue",
    "memory",
    "download",
    "streaming-server",
    "inference-bench",
    "testkit",
];

/// What a package of the workspace may use of the others.
struct Arrows {
    package: &'static str,
    /// In its library and programs.
    uses: &'static [&'static str],
    /// In its tests besides.
    tests_use: &'static [&'static str],
}

/// The table of `ARCHITECTURE.md`. A new arrow is a design decision and comes with its reason.
const TABLE: [Arrows; 10] = [
    Arrows { package: "limiter", uses: &[], tests_use: &["testkit"] },
    Arrows { package: "pool", uses: &[], tests_use: &["testkit"] },
    Arrows { package: "queue", uses: &[], tests_use: &["testkit"] },
    Arrows { package: "memory", uses: &[], tests_use: &["testkit"] },
    Arrows {
        package: "download",
        uses: &["limiter", "pool", "queue", "memory"],
        tests_use: &["testkit"],
    },
    Arrows {
        package: "streaming-server",
        uses: &["limiter", "pool", "queue", "memory"],
        tests_use: &["testkit"],
    },
    // Never `streaming-server`: an instrument that shares code with what it measures shares its
    // mistakes. The two meet as programs only.
    Arrows {
        package: "inference-bench",
        uses: &["limiter", "pool", "memory"],
        tests_use: &["testkit"],
    },
    // Fakes of the outside world know none of our types.
    Arrows { package: "testkit", uses: &[], tests_use: &[] },
    Arrows { package: "benches", uses: &CRATES, tests_use: &CRATES },
    // Statistics, gates and reports; everything else it runs as a program.
    Arrows { package: "xtask", uses: &["inference-bench"], tests_use: &[] },
];

/// Checks every arrow between two packages of the workspace.
pub(super) fn check(metadata: &Metadata) -> Vec<Offence> {
    let members = members(metadata);
    let mut offences = Vec::new();
    for package in &members {
        let name = package.name.as_str();
        let Some(arrows) = TABLE.iter().find(|arrows| arrows.package == name) else {
            offences.push(Offence::new("arrows", name, "a package that the table does not know"));
            continue;
        };
        for dependency in &package.dependencies {
            let target = dependency.name.as_str();
            let ours = members.iter().any(|member| member.name.as_str() == target);
            if ours && !arrows.allow(target, dependency.kind) {
                offences.push(forbidden(name, target, dependency.kind));
            }
        }
    }
    offences
}

impl Arrows {
    fn allow(&self, target: &str, kind: DependencyKind) -> bool {
        self.uses.contains(&target)
            || (kind == DependencyKind::Development && self.tests_use.contains(&target))
    }
}

fn forbidden(name: &str, target: &str, kind: DependencyKind) -> Offence {
    let what = format!(
        "may not use `{target}` as a {kind} dependency; the allowed arrows are in \
         xtask/src/tidy/layers.rs"
    );
    Offence::new("arrows", name, what)
}
