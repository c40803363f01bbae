//! The founding test against the built program: 2048 tokens every 20 ms, eleven streams at once.
//!
//! One short run, whose times nobody judges, unless `ORIGINAL_RUNS=5` is set: then so many whole ones, of
//! which four in five must be in time.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::helpers::{LIMIT, request};
use crate::program::start_program;

const STREAMS: usize = 11;
const INTERVAL_MS: f64 = 20.0;
/// What a token may take longer than the interval, in the mean.
const OVERHEAD_MS_MAX: f64 = 0.05;
/// How late the last token may be received.
const LAST_LATE_MS_MAX: f64 = 2.0;

/// What one client heard.
struct Heard {
    overhead_ms: f64,
    last_late_ms: f64,
}

/// The clock that the program's stamps are of.
fn now_ms() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as f64 * 1e3 + now.tv_nsec() as f64 / 1e6
}

/// Reads a stream to its end; panics unless every token came once and in order.
fn listen(address: &str, tokens: usize) -> Heard {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let body = format!(r#"{{"prompt":"a","max_tokens":{tokens},"stream":true}}"#);
    let headers = "X-Stream-Timestamps: 1\r\nConnection: close\r\n";
    stream.write_all(&request("/v1/completions", &body, headers)).unwrap();
    let mut came = Vec::new();
    // A chunk holds whole events: lines of data are whole, and sizes of chunks look like none.
    for line in BufReader::new(stream).lines() {
        let (line, recv_ms) = (line.unwrap(), now_ms());
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).unwrap();
        let text = event["choices"][0]["text"].as_str().unwrap_or_default();
        if !text.is_empty() {
            assert_eq!(format!("token_{}", came.len()), text);
            came.push((recv_ms, event["ts"]["due_ns"].as_f64().unwrap() / 1e6));
        }
    }
    assert_eq!(tokens, came.len());
    let (first, last) = (came[0], came[tokens - 1]);
    Heard {
        overhead_ms: (last.0 - first.0) / (tokens - 1) as f64 - INTERVAL_MS,
        last_late_ms: last.0 - last.1,
    }
}

/// Whether the slowest of all streams was in time.
fn is_in_time(tokens: usize) -> bool {
    let program = start_program(&["--interval", "20ms"]);
    let heard: Vec<Heard> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..STREAMS).map(|_| scope.spawn(|| listen(&program.address, tokens))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let worst = |of: fn(&Heard) -> f64| heard.iter().map(of).fold(f64::MIN, f64::max);
    let (overhead_ms, late_ms) = (worst(|h| h.overhead_ms), worst(|h| h.last_late_ms));
    let told = format!("overhead {overhead_ms:.4} ms, last token {late_ms:.2} ms late");
    let _ = writeln!(std::io::stderr(), "{told}");
    overhead_ms <= OVERHEAD_MS_MAX && late_ms <= LAST_LATE_MS_MAX
}

#[test]
fn every_token_comes_in_order_and_four_of_five_runs_are_in_time() {
    let set = std::env::var("ORIGINAL_RUNS").ok();
    let Some(runs) = set.map(|runs| runs.parse::<usize>().unwrap()) else {
        is_in_time(30);
        return;
    };
    let in_time = (0..runs).filter(|_| is_in_time(2048)).count();
    assert!(4 * runs <= 5 * in_time, "{in_time} of {runs}");
}
