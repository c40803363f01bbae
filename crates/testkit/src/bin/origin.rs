//! The program `origin`: a misbehaving web on the command line.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use testkit::units::{parse_duration, parse_rate, parse_size};
use testkit::{
    Blob, Fault, HubOptions, Options, Origin, Schedule, Settings, StartError, parse_share,
};

/// What the shell calls an error of usage (`EX_USAGE` of `sysexits.h`).
const USAGE: u8 = 64;

const EXAMPLES: &str = "\
Examples:
  origin --blob model.bin=100GB@7                      100 GB that need no storage
  origin --root . --fault 'cut@*.bin#1:at=1MiB'        the first .bin breaks off after 1 MiB
  origin --blob m=1GiB --fault cap=2MB/s --latency 50ms
  origin --hub hub.json                                then HF_ENDPOINT=http://127.0.0.1:PORT
  origin --tokens                                      POST /v1/completions, a token every 20 ms
  origin --link 127.0.0.1:8080 --latency 25ms --window 256KiB

Fault rules: KIND[=ARG][@GLOB][#N|#N..M|#N..][:at=BYTES], with the kinds
  cut stall trickle rst half-close hang ignore-range wrong-range swap etag gzip short long flip
  status retry-after redirect redirect-loop http10 expire cap collapse
Control, on the same port: GET /_stats, POST /_reset, GET and PUT /_config, GET /_blobs. The content
network of a hub has its own, on its port.";

/// Serves blobs, files and tokens on loopback, as slowly, brokenly and falsely as told.
#[derive(Debug, Parser)]
#[command(name = "origin", version, after_help = EXAMPLES)]
struct Args {
    /// Loopback address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder whose files are served
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Object of computed bytes, served at /NAME
    #[arg(long, value_name = "NAME=SIZE[@SEED]", value_parser = parse_blob)]
    blob: Vec<Blob>,
    /// Model hub to emulate; its content network listens on 127.0.0.2
    #[arg(long, value_name = "FILE.json", value_parser = parse_hub)]
    hub: Option<HubOptions>,
    /// Serve an OpenAI-like endpoint with an exact schedule
    #[arg(long)]
    tokens: bool,
    /// Carry everything but the control routes to HOST:PORT
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    #[arg(conflicts_with_all = ["root", "blob", "hub", "tokens"])]
    link: Option<SocketAddr>,
    /// Bytes per second of all replies together
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    bandwidth: Option<Limit>,
    /// Bytes per second of each connection
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    connection_bandwidth: Option<Limit>,
    /// Bytes in flight per connection of a link
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "link")]
    window: Option<u64>,
    /// Delay of each reply; of a link, one way
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = "0")]
    latency: Duration,
    /// Share of the requests that are answered by 503, from 0 to 1
    #[arg(long, value_name = "P", value_parser = parse_share, default_value = "0")]
    error_rate: f64,
    /// What goes wrong, where and when
    #[arg(long, value_name = "RULE")]
    fault: Vec<Fault>,
    /// Seed of what is random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print events as JSON
    #[arg(long)]
    json: bool,
}

/// A rate in bytes per second, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u64>);

fn parse_limit(text: &str) -> Result<Limit, testkit::units::UnitError> {
    match text {
        "unlimited" => Ok(Limit(None)),
        text => parse_rate(text).map(|rate| Limit(Some(rate))),
    }
}

fn parse_blob(text: &str) -> Result<Blob, String> {
    let (name, rest) = text.rsplit_once('=').ok_or("write NAME=SIZE or NAME=SIZE@SEED")?;
    let (size, seed) = rest.split_once('@').unwrap_or((rest, "0"));
    let size = parse_size(size).map_err(|error| error.to_string())?;
    let seed = seed.parse().map_err(|_| format!("the seed `{seed}` is no number"))?;
    Ok(Blob::new(name.trim_start_matches('/'), size, seed))
}

fn parse_hub(path: &str) -> Result<HubOptions, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())?.parse()
}

fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let mut addresses = bare.to_socket_addrs().map_err(|error| format!("{error}: HOST:PORT?"))?;
    addresses.next().ok_or_else(|| format!("`{bare}` has no address"))
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return leave(&error),
    };
    // Before any thread is started, so that all of them leave the signals to `wait`.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if let Err(error) = signals.thread_block() {
        return fail(&format!("cannot wait for signals: {error}"), 1);
    }
    let json = args.json;
    let origin = match Origin::start(options(args)) {
        Ok(origin) => origin,
        Err(error @ StartError::Setting(_)) => return fail(&told(&error), USAGE),
        Err(error) => return fail(&told(&error), 1),
    };
    if let Err(error) = announce(&origin, json) {
        return fail(&format!("cannot write to stdout: {error}"), 1);
    }
    match signals.wait() {
        Ok(signal) => ExitCode::from(128 + signal as u8),
        Err(error) => fail(&format!("cannot wait for signals: {error}"), 1),
    }
}

fn options(args: Args) -> Options {
    Options {
        listen: args.listen,
        blobs: args.blob,
        root: args.root,
        hub: args.hub,
        tokens: args.tokens,
        link: args.link,
        seed: args.seed,
        settings: Settings {
            bandwidth: args.bandwidth.and_then(|limit| limit.0),
            connection_bandwidth: args.connection_bandwidth.and_then(|limit| limit.0),
            latency: args.latency,
            error_rate: args.error_rate,
            faults: args.fault,
            window: args.window,
            tokens: Schedule::default(),
        },
        ..Options::default()
    }
}

/// Tells where it listens, in the first line.
fn announce(origin: &Origin, json: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let (url, cdn) = (origin.url(""), origin.cdn().map(|cdn| cdn.url("")));
    if json {
        let event = serde_json::json!({"event": "listening", "t_ms": 0, "url": url, "cdn": cdn});
        writeln!(stdout, "{event}")?;
    } else {
        writeln!(stdout, "listening on {url}")?;
        if let Some(cdn) = cdn {
            writeln!(stdout, "content network on {cdn}")?;
        }
    }
    stdout.flush()
}

/// Prints help, version or what is wrong with the arguments.
fn leave(error: &clap::Error) -> ExitCode {
    // If it cannot be printed there is nobody to read it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

fn fail(what: &str, code: u8) -> ExitCode {
    // The same.
    let _ = writeln!(io::stderr(), "origin: {what}");
    ExitCode::from(code)
}

/// Renders an error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", told(cause)))
}
