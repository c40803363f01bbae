//! `cargo xtask perf`: builds what it needs, runs the suites, judges, reports.

mod answers;
mod baseline;
mod build;
mod founding;
mod noise;
mod pace;
mod program;
mod real;
mod screen;
pub(crate) mod signals;
pub(crate) mod suites;

use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::ValueEnum;
use inference_bench::report::{Environment, Report, Run};
use inference_bench::{CaseRecord, RunVerdict, Verdict, exit, process};

use crate::cargo::{output_of_git, root};
use crate::history;
use crate::steps::{Failure, out, say};
pub(crate) use answers::{peers, smoke};
use baseline::Loaded;
use build::Profile;
use noise::Busy;
use program::{Listed, Program};
use screen::Screen;
use signals::Signals;
use suites::Suite;

/// What the report says it was written by.
const TOOL: &str = concat!("cargo xtask perf ", env!("CARGO_PKG_VERSION"));

/// What is kept of each case, beside the report.
const RECORDS: &str = "records.ndjson";
/// A case that ran on a busy machine is run this often again before it is called undecided.
const RERUNS_MAX: usize = 2;

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// All suites in under five minutes.
    #[default]
    Quick,
    /// In under thirty.
    Comprehensive,
    /// As long as it takes.
    Stress,
    /// Each case as short as it can be, for its answers alone.
    #[value(hide = true)]
    Smoke,
}

/// The options of `perf`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How thorough to be.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Runs this suite; may be given several times. All of them when left out.
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,
    /// Runs cases whose `suite/case` or `case` matches; `*` stands for any text.
    #[arg(long = "case", value_name = "GLOB")]
    cases: Vec<String>,
    /// Lists suites and cases with their expected times, and runs nothing.
    #[arg(long)]
    list: bool,
    /// Compares with this baseline: pairs of its programs and the new ones, run in turn.
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Keeps the figures and the measured programs under this name.
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    /// Adds what the machine offers of the real thing, and says what it lacks: nginx, the libraries that our
    /// cache, hub and streams are made for. May install libraries under `target`.
    #[arg(long)]
    real: bool,
    /// Fails on any case that the measurement does not decide.
    #[arg(long)]
    strict: bool,
    /// Where the report goes: a folder, from the root of the repository on.
    #[arg(short, long, value_name = "DIR", default_value = "target/perf/latest")]
    output: PathBuf,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  cargo xtask perf                                     all suites, quick
  cargo xtask perf --suite micro --case 'limiter/*'    some cases
  cargo xtask perf --save-baseline main                keep figures and programs
  cargo xtask perf --baseline main                     fail on regressions against them
  cargo xtask perf --real --case 'real/*'              nginx, huggingface_hub, openai against ours

Exit codes: 0 all targets met, 1 success rate under 80 %, 2 real-time compliance under 90 %, 3 regression,
4 invalid, or undecided where a verdict was demanded, 5 another target missed, 64 usage, 130 interrupted.
The last line says the verdict in a word.";

/// Runs the command and returns its exit code.
pub(crate) fn run(options: &Options) -> u8 {
    match perf(options) {
        Ok(code) => code,
        Err(Stop::Usage(why)) => {
            say(&format!("error: {why}"));
            exit::USAGE
        }
        Err(Stop::Broken(why)) => {
            say(&format!("error: {why}"));
            end(options, "verdict: invalid");
            exit::INVALID
        }
        Err(Stop::Interrupted(code)) => {
            end(options, "verdict: interrupted");
            code
        }
    }
}

/// The last line: on stdout, unless that belongs to NDJSON.
fn end(options: &Options, line: &str) {
    if options.json { say(line) } else { out(line) }
}

/// Why nothing is measured.
enum Stop {
    /// The command line asks for something that is not there.
    Usage(String),
    /// Something that has to work does not: a build, a signal handler, a folder.
    Broken(Failure),
    /// A signal came first; the code to exit with.
    Interrupted(u8),
}

/// A suite whose program is built, with the cases that were asked for.
struct Chosen {
    suite: &'static Suite,
    program: Program,
    cases: Vec<Listed>,
}

/// What has to be there before anything is measured.
struct Ready {
    chosen: Vec<Chosen>,
    baseline: Option<Loaded>,
}

fn perf(options: &Options) -> Result<u8, Stop> {
    if options.list {
        let screen = Screen::new(options.json);
        let signals = Signals::listen().map_err(Stop::Broken)?;
        for chosen in choose(options, &signals)? {
            screen.list(chosen.suite.name, &chosen.cases);
        }
        if options.real {
            screen.list(real::SUITE, &real::listed(&options.cases));
        }
        return Ok(exit::OK);
    }
    let report = measure(options)?;
    Ok(report.summary.exit_code)
}

/// Runs what was asked for, and leaves a report: also where a build or a baseline is broken, or a signal comes
/// first, so that nobody takes what an earlier run has left for this one's.
fn measure(options: &Options) -> Result<Report, Stop> {
    let signals = Signals::listen().map_err(Stop::Broken)?;
    let screen = Screen::new(options.json);
    prepare(options).map_err(Stop::Usage)?;
    let (report, chosen) = reported(options, &signals, &screen)?;
    conclude(options, &chosen, &screen, &report).map_err(Stop::Broken)?;
    Ok(report)
}

/// The report of a run, with the cases that were chosen for it.
fn reported(
    options: &Options,
    signals: &Signals,
    screen: &Screen,
) -> Result<(Report, Vec<Chosen>), Stop> {
    let mut report = Report::new(TOOL, environment());
    report.command = std::env::args().skip(1).collect();
    report.records_path = Some(RECORDS.to_owned());
    let mut run = Run { strict: options.strict, ..Run::default() };
    let chosen = match ready(options, signals) {
        Ok(ready) => {
            fill(options, &ready, signals, screen, &mut report);
            ready.chosen
        }
        Err(Stop::Usage(why)) => return Err(Stop::Usage(why)),
        Err(Stop::Interrupted(_)) => Vec::new(),
        Err(Stop::Broken(why)) => {
            run.invalid_reasons.push(why);
            Vec::new()
        }
    };
    run.interrupted = signals.code().is_some();
    run.strict |= baseline::is_missing(&report);
    report.finish(run);
    // SIGTERM has a code of its own.
    report.summary.exit_code = signals.code().unwrap_or(report.summary.exit_code);
    Ok((report, chosen))
}

/// Reads the baseline, which is refused before minutes are spent on building, and builds.
fn ready(options: &Options, signals: &Signals) -> Result<Ready, Stop> {
    let baseline = options.baseline.as_deref().map(baseline::load).transpose()?;
    Ok(Ready { chosen: choose(options, signals)?, baseline })
}

/// Measures what was chosen.
fn fill(options: &Options, ready: &Ready, signals: &Signals, screen: &Screen, report: &mut Report) {
    let whole = Busy::start();
    for chosen in &ready.chosen {
        run_suite(options, chosen, signals, screen, report);
    }
    if options.real {
        real::run(&options.cases, signals, screen, report);
    }
    if let Some(baseline) = &ready.baseline {
        baseline::compare(baseline, &ready.chosen, signals, screen, report);
    }
    let noise = whole.stop();
    report.measurement.steal_pct = Some(noise.steal_pct);
    report.measurement.foreign_cpu_pct = Some(noise.foreign_pct);
    pace::tell(report);
}

/// Makes the folders that will be written to, and leaves what an earlier run has put there.
fn prepare(options: &Options) -> Result<(), Failure> {
    suites::named(&options.suites)?;
    if let Some(name) = &options.save_baseline {
        baseline::prepare(name)?;
    }
    let folder = root().join(&options.output);
    let open = |name| File::options().create(true).append(true).open(folder.join(name));
    let made = std::fs::create_dir_all(&folder).and_then(|()| open(RECORDS));
    made.map(drop).map_err(|error| format!("cannot write to {}: {error}", folder.display()))
}

/// Builds the suites that were asked for and asks them for their cases.
fn choose(options: &Options, signals: &Signals) -> Result<Vec<Chosen>, Stop> {
    let real = if options.real { real::listed(&options.cases) } else { Vec::new() };
    let chosen = match options.real && real::is_all_of(&options.cases) {
        true => Vec::new(),
        false => built(options, signals)?,
    };
    let mut found: Vec<(&str, &str)> =
        real.iter().map(|case| (real::SUITE, case.name.as_str())).collect();
    for Chosen { suite, cases, .. } in &chosen {
        found.extend(cases.iter().map(|case| (suite.name, case.name.as_str())));
    }
    match suites::unmatched(&options.cases, &found) {
        Some(glob) => {
            Err(Stop::Usage(format!("no case matches `{glob}`; `--list` names them all")))
        }
        None => Ok(chosen),
    }
}

/// The suites, built, that have some of the cases.
fn built(options: &Options, signals: &Signals) -> Result<Vec<Chosen>, Stop> {
    let suites = suites::named(&options.suites).map_err(Stop::Usage)?;
    let profile = if options.mode == Mode::Smoke { Profile::Dev } else { Profile::Release };
    let programs = build::build(&suites, profile, signals)?;
    let mut all = Vec::new();
    for suite in suites {
        let program = programs.of(suite);
        let listed = program.list(options.mode).map_err(Stop::Broken)?;
        let wanted = |case: &Listed| suites::matches(&options.cases, suite.name, &case.name);
        let cases: Vec<Listed> = listed.into_iter().filter(wanted).collect();
        if !cases.is_empty() {
            all.push(Chosen { suite, program, cases });
        }
    }
    Ok(all)
}

fn run_suite(
    options: &Options,
    chosen: &Chosen,
    signals: &Signals,
    screen: &Screen,
    report: &mut Report,
) {
    let expected_s: f64 = chosen.cases.iter().map(|case| case.expected_s).sum();
    screen.suite(chosen.suite, chosen.cases.len(), expected_s);
    for (done, case) in chosen.cases.iter().enumerate() {
        if signals.code().is_some() {
            return;
        }
        screen.case(&case.name, done, chosen.cases.len());
        let record = run_case(options, chosen, case, signals);
        screen.record(chosen.suite.name, &record);
        report.add(chosen.suite.name, record);
    }
    screen.clear();
}

/// Runs a case; on a busy machine again, and then gives the verdict up.
fn run_case(options: &Options, chosen: &Chosen, case: &Listed, signals: &Signals) -> CaseRecord {
    let mut attempt = 0;
    loop {
        let (mut record, noise) = chosen.program.run_case(options.mode, &case.name, signals);
        // An answer is as right, or as wrong, on a busy machine.
        if options.mode == Mode::Smoke || signals.code().is_some() {
            return record;
        }
        let Some(why) = noise.too_much() else { return record };
        // What is wrong is wrong on a busy machine too.
        if record.verdict == Verdict::Invalid || !record.verdict.is_gated() {
            return record;
        }
        if attempt == RERUNS_MAX {
            let verdict = record.verdict;
            record.withdraw(Verdict::Undecided, format!("{why}; by its figures: {verdict}"));
            return record;
        }
        attempt += 1;
    }
}

fn environment() -> Environment {
    let revision = output_of_git(&["rev-parse", "--short=12", "HEAD"]).map(|revision| {
        let dirty = output_of_git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
        format!("{revision}{}", if dirty { "+" } else { "" })
    });
    let read = |path: &str| {
        std::fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |t| t.trim().to_owned())
    };
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut environment = Environment::new(process::fingerprint(), started);
    environment.revision = revision;
    environment.notes.insert("congestion control".to_owned(), congestion);
    environment
}

fn conclude(
    options: &Options,
    chosen: &[Chosen],
    screen: &Screen,
    report: &Report,
) -> Result<(), Failure> {
    let folder = root().join(&options.output);
    write(report, &folder)?;
    for why in &report.validity.reasons {
        say(&format!("error: {why}"));
    }
    let is_done = report.validity.valid && report.summary.verdict != RunVerdict::Interrupted;
    if let Some(name) = options.save_baseline.as_ref().filter(|_| is_done) {
        let path = baseline::save(name, report, chosen)?;
        say(&format!("baseline: {}", path.display()));
    }
    if is_done && is_whole(options) {
        history::add(report, program::word(options.mode))?;
    }
    screen.end(report, &folder);
    Ok(())
}

/// Whether nothing was left out: runs of some cases would fill the history, and show no others.
fn is_whole(options: &Options) -> bool {
    options.suites.is_empty() && options.cases.is_empty() && options.mode != Mode::Smoke
}

fn write(report: &Report, folder: &std::path::Path) -> Result<(), Failure> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    write("report.json", report.to_json())?;
    write("report.md", report.to_markdown())?;
    write("report.html", report.to_html())?;
    write("junit.xml", report.to_junit())?;
    let records = report.suites.values().flatten();
    write(RECORDS, records.map(|record| format!("{}\n", serde_json::json!(record))).collect())
}

#[cfg(test)]
mod tests {
    use super::answers::checking;
    use super::*;

    #[test]
    fn what_is_refused_leaves_the_last_report_alone() {
        let folder = root().join(format!("target/perf/refused-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(RECORDS), "{}\n").unwrap();
        let fine = checking(Mode::Quick, &folder);
        assert_eq!(Ok(()), prepare(&fine));
        let unknown = Options { suites: vec!["nope".to_owned()], ..fine };
        assert!(prepare(&unknown).unwrap_err().contains("no suite `nope`"));
        assert_eq!("{}\n", std::fs::read_to_string(folder.join(RECORDS)).unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_run_that_cannot_begin_has_a_report_that_says_so() {
        let name = format!("torn-{}", std::process::id());
        baseline::keep_torn(&name);
        let torn = Options { baseline: Some(name.clone()), ..checking(Mode::Quick, "") };
        let begin = |signals| reported(&torn, &signals, &Screen::new(false)).ok().unwrap().0;
        let Report { summary, validity, .. } = begin(Signals::default());
        assert_eq!((RunVerdict::Invalid, 4), (summary.verdict, summary.exit_code));
        assert!(validity.reasons[0].contains("the baseline is torn"), "{validity:?}");
        let summary = begin(Signals::came(143)).summary;
        assert_eq!((RunVerdict::Interrupted, 143), (summary.verdict, summary.exit_code));
        baseline::forget(&name);
    }
}
