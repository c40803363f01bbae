//! The program `streaming-server`: an OpenAI-like endpoint on the command line.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use streaming_server::{
    Ended, Listener, Options, Pace, Server, TestOptions, TestRunner, raise_open_files,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the shell calls an error of usage (`EX_USAGE` of `sysexits.h`).
const USAGE: u8 = 64;
/// Some streams did not finish in time.
const CUT: u8 = 1;
/// 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// How many tasks run before the sockets are looked at again. tokio's 61 let a flood of tokens keep
/// a new request waiting for milliseconds.
const EVENT_INTERVAL: u32 = 32;

const EXAMPLES: &str = "\
Examples:
  streaming-server                                     a token every 20 ms, on a free port
  streaming-server --listen 127.0.0.1:8000 --interval 8.33us
  streaming-server --ttft 200ms --prefill 1ms --jitter 5ms --seed 7
  streaming-server --interval 0s                       as fast as they leave
  streaming-server --max-running 8 --max-queued 100 --queue-timeout 2s
  streaming-server --enable-faults                     heeds `x-fault: cut@3`

  curl -N http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{\"prompt\":\"Say something\",\"max_tokens\":5,\"stream\":true}'

Ends on SIGTERM when all streams have finished (0) or the drain time-out has cut some (1).";

/// Serves token streams over HTTP, in the manner of OpenAI's API.
#[derive(Debug, Parser)]
#[command(name = "streaming-server", version, after_help = EXAMPLES)]
struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = parse_address)]
    listen: SocketAddr,
    /// What produces the tokens
    #[arg(long, value_enum, default_value_t)]
    runner: RunnerKind,
    /// A name of the model; several names are one model
    #[arg(long, value_name = "NAME", default_value = "test")]
    model: Vec<String>,
    /// Between two tokens; 0s is as fast as they leave
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = parse_duration)]
    interval: Duration,
    /// From the start of a request to its first token [default: the interval]
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    ttft: Option<Duration>,
    /// The most that a token is early or late
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    jitter: Duration,
    /// What each token of the prompt adds to the first token's delay
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    prefill: Duration,
    /// What each other running sequence adds to an interval
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    batch_slope: Duration,
    /// Seed of the jitter
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// All sequences keep step, as those of an engine do
    #[arg(long)]
    aligned: bool,
    /// Requests that run at once
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    max_running: usize,
    /// Requests that wait; more are refused
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_queued: usize,
    /// Largest `max_tokens` of a request
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    max_tokens: u64,
    /// Largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    max_body: u64,
    /// How long a request may wait for its turn
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_duration)]
    queue_timeout: Duration,
    /// How long a client may read nothing
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    stall_timeout: Duration,
    /// How long the head of a request may take, and a connection be idle
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    header_timeout: Duration,
    /// How long the body of a request may take
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    body_timeout: Duration,
    /// How long streams may take to finish after SIGTERM
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    drain_timeout: Duration,
    /// Connections; more are refused
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    max_connections: usize,
    /// Heed the request header `x-fault`
    #[arg(long)]
    enable_faults: bool,
    /// Print events as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum RunnerKind {
    /// Keeps an exact schedule instead of computing.
    #[default]
    Test,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is to be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Err(error) = raise_open_files() {
        let _ = writeln!(io::stderr(), "warning: the limit of open files stays: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let tokens = test_options(args);
    let server = Server::start(options(args), move || TestRunner::new(tokens))?;
    let listener = Listener::bind(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    server.ready().await;
    announce(args.json, listener.address()?)?;
    let stop = async {
        terminate.recv().await;
    };
    tokio::select! {
        ended = server.serve(listener, stop) => Ok(end(args.json, ended)),
        () = interrupted(&mut interrupt) => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn interrupted(interrupt: &mut Signal) {
    interrupt.recv().await;
}

fn announce(json: bool, address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        writeln!(stdout, "{{\"event\":\"listening\",\"t_ms\":0,\"url\":\"http://{address}\"}}")?;
    } else {
        writeln!(stdout, "listening on http://{address}")?;
    }
    stdout.flush()
}

fn end(json: bool, ended: Ended) -> ExitCode {
    let Ended { finished, cut } = ended;
    let code = if cut == 0 { 0 } else { CUT };
    if json {
        let end = format!("\"exit_code\":{code},\"finished\":{finished},\"cut\":{cut}");
        let _ = writeln!(io::stdout(), "{{\"event\":\"end\",{end}}}");
    } else {
        let _ = writeln!(io::stderr(), "{finished} requests finished, {cut} were cut");
    }
    ExitCode::from(code)
}

fn options(args: &Args) -> Options {
    Options {
        models: args.model.clone(),
        running_max: args.max_running,
        queued_max: args.max_queued,
        tokens_max: args.max_tokens,
        body_bytes_max: args.max_body,
        connections_max: args.max_connections,
        queue_timeout: args.queue_timeout,
        stall_timeout: args.stall_timeout,
        header_timeout: args.header_timeout,
        body_timeout: args.body_timeout,
        drain_timeout: args.drain_timeout,
        faults: args.enable_faults,
        ..Options::default()
    }
}

fn test_options(args: &Args) -> TestOptions {
    let RunnerKind::Test = args.runner;
    TestOptions {
        interval: args.interval,
        ttft: args.ttft,
        jitter: args.jitter,
        prefill: args.prefill,
        batch_slope: args.batch_slope,
        seed: args.seed,
        pace: if args.aligned { Pace::Aligned } else { Pace::Own },
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

/// `250ms`, `1.5s`, `8.33us`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let wrong = || "write it as 250ms: a number and ns, us, ms, s, m or h".to_owned();
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// `64MiB`, `64MB`, `64000`.
fn parse_size(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let wrong =
        || "write it as 64MiB: a number and KB, KiB, MB, MiB, GB, GiB or nothing".to_owned();
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    Ok((number * bytes as f64) as u64)
}
