//! The program `inference-bench`.

#![forbid(unsafe_code)]

mod ab_command;
mod calibrate_command;
mod canary;
mod compare_command;
mod emit_command;
mod ending;
mod ground_truth;
mod interrupt;
mod kept_figures;
mod line;
mod models_command;
mod output;
mod stream_commands;
mod system;
mod threads;
mod vision_commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use inference_bench::exit;
use memory::heap::CountingAllocator;

/// Leaks are slopes of live bytes. To `stream` it costs some atomic additions for each allocation.
#[global_allocator]
static HEAP: CountingAllocator = CountingAllocator::system();

const EXAMPLES: &str = "Examples:
  inference-bench stream --url http://127.0.0.1:8000 --streams 10 --expect-interval 20ms
  inference-bench calibrate
  inference-bench vision --model yolo11n -o report
  inference-bench ab --a './old --once' --b './new --once'

Each command has its own: inference-bench stream --help";

/// Measures inference endpoints and models, and proves its own error.
#[derive(Debug, Parser)]
#[command(name = "inference-bench", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compares two commands by randomized interleaved pairs: is B slower than A?
    Ab(ab_command::Options),
    /// Puts the figures of two reports side by side: advice, and no verdict.
    Compare(compare_command::Options),
    /// Puts an endpoint that streams tokens under load: latencies, overhead, the highest load it bears.
    Stream(Box<stream_commands::Options>),
    /// Says how wrong the instrument itself is, on this machine under this load.
    Calibrate(calibrate_command::Options),
    /// Measures models that see: loading, real time, memory, leaks, load, each against its target.
    Vision(Box<vision_commands::Options>),
    /// Measures one model in this process: the workhorse of `vision`.
    #[command(hide = true)]
    See,
    /// The models that `vision` can measure without any download.
    Models(models_command::Options),
    /// Emits tokens whose times are known: the ground truth of `calibrate`.
    #[command(hide = true)]
    Emit(emit_command::Options),
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
    system::raise_open_files();
    ExitCode::from(match arguments.command {
        Command::Ab(options) => ab_command::run(&options),
        Command::Compare(options) => compare_command::run(&options),
        Command::Stream(options) => stream_commands::run(&options),
        Command::Calibrate(options) => calibrate_command::run(&options),
        Command::Vision(options) => vision_commands::run(&options),
        Command::See => vision_commands::see(),
        Command::Models(options) => models_command::run(&options),
        Command::Emit(options) => emit_command::run(&options),
    })
}
