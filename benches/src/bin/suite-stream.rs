//! The suite `stream`: do tokens leave at once, and what does that cost.
//!
//! Servers run in processes of their own on one core, the client on the others. What a server adds is
//! told beside a reference that writes each token to its socket itself, in the same minute. Clients are
//! a bare one, which costs little enough to measure a flood, and `inference-bench`.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use benches::stream_behavior::{self, metric, require_all};
use benches::stream_child::{Kind, Serving, leave_the_servers_core, serve_if_told};
use benches::stream_client::{Client, Load, Outcome, quantiles};
use benches::stream_instrument::listen;
use benches::stream_overload;
use benches::suite::{self, Case, Context, Mode};
use inference_bench::stats::{interval, median};
use inference_bench::{CaseRecord, Limit, Verdict};
use streaming_server::raise_open_files;

/// The interval of the paced cases.
const INTERVAL: Duration = Duration::from_millis(20);
/// Rounds of ours and the reference whose ratio is judged.
const ROUNDS: usize = 3;
/// Rounds of one stream: one that was disturbed leaves the interval of their median narrow.
const LONE_ROUNDS: usize = 8;
/// Streams without an end within a case.
const ENDLESS: u64 = 1 << 40;
/// Until when all streams of a case must have begun.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);
/// What a stream may add to the resident memory of its server, in bytes.
const STREAM_BYTES_MAX: f64 = (32 << 10) as f64;

fn main() -> ExitCode {
    serve_if_told();
    let mut cases = Vec::new();
    let mut case = |name: &str, expected_s: f64, run: Box<dyn Fn(&Context) -> CaseRecord>| {
        cases.push(Case {
            name: name.to_owned(),
            seed_case: "test_llm_streaming",
            expected_s,
            paired: false,
            run,
        });
    };
    case("original/one_and_ten", 41.0, Box::new(original));
    for (streams, p50_max, expected_s) in [(1, None, 8.3), (100, Some(1.5), 3.1), (512, None, 0.1)]
    {
        let run = move |context: &Context| paced_latency(context, streams, p50_max);
        case(&format!("paced/{streams}/latency"), expected_s, Box::new(run));
    }
    case("paced/1000", 3.7, Box::new(paced_thousand));
    case("paced/2000/cpu", 0.1, Box::new(|context| paced_cpu(context, 2000)));
    for (streams, rate_min) in [(1, 4e6), (64, 5e6)] {
        let run = move |context: &Context| flood(context, streams, rate_min);
        case(&format!("flood/{streams}"), 1.3, Box::new(run));
    }
    case("cadence/8.33us", 2.0, Box::new(cadence));
    case("instrument/100", 1.3, Box::new(instrument));
    case("memory/1000", 1.3, Box::new(memory));
    case("scale/8000", 4.0, Box::new(many));
    cases.extend(stream_behavior::cases());
    cases.extend(stream_overload::cases());
    suite::main(&cases)
}

/// A stretch of one server under a load.
struct Stretch {
    outcome: Outcome,
    cpu_us: f64,
    /// Of ours.
    tokens_per_write: Option<f64>,
}

/// Lets a server stream for `time`, after a warm-up.
fn stretch(kind: Kind, interval: Duration, load: Load, time: Duration) -> Stretch {
    leave_the_servers_core();
    let mut serving = Serving::start(kind, interval, true).expect("this program starts again");
    let mut client = Client::open(serving.address, load).expect("loopback has room");
    let begun = client.read_until_begun(BEGIN_LIMIT).expect("all streams begin");
    let warm = client.read_for(time.mul_f64(0.15)).expect("streams can be read");
    let before = serving.used().expect("the server lives");
    let mut outcome = client.read_for(time).expect("streams can be read");
    let after = serving.used().expect("the server lives");
    outcome.wrong += begun.wrong + warm.wrong;
    let told = |what| metric(serving.address, &format!("stream_tokens_per_write_{what}"));
    let tokens_per_write = (kind == Kind::Server).then(|| told("sum") / told("count"));
    Stretch { outcome, cpu_us: (after.cpu_us - before.cpu_us) as f64, tokens_per_write }
}

/// Server and reference in turn, for so many rounds.
fn rounds(context: &Context, streams: usize, n_rounds: usize) -> Vec<(Stretch, Stretch)> {
    let time = context.seconds(0.4);
    let load = Load { streams, tokens: ENDLESS, stamped: true, ..Load::default() };
    let round = |number: usize| {
        let one = |kind| stretch(kind, INTERVAL, load, time);
        if number.is_multiple_of(2) {
            let direct = one(Kind::Direct);
            (one(Kind::Server), direct)
        } else {
            (one(Kind::Server), one(Kind::Direct))
        }
    };
    let n_rounds = if context.mode == Mode::Pair { 1 } else { n_rounds };
    (0..n_rounds).map(round).collect()
}

/// How often a figure of ours is the reference's, and how much is between them: medians of rounds.
///
/// A reference that is slower than ours was disturbed, and says nothing of ours: then its least
/// disturbed round counts for all, for what disturbs only adds.
fn beside(rounds: &[(Stretch, Stretch)], figure: impl Fn(&Stretch) -> f64) -> (f64, f64) {
    let (ours, mut direct): (Vec<f64>, Vec<f64>) =
        rounds.iter().map(|(ours, direct)| (figure(ours), figure(direct))).unzip();
    let of_rounds = |direct: &[f64], how: fn((&f64, &f64)) -> f64| {
        median(&ours.iter().zip(direct).map(how).collect::<Vec<_>>())
    };
    if of_rounds(&direct, |(ours, direct)| ours - direct) < 0.0 {
        let least = direct.iter().copied().fold(f64::INFINITY, f64::min);
        direct.fill(least);
    }
    let ratio = of_rounds(&direct, |(ours, direct)| ours / direct);
    (ratio, of_rounds(&direct, |(ours, direct)| ours - direct))
}

fn cpu_us_per_token(stretch: &Stretch) -> f64 {
    stretch.cpu_us / stretch.outcome.tokens as f64
}

/// Whether a case that has no gate waits for a mode that has the time.
fn later(context: &Context, unit: &str) -> Option<CaseRecord> {
    (context.mode == Mode::Quick).then(|| {
        let mut record = CaseRecord::new("", unit);
        record.withdraw(Verdict::NotApplicable, "without a gate: measured in comprehensive mode");
        record
    })
}

/// Received less due: the median beside the reference's.
fn paced_latency(context: &Context, streams: usize, ratio_max: Option<f64>) -> CaseRecord {
    let is_judged = streams == 1 || ratio_max.is_some();
    if let Some(record) = later(context, "ratio").filter(|_| !is_judged) {
        return record;
    }
    let n_rounds = match streams {
        1 => LONE_ROUNDS,
        _ if is_judged => ROUNDS,
        _ => 1,
    };
    latency_of(context, &rounds(context, streams, n_rounds), ratio_max)
}

/// A thousand streams: their latency is judged, and so is their CPU time, of the same minute.
fn paced_thousand(context: &Context) -> CaseRecord {
    const RATIO_MAX: f64 = 1.6;
    let rounds = rounds(context, 1000, ROUNDS);
    let mut record = latency_of(context, &rounds, Some(RATIO_MAX));
    let cpu = cpu_of(context, &rounds);
    let ratio = cpu.value.unwrap_or(f64::NAN);
    record.beside.insert("cpu_ratio".to_owned(), ratio);
    // The price of a token that is written by itself, beside those of the floods.
    let ours = &rounds[0].0;
    record.beside.insert("tokens_per_cpu_s".to_owned(), 1e6 / cpu_us_per_token(ours));
    record.beside.extend(ours.tokens_per_write.map(|each| ("tokens_per_write".to_owned(), each)));
    if context.mode != Mode::Pair && (ratio.is_nan() || RATIO_MAX < ratio) {
        let reason = format!("{ratio:.2} times the reference's CPU time per token");
        record.withdraw(Verdict::Fail, reason);
    }
    record
}

/// One stream's time is that of waking threads: a difference is told, not a ratio. It changes from round to
/// round as the machine sleeps more or less deeply, so the figure has an interval.
fn lone(context: &Context, rounds: &[(Stretch, Stretch)], added_us: f64, n: u64) -> CaseRecord {
    let late_us = |stretch: &Stretch| stretch.outcome.late_us(0.5);
    let mut each_us: Vec<f64> =
        rounds.iter().map(|(ours, direct)| late_us(ours) - late_us(direct)).collect();
    each_us.sort_by(f64::total_cmp);
    let mut record = context.mode.judged("µs", added_us, n, None);
    record.interval = interval(&each_us, 0.5, 0.95);
    if context.mode != Mode::Pair {
        record.judge(Limit::at_most(100.0));
    }
    record
}

fn latency_of(
    context: &Context,
    rounds: &[(Stretch, Stretch)],
    ratio_max: Option<f64>,
) -> CaseRecord {
    let streams = rounds[0].0.outcome.spans_ns.len();
    let (ratio, added_us) = beside(rounds, |stretch| stretch.outcome.late_us(0.5));
    let n = rounds.iter().map(|(ours, _)| ours.outcome.tokens).sum();
    let mut record = if streams == 1 {
        lone(context, rounds, added_us, n)
    } else {
        context.mode.judged("ratio", ratio, n, ratio_max.map(Limit::at_most))
    };
    record.beside.insert("added_p50_us".to_owned(), added_us);
    for (number, (ours, direct)) in rounds.iter().enumerate() {
        for (whose, stretch) in [("ours", ours), ("direct", direct)] {
            let name = format!("{whose}_{number}");
            let each_us = cpu_us_per_token(stretch);
            record.beside.insert(format!("{name}_cpu_us_per_token"), each_us);
            record.beside.extend(quantiles(&stretch.outcome, &name));
        }
    }
    if added_us < 0.0 {
        record.withdraw(Verdict::Undecided, "the reference was slower in all rounds");
    }
    require_all(&mut record, rounds.iter().map(|(ours, _)| ours.outcome.wrong).sum());
    record
}

/// CPU time per token beside the reference's.
fn paced_cpu(context: &Context, streams: usize) -> CaseRecord {
    later(context, "ratio").unwrap_or_else(|| cpu_of(context, &rounds(context, streams, 1)))
}

fn cpu_of(context: &Context, rounds: &[(Stretch, Stretch)]) -> CaseRecord {
    let (ratio, added_us) = beside(rounds, cpu_us_per_token);
    let n = rounds.iter().map(|(ours, _)| ours.outcome.tokens).sum();
    let mut record = context.mode.judged("ratio", ratio, n, None);
    record.beside.insert("added_cpu_us_per_token".to_owned(), added_us);
    for (number, (ours, direct)) in rounds.iter().enumerate() {
        for (whose, stretch) in [("ours", ours), ("direct", direct)] {
            let name = format!("{whose}_{number}_cpu_us_per_token");
            record.beside.insert(name, cpu_us_per_token(stretch));
        }
    }
    require_all(&mut record, rounds.iter().map(|(ours, _)| ours.outcome.wrong).sum());
    record
}

/// As fast as they leave: tokens per second of the server's CPU time, one event per token.
fn flood(context: &Context, streams: usize, rate_min: f64) -> CaseRecord {
    let load = Load { streams, tokens: ENDLESS, stamped: false, ..Load::default() };
    let Stretch { outcome, cpu_us, tokens_per_write } =
        stretch(Kind::Server, Duration::ZERO, load, context.seconds(0.7));
    let rate = outcome.tokens as f64 / cpu_us * 1e6;
    let limit = Some(Limit::at_least(rate_min));
    let mut record = context.mode.judged("tokens/CPU s", rate, outcome.tokens, limit);
    let tokens = outcome.tokens as f64;
    record.beside.insert("tokens_per_s".to_owned(), tokens / outcome.window.as_secs_f64());
    record.beside.insert("tokens_per_read".to_owned(), tokens / outcome.reads as f64);
    record.beside.extend(tokens_per_write.map(|each| ("tokens_per_write".to_owned(), each)));
    require_all(&mut record, outcome.wrong);
    record
}

/// A token each 8.33 µs, 200 000 of them, on two cores: how late the 99th percentile is received.
fn cadence(context: &Context) -> CaseRecord {
    const CADENCE: Duration = Duration::from_nanos(8330);
    let tokens = if context.mode == Mode::Pair { 20_000 } else { 200_000 };
    let load = Load { streams: 1, tokens, stamped: true, ..Load::default() };
    let mut serving = Serving::start(Kind::ServerFree, CADENCE, false).expect("it starts again");
    let before = serving.used().expect("the server lives");
    let mut client = Client::open(serving.address, load).expect("loopback has room");
    let outcome = client.read_for(Duration::from_secs(20)).expect("streams can be read");
    let after = serving.used().expect("the server lives");
    let p99 = outcome.late_us(0.99);
    let mut record = context.mode.judged("µs", p99, outcome.tokens, Some(Limit::at_most(2000.0)));
    record.beside.extend(quantiles(&outcome, "late"));
    let (first_ns, last_ns) = outcome.spans_ns[0];
    let mean_ns = (last_ns - first_ns) as f64 / (outcome.tokens.max(2) - 1) as f64;
    record.beside.insert("extra_us_per_token".to_owned(), mean_ns / 1e3 - 8.33);
    let cpu_us = (after.cpu_us - before.cpu_us) as f64 / outcome.tokens as f64;
    record.beside.insert("cpu_us_per_token".to_owned(), cpu_us);
    let per_read = outcome.tokens as f64 / outcome.reads as f64;
    record.beside.insert("tokens_per_read".to_owned(), per_read);
    require_all(&mut record, outcome.wrong + (tokens - outcome.tokens));
    if 4.0 < cpu_us || 0.02 < mean_ns / 1e3 - 8.33 {
        record.withdraw(Verdict::Fail, "above 4 µs of CPU or 0.02 µs extra per token");
    }
    record
}

/// The founding test: 2048 tokens at 20 ms, one and ten at once; and how late the last token is. Once for
/// the client of this suite, and at the same time once for `inference-bench`: both must say so.
fn original(context: &Context) -> CaseRecord {
    let tokens = if context.mode == Mode::Pair { 15 } else { 2048 };
    let load = Load { streams: 11, tokens, stamped: true, ..Load::default() };
    let serving = Serving::start(Kind::ServerFree, INTERVAL, false).expect("it starts again");
    let mut client = Client::open(serving.address, load).expect("loopback has room");
    let (outcome, heard) = std::thread::scope(|scope| {
        let listening = scope.spawn(|| listen(serving.address, 11, tokens as u32));
        let outcome = client.read_for(Duration::from_secs(60)).expect("streams can be read");
        (outcome, listening.join().expect("it does not panic").expect("streams can be read"))
    });
    let mean = |(first, last): &(u64, u64)| (last - first) as f64 / (tokens - 1) as f64 / 1e6;
    let worst = outcome.spans_ns.iter().map(mean).fold(f64::MIN, f64::max) - 20.0;
    let instrument = heard.overhead_ms(20.0);
    let (limit, n) = (Some(Limit::at_most(0.05)), outcome.tokens + heard.figures.tokens.received);
    let mut record = context.mode.judged("ms", worst.max(instrument), n, limit);
    let last_us = outcome.last_late_ns.iter().max().map_or(f64::NAN, |ns| *ns as f64 / 1e3);
    record.beside.insert("last_token_late_us".to_owned(), last_us);
    record.beside.insert("instrument_overhead_ms".to_owned(), instrument);
    record.beside.extend(quantiles(&outcome, "late"));
    record.beside.extend(heard.beside());
    require_all(&mut record, outcome.wrong + (11 * tokens - outcome.tokens) + heard.wrong());
    if 2000.0 < last_us {
        record.withdraw(Verdict::Fail, format!("the last token was {last_us:.0} µs late"));
    }
    record
}

/// The server as `inference-bench` hears it: tokens that did not come, with latencies beside.
fn instrument(context: &Context) -> CaseRecord {
    leave_the_servers_core();
    let tokens = (context.seconds(0.7).as_secs_f64() / INTERVAL.as_secs_f64()) as u32;
    let serving = Serving::start(Kind::Server, INTERVAL, true).expect("it starts again");
    let heard = listen(serving.address, 100, tokens).expect("streams can be read");
    let wrong = heard.wrong();
    let n = heard.figures.tokens.requested;
    let mut record = context.mode.judged("tokens", wrong as f64, n, Some(Limit::at_most(0.0)));
    record.beside.extend(heard.beside());
    record.beside.insert("instrument_overhead_ms".to_owned(), heard.overhead_ms(20.0));
    record
}

/// As many streams as the limit of open files allows here, two tokens a second each, or one where there is
/// time for that: tokens that did not come.
fn many(context: &Context) -> CaseRecord {
    let files = raise_open_files().expect("limits can be read");
    let (wanted, pace_ms) = match context.mode {
        Mode::Pair => (200, 500),
        Mode::Quick => (8000, 500),
        Mode::Comprehensive | Mode::Stress => (10_000, 1000),
    };
    let streams = wanted.min(usize::try_from(files / 2).unwrap_or(usize::MAX));
    let load = Load { streams, tokens: 3, stamped: true, ..Load::default() };
    let pace = Duration::from_millis(pace_ms);
    let mut serving = Serving::start(Kind::ServerFree, pace, false).expect("it starts again");
    let before = serving.used().expect("the server lives").rss_bytes;
    let mut client = Client::open(serving.address, load).expect("loopback has room");
    let outcome = client.read_for(Duration::from_secs(15)).expect("streams can be read");
    let after = serving.used().expect("the server lives").rss_bytes;
    let missing = (3 * streams as u64 - outcome.tokens) + outcome.wrong;
    let limit = Some(Limit::at_most(0.0));
    let mut record = context.mode.judged("tokens", missing as f64, streams as u64, limit);
    record.beside.extend(quantiles(&outcome, "late"));
    record.beside.insert("streams".to_owned(), streams as f64);
    let each = after.saturating_sub(before) as f64 / streams as f64;
    record.beside.insert("rss_per_stream_bytes".to_owned(), each);
    record
}

/// What 1000 streams add to the server's resident memory, each.
fn memory(context: &Context) -> CaseRecord {
    let streams = if context.mode == Mode::Pair { 100 } else { 1000 };
    let load = Load { streams, tokens: ENDLESS, stamped: false, ..Load::default() };
    let mut serving = Serving::start(Kind::Server, INTERVAL, true).expect("it starts again");
    let before = serving.used().expect("the server lives").rss_bytes;
    let mut client = Client::open(serving.address, load).expect("loopback has room");
    let outcome = client.read_for(context.seconds(1.0)).expect("streams can be read");
    let after = serving.used().expect("the server lives").rss_bytes;
    let each = after.saturating_sub(before) as f64 / streams as f64;
    let mut record =
        context.mode.judged("bytes", each, streams as u64, Some(Limit::at_most(STREAM_BYTES_MAX)));
    require_all(&mut record, outcome.wrong);
    record
}
