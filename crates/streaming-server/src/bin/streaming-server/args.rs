//! What the command line says.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};
use streaming_server::{Keys, KeysError, Options, Pace, RelayOptions, TestOptions};

const EXAMPLES: &str = "\
Examples:
  streaming-server                                     a token every 20 ms, on a free port
  streaming-server --listen 127.0.0.1:8000 --interval 8.33us
  streaming-server --ttft 200ms --prefill 1ms --jitter 5ms --seed 7
  streaming-server --interval 0s                       as fast as they leave
  streaming-server --max-running 8 --max-queued 100 --queue-timeout 2s
  streaming-server --api-keys keys.txt --listen unix:/run/streaming.sock
  streaming-server --runner upstream --upstream http://10.0.0.1:8000 --upstream http://10.0.0.2:8000
  streaming-server --enable-faults                     heeds `x-fault: cut@3`

  curl -N http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{\"prompt\":\"Say something\",\"max_tokens\":5,\"stream\":true}'

Ends on SIGTERM when all streams have finished (0) or the drain time-out has cut some (1).";

/// Serves token streams over HTTP, in the manner of OpenAI's API.
#[derive(Debug, Parser)]
#[command(name = "streaming-server", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Address to listen on (port 0 takes a free one), or unix:PATH
    #[arg(long, value_name = "ADDR|unix:PATH", default_value = "127.0.0.1:0", value_parser = parse_listen)]
    pub(crate) listen: Listen,
    /// What produces the tokens
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runner: RunnerKind,
    /// A server to pass requests on to, with --runner upstream
    #[arg(long, value_name = "URL", required_if_eq("runner", "upstream"))]
    pub(crate) upstream: Vec<String>,
    /// A name of the model; several names are one model. `test` unless given, or any for upstreams
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Vec<String>,
    /// Between two tokens; 0s is as fast as they leave
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = parse_duration)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) interval: Duration,
    /// From the start of a request to its first token [default: the interval]
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) ttft: Option<Duration>,
    /// The most that a token is early or late
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) jitter: Duration,
    /// What each token of the prompt adds to the first token's delay
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) prefill: Duration,
    /// What each other running sequence adds to an interval
    #[arg(long, value_name = "D", default_value = "0s", value_parser = parse_duration)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) batch_slope: Duration,
    /// Seed of the jitter
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) seed: u64,
    /// All sequences keep step, as those of an engine do
    #[arg(long)]
    #[arg(conflicts_with = "upstream")]
    pub(crate) aligned: bool,
    /// Requests that run at once
    #[arg(long, value_name = "N", default_value = "16384")]
    pub(crate) max_running: NonZeroUsize,
    /// File of API keys, one a line: NAME:KEY [weight=1] [requests=60/m] [tokens=1M/m] [priority=0]
    #[arg(long, value_name = "FILE")]
    pub(crate) api_keys: Option<PathBuf>,
    /// Requests that wait; more are refused
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(crate) max_queued: usize,
    /// Tokens of all requests that run at once
    #[arg(long, value_name = "N")]
    pub(crate) max_running_tokens: Option<u64>,
    /// Tokens of all requests that wait
    #[arg(long, value_name = "N")]
    pub(crate) max_queued_tokens: Option<u64>,
    /// Seek the best number of running requests, up to --max-running
    #[arg(long)]
    pub(crate) adaptive: bool,
    /// Largest `max_tokens` of a request
    #[arg(long, value_name = "N", default_value = "1048576")]
    pub(crate) max_tokens: NonZeroU64,
    /// Largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    pub(crate) max_body: u64,
    /// How long a request may wait for its turn
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_duration)]
    pub(crate) queue_timeout: Duration,
    /// How long a client may read nothing
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    pub(crate) stall_timeout: Duration,
    /// How long the head of a request may take, and a connection be idle
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    pub(crate) header_timeout: Duration,
    /// How long the body of a request may take
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    pub(crate) body_timeout: Duration,
    /// How long a step of the runner may take, and an upstream be silent that streams
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    pub(crate) runner_timeout: Duration,
    /// How long streams may take to finish after SIGTERM
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse_duration)]
    pub(crate) drain_timeout: Duration,
    /// Connections; more are refused
    #[arg(long, value_name = "N", default_value = "16384")]
    pub(crate) max_connections: NonZeroUsize,
    /// An origin whose pages may read replies; `*` is every one
    #[arg(long, value_name = "O", value_parser = parse_origin)]
    pub(crate) cors_origin: Vec<String>,
    /// A name that requests may have as their Host; every one unless given
    #[arg(long, value_name = "H", value_parser = parse_host)]
    pub(crate) allowed_host: Vec<String>,
    /// Heed the request header `x-fault`; a relay passes it on to --upstream
    #[arg(long)]
    pub(crate) enable_faults: bool,
    /// Print events as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// Refuses options that would do nothing with this runner.
    pub(crate) fn checked(self) -> Result<Self, clap::Error> {
        let told = match self.runner {
            RunnerKind::Test if !self.upstream.is_empty() => {
                "--upstream needs --runner upstream: without it nothing is passed on"
            }
            RunnerKind::Upstream if self.enable_faults => {
                "--enable-faults is for --runner test: a relay passes `x-fault` on, give it to the upstream"
            }
            RunnerKind::Test | RunnerKind::Upstream => return Ok(self),
        };
        Err(Self::command().error(ErrorKind::ArgumentConflict, told))
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum RunnerKind {
    /// Keeps an exact schedule instead of computing
    #[default]
    Test,
    /// Passes requests on to --upstream
    Upstream,
}

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What the server is told.
pub(crate) fn options(args: &Args) -> Result<Options, String> {
    Ok(Options {
        models: models(args),
        running_max: args.max_running.get(),
        queued_max: args.max_queued,
        tokens_max: args.max_tokens.get(),
        body_bytes_max: args.max_body,
        connections_max: args.max_connections.get(),
        queue_timeout: args.queue_timeout,
        stall_timeout: args.stall_timeout,
        runner_timeout: args.runner_timeout,
        header_timeout: args.header_timeout,
        body_timeout: args.body_timeout,
        drain_timeout: args.drain_timeout,
        faults: args.enable_faults,
        running_tokens_max: args.max_running_tokens.unwrap_or(u64::MAX),
        queued_tokens_max: args.max_queued_tokens.unwrap_or(u64::MAX),
        adaptive: args.adaptive,
        keys: args.api_keys.as_deref().map(read_keys).transpose()?,
        cors_origins: args.cors_origin.clone(),
        allowed_hosts: args.allowed_host.clone(),
        ..Options::default()
    })
}

fn models(args: &Args) -> Vec<String> {
    match args.runner {
        RunnerKind::Test if args.model.is_empty() => vec!["test".to_owned()],
        RunnerKind::Test | RunnerKind::Upstream => args.model.clone(),
    }
}

/// What the relay is told.
pub(crate) fn relay_options(args: &Args) -> RelayOptions {
    RelayOptions { upstreams: args.upstream.clone(), ..RelayOptions::default() }
}

fn read_keys(path: &Path) -> Result<Keys, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    text.parse().map_err(|error: KeysError| told(&error))
}

/// What the test runner is told.
pub(crate) fn test_options(args: &Args) -> TestOptions {
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

fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("there is no path".to_owned())
        } else {
            Ok(Listen::Unix(path.into()))
        };
    }
    let told = |error| format!("{error}; write it as 127.0.0.1:8000 or unix:PATH");
    let mut addresses = text.to_socket_addrs().map_err(told)?;
    addresses.next().map(Listen::Tcp).ok_or_else(|| "the name has no address".to_owned())
}

/// An origin as browsers write it: anything else would match none.
fn parse_origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    let is_plain =
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
    if is_plain || ["*", "null"].contains(&text) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write it as browsers do: https://example.com, without a path, or `*`".to_owned())
}

/// A host without its port, as requests are compared with it.
fn parse_host(text: &str) -> Result<String, String> {
    let is_v6 = text.starts_with('[') && text.ends_with(']');
    if text.is_empty() || text.contains('/') || (text.contains(':') && !is_v6) {
        return Err("write the name alone, without a port: localhost, 127.0.0.1, [::1]".to_owned());
    }
    Ok(text.to_owned())
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

/// `64MiB`, `64MB`, `64000`; not nothing.
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
    match (number * bytes as f64) as u64 {
        0 => Err("at least 1 byte is needed".to_owned()),
        bytes => Ok(bytes),
    }
}
