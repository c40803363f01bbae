//! The program `download`: files and models from the web, verified and resumable.

#![forbid(unsafe_code)]

mod args;
mod exit;
mod fetch_models;
mod get;
mod keep;
mod metrics;
mod plan;
mod report;
mod setup;
mod tell;
mod voice;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;

use self::args::{Arguments, Command};

/// Transfers end within this long after a signal.
const END_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no runtime: {error}"), 1),
    };
    let result = obey(&arguments.command, &runtime);
    // Drops what still runs: it keeps what was written.
    runtime.shutdown_timeout(END_WITHIN);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(what) => refuse(&what, exit::USAGE),
    }
}

/// Does what was asked for; `Err` says what is wrong with the command line.
fn obey(command: &Command, runtime: &Runtime) -> Result<u8, String> {
    match command {
        Command::Get(get) => {
            get::prepare(get).map(|prepared| runtime.block_on(get::run(get, prepared)))
        }
        Command::Model(model) => fetch_models::model(model, runtime),
        Command::Sync(sync) => fetch_models::sync(sync, runtime),
        Command::Verify(verify) => keep::verify(verify, runtime),
        Command::List(list) => keep::list(list),
        Command::Gc(gc) => keep::gc(gc),
    }
}

fn refuse(what: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}
