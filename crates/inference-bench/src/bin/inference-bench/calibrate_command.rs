//! `inference-bench calibrate`: how wrong the instrument is, on this machine under this load.

use std::time::{Duration, SystemTime};

use inference_bench::exit;
use inference_bench::report::{Rates, Report};
use inference_bench::stream::calibrate::{COALESCED_PCT_MAX, quantiles};
use inference_bench::stream::{Spread, StampSource};
use inference_bench::{CaseRecord, Limit};
use serde_json::json;

use crate::ending::{self, Leavings};
use crate::ground_truth::{Calibration, Stage, calibrate};
use crate::interrupt::Interrupt;
use crate::line;
use crate::output::Output;

/// More runs tell nothing more, and each is kept for the report.
const RUNS_MAX: usize = 1000;

/// The options of `calibrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Streams at once.
    #[arg(long, value_name = "N", default_value_t = 512)]
    streams: usize,
    /// Between two tokens of a stream.
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// How long each run is.
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How many runs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: usize,
    /// Whose clock stamps what arrives.
    #[arg(long, value_enum, default_value_t)]
    stamp: Stamp,
    /// Threads that share the streams.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Fails when p99 of the gaps' error is above this in any run.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_error: Option<Duration>,
    /// Writes the report in all its forms into this folder.
    #[arg(short, long, value_name = "DIR")]
    output: Option<std::path::PathBuf>,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench calibrate
  inference-bench calibrate --streams 1000 --runs 5
  inference-bench calibrate --streams 256 --stamp user --max-error 2ms

The source is this program in another process: it puts the time into each event just before it
writes it. What is told is |measured gap - emitted gap|; where the source is interrupted between
its clock and its write, that is in the error, too.";

/// Whose clock stamps what arrives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Stamp {
    /// The kernel's, where it can.
    #[default]
    Kernel,
    /// Ours, when we have the bytes.
    User,
}

impl From<Stamp> for StampSource {
    fn from(stamp: Stamp) -> Self {
        match stamp {
            Stamp::Kernel => Self::Kernel,
            Stamp::User => Self::User,
        }
    }
}

/// Calibrates and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    let output = Output::new(options.json);
    let Ok(interrupt) = Interrupt::listen() else {
        output.remark("error: cannot listen to signals");
        return exit::INVALID;
    };
    let stage = Stage {
        streams: options.streams,
        interval: options.interval,
        duration: options.duration,
        stamp: options.stamp.into(),
        workers: options.workers,
    };
    if let Err(reason) = check(options, &stage) {
        output.remark(&format!("error: {reason}"));
        return exit::USAGE;
    }
    let mut report = empty_report(options);
    let mut reasons = Vec::new();
    for number in 0..options.runs {
        match calibrate(stage, &interrupt) {
            Ok(calibration) => {
                tell(options, &output, &calibration, number, &mut report);
                reasons.extend(bottleneck(&calibration, number));
            }
            Err(reason) => reasons.push(reason),
        }
        if interrupt.code().is_some() {
            break;
        }
    }
    ending::finish(&mut report, Rates::default(), reasons, interrupt.code());
    for reason in &report.validity.reasons {
        output.remark(&format!("error: {reason}"));
    }
    let leavings = Leavings { folder: options.output.as_deref(), ..Leavings::default() };
    leavings.write(&mut report, &output);
    ending::end(&report, json!({}), &output)
}

/// Why nothing can be measured like that.
fn check(options: &Options, stage: &Stage) -> Result<(), String> {
    let is_none = [options.streams, options.workers, options.runs].contains(&0);
    if is_none || options.interval.is_zero() || options.duration.is_zero() {
        return Err("streams, workers, runs, interval and duration are to be above 0".to_owned());
    }
    if RUNS_MAX < options.runs {
        return Err(format!("{} runs, at most {RUNS_MAX}", options.runs));
    }
    stage.plan().check()
}

/// Why a run says more of the client than of the instrument.
fn bottleneck(calibration: &Calibration, number: usize) -> Option<String> {
    let pct = calibration.errors.coalesced_pct.filter(|pct| COALESCED_PCT_MAX < *pct)?;
    let run = number + 1;
    Some(format!(
        "the client was the bottleneck in run {run}: it read {pct:.1} % of events together"
    ))
}

fn empty_report(options: &Options) -> Report {
    let notes = [("streams".to_owned(), options.streams.to_string())].into();
    let mut report = ending::empty_report(SystemTime::now(), notes);
    report.command = vec!["calibrate".to_owned()];
    report
}

fn tell(
    options: &Options,
    output: &Output,
    calibration: &Calibration,
    number: usize,
    report: &mut Report,
) {
    let Calibration { errors, stamps, ran } = calibration;
    let events = errors.gap_us.n();
    let cpu_us = 1e4 * ran.busiest_pct * ran.wall.as_secs_f64() * options.workers as f64;
    let cpu_us_per_event = cpu_us / events.max(1) as f64;
    let stamp = if stamps.kernel_reads < stamps.user_reads { "user" } else { "kernel" };
    if options.stamp == Stamp::Kernel && stamp == "user" {
        output.remark(
            "the kernel stamps nothing here: stamps are ours, taken when we have the bytes",
        );
    }
    output.result(&format!(
        "{} streams, {stamp} stamps: gap error p50 {}, p99 {}, p99.9 {}, max {}; \
         first token p50 {}, p99 {}; send lag p99 {}; coalesced {:.2} %; \
         {cpu_us_per_event:.1} µs CPU per event, worker {:.0} % busy, {events} gaps",
        options.streams,
        told(&errors.gap_us, 0.5),
        told(&errors.gap_us, 0.99),
        told(&errors.gap_us, 0.999),
        errors.gap_us.max().map_or_else(dash, |us| format!("{us:.0} µs")),
        told(&errors.first_us, 0.5),
        told(&errors.first_us, 0.99),
        told(&errors.send_lag_us, 0.99),
        errors.coalesced_pct.unwrap_or_default(),
        ran.busiest_pct,
    ));
    output.event(
        "calibration",
        json!({ "streams": options.streams, "stamp": stamp, "gaps": events,
            "gap_err_us": quantiles(&errors.gap_us), "first_err_us": quantiles(&errors.first_us),
            "send_lag_us": quantiles(&errors.send_lag_us), "coalesced_pct": errors.coalesced_pct,
            "cpu_us_per_event": cpu_us_per_event, "busy_pct": ran.busiest_pct,
            "kernel_reads": stamps.kernel_reads, "user_reads": stamps.user_reads,
            "clock_steps": stamps.clock_steps }),
    );
    let record = judged(options, calibration, number);
    if record.verdict.is_gated() {
        output.result(&line::of(&record));
    }
    report.measurement.stamp = Some(stamp.to_owned());
    report.measurement.icl_err_us = quantiles(&errors.gap_us);
    report.measurement.ttft_err_us = quantiles(&errors.first_us);
    report.measurement.send_lag_us = quantiles(&errors.send_lag_us);
    report.measurement.coalesced_pct = errors.coalesced_pct;
    report.add("calibrate", record);
}

/// The error of the gaps, against what is allowed.
fn judged(options: &Options, calibration: &Calibration, number: usize) -> CaseRecord {
    let gap_us = &calibration.errors.gap_us;
    let mut record = CaseRecord::new(format!("gap_error/p99/{}", number + 1), "µs");
    record.n = gap_us.n();
    record.wall_s = calibration.ran.wall.as_secs_f64();
    let p99 = gap_us.percentile(0.99);
    (record.value, record.interval) = (p99.as_ref().ok().copied(), gap_us.interval(0.99));
    if let Some(limit) = options.max_error {
        record.judge(Limit::at_most(limit.as_secs_f64() * 1e6));
    }
    if let Err(too_few) = p99 {
        record.withdraw(record.verdict, too_few.to_string());
    }
    record
}

/// A percentile, where there are enough values for it.
fn told(spread: &Spread, p: f64) -> String {
    spread.percentile(p).map_or_else(|_| dash(), |us| format!("{us:.1} µs"))
}

fn dash() -> String {
    "–".to_owned()
}
