//! The program `streaming-server`: an OpenAI-like endpoint on the command line.
#![forbid(unsafe_code)]

mod args;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use streaming_server::{Ended, Listener, Server, TestRunner, raise_open_files};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::args::{Args, Listen, RunnerKind, options, relay_options, test_options};

/// What the shell calls an error of usage (`EX_USAGE` of `sysexits.h`).
const USAGE: u8 = 64;
/// Some streams did not finish in time.
const CUT: u8 = 1;
/// 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// How many tasks run before the sockets are looked at again. tokio's 61 let a flood of tokens keep
/// a new request waiting for milliseconds.
const EVENT_INTERVAL: u32 = 32;

fn main() -> ExitCode {
    let started = Instant::now();
    let args = match Args::try_parse().and_then(Args::checked) {
        Ok(args) => args,
        Err(error) => {
            // Nothing is to be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&args, started) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, started: Instant) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Err(error) = raise_open_files() {
        let _ = writeln!(io::stderr(), "warning: the limit of open files stays: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    runtime.block_on(serve(args, started))
}

async fn serve(args: &Args, started: Instant) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let server = match args.runner {
        RunnerKind::Test => {
            let tokens = test_options(args);
            Server::start(options(args)?, move || TestRunner::new(tokens))?
        }
        RunnerKind::Upstream => Server::relay(options(args)?, &relay_options(args))?,
    };
    let (listener, url) = listen(&args.listen).await?;
    // Upstreams may come later: `/ready` tells.
    if let RunnerKind::Test = args.runner {
        server.ready().await;
    }
    announce(args.json, &url, started)?;
    let stop = async {
        terminate.recv().await;
    };
    tokio::select! {
        ended = server.serve(listener, stop) => Ok(end(args.json, ended, started)),
        () = interrupted(&mut interrupt) => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn interrupted(interrupt: &mut Signal) {
    interrupt.recv().await;
}

/// Returns a listener, and what it is announced as.
async fn listen(listen: &Listen) -> Result<(Listener, String), String> {
    match listen {
        Listen::Tcp(address) => {
            let told = |error: io::Error| format!("cannot listen on {address}: {error}");
            let listener = Listener::bind(*address).map_err(told)?;
            let url = format!("http://{}", listener.address().map_err(told)?);
            Ok((listener, url))
        }
        Listen::Unix(path) => {
            let url = format!("unix:{}", path.display());
            let told = |error: io::Error| format!("cannot listen on {url}: {error}");
            Ok((Listener::bind_unix(path).await.map_err(told)?, url))
        }
    }
}

fn announce(json: bool, url: &str, started: Instant) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        let t_ms = started.elapsed().as_millis();
        let url = serde_json::Value::from(url);
        writeln!(stdout, "{{\"event\":\"listening\",\"t_ms\":{t_ms},\"url\":{url}}}")?;
    } else {
        writeln!(stdout, "listening on {url}")?;
    }
    stdout.flush()
}

fn end(json: bool, ended: Ended, started: Instant) -> ExitCode {
    let Ended { finished, cut } = ended;
    let code = if cut == 0 { 0 } else { CUT };
    if json {
        let t_ms = started.elapsed().as_millis();
        let end = format!("\"exit_code\":{code},\"finished\":{finished},\"cut\":{cut}");
        let _ = writeln!(io::stdout(), "{{\"event\":\"end\",\"t_ms\":{t_ms},{end}}}");
    } else {
        let _ = writeln!(io::stderr(), "{finished} requests finished, {cut} were cut");
    }
    ExitCode::from(code)
}
