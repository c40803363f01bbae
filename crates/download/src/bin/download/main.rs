//! The program `download`: files and models from the web, verified and resumable.

#![forbid(unsafe_code)]

mod args;
mod exit;
mod fetch_models;
mod get;
mod history;
mod keep;
mod metrics;
mod plan;
mod pulse;
mod replace;
mod report;
mod setup;
mod tell;
mod voice;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;

use self::args::{Arguments, Command};
use self::exit::Refused;

/// Freed memory that the heap may keep, in halves: what all frames on their way take.
const KEPT_BYTES: usize = 16 << 20;
/// Transfers end within this long after a signal.
const END_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    keep_freed_memory();
    let arguments = match Arguments::read() {
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
        Err(Refused { what, code }) => refuse(&what, code),
    }
}

/// Does what was asked for; `Err` says why that was not begun.
fn obey(command: &Command, runtime: &Runtime) -> Result<u8, Refused> {
    Ok(match command {
        Command::Get(get) => {
            let prepared = get::prepare(get)?;
            runtime.block_on(get::run(get, prepared))
        }
        Command::Model(model) => fetch_models::model(model, runtime)?,
        Command::Sync(sync) => fetch_models::sync(sync, runtime)?,
        Command::Verify(verify) => keep::verify(verify, runtime)?,
        Command::List(list) => keep::list(list)?,
        Command::Gc(gc) => keep::gc(gc)?,
    })
}

/// Lets the heap keep what is freed, for the next frames: given back to the kernel and asked for again,
/// each page costs a fault.
///
/// The C library of Linux takes the largest mapped block that was freed for its threshold of what to map,
/// and twice that for what to keep (`mallopt(3)`, `M_MMAP_THRESHOLD`).
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

fn refuse(what: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}
