//! The program `inference-bench`.

#![forbid(unsafe_code)]

mod compare_commands;
mod interrupt;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use inference_bench::exit;

/// Measures inference endpoints and models, and proves its own error.
#[derive(Debug, Parser)]
#[command(name = "inference-bench", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compares two commands by randomized interleaved pairs: is B slower than A?
    Ab(compare_commands::Options),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked_for = matches!(
                error.kind(),
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
            );
            let _ = error.print();
            return ExitCode::from(if asked_for { exit::OK } else { exit::USAGE });
        }
    };
    let Command::Ab(options) = arguments.command;
    ExitCode::from(compare_commands::run(&options))
}
