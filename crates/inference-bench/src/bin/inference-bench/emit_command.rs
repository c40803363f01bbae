//! `inference-bench emit`: the ground truth, in a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use inference_bench::exit;
use inference_bench::stream::{Emitter, EmitterOptions, Fault};

/// The options of `emit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Between two tokens of a stream.
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// From a request to its first token; one interval if not given.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttft: Option<Duration>,
    /// All streams keep step with their requests; else each is moved by a part of the interval.
    #[arg(long)]
    aligned: bool,
    /// Works on one request at a time, for so long each: the queue M/D/1 where arrivals are Poisson.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    service: Option<Duration>,
    /// Stands still once, so long after the first request.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "freeze_for")]
    freeze_after: Option<Duration>,
    /// How long it stands still.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    freeze_for: Option<Duration>,
    /// What goes wrong: status=503, broken, no-done, cut, error, hang or endless; after K tokens, in each
    /// N-th stream.
    #[arg(long, value_name = "WHAT[@K][/N]")]
    fault: Option<Fault>,
    /// Ends when its standard input is closed: with the process that started it.
    #[arg(long)]
    until_stdin_closes: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench emit --interval 10ms
  inference-bench emit --service 5ms        # one request at a time: the queue M/D/1
  inference-bench emit --freeze-after 1s --freeze-for 2s
  inference-bench emit --fault cut@3/2      # each second stream is cut after three tokens";

/// Serves until it is told to end, and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    match serve(options) {
        Ok(()) => exit::OK,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot emit: {error}");
            exit::INVALID
        }
    }
}

fn serve(options: &Options) -> std::io::Result<()> {
    let emitter = Emitter::bind(EmitterOptions {
        listen: options.listen,
        interval: options.interval,
        ttft: options.ttft.unwrap_or(options.interval),
        scattered: !options.aligned,
        service: options.service,
        freeze: options.freeze_after.zip(options.freeze_for),
        fault: options.fault,
    })?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", emitter.address()?)?;
    stdout.flush()?;
    if options.until_stdin_closes {
        return emitter.run(std::io::stdin());
    }
    // Nobody writes to it: the signal that ends us ends the wait.
    let (never, _keep_open) = std::io::pipe()?;
    emitter.run(never)
}
