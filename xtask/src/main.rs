//! The project's commands: `cargo xtask perf`, `test`, `ci`, `tidy`, `bench`.
//!
//! Each is a list of ordinary cargo commands plus the rules of the house; nothing here needs a network
//! beyond loopback or a tool beyond the toolchain.

#![forbid(unsafe_code)]

mod adopt;
mod captured;
mod cargo;
mod ci;
mod history;
mod peers;
mod perf;
mod sabotage;
mod steps;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use inference_bench::exit;

/// The project's commands.
#[derive(Debug, Parser)]
#[command(name = "xtask", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  cargo xtask perf                 the perf suites, quick: the main job
  cargo xtask test                 all tests that need no more than the toolchain
  cargo xtask ci --skip test       the other checks of CI
  cargo xtask tidy                 the rules of the house alone
  cargo xtask report               what the last runs of perf have shown
  cargo xtask sabotage             breaks it on purpose; something must notice
  cargo xtask adopt                each crate alone, as a stranger takes it
  cargo xtask peers --rounds 3     the speed of downloads beside curl, aria2, wget2
  cargo xtask bench limiter        divan's tables of one crate";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the perf suites, judges them and writes the report: the main job.
    Perf(perf::Options),
    /// Runs all tests that need no network beyond loopback.
    Test {
        /// Adds what needs programs and libraries of others, as far as they are here: nginx, the clients of our
        /// streams, hub and cache. May install libraries under `target`.
        #[arg(long)]
        peers: bool,
    },
    /// Runs all checks that a change must pass: formats, lints, docs, rules, tests, benches.
    Ci {
        /// Leaves out the step of this name; may be given several times.
        #[arg(long, value_name = "STEP")]
        skip: Vec<String>,
    },
    /// Checks the rules of the house: arrows between crates, sizes, names, dependencies.
    Tidy,
    /// Fetches the same files with `download get`, curl, aria2 and wget2, in turn, from one nginx.
    Peers(peers::Options),
    /// Takes each crate into a project of its own, as its README says, and runs its example there.
    Adopt,
    /// Shows the last runs of `perf` on this machine, and where a case seems to have changed.
    Report(history::Options),
    /// Breaks the project by the patches in `xtask/sabotage`, and demands that each is noticed.
    Sabotage(sabotage::Options),
    /// Prints divan's tables for people.
    Bench {
        /// The crate whose benches run: limiter, pool, queue, memory, inference-bench; all of them, and those of
        /// the standard library, when left out.
        #[arg(value_name = "CRATE")]
        target: Option<String>,
        /// What follows goes to divan, for example a filter.
        #[arg(last = true)]
        divan: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let result = match arguments.command {
        Command::Perf(options) => return ExitCode::from(perf::run(&options)),
        Command::Test { peers } => ci::test(peers),
        Command::Ci { skip } => ci::ci(&skip),
        Command::Tidy => tidy::run(),
        Command::Peers(options) => peers::run(&options),
        Command::Adopt => adopt::run(),
        Command::Report(options) => history::run(&options),
        Command::Sabotage(options) => sabotage::run(&options),
        Command::Bench { target, divan } => ci::bench(target.as_deref(), &divan),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
