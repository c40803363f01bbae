//! `cargo xtask adopt`: takes each crate alone, as a stranger would.
//!
//! Outside of the workspace, in projects with a manifest and nothing else, three a crate: as its README says
//! (what stands in the first block of TOML and of Rust there, with the path in place of the address; built
//! and run), with its default features, and without them (built).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::captured::capture;
use crate::cargo::{program, root};
use crate::perf::signals::Signals;
use crate::steps::{Failure, say};
use crate::tidy::CRATES;

/// The address in the READMEs: whoever reads one knows where it came from.
const ADDRESS: &str = "git = \"<this repository>\"";
/// The longest that a project may build and run: the first one builds what all of them share.
const PROJECT_MAX: Duration = Duration::from_secs(900);

/// A project that takes one crate.
struct Project {
    /// Says how it takes the crate.
    how: &'static str,
    dependencies: String,
    main: String,
    /// Built, or run too.
    verb: &'static str,
}

/// Runs the command.
pub(crate) fn run() -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let scratch = Scratch::new()?;
    for name in CRATES {
        let path = root().join("crates").join(name).join("README.md");
        let readme = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        for project in projects(name, &readme)? {
            scratch.try_out(name, &project, &signals)?;
        }
    }
    Ok(())
}

/// The ways to take a crate.
fn projects(name: &str, readme: &str) -> Result<[Project; 3], Failure> {
    let block = |language: &str| {
        let block = block(readme, language);
        block.ok_or_else(|| format!("the README of {name} has no block of {language}"))
    };
    let takes = |options: &str| {
        let path = root().join("crates").join(name);
        format!("[dependencies]\n{name} = {{ path = {path:?}{options} }}\n")
    };
    let uses = || format!("use {} as _;\n\nfn main() {{}}\n", name.replace('-', "_"));
    Ok([
        Project {
            how: "as its README says",
            dependencies: with_paths(block("toml")?, &root().join("crates")),
            main: block("rust")?.to_owned(),
            verb: "run",
        },
        Project {
            how: "with default features",
            dependencies: takes(""),
            main: uses(),
            verb: "build",
        },
        Project {
            how: "without default features",
            dependencies: takes(", default-features = false"),
            main: uses(),
            verb: "build",
        },
    ])
}

/// The first block of a language.
fn block<'a>(markdown: &'a str, language: &str) -> Option<&'a str> {
    let mut rest = markdown;
    loop {
        let (_, block) = rest.split_once("\n```")?;
        let (info, text) = block.split_once('\n')?;
        let (text, after) = text.split_once("```")?;
        if info.split(',').next() == Some(language) {
            return Some(text);
        }
        rest = after;
    }
}

/// Dependencies of ours by path in place of the address. A program's `main` has no dev-dependencies.
fn with_paths(toml: &str, crates: &Path) -> String {
    let mut text = String::new();
    for line in toml.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let path = format!("path = {:?}", crates.join(name));
        let line = line.replace(ADDRESS, &path).replace("[dev-dependencies]", "[dependencies]");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// A folder for the projects, far from the workspace; dropping it removes it.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("adopt-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Writes a project and builds or runs it.
    fn try_out(&self, name: &str, project: &Project, signals: &Signals) -> Result<(), Failure> {
        let told = |error| format!("cannot write a project: {error}");
        fs::create_dir_all(self.folder.join("src")).map_err(told)?;
        let write = |file: &str, text: &str| fs::write(self.folder.join(file), text).map_err(told);
        let dependencies = &project.dependencies;
        write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"adopts-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                 {dependencies}"
            ),
        )?;
        write("src/main.rs", &project.main)?;
        // The versions that the workspace is tested with, and nothing to look up.
        fs::copy(root().join("Cargo.lock"), self.folder.join("Cargo.lock")).map_err(told)?;
        let mut command = program();
        command.args([project.verb, "--quiet"]).current_dir(&self.folder);
        command.env("CARGO_TARGET_DIR", root().join("target/adopt"));
        let log = self.folder.join("log");
        let ended = capture(&mut command, PROJECT_MAX, &log, signals)?;
        if !ended.succeeded() {
            return Err(format!(
                "{name} {}: it does not {}:\n{}",
                project.how,
                project.verb,
                ended.end()
            ));
        }
        say(&format!("{name:<18} {:<26} ok", project.how));
        for line in ended.output.lines() {
            say(&format!("    {line}"));
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# a\n\n```sh\ncargo run\n```\n\n```toml\n[dev-dependencies]\n\
        a-b = { git = \"<this repository>\", features = [\"x\"] }\n```\n\n```rust,no_run\nfn main() {}\n```\n";

    #[test]
    fn the_first_block_of_a_language_is_taken() {
        assert_eq!(Some("cargo run\n"), block(README, "sh"));
        assert_eq!(Some("fn main() {}\n"), block(README, "rust"));
        assert_eq!(None, block(README, "python"));
    }

    #[test]
    fn the_path_stands_in_place_of_the_address() {
        let expected = "[dependencies]\na-b = { path = \"/crates/a-b\", features = [\"x\"] }\n";
        assert_eq!(expected, with_paths(block(README, "toml").unwrap(), Path::new("/crates")));
    }
}
