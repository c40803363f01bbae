//! The instrument for streams held against its own source, in another process: its error, what it can
//! hear, and what a stream costs it.
//!
//! Both are this program again: the source so that it has a core, the client so that its memory is its
//! own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use inference_bench::stream::calibrate::{COALESCED_PCT_MAX, Errors};
use inference_bench::stream::{
    Arrival, Dialect, Drive, Emitter, EmitterOptions, Figures, Plan, RequestRecord, Target,
};
use inference_bench::{CaseRecord, Limit, Verdict};
use streaming_server::raise_open_files;

use crate::suite::{Case, Context, Mode, refute};

/// The words that make this program a source, or a client whose memory is told.
const EMIT: &str = "emit-ground-truth";
const LISTEN: &str = "listen-to-ground-truth";
/// Between two tokens of a stream, where streams are paced.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long opening one stream keeps both ends busy: tokens come when all are open.
const OPENING: Duration = Duration::from_micros(300);
/// What a stream may add to the memory of the client at its peak, in bytes.
const STREAM_BYTES_MAX: f64 = (16 << 10) as f64;
/// Events a second on one core, none of which shares a read.
const EVENTS_PER_S_MIN: f64 = 100_000.0;
/// Tokens of a stream of the case about memory.
const TOKENS: u32 = 4;
/// Between them: they are few, and all streams are open before the first.
const SLOW: Duration = Duration::from_millis(500);

/// The cases.
pub fn cases() -> Vec<Case> {
    const SEED: &str = "test_llm_streaming";
    let gap = |streams: usize, limit_us: f64| {
        let name = format!("instrument/gap_error/{streams}");
        Case::new(&name, SEED, 2.1, move |context| gap_error(context, streams, limit_us))
    };
    vec![
        gap(512, 60.0),
        gap(1000, 100.0),
        Case::new("instrument/events", SEED, 2.3, events),
        Case::new("instrument/send_lag", SEED, 1.6, send_lag),
        Case::new("instrument/memory", SEED, 3.5, memory),
    ]
}

/// Becomes one of the two processes, and never returns, if this program was started as one.
///
/// # Panics
///
/// When the kernel has no sockets, which ends the process: its parent reads nothing then, and says so.
pub fn work_if_told() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ns = |word: &str| Duration::from_nanos(word.parse().expect("a number of nanoseconds"));
    match &*words.iter().map(String::as_str).collect::<Vec<_>>() {
        [EMIT, interval, ttft] => emit(ns(interval), ns(ttft)),
        [LISTEN, url, streams] => measure_memory(url, streams.parse().expect("a number")),
        _ => return,
    }
    std::process::exit(0);
}

fn emit(interval: Duration, ttft: Duration) {
    raise_open_files().expect("limits can be read");
    let options = EmitterOptions { interval, ttft, ..EmitterOptions::default() };
    let emitter = Emitter::bind(options).expect("loopback has a port");
    println(&format!("http://{}", emitter.address().expect("it is bound")));
    emitter.run(std::io::stdin()).expect("it can wait for sockets");
}

/// Hears one stream, then so many at once, and tells both peaks in KiB and what was lost.
fn measure_memory(url: &str, streams: usize) {
    raise_open_files().expect("limits can be read");
    drop(hear(url, TOKENS, Plan::closed(1)));
    let before = peak_kib();
    let records = hear(url, TOKENS, Plan::closed(streams));
    let ok = records.iter().filter(|record| record.is_ok() && record.tokens() == u64::from(TOKENS));
    println(&format!("{before} {} {}", peak_kib(), streams - ok.count()));
}

fn println(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("the parent reads");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// This program again; it ends with this.
struct Helper(Child);

impl Helper {
    fn start(words: &[String]) -> (Self, BufReader<std::process::ChildStdout>) {
        let program = std::env::current_exe().expect("a program has a path");
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts again");
        let stdout = child.stdout.take().expect("it was asked for");
        (Self(child), BufReader::new(stdout))
    }

    /// A source, and its URL.
    fn source(interval: Duration, ttft: Duration) -> (Self, String) {
        let [interval, ttft] = [interval, ttft].map(|time| time.as_nanos().to_string());
        let (helper, mut stdout) = Self::start(&[EMIT.to_owned(), interval, ttft]);
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it listens");
        (helper, line.trim().to_owned())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hear(url: &str, tokens: u32, plan: Plan) -> Vec<RequestRecord> {
    let drive = Drive::new(&Target { tokens, ..Target::new(url) }, plan).expect("a plan");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(drive.work(0)).expect("the system has a timer")
}

/// Hears so many streams of tokens at this interval.
fn hear_paced(context: &Context, streams: usize, interval: Duration) -> Vec<RequestRecord> {
    let (_source, url) = Helper::source(interval, interval + OPENING * streams as u32);
    let tokens = context.seconds(1.5).as_secs_f64() / interval.as_secs_f64();
    hear(&url, (tokens as u32).max(8), Plan::closed(streams))
}

/// The p99 of |measured − emitted| gap, in microseconds.
fn gap_error(context: &Context, streams: usize, limit_us: f64) -> CaseRecord {
    let errors = Errors::of(&hear_paced(context, streams, INTERVAL));
    let p99_us = errors.gap_us.rough(0.99).unwrap_or(f64::NAN);
    let limit = Some(Limit::at_most(limit_us));
    let mut record = context.mode.judged("µs", p99_us, errors.gap_us.n(), limit);
    let shared_pct = tell(&mut record, &errors);
    // As `calibrate` has it: what was read together is in no gap, and too much of it says nothing.
    if COALESCED_PCT_MAX < shared_pct && context.mode != Mode::Pair {
        let words = format!("the client was kept from its core: {shared_pct:.1} % shared a read");
        record.withdraw(Verdict::Undecided, words);
    }
    record
}

/// Gaps between events that shared no read, per second, at 1000 streams of 111 a second, on one thread.
fn events(context: &Context) -> CaseRecord {
    let records = hear_paced(context, 1000, Duration::from_millis(9));
    let errors = Errors::of(&records);
    let instants = || records.iter().flat_map(RequestRecord::token_events).map(|e| e.recv_ns);
    let took_ns = instants().max().unwrap_or(0) - instants().min().unwrap_or(0);
    let per_s = errors.gap_us.n() as f64 / (took_ns.max(1) as f64 / 1e9);
    let limit = Some(Limit::at_least(EVENTS_PER_S_MIN));
    let mut record = context.mode.judged("events/s", per_s, errors.gap_us.n(), limit);
    tell(&mut record, &errors);
    record
}

/// Puts beside a record what else was seen, and returns the share of events that shared a read.
fn tell(record: &mut CaseRecord, errors: &Errors) -> f64 {
    let shared_pct = errors.coalesced_pct.unwrap_or(f64::NAN);
    record.beside.insert("shared_a_read_pct".to_owned(), shared_pct);
    record
        .beside
        .insert("gap_error_p50_us".to_owned(), errors.gap_us.rough(0.5).unwrap_or(f64::NAN));
    shared_pct
}

/// How late requests leave at 1000 a second: p99 in microseconds.
fn send_lag(context: &Context) -> CaseRecord {
    // A source that has an event to send each millisecond keeps a whole core, on which the kernel then
    // wakes the client, too: 3 ms late, as long as a turn is.
    let (_source, url) = Helper::source(INTERVAL, INTERVAL);
    let plan = Plan::open(1000.0, Arrival::Poisson, context.seconds(1.5));
    let figures = Figures::of(&hear(&url, 2, plan), Dialect::Ours, None);
    let lag_us = |p| figures.send_lag_us.rough(p).unwrap_or(f64::NAN);
    let limit = Some(Limit::at_most(500.0));
    let mut record = context.mode.judged("µs", lag_us(0.99), figures.send_lag_us.n(), limit);
    record.beside.insert("p50_us".to_owned(), lag_us(0.5));
    record
}

/// What each of many streams at once adds to the peak memory of their client, in bytes.
fn memory(context: &Context) -> CaseRecord {
    let files = raise_open_files().expect("limits can be read");
    let wanted = match context.mode {
        Mode::Pair => 200,
        Mode::Quick => 3000,
        Mode::Comprehensive | Mode::Stress => 10_000,
    };
    // Connections that close still have their file.
    let room = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(100);
    let streams = room.min(wanted);
    let (_source, url) = Helper::source(SLOW, OPENING * streams as u32);
    let words = [LISTEN.to_owned(), url, streams.to_string()];
    let (_client, mut stdout) = Helper::start(&words);
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it tells what it used");
    let mut numbers = line.split_whitespace().map(|word| word.parse::<f64>().unwrap_or(f64::NAN));
    let mut next = || numbers.next().unwrap_or(f64::NAN);
    let (before_kib, peak_kib, lost) = (next(), next(), next());
    let each = (peak_kib - before_kib) * 1024.0 / streams as f64;
    let limit = Some(Limit::at_most(STREAM_BYTES_MAX));
    let mut record = context.mode.judged("bytes", each, streams as u64, limit);
    record.beside.insert("streams".to_owned(), streams as f64);
    if lost != 0.0 {
        refute(&mut record, format!("{lost} streams did not come to their end"));
    }
    record
}
