//! Cases of the suite `stream` in which clients go, freeze or are too many, and the server is told to
//! stop.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use inference_bench::{CaseRecord, Limit, Verdict};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;

use crate::stream_child::{Kind, Limits, Serving, leave_the_servers_core};
use crate::stream_client::{Client, Load, Outcome};
use crate::suite::{Case, Context, Mode, refute};

const INTERVAL: Duration = Duration::from_millis(20);
/// Streams without an end within a case.
const ENDLESS: u64 = 1 << 40;
/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);
/// How soon the runner hears of clients that have gone, and clients that they are too many.
const TOLD_MS_MAX: f64 = 50.0;
const REFUSED_MS_MAX: f64 = 20.0;
/// Sequences of the client that freezes, as many as a request may have: what they say, a megabyte a
/// second, and a small receive buffer let the kernel's room end soon.
const FROZEN_CHOICES: usize = 128;
const FROZEN_RECEIVE_BYTES: usize = 4096;
/// How much slower the others may become beside a client that is frozen.
const FROZEN_RATIO_MAX: f64 = 1.1;
/// What a frozen client may add to the server's resident memory, beside its sequences.
const FROZEN_BYTES_MAX: u64 = 4 << 20;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    type Run = fn(&Context) -> CaseRecord;
    let cases: [(&str, f64, Run); 5] = [
        ("behavior/disconnect", 0.6, disconnect),
        ("behavior/frozen", 4.8, frozen),
        ("behavior/overload", 0.8, overload),
        ("behavior/drain", 1.5, drain),
        ("flood/64/ttft", 1.5, flood_ttft),
    ];
    let case = |(name, expected_s, run): (&str, f64, Run)| Case {
        name: name.to_owned(),
        seed_case: "test_llm_streaming",
        expected_s,
        paired: false,
        run: Box::new(run),
    };
    cases.into_iter().map(case).collect()
}

/// Nothing else counts when a token was lost.
pub fn require_all(record: &mut CaseRecord, wrong: u64) {
    if 0 < wrong {
        let lost = "tokens were lost, doubled or out of order, or their streams cut";
        refute(record, format!("{wrong} {lost}"));
    }
}

/// Clients that go all at once: how long until the runner has been told of each, once.
fn disconnect(context: &Context) -> CaseRecord {
    let streams = if context.mode == Mode::Pair { 20 } else { 200 };
    let serving = start(INTERVAL, &Limits::default());
    let mut client = open(serving.address, streams, ENDLESS);
    read(&mut client, Duration::from_millis(300));
    drop(client);
    let gone = Instant::now();
    let told = |value| metric(serving.address, "client_disconnects_total") == value;
    let all = streams as f64;
    while !told(all) && gone.elapsed() < LIMIT {
        sleep(Duration::from_millis(1));
    }
    let told_ms = gone.elapsed().as_secs_f64() * 1e3;
    let limit = Limit::at_most(TOLD_MS_MAX);
    let mut record = context.mode.judged("ms", told_ms, streams as u64, Some(limit));
    sleep(INTERVAL);
    let idle = || metric(serving.address, "vllm:num_requests_running") == 0.0;
    while !idle() && gone.elapsed() < LIMIT {
        sleep(Duration::from_millis(1));
    }
    if !told(all) || !idle() {
        refute(&mut record, "the runner was not told once of each client");
    }
    record
}

/// One client of a hundred reads nothing: the median of the others beside what it is before and after. A
/// machine on which these two differ by more than the gate allows has changed its own pace.
fn frozen(context: &Context) -> CaseRecord {
    let stall = Duration::from_secs(1);
    let mut serving = start(INTERVAL, &Limits { stall, ..Limits::default() });
    let mut client = open(serving.address, 99, ENDLESS);
    read(&mut client, Duration::from_millis(300));
    let alone = read(&mut client, context.seconds(1.0));
    let before = serving.used().expect("the server lives").rss_bytes;
    let _frozen = freeze(serving.address).expect("loopback has room");
    let beside = read(&mut client, stall + context.seconds(1.5));
    let after = serving.used().expect("the server lives").rss_bytes;
    let again = read(&mut client, context.seconds(1.0));
    let (first_us, last_us) = (alone.late_us(0.5), again.late_us(0.5));
    let ratio = beside.late_us(0.5) / f64::midpoint(first_us, last_us);
    let limit = Limit::at_most(FROZEN_RATIO_MAX);
    let mut record = context.mode.judged("ratio", ratio, beside.tokens, Some(limit));
    let pace = (first_us / last_us).max(last_us / first_us);
    record.beside.insert("pace_ratio".to_owned(), pace);
    if context.mode != Mode::Pair && FROZEN_RATIO_MAX < pace {
        let reason = format!("without the frozen client, the others' median changed by {pace:.2}");
        record.withdraw(Verdict::Undecided, reason);
    }
    let gap_ms = INTERVAL.as_secs_f64() * 1e3 + beside.late_us(1.0) / 1e3;
    let stalled = metric(serving.address, "stream_stalled_total");
    let added = after.saturating_sub(before);
    record.beside.insert("gap_at_most_ms".to_owned(), gap_ms);
    record.beside.insert("added_rss_bytes".to_owned(), added as f64);
    require_all(&mut record, alone.wrong + beside.wrong + again.wrong);
    if context.mode != Mode::Pair && (100.0 < gap_ms || FROZEN_BYTES_MAX < added) {
        record.withdraw(Verdict::Fail, "a gap above 100 ms, or memory above 4 MiB");
    }
    if context.mode != Mode::Pair && stalled != 1.0 {
        record.withdraw(Verdict::Fail, format!("{stalled} clients were cut, and one was frozen"));
    }
    record
}

/// A full server: how soon one more is told so, at the 99th percentile; nobody else notices.
fn overload(context: &Context) -> CaseRecord {
    let refusals = if context.mode == Mode::Pair { 10 } else { 200 };
    let limits = Limits { running: 25, queued: 25, ..Limits::default() };
    let serving = start(INTERVAL, &limits);
    let mut running = open(serving.address, 25, ENDLESS);
    let mut outcome = read(&mut running, Duration::from_millis(100));
    let _queued = open(serving.address, 25, 1);
    let since = Instant::now();
    while metric(serving.address, "vllm:num_requests_waiting") < 25.0 && since.elapsed() < LIMIT {
        sleep(Duration::from_millis(1));
    }
    let mut refused_ms = Vec::new();
    let mut others = 0;
    for _ in 0..refusals {
        let asked = Instant::now();
        let reply = ask(serving.address, &post(1, 1)).expect("the server answers");
        refused_ms.push(asked.elapsed().as_secs_f64() * 1e3);
        others += u64::from(!(reply.starts_with("HTTP/1.1 503") && reply.contains("overloaded")));
    }
    outcome.wrong += read(&mut running, Duration::from_millis(100)).wrong;
    refused_ms.sort_unstable_by(f64::total_cmp);
    let p99 = refused_ms[refused_ms.len() * 99 / 100];
    let limit = Limit::at_most(REFUSED_MS_MAX);
    let mut record = context.mode.judged("ms", p99, refusals, Some(limit));
    record.beside.insert("p50_ms".to_owned(), refused_ms[refused_ms.len() / 2]);
    require_all(&mut record, outcome.wrong);
    if 0 < others {
        refute(&mut record, format!("{others} replies were no refusal"));
    }
    record
}

/// Told to stop with a hundred streams: tokens that did not come.
fn drain(context: &Context) -> CaseRecord {
    const STREAMS: usize = 100;
    const TOKENS: u64 = 35;
    let serving = start(INTERVAL, &Limits::default());
    let mut client = open(serving.address, STREAMS, TOKENS);
    let first = read(&mut client, Duration::from_millis(200));
    let stopped = Instant::now();
    let (rest, finished) = scope(|scope| {
        let drained = scope.spawn(|| serving.drain());
        let rest = read(&mut client, LIMIT);
        (rest, drained.join().expect("it does not panic").is_ok_and(|finished| finished))
    });
    let expected = STREAMS as u64 * TOKENS;
    let missing = expected - (first.tokens + rest.tokens).min(expected);
    let limit = Limit::at_most(0.0);
    let mut record = context.mode.judged("tokens", missing as f64, expected, Some(limit));
    record.beside.insert("drained_ms".to_owned(), stopped.elapsed().as_secs_f64() * 1e3);
    require_all(&mut record, first.wrong + rest.wrong);
    if !finished || rest.done != STREAMS {
        refute(&mut record, "a stream was cut, or did not end with `[DONE]`");
    }
    record
}

/// A new request while 64 others bring tokens as fast as they leave: its first token, in the median.
fn flood_ttft(context: &Context) -> CaseRecord {
    let requests = if context.mode == Mode::Pair { 3 } else { 20 };
    let serving = start(Duration::ZERO, &Limits::default());
    let mut client = open(serving.address, 64, ENDLESS);
    let ended = AtomicBool::new(false);
    let mut ttft_ms = scope(|scope| {
        let flood = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                read(&mut client, Duration::from_millis(50));
            }
        });
        let first = |_| {
            let asked = Instant::now();
            ask(serving.address, &post(1, 1)).expect("the server answers");
            asked.elapsed().as_secs_f64() * 1e3
        };
        let ttft_ms: Vec<f64> = (0..requests).map(first).collect();
        ended.store(true, Ordering::Relaxed);
        flood.join().expect("tokens come");
        ttft_ms
    });
    ttft_ms.sort_unstable_by(f64::total_cmp);
    let mut record = context.mode.judged("ms", ttft_ms[ttft_ms.len() / 2], requests, None);
    record.beside.insert("max_ms".to_owned(), ttft_ms[ttft_ms.len() - 1]);
    record
}

fn start(interval: Duration, limits: &Limits) -> Serving {
    leave_the_servers_core();
    Serving::start_with(Kind::Server, interval, true, limits).expect("this program starts again")
}

fn open(address: SocketAddr, streams: usize, tokens: u64) -> Client {
    let load = Load { streams, tokens, stamped: true, ..Load::default() };
    Client::open(address, load).expect("loopback has room")
}

fn read(client: &mut Client, time: Duration) -> Outcome {
    client.read_for(time).expect("streams can be read")
}

/// A request for so many sequences of so many tokens.
fn post(choices: usize, tokens: u64) -> String {
    let prompts = vec!["a"; choices];
    let body = format!("{{\"prompt\":{prompts:?},\"max_tokens\":{tokens},\"stream\":true}}");
    format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A client that asks for much and reads nothing.
fn freeze(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    setsockopt(&stream, RcvBuf, &FROZEN_RECEIVE_BYTES)?;
    stream.write_all(post(FROZEN_CHOICES, 1 << 20).as_bytes())?;
    Ok(stream)
}

pub(crate) fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// The sum over all labels of a metric.
///
/// # Panics
///
/// When the server does not answer.
#[must_use]
pub fn metric(address: SocketAddr, name: &str) -> f64 {
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = ask(address, request).expect("the server answers");
    let lines = reply.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
