//! What a change must pass, step by step.

use cargo_metadata::Metadata;

use crate::cargo::{CHECKERS, cargo, features_together, members, metadata};
use crate::steps::{Failure, Step, run_all};
use crate::{perf, sabotage, tidy};

/// Bench targets with an interface of their own: they do not know divan's options.
const NOT_DIVAN: [&str; 3] = ["limiter_precision", "micro", "pool_stale"];

/// All tests that need no network beyond loopback.
///
/// With `peers`, ours is tried against programs of others, too.
pub(crate) fn test(peers: bool) -> Result<(), Failure> {
    let metadata = metadata()?;
    let mut steps = test_steps(&metadata);
    if peers {
        steps.push(Step::new("peers", 600, perf::peers));
    }
    run_all(&steps)
}

/// All checks, but those named in `skip`.
pub(crate) fn ci(skip: &[String]) -> Result<(), Failure> {
    let metadata = metadata()?;
    let mut steps = vec![
        Step::new("fmt", 10, || cargo(&["fmt", "--all", "--check"], &[])),
        Step::new("tidy", 60, tidy::run),
        Step::new("sabotage", 5, sabotage::check),
        Step::new("clippy", 240, || clippy(&metadata)),
        Step::new("features", 180, || each_feature_alone(&metadata)),
        Step::new("docs", 90, docs),
    ];
    steps.extend(test_steps(&metadata));
    steps.push(Step::new("benches", 120, || bench_tests(&metadata)));
    steps.push(Step::new("perf-smoke", 90, perf::smoke));
    check_names(&steps, skip)?;
    steps.retain(|step| !skip.iter().any(|name| name == step.name || belongs(step.name, name)));
    run_all(&steps)
}

/// Divan's tables.
pub(crate) fn bench(target: Option<&str>, divan: &[String]) -> Result<(), Failure> {
    let targets = divan_targets(&metadata()?, target)?;
    let mut arguments = vec!["bench", "--package", "benches"];
    targets.iter().for_each(|target| arguments.extend(["--bench", target]));
    arguments.push("--");
    arguments.extend(divan.iter().map(String::as_str));
    cargo(&arguments, &[])
}

/// The targets of a crate's tables, which cannot have a `-` in their names; all of them for none.
fn divan_targets(metadata: &Metadata, krate: Option<&str>) -> Result<Vec<String>, Failure> {
    let targets = members(metadata).into_iter().flat_map(|package| &package.targets);
    let names = targets.filter(|target| target.is_bench()).map(|target| target.name.clone());
    let all: Vec<String> = names.filter(|name| !NOT_DIVAN.contains(&name.as_str())).collect();
    let Some(krate) = krate else { return Ok(all) };
    let name = krate.replace('-', "_");
    if all.contains(&name) {
        return Ok(vec![name]);
    }
    Err(format!("`{krate}` has no tables; there are those of: {}", all.join(", ")))
}

/// `--skip test` leaves out every step of `cargo xtask test`.
fn belongs(step: &str, name: &str) -> bool {
    name == "test" && matches!(step, "checkers")
}

fn check_names(steps: &[Step<'_>], skip: &[String]) -> Result<(), Failure> {
    for name in skip {
        if !steps.iter().any(|step| step.name == name) {
            let names: Vec<_> = steps.iter().map(|step| step.name).collect();
            return Err(format!("no step `{name}`; there are: {}", names.join(", ")));
        }
    }
    Ok(())
}

fn test_steps(metadata: &Metadata) -> Vec<Step<'_>> {
    vec![
        Step::new("test", 480, || workspace_tests(metadata)),
        Step::new("checkers", 240, || checker_tests(metadata)),
    ]
}

fn workspace_tests(metadata: &Metadata) -> Result<(), Failure> {
    workspace("test", &features_together(metadata), &["--no-fail-fast"])
}

/// Runs `tests/loom.rs` and `tests/shuttle.rs` of the crates that have them, with the checker's features.
fn checker_tests(metadata: &Metadata) -> Result<(), Failure> {
    for checker in CHECKERS {
        let mut features = features_together(metadata);
        for package in members(metadata) {
            if package.targets.iter().any(|target| target.is_test() && target.name == checker) {
                features = format!("{features},{}/{checker}", package.name);
            }
        }
        workspace("test", &features, &["--test", checker])?;
    }
    Ok(())
}

/// Runs each bench once.
fn bench_tests(metadata: &Metadata) -> Result<(), Failure> {
    let targets = members(metadata).into_iter().flat_map(|package| &package.targets);
    let benches = targets.filter(|target| target.is_bench());
    let chosen: Vec<_> = benches.flat_map(|bench| ["--bench", &bench.name]).collect();
    workspace("test", &features_together(metadata), &chosen)
}

fn clippy(metadata: &Metadata) -> Result<(), Failure> {
    let features = features_together(metadata);
    workspace("clippy", &features, &["--all-targets", "--", "--deny", "warnings"])
}

/// All of the workspace with the same features: what was built for one step serves the next.
fn workspace(command: &str, features: &str, rest: &[&str]) -> Result<(), Failure> {
    let mut arguments = vec![command, "--workspace", "--features", features];
    arguments.extend(rest);
    cargo(&arguments, &[])
}

/// Each crate without features, and with each of its features alone: a crate that is taken elsewhere
/// must not build only because a neighbor turned something on.
fn each_feature_alone(metadata: &Metadata) -> Result<(), Failure> {
    for package in members(metadata) {
        let base =
            ["clippy", "--quiet", "--package", package.name.as_str(), "--no-default-features"];
        // What only one feature uses is dead without it, which no build of all features sees.
        let strict = ["--", "--deny", "warnings"];
        cargo(&[&base[..], &strict].concat(), &[])?;
        for feature in package.features.keys() {
            cargo(&[&base[..], &["--features", feature], &strict].concat(), &[])?;
        }
    }
    Ok(())
}

fn docs() -> Result<(), Failure> {
    cargo(
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links")],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_asked_for_by_the_name_of_their_crate() {
        let metadata = metadata().unwrap();
        let targets = |krate| divan_targets(&metadata, krate);
        assert_eq!(Ok(vec!["inference_bench".to_owned()]), targets(Some("inference-bench")));
        assert!(targets(Some("download")).unwrap_err().contains("limiter"));
        assert!(!targets(None).unwrap().contains(&"micro".to_owned()));
    }
}
