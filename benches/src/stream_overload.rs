//! Cases of the suite `stream` in which more is asked for than can be served, and in which others serve.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use inference_bench::stats::median;
use inference_bench::{CaseRecord, Limit, Verdict};

use crate::stream_behavior::{metric, require_all};
use crate::stream_child::{Kind, Limits, Serving, leave_the_servers_core};
use crate::stream_client::{Client, Load, Outcome, quantiles};
use crate::suite::{Case, Context, Mode, refute};

/// Requests that run at once, and those that wait beside them.
const RUNNING: usize = 28;
const QUEUED: usize = 56;
/// What each request asks for: a quarter of a second of tokens.
const TOKENS: u64 = 50;
const INTERVAL: Duration = Duration::from_millis(5);
/// How many times as much is asked for as can be served.
const OVERLOAD: f64 = 10.0;
/// Connections of each key. They are more than find room to run or to wait: the others are refused.
const CLIENTS: usize = 100;
const WEIGHTS: [u32; 3] = [1, 2, 4];
/// Streams through the relay.
const STREAMS: usize = 100;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("overload/10x", "test_llm_streaming", 3.3, overload),
        Case::new("relay/100", "test_llm_streaming", 2.5, relay),
    ]
}

/// One connection of a key's.
struct Requester {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Requester {
    fn connect(address: SocketAddr, key: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let body = format!("{{\"prompt\":\"a\",\"max_tokens\":{TOKENS}}}");
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key{key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Self { stream: BufReader::new(stream), request })
    }

    /// Sends the request and reads the reply; returns its status and how long it took, in milliseconds.
    fn ask(&mut self) -> io::Result<(u16, f64)> {
        let asked = Instant::now();
        self.stream.get_mut().write_all(self.request.as_bytes())?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        while self.stream.read_line(&mut line)? != 0 && line != "\r\n" {
            let lower = line.to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().map_err(io::Error::other)?;
            } else if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            line.clear();
        }
        self.stream.read_exact(&mut vec![0; length])?;
        Ok((status, asked.elapsed().as_secs_f64() * 1e3))
    }
}

/// What one connection saw in the window.
#[derive(Default)]
struct Seen {
    refused_ms: Vec<f64>,
    others: u64,
}

/// Asks on a schedule until the end; what a reply takes longer than that is not made up for.
fn pester(
    address: SocketAddr,
    key: usize,
    first: Instant,
    window: (Instant, Instant),
) -> io::Result<Seen> {
    // So much each connection asks for, all together ten times what can be served.
    let each_s = TOKENS as f64 * INTERVAL.as_secs_f64();
    let period = Duration::from_secs_f64(
        each_s * (CLIENTS * WEIGHTS.len()) as f64 / (RUNNING as f64 * OVERLOAD),
    );
    let mut requester = Requester::connect(address, key)?;
    let mut seen = Seen::default();
    let mut due = first;
    while due < window.1 {
        sleep(due.saturating_duration_since(Instant::now()));
        let (status, took_ms) = requester.ask()?;
        match status {
            503 if window.0 <= due => seen.refused_ms.push(took_ms),
            200 | 503 => {}
            _ => seen.others += 1,
        }
        let now = Instant::now();
        while due <= now {
            due += period;
        }
    }
    Ok(seen)
}

fn sent(address: SocketAddr) -> [f64; WEIGHTS.len()] {
    std::array::from_fn(|key| {
        let name = format!("key_generation_tokens_total{{model_name=\"test\",key=\"key{key}\"}}");
        metric(address, &name)
    })
}

/// Ten times as much is asked for as can be served, by keys with weights 1, 2 and 4: how far the tokens
/// served fall short of what can be; refusals are quick, and each key has its share.
fn overload(context: &Context) -> CaseRecord {
    leave_the_servers_core();
    let line = |(key, weight): (usize, &u32)| format!("key{key}:key{key} weight={weight}\n");
    let keys: String = WEIGHTS.iter().enumerate().map(line).collect();
    let limits = Limits { running: RUNNING, queued: QUEUED, keys, ..Limits::default() };
    let serving = Serving::start_with(Kind::Server, INTERVAL, false, &limits);
    let serving = serving.expect("this program starts again");
    let (address, start) = (serving.address, Instant::now());
    let (warm, window) = (Duration::from_millis(600), context.seconds(2.0));
    let measured = (start + warm, start + warm + window);
    let (seen, shares, taken_s) = scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS * WEIGHTS.len())
            .map(|number| {
                let first = start + Duration::from_micros(300 * number as u64);
                scope.spawn(move || pester(address, number % WEIGHTS.len(), first, measured))
            })
            .collect();
        sleep(warm);
        let (before, since) = (sent(address), Instant::now());
        sleep(window);
        let (after, taken) = (sent(address), since.elapsed());
        let shares: Vec<f64> =
            after.iter().zip(before).map(|(after, before)| after - before).collect();
        let seen: Vec<Seen> = clients
            .into_iter()
            .map(|client| client.join().expect("it does not panic").expect("loopback has room"))
            .collect();
        (seen, shares, taken.as_secs_f64())
    });
    judge_overload(context, &seen, &shares, taken_s)
}

fn judge_overload(context: &Context, seen: &[Seen], shares: &[f64], taken_s: f64) -> CaseRecord {
    let tokens: f64 = shares.iter().sum();
    let capacity = RUNNING as f64 / INTERVAL.as_secs_f64();
    let short_pct = (1.0 - tokens / taken_s / capacity) * 100.0;
    let limit = Some(Limit::at_most(5.0));
    let mut record = context.mode.judged("%", short_pct, tokens as u64, limit);
    let mut refused_ms: Vec<f64> = seen.iter().flat_map(|seen| &seen.refused_ms).copied().collect();
    refused_ms.sort_unstable_by(f64::total_cmp);
    let total: f64 = f64::from(WEIGHTS.iter().sum::<u32>());
    let off = |(tokens_of_key, weight): (&f64, &u32)| {
        (tokens_of_key / tokens / (f64::from(*weight) / total) - 1.0).abs() * 100.0
    };
    let off_pct = shares.iter().zip(&WEIGHTS).map(off).fold(0.0, f64::max);
    let at = |q: f64| refused_ms.get((refused_ms.len() as f64 * q) as usize).copied();
    let p99 = at(0.99).unwrap_or(f64::NAN);
    record.beside.insert("refused_p50_ms".to_owned(), at(0.5).unwrap_or(f64::NAN));
    record.beside.insert("refused_p99_ms".to_owned(), p99);
    record.beside.insert("refused".to_owned(), refused_ms.len() as f64);
    record.beside.insert("share_off_pct".to_owned(), off_pct);
    for (key, tokens) in shares.iter().enumerate() {
        record.beside.insert(format!("key{key}_tokens"), *tokens);
    }
    let others: u64 = seen.iter().map(|seen| seen.others).sum();
    if 0 < others {
        refute(&mut record, format!("{others} replies were neither 200 nor 503"));
    }
    if context.mode == Mode::Pair || 0 < others {
        return record;
    }
    if p99.is_nan() || 20.0 < p99 {
        record.withdraw(Verdict::Fail, format!("refusals took {p99:.1} ms at the 99th percentile"));
    }
    if 5.0 < off_pct {
        record.withdraw(Verdict::Fail, format!("a key's share is {off_pct:.1} % off its weight"));
    }
    record
}

/// A hundred streams, their tokens spread over the interval, straight from their server and through a relay, in
/// turn: what the relay adds to the median.
fn relay(context: &Context) -> CaseRecord {
    let interval = Duration::from_millis(20);
    let pairs = if context.mode == Mode::Pair { 1 } else { 2 };
    let time = context.seconds(0.4);
    let limits = Limits::default();
    let serving = Serving::start_with(Kind::ServerFree, interval, false, &limits);
    let serving = serving.expect("this program starts again");
    let upstream = format!("http://{}", serving.address);
    let relaying = Limits { upstream, ..Limits::default() };
    let relay = Serving::start_with(Kind::Relay, interval, false, &relaying);
    let relay = relay.expect("this program starts again");
    let stretch = |address| -> Outcome {
        let load = Load { streams: STREAMS, spread: interval / STREAMS as u32, ..Load::default() };
        let mut client = Client::open(address, load).expect("loopback has room");
        let warm = client.read_for(Duration::from_millis(150)).expect("streams can be read");
        let mut outcome = client.read_for(time).expect("streams can be read");
        outcome.wrong += warm.wrong;
        outcome
    };
    let pairs: Vec<_> =
        (0..pairs).map(|_| (stretch(relay.address), stretch(serving.address))).collect();
    let added: Vec<f64> = pairs
        .iter()
        .map(|(through, straight)| through.late_us(0.5) - straight.late_us(0.5))
        .collect();
    let n = pairs.iter().map(|(through, _)| through.tokens).sum();
    let limit = Some(Limit::at_most(200.0));
    let mut record = context.mode.judged("µs", median(&added), n, limit);
    record.beside.extend(quantiles(&pairs[0].0, "through"));
    record.beside.extend(quantiles(&pairs[0].1, "straight"));
    let wrong = pairs.iter().map(|(through, straight)| through.wrong + straight.wrong).sum();
    require_all(&mut record, wrong);
    record
}
