//! What we stand on: licences, sources, versions, and how much of it a user of one crate takes along.

use std::collections::{BTreeSet, HashMap};

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, Node, Package, PackageId};

use super::Offence;
use super::layers::CRATES;
use super::licences::satisfied;
use crate::cargo::members;
use crate::steps::Failure;

const FOUNDATIONS: [&str; 4] = ["limiter", "pool", "queue", "memory"];

/// Licences of what we ship with: they ask for no more than a notice.
const SHIPPED_LICENCES: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
];

/// Licences of peers and tools that stay in tests and benches, besides.
const TOOL_LICENCES: [&str; 3] = ["MPL-2.0", "CC0-1.0", "CDLA-Permissive-2.0"];

/// Versions below these carry published faults; `deny.toml` says which.
static VERSIONS_MIN: [(&str, Version); 5] = [
    ("bytes", Version::new(1, 11, 1)),
    ("crossbeam-channel", Version::new(0, 5, 15)),
    ("h2", Version::new(0, 4, 16)),
    ("memmap2", Version::new(0, 9, 11)),
    ("tracing-subscriber", Version::new(0, 3, 20)),
];

/// How many packages, itself included, a user of a foundation may have to build.
const TREES_MAX: [(&str, bool, usize); 3] =
    [("limiter", false, 1), ("limiter", true, 12), ("queue", true, 12)];

/// Checks manifests and the resolved graph.
pub(super) fn check(metadata: &Metadata) -> Vec<Offence> {
    let mut offences = Vec::new();
    for package in members(metadata) {
        offences.extend(check_manifest(package));
    }
    let shipped = reachable(metadata, &CRATES);
    let at_the_base = reachable(metadata, &FOUNDATIONS);
    for package in &metadata.packages {
        if metadata.workspace_members.contains(&package.id) {
            continue;
        }
        offences.extend(check_source(package));
        offences.extend(check_licence(package, shipped.contains(&package.id)));
        offences.extend(check_version(package));
        if at_the_base.contains(&package.id) {
            offences.extend(check_rust_version(package));
        }
    }
    offences
}

/// Checks how many packages a user of one crate takes along; `tree` runs cargo and returns its output.
pub(super) fn check_trees(
    tree: impl Fn(&[&str]) -> Result<String, Failure>,
) -> Result<Vec<Offence>, Failure> {
    let mut offences = Vec::new();
    for (name, default_features, packages_max) in TREES_MAX {
        let mut arguments = vec!["tree", "-p", name, "-e", "normal", "--prefix", "none"];
        if !default_features {
            arguments.push("--no-default-features");
        }
        let output = tree(&arguments)?;
        let packages: BTreeSet<_> =
            output.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        if packages_max < packages.len() {
            let what = format!("{} packages in its tree, at most {packages_max}", packages.len());
            offences.push(Offence::new("tree-size", name, what));
        }
    }
    Ok(offences)
}

fn check_manifest(package: &Package) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            offences.push(Offence::new("manifest", package.name.as_str(), what));
        }
    };
    demand(package.publish.as_ref().is_some_and(Vec::is_empty), "lacks `publish = false`");
    demand(package.license.as_deref() == Some("MIT OR Apache-2.0"), "has another licence");
    demand(package.edition == cargo_metadata::Edition::E2024, "is not of edition 2024");
    demand(package.description.is_some(), "lacks a description");
    let base = FOUNDATIONS.contains(&package.name.as_str());
    let declared = package.rust_version.clone();
    let expected = if base { Version::new(1, 85, 0) } else { Version::new(1, 95, 0) };
    demand(declared == Some(expected), "declares another rust-version (1.85 for foundations)");
    offences
}

fn check_source(package: &Package) -> Option<Offence> {
    let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
    let known = source.starts_with("registry+");
    (!known).then(|| Offence::new("source", place(package), "comes from outside the registry"))
}

fn check_licence(package: &Package, shipped: bool) -> Option<Offence> {
    let mut allowed = SHIPPED_LICENCES.to_vec();
    if !shipped {
        allowed.extend(TOOL_LICENCES);
    }
    let expression = package.license.as_deref().unwrap_or_default();
    let what = format!("licence `{expression}` is not among the allowed");
    (!satisfied(expression, &allowed)).then(|| Offence::new("licence", place(package), what))
}

fn check_version(package: &Package) -> Option<Offence> {
    let (_, min) = VERSIONS_MIN.iter().find(|(name, _)| package.name.as_str() == *name)?;
    let what = format!("has a published fault that {min} mends");
    (package.version < *min).then(|| Offence::new("version", place(package), what))
}

/// The foundations declare 1.85: what they ship with must be buildable by it.
fn check_rust_version(package: &Package) -> Option<Offence> {
    let needed = package.rust_version.clone()?;
    let what = format!("needs Rust {needed}, the foundations declare 1.85");
    (Version::new(1, 85, 0) < needed).then(|| Offence::new("rust-version", place(package), what))
}

fn place(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

/// All packages that these crates of ours ship with: reached over normal dependencies alone.
fn reachable(metadata: &Metadata, roots: &[&str]) -> BTreeSet<PackageId> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves unless told not to");
    let nodes: HashMap<&PackageId, &Node> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let mut todo: Vec<&PackageId> = members(metadata)
        .into_iter()
        .filter(|package| roots.contains(&package.name.as_str()))
        .map(|package| &package.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if seen.insert(id.clone()) {
            todo.extend(normal_dependencies(nodes[id]));
        }
    }
    seen
}

fn normal_dependencies(node: &Node) -> impl Iterator<Item = &PackageId> {
    let normal = |kinds: &[cargo_metadata::DepKindInfo]| {
        kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
    };
    node.deps.iter().filter(move |dep| normal(&dep.dep_kinds)).map(|dep| &dep.pkg)
}
