//! `inference-bench ab`: two commands, randomized interleaved pairs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use inference_bench::ab::{Comparison, Decision, Order, Thresholds};
use inference_bench::process::{self, Measured};
use inference_bench::report::{Rates, Report};
use inference_bench::{CaseRecord, Limit, Verdict, exit};
use serde_json::json;

use crate::ending::{self, Leavings};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The options of `ab`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The command to compare with; split like a shell does, but no shell is started.
    #[arg(long, value_name = "COMMAND")]
    a: String,
    /// The command that must not be slower.
    #[arg(long, value_name = "COMMAND")]
    b: String,
    /// What is compared: `wall`, `cpu`, or a key of the last JSON line that each command prints. Smaller is
    /// better, and nothing is below 0.
    #[arg(long, value_name = "wall|cpu|NAME", default_value = "wall")]
    metric: String,
    /// Decides the order within pairs and the resampling.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A command that takes longer is killed, and the comparison is invalid.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Writes report.json, report.md, report.html, junit.xml and records.ndjson into this folder.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench ab --a './old --bench' --b './new --bench'
  inference-bench ab --a './old' --b './new' --metric cpu
  inference-bench ab --a './old' --b './new' --metric ns_per_op -o report

The rule: pairs in random order; B is slower if the 95 % interval of the median ratio B / A lies above
1.01 in two sets of pairs, and not slower if it lies below 1.03. Otherwise, after 240 pairs, undecided.

Exit codes: 0 not slower, 3 slower, 4 undecided or a command failed, 64 usage, 130 interrupted.";

/// How a comparison ended.
enum End {
    Decided(Decision),
    Invalid(String),
    Interrupted(u8),
}

/// Runs the comparison and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    let output = Output::new(options.json);
    for text in [&options.a, &options.b] {
        if let Err(error) = process::command(text) {
            output.remark(&format!("error: {error}"));
            return exit::USAGE;
        }
    }
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            output.remark(&format!("error: cannot listen to signals: {error}"));
            return exit::INVALID;
        }
    };
    let mut comparison = Comparison::new(Thresholds::default(), options.seed);
    let started = SystemTime::now();
    let end = measure(options, &output, &interrupt, &mut comparison);
    conclude(options, &output, &comparison, &end, started)
}

fn measure(
    options: &Options,
    output: &Output,
    interrupt: &Interrupt,
    comparison: &mut Comparison,
) -> End {
    let bar = progress(options.json);
    // The first run of each pays for cold caches; it is not counted.
    for text in [&options.a, &options.b] {
        if let Err(reason) = one(options, text) {
            return ended(interrupt, reason);
        }
    }
    loop {
        if let Some(code) = interrupt.code() {
            return End::Interrupted(code);
        }
        match pair(options, comparison.next_order()) {
            Ok((a, b)) => {
                if let Some(reason) = no_ratio(a, b) {
                    return End::Invalid(reason);
                }
                comparison.push(a, b);
                output.event("pair", json!({ "a": a, "b": b, "metric": options.metric }));
            }
            Err(reason) => return ended(interrupt, reason),
        }
        if let Some(decision) = comparison.decision() {
            bar.finish_and_clear();
            return End::Decided(decision);
        }
        show(&bar, comparison);
    }
}

/// A command that dies of the same signal as we do did not fail.
fn ended(interrupt: &Interrupt, reason: String) -> End {
    interrupt.code().map_or(End::Invalid(reason), End::Interrupted)
}

/// Why two figures say nothing of how much slower B is.
fn no_ratio(a: f64, b: f64) -> Option<String> {
    let has_ratio = 0.0 < a && 0.0 <= b;
    (!has_ratio).then(|| format!("{b} / {a} is no ratio: A must be above 0, and B not below it"))
}

fn progress(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} pairs, {msg}  {elapsed}")
        .expect("the template is well formed");
    ProgressBar::new_spinner().with_style(style)
}

fn show(bar: &ProgressBar, comparison: &Comparison) {
    bar.set_position(comparison.pairs().len() as u64);
    let state = if comparison.is_confirming() { "confirming a suspicion" } else { "measuring" };
    let message = comparison.ratio().map_or_else(
        || state.to_owned(),
        |ratio| {
            let (low, high) = (ratio.interval.low, ratio.interval.high);
            let left = comparison.pairs_left_max();
            format!(
                "{state}: B / A {:.3} ({low:.3} … {high:.3}), at most {left} more",
                ratio.median
            )
        },
    );
    bar.set_message(message);
}

fn pair(options: &Options, order: Order) -> Result<(f64, f64), String> {
    Ok(match order {
        Order::AThenB => {
            let a = one(options, &options.a)?;
            (a, one(options, &options.b)?)
        }
        Order::BThenA => {
            let b = one(options, &options.b)?;
            (one(options, &options.a)?, b)
        }
    })
}

/// Runs a command once and reads the metric off it.
fn one(options: &Options, text: &str) -> Result<f64, String> {
    let mut command = process::command(text).map_err(|error| error.to_string())?;
    let measured = process::run(&mut command, options.timeout)
        .map_err(|error| format!("`{text}`: {error}"))?;
    if !measured.status.success() {
        return Err(format!("`{text}` ended with {}", measured.status));
    }
    let value = match options.metric.as_str() {
        "wall" => measured.wall.as_secs_f64(),
        "cpu" => measured.cpu.as_secs_f64(),
        name => key_of_last_line(&measured, name).map_err(|why| format!("`{text}`: {why}"))?,
    };
    Ok(value)
}

fn key_of_last_line(measured: &Measured, name: &str) -> Result<f64, String> {
    let output = String::from_utf8_lossy(&measured.output);
    let objects = output.lines().rev().filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value.is_object().then_some(value)
    });
    let last = objects.into_iter().next().ok_or("its output has no line with a JSON object")?;
    let value = last.get(name).and_then(serde_json::Value::as_f64);
    value.ok_or_else(|| format!("its last JSON line has no number `{name}`"))
}

fn conclude(
    options: &Options,
    output: &Output,
    comparison: &Comparison,
    end: &End,
    started: SystemTime,
) -> u8 {
    let mut report = report(options, comparison, end, started);
    let lines = pairs(comparison);
    let folder = options.output.as_deref();
    let leavings = Leavings { folder, records: Some(&lines), ..Leavings::default() };
    leavings.write(&mut report, output);
    let record = &report.suites["ab"][0];
    if let (Some(value), Some(interval)) = (record.value, record.interval) {
        let (low, high, n) = (interval.low, interval.high, record.n);
        output.result(&format!("B / A = {value:.4} (95 %: {low:.4} … {high:.4}), {n} pairs"));
    }
    if let Some(reason) = &record.reason {
        output.result(reason);
    }
    let fields = json!({ "ratio": record.value, "interval": record.interval, "pairs": record.n });
    ending::end(&report, fields, output)
}

fn report(options: &Options, comparison: &Comparison, end: &End, started: SystemTime) -> Report {
    let notes = [("metric".to_owned(), options.metric.clone())].into();
    let mut report = ending::empty_report(started, notes);
    // The compared commands may hold secrets in their arguments; only their programs are told.
    let program = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    report.command = vec!["ab".to_owned(), program(&options.a), program(&options.b)];
    report.records_path = Some("records.ndjson".to_owned());
    report.add("ab", record(comparison, end, started));
    let (reasons, signal) = match end {
        End::Decided(_) => (Vec::new(), None),
        End::Invalid(reason) => (vec![reason.clone()], None),
        End::Interrupted(signal) => (Vec::new(), Some(*signal)),
    };
    ending::finish(&mut report, Rates::default(), reasons, signal);
    report
}

fn record(comparison: &Comparison, end: &End, started: SystemTime) -> CaseRecord {
    let thresholds = Thresholds::default();
    let limit = Limit::at_most(thresholds.slower_above);
    let mut record = CaseRecord::new("b_over_a", "ratio");
    let ratio = comparison.ratio();
    record.n = comparison.pairs().len() as u64;
    record.value = ratio.map(|ratio| ratio.median);
    record.interval = ratio.map(|ratio| ratio.interval);
    record.wall_s = started.elapsed().unwrap_or_default().as_secs_f64();
    record.gate = Some(format!("{}, twice", limit.in_words("ratio")));
    record.limit = Some(limit);
    let (verdict, reason) = match end {
        End::Decided(Decision::Slower) => {
            (Verdict::Regression, Some("B is slower, twice".to_owned()))
        }
        End::Decided(Decision::NotSlower) => (Verdict::Pass, None),
        End::Decided(_) => {
            let reason =
                format!("after {} pairs the noise is larger than the difference", record.n);
            (Verdict::Undecided, Some(reason))
        }
        // The command is at fault, not the figure: the run as a whole is what cannot be trusted.
        End::Invalid(reason) => (Verdict::Undecided, Some(reason.clone())),
        End::Interrupted(_) => (Verdict::Undecided, Some("interrupted".to_owned())),
    };
    (record.verdict, record.reason) = (verdict, reason);
    record
}

/// The raw records.
fn pairs(comparison: &Comparison) -> String {
    let line = |&(a, b): &(f64, f64)| json!({ "a": a, "b": b }).to_string() + "\n";
    comparison.pairs().iter().map(line).collect()
}
