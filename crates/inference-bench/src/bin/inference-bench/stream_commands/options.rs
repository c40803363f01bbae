//! The options of `stream`, and what they ask for.

use std::collections::BTreeSet;
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

use inference_bench::stream::{
    ApiKey, Arrival, Dialect, Endpoint, Goals, Load, Plan, SearchOptions, Target, Trace,
};

use crate::calibrate_command::Stamp;
use crate::kept_figures::{Measured, word};

/// How long an open loop runs unless told otherwise.
const OPEN_DURATION: Duration = Duration::from_secs(10);
/// What the founding suite allows a server to add to each token.
const OVERHEAD_MAX: Duration = Duration::from_millis(3);
/// Below this, arrivals come in bursts of hundreds with nothing between them.
const BURSTINESS_MIN: f64 = 0.01;
/// Loads that one sweep may have.
const SWEEP_MAX: usize = 64;

/// Requests of each probe of a search for streams, unless told otherwise: fewer decide nothing.
const PROBE_REQUESTS_MIN: u64 = 200;

/// The options of `stream`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server: scheme, host and port; `/v1` and the endpoint are added where missing.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The kind of requests.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) endpoint: EndpointName,
    /// The model that requests name.
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub(crate) model: String,
    /// A closed loop: so many streams at once. 1 if neither this nor a rate is given.
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    pub(crate) streams: Option<usize>,
    /// An open loop: so many requests per second, whatever becomes of those before.
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// The gaps between the requests of an open loop.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrival: ArrivalName,
    /// Below 1, `--arrival gamma` comes in bursts; above 1, it is more even than chance.
    #[arg(long, value_name = "SHAPE", default_value_t = 1.0)]
    pub(crate) burstiness: f64,
    /// An open loop: the requests of this file, at their times and of their lengths; Mooncake's JSON lines
    /// or `BurstGPT`'s CSV.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["streams", "rate", "sweep", "search"])]
    pub(crate) trace: Option<PathBuf>,
    /// Replays the trace so many times faster.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, requires = "trace")]
    pub(crate) trace_speed: f64,
    /// Requests in all. As many as streams, unless a duration is given.
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// How long requests are started; those under way are waited for. 10s in an open loop.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Requests due before this count for nothing.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) warmup: Duration,
    /// Tokens to ask for in each request.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) tokens: u32,
    /// The prompt of each request.
    #[arg(long, value_name = "TEXT", default_value = "Count from zero.")]
    pub(crate) prompt: String,
    /// The interval at which the server makes tokens: what it adds is the overhead.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) expect_interval: Option<Duration>,
    /// Fails when the overhead is above this. 3ms if an interval is expected.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "expect_interval")]
    pub(crate) max_overhead: Option<Duration>,
    /// One run after the other with these loads: streams, or rates if a rate is given.
    #[arg(long, value_name = "LOAD,…", value_delimiter = ',', conflicts_with = "search")]
    pub(crate) sweep: Vec<f64>,
    /// Searches for the highest load that meets the objectives of `--slo`.
    #[arg(long, value_enum, requires = "slo")]
    pub(crate) search: Option<SearchFor>,
    /// What a good request keeps: `ttft=200ms,itl=50ms,tpot=…,e2e=…`.
    #[arg(long, value_name = "GOALS")]
    pub(crate) slo: Option<Goals>,
    /// The share of requests that must meet them in a search.
    #[arg(long, value_name = "SHARE", default_value_t = 0.99)]
    pub(crate) slo_share: f64,
    /// Whose definitions the latencies follow: ours, vllm, aiperf, guidellm, genai-perf, llmperf, mlperf.
    #[arg(long, value_name = "TOOL", default_value = "ours")]
    pub(crate) metrics_as: Dialect,
    /// Whose clock stamps what arrives.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) stamp: Stamp,
    /// Threads that share the load.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// A file with the API key.
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Draws the arrivals; each further load of a sweep or a search takes the next number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long one request may take.
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Requests in flight at once in an open loop; an arrival beyond it is listed as not sent.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) max_in_flight: usize,
    /// How long the instrument is held against its own source before and after; 0s: not at all, and
    /// nothing is said of its error.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) calibration: Duration,
    /// Compares with the figures in this file; what is worse is measured once more.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Keeps the figures in this file, unless the run is interrupted, invalid, or most of it failed.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_baseline: Option<PathBuf>,
    /// Writes the report in all its forms, and the raw records, into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench stream --url http://127.0.0.1:8000 --streams 10 --expect-interval 20ms
  inference-bench stream --url http://127.0.0.1:8000 --rate 50 --slo ttft=200ms,itl=50ms
  inference-bench stream --url http://127.0.0.1:8000 --sweep 1,10,100 -o report
  inference-bench stream --url http://127.0.0.1:8000 --search rate --slo ttft=200ms
  inference-bench stream --url http://127.0.0.1:8000 --trace mooncake.jsonl

No server at hand? `inference-bench emit` is one: it prints its URL.

Latencies count from the instant a request was due. A percentile with too few samples is null,
with the reason. Exit codes: 0 all met, 1 under 80 % of requests succeeded, 2 under 90 % met the
objectives, 3 worse than the baseline, 4 not to be trusted, 5 another target missed, 64 usage,
130 interrupted, 143 terminated.";

/// The kind of requests.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum EndpointName {
    /// `/v1/completions`.
    #[default]
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

/// The gaps between requests.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum ArrivalName {
    /// Users as they come.
    #[default]
    Poisson,
    /// All equal.
    Constant,
    /// As bursty as `--burstiness` says.
    Gamma,
}

/// What a search varies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum SearchFor {
    /// Requests per second.
    Rate,
    /// Streams at once.
    Streams,
}

/// What is asked for, checked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) target: Target,
    pub(crate) trace: Option<Trace>,
    pub(crate) loads: Loads,
    pub(crate) overhead_max: Option<Duration>,
    pub(crate) workers: usize,
}

/// The loads to run.
#[derive(Debug)]
pub(crate) enum Loads {
    One(f64),
    Sweep(Vec<f64>),
    Search(SearchOptions),
}

impl Options {
    /// Checks what the parser cannot.
    pub(crate) fn check(&self) -> Result<Asked, String> {
        let open = self.is_open();
        let first = self.rate.or(self.streams.map(|streams| streams as f64)).unwrap_or(1.0);
        let loads = match (self.search, &self.sweep[..]) {
            (Some(_), _) => Loads::Search(SearchOptions {
                start: first,
                load_max: self.load_max(),
                share_min: self.slo_share,
                whole: !open,
                ..SearchOptions::default()
            }),
            (None, []) => Loads::One(first),
            (None, sweep) if sweep.len() <= SWEEP_MAX => Loads::Sweep(sweep.to_vec()),
            (None, sweep) => return Err(format!("{} loads, at most {SWEEP_MAX}", sweep.len())),
        };
        self.check_numbers(first)?;
        let trace = self.trace()?;
        // Of a trace, the load is its mean rate.
        let mean_rate = trace.as_ref().map(|trace| Loads::One(trace.rate().unwrap_or(1.0)));
        let asked = Asked {
            target: self.target()?,
            trace,
            loads: mean_rate.unwrap_or(loads),
            overhead_max: self.max_overhead.or(self.expect_interval.map(|_| OVERHEAD_MAX)),
            workers: self.workers.unwrap_or_else(workers),
        };
        // Before the first load is sent: the last one of a sweep may be the one that cannot be.
        for &load in iter::once(&first).chain(&self.sweep) {
            self.plan(load, &asked).check()?;
        }
        Ok(asked)
    }

    /// Refuses numbers that ask for nothing, or for what there is none of.
    fn check_numbers(&self, first: f64) -> Result<(), String> {
        let zeros = [
            ("--requests", self.requests == Some(0)),
            ("--tokens", self.tokens == 0),
            ("--workers", self.workers == Some(0)),
            ("--max-in-flight", self.max_in_flight == 0),
            ("--duration", self.duration == Some(Duration::ZERO)),
            ("--timeout", self.timeout.is_zero()),
            ("--expect-interval", self.expect_interval == Some(Duration::ZERO)),
        ];
        if let Some((name, _)) = zeros.into_iter().find(|&(_, is_zero)| is_zero) {
            return Err(format!("{name} is 0, and has to be above"));
        }
        let all = iter::once(&first).chain(&self.sweep);
        if let Some(load) = all.into_iter().find(|load| !(0.0 < **load && load.is_finite())) {
            return Err(format!("a load of {load} is none"));
        }
        if !self.is_open() && self.sweep.iter().any(|load| load.fract() != 0.0) {
            return Err("streams are whole numbers; for rates give --rate, too".to_owned());
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.sweep.iter().find(|load| !names.insert(self.name_of(**load))) {
            return Err(format!("{} is swept twice; results are kept by it", self.name_of(*twice)));
        }
        if !(0.0 < self.slo_share && self.slo_share < 1.0) {
            return Err(format!("--slo-share {} is not between 0 and 1", self.slo_share));
        }
        if !(BURSTINESS_MIN <= self.burstiness && self.burstiness.is_finite()) {
            let burstiness = self.burstiness;
            return Err(format!("--burstiness {burstiness} is not at least {BURSTINESS_MIN}"));
        }
        Ok(())
    }

    /// The highest load that can be asked for.
    fn load_max(&self) -> f64 {
        if !self.is_open() {
            return Plan::AT_ONCE_MAX as f64;
        }
        let duration = self.duration.unwrap_or(OPEN_DURATION).as_secs_f64();
        let by_requests = Plan::REQUESTS_MAX as f64 / duration;
        if self.requests.is_some() { Plan::RATE_MAX } else { Plan::RATE_MAX.min(by_requests) }
    }

    /// Whether requests come on a clock.
    pub(crate) fn is_open(&self) -> bool {
        let is_timed = self.rate.is_some() || self.trace.is_some();
        self.search.map_or(is_timed, |search| search == SearchFor::Rate)
    }

    /// What a load is called.
    pub(crate) fn name_of(&self, load: f64) -> String {
        if self.is_open() { format!("rate={load:.3}") } else { format!("streams={load}") }
    }

    /// What this command measures, and under what beside the load.
    pub(crate) fn measured(&self) -> Measured {
        let load = [
            ("arrival", word(&self.arrival)),
            ("burstiness", self.burstiness.to_string()),
            ("endpoint", word(&self.endpoint)),
            ("metrics as", self.metrics_as.to_string()),
            ("prompt bytes", self.prompt.len().to_string()),
            ("stamp", word(&self.stamp)),
            ("tokens", self.tokens.to_string()),
        ];
        let load = load.into_iter().map(|(name, value)| (name.to_owned(), value));
        Measured { command: "stream", load: load.collect() }
    }

    /// The plan for one load.
    pub(crate) fn plan(&self, load: f64, asked: &Asked) -> Plan {
        let workers = asked.workers;
        let mut plan = if let Some(trace) = &asked.trace {
            Plan { duration: self.duration, ..Plan::replay(trace.clone()) }
        } else if self.is_open() {
            let arrival = match self.arrival {
                ArrivalName::Poisson => Arrival::Poisson,
                ArrivalName::Constant => Arrival::Constant,
                ArrivalName::Gamma => Arrival::Gamma { shape: self.burstiness },
            };
            Plan::open(load, arrival, self.duration.unwrap_or(OPEN_DURATION))
        } else {
            Plan { duration: self.duration, ..Plan::closed(load as usize) }
        };
        // A number of requests alone ends an open loop, too.
        if self.is_open() && self.requests.is_some() {
            plan.duration = self.duration;
        }
        if !self.is_open() && self.duration.is_some() {
            plan.requests = None;
        } else if self.search.is_some() {
            plan.requests = plan.requests.map(|requests| requests.max(PROBE_REQUESTS_MIN));
        }
        plan.requests = self.requests.or(plan.requests);
        plan.workers = match plan.load {
            Load::Closed { streams } => workers.min(streams),
            _ => workers,
        };
        Plan {
            warmup: self.warmup,
            seed: self.seed,
            in_flight_max: self.max_in_flight,
            stamp: self.stamp.into(),
            ..plan
        }
    }

    fn trace(&self) -> Result<Option<Trace>, String> {
        let Some(path) = &self.trace else { return Ok(None) };
        let speed = self.trace_speed;
        if !(0.0 < speed && speed.is_finite()) {
            return Err(format!("--trace-speed {speed} is not above 0"));
        }
        let told =
            |error: &dyn std::fmt::Display| format!("cannot replay {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let trace = Trace::parse(&text).map_err(|error| told(&error))?;
        Ok(Some(trace.faster(speed)))
    }

    fn target(&self) -> Result<Target, String> {
        let api_key = match &self.api_key_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()));
                Some(ApiKey::new(&text?))
            }
            None => None,
        };
        Ok(Target {
            url: self.url.clone(),
            endpoint: match self.endpoint {
                EndpointName::Completions => Endpoint::Completions,
                EndpointName::Chat => Endpoint::Chat,
            },
            model: self.model.clone(),
            prompt: self.prompt.clone(),
            tokens: self.tokens,
            api_key,
            timeout: self.timeout,
        })
    }
}

/// One core is left to whoever sends.
fn workers() -> usize {
    const WORKERS_MAX: usize = 8;
    std::thread::available_parallelism().map_or(1, |n| (n.get() - 1).clamp(1, WORKERS_MAX))
}
