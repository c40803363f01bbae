//! What is about time: clients that stall, streams that are silent, runners that hang. The figures are
//! generous, since other tests run beside.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use streaming_server::{
    Next, Options, Push, Runner, Sequence, SequenceId, Step, TestOptions, TestRunner, Token,
};

use crate::helpers::{Reply, request, serve, serve_script, texts, tokens};

const ENDLESS: &str = r#"{"prompt":"a","max_tokens":1000000,"stream":true}"#;

#[test]
fn a_client_that_reads_nothing_is_cut_and_holds_little() {
    let options = Options {
        stall_timeout: Duration::from_millis(200),
        backlog_bytes_max: 10_000,
        ..Options::default()
    };
    let (served, log) = serve_script(options, &[b"x"], true);
    let frozen = served.open(ENDLESS);
    log.wait(|seen| seen.cancelled.len() == 1);
    assert_eq!(1.0, served.metric("stream_stalled_total"));
    // What was said is what the kernel and the backlog hold, and no more: an event has 150 bytes.
    assert!(log.seen().said < 100_000, "{:?}", log.seen().said);
    drop(frozen);
}

#[test]
fn a_slow_client_is_not_a_stalled_one() {
    let options = Options { stall_timeout: Duration::from_millis(300), ..Options::default() };
    let (served, log) = serve_script(options, &[&[b'x'; 1000]], true);
    let mut slow = served.open(ENDLESS);
    let start = Instant::now();
    let mut buffer = vec![0; 400_000];
    while start.elapsed() < Duration::from_millis(900) {
        slow.read_exact(&mut buffer).unwrap();
        sleep(Duration::from_millis(50));
    }
    assert_eq!((0.0, 0), (served.metric("stream_stalled_total"), log.seen().cancelled.len()));
}

#[test]
fn a_frozen_client_does_not_hold_up_the_others() {
    let tokens_5ms = TestOptions { interval: Duration::from_millis(5), ..TestOptions::default() };
    let served = serve(Options::default(), move || TestRunner::new(tokens_5ms));
    let body =
        r#"{"prompt":["a","a","a","a","a","a","a","a"],"n":16,"max_tokens":100000,"stream":true}"#;
    let _frozen = served.open(body);
    let body = r#"{"prompt":"a","max_tokens":100,"stream":true}"#;
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let events = served.post("/v1/completions", body).events();
                assert_eq!(tokens(100), texts(&events, 0));
            });
        }
    });
}

#[test]
fn a_silent_stream_says_that_it_is_alive() {
    let options = Options { keep_alive: Duration::from_millis(50), ..Options::default() };
    let slow = TestOptions { interval: Duration::from_millis(250), ..TestOptions::default() };
    let served = serve(options, move || TestRunner::new(slow));
    let reply = served.post("/v1/completions", r#"{"prompt":"a","max_tokens":2,"stream":true}"#);
    // The strict reader refuses comments that are no blocks of their own.
    assert_eq!(tokens(2), texts(&reply.events(), 0));
    assert!(reply.text().starts_with(": keep-alive\n\n"), "{}", reply.text());
    let headers = "Accept: application/x-ndjson\r\nConnection: close\r\n";
    let body = r#"{"prompt":"a","max_tokens":2,"stream":true}"#;
    let reply = Reply::parse(&served.send(&request("/v1/completions", body, headers)));
    assert_eq!(3, reply.text().lines().count());
}

/// Says one token and then never comes back.
struct Hanging;

impl Runner for Hanging {
    fn start(&mut self, _: SequenceId, _: &Arc<Sequence>, _: Instant) {
        sleep(Duration::from_secs(3));
    }
    fn cancel(&mut self, _: SequenceId) {}
    fn resume(&mut self, _: SequenceId) {}
    fn step(&mut self, _: &mut Step<'_>) -> Next {
        Next::Idle
    }
}

/// Says one token each time, once the first runner has hung.
struct Fine(Vec<SequenceId>);

impl Runner for Fine {
    fn start(&mut self, id: SequenceId, _: &Arc<Sequence>, _: Instant) {
        self.0.push(id);
    }
    fn cancel(&mut self, _: SequenceId) {}
    fn resume(&mut self, _: SequenceId) {}
    fn step(&mut self, step: &mut Step<'_>) -> Next {
        self.0.retain(|id| step.push(*id, Token::text(b"fine")) == Push::Taken);
        if self.0.is_empty() { Next::Idle } else { Next::Now }
    }
}

enum Either {
    Hanging(Hanging),
    Fine(Fine),
}

impl Runner for Either {
    fn start(&mut self, id: SequenceId, sequence: &Arc<Sequence>, now: Instant) {
        match self {
            Self::Hanging(runner) => runner.start(id, sequence, now),
            Self::Fine(runner) => runner.start(id, sequence, now),
        }
    }
    fn cancel(&mut self, _: SequenceId) {}
    fn resume(&mut self, _: SequenceId) {}
    fn step(&mut self, step: &mut Step<'_>) -> Next {
        match self {
            Self::Hanging(runner) => runner.step(step),
            Self::Fine(runner) => runner.step(step),
        }
    }
}

#[test]
fn a_runner_that_hangs_is_given_up() {
    let options = Options { runner_timeout: Duration::from_millis(100), ..Options::default() };
    let made = std::sync::atomic::AtomicUsize::new(0);
    let served =
        serve(options, move || match made.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Either::Hanging(Hanging),
            _ => Either::Fine(Fine(Vec::new())),
        });
    let body = r#"{"prompt":"a","max_tokens":2,"stream":true}"#;
    let reply = served.post("/v1/completions", body);
    assert_eq!(500, reply.status, "{}", reply.text());
    let events = served.post("/v1/completions", body).events();
    assert_eq!(vec!["fine", "fine"], texts(&events, 0));
    assert_eq!(1.0, served.metric("runner_restarts_total"));
}

#[test]
fn health_answers_under_a_flood() {
    let flood = TestOptions { interval: Duration::ZERO, ..TestOptions::default() };
    let served = serve(Options::default(), move || TestRunner::new(flood));
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..8).map(|_| served.open(ENDLESS)).collect();
        for stream in &streams {
            let mut stream = stream.try_clone().unwrap();
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while stream.read(&mut buffer).is_ok_and(|n| 0 < n) {}
            });
        }
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(200, served.get("/health").status);
        }
        let mean = start.elapsed() / 20;
        // A reader waits for the end of its stream, which is far.
        for stream in &streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        assert!(mean < Duration::from_millis(200), "{mean:?}");
    });
}

#[test]
fn slow_heads_and_bodies_are_refused() {
    let timeout = Duration::from_millis(100);
    let options = Options { header_timeout: timeout, body_timeout: timeout, ..Options::default() };
    let (served, _) = serve_script(options, &[b"x"], false);
    let mut stream = served.connect();
    stream.write_all(b"POST /v1/completions HTTP/1.1\r\n").unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(reply.is_empty() || reply.starts_with(b"HTTP/1.1 408"));
    let mut stream = served.connect();
    let raw = request("/v1/completions", r#"{"prompt":"a"}"#, "");
    stream.write_all(&raw[..raw.len() - 3]).unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert_eq!(408, Reply::parse(&reply).status);
}

/// Whatever keeps the news from a runner for longer than 50 ms, a timer or the next token, keeps it from
/// the runner each time: so it shows in the fastest of many, which a busy machine does not slow down.
#[test]
fn a_runner_hears_of_a_client_that_goes_within_50_ms_and_once() {
    const CLIENTS: usize = 20;
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    log.hold.store(true, std::sync::atomic::Ordering::SeqCst);
    let told_after = |n: usize| {
        let client = served.open(ENDLESS);
        log.wait(|seen| seen.started.len() == n);
        let gone = Instant::now();
        drop(client);
        log.wait(|seen| seen.cancelled.len() == n);
        gone.elapsed()
    };
    let fastest = (1..=CLIENTS).map(told_after).min().unwrap();
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    let seen = log.seen();
    assert_eq!(seen.started, seen.cancelled);
}
