//! Clients that go, wherever their requests stand; runners that fail.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use streaming_server::Options;

use crate::helpers::{Log, Reply, Served, request, serve_script, texts};

const ENDLESS: &str = r#"{"prompt":"a","max_tokens":1000000,"stream":true}"#;

fn read_some(stream: &mut impl Read) {
    let mut some = [0; 64];
    stream.read_exact(&mut some).unwrap();
}

/// Waits for a cancellation and for the counts that follow, and returns how long it took.
#[track_caller]
fn told(log: &Log, served: &Served, cancelled: usize, since: Instant) -> Duration {
    log.wait(|seen| seen.cancelled.len() == cancelled);
    let took = since.elapsed();
    // Whoever has gone has left: the next one is let in.
    assert_eq!(200, served.get("/health").status);
    took
}

#[test]
fn a_client_that_goes_while_decoding_is_told_once() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    let mut stream = served.open(ENDLESS);
    read_some(&mut stream);
    drop(stream);
    told(&log, &served, 1, Instant::now());
    assert_eq!(1, log.seen().started.len());
    assert_eq!(
        1.0,
        served.metric("client_disconnects_total{model_name=\"test\",phase=\"decode\"}")
    );
    assert_eq!(log.seen().started, log.seen().cancelled);
}

#[test]
fn a_client_that_goes_before_its_first_token_is_told_once() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    let stream = served.open(ENDLESS);
    log.wait(|seen| seen.started.len() == 1);
    drop(stream);
    told(&log, &served, 1, Instant::now());
    assert_eq!(
        1.0,
        served.metric("client_disconnects_total{model_name=\"test\",phase=\"prefill\"}")
    );
    assert_eq!(0, log.seen().said);
}

#[test]
fn a_client_that_goes_in_line_never_starts() {
    let options = Options { running_max: 1, ..Options::default() };
    let (served, log) = serve_script(options, &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    let first = served.open(ENDLESS);
    log.wait(|seen| seen.started.len() == 1);
    let second = served.open(ENDLESS);
    let third = served.open(r#"{"prompt":"a","max_tokens":1}"#);
    wait_until(|| served.metric("vllm:num_requests_waiting") == 2.0);
    drop(second);
    wait_until(|| served.metric("vllm:num_requests_waiting") == 1.0);
    drop(first);
    told(&log, &served, 1, Instant::now());
    // The third is next; the second was never heard of.
    log.wait(|seen| seen.started.len() == 2);
    assert_eq!(
        1.0,
        served.metric("client_disconnects_total{model_name=\"test\",phase=\"queued\"}")
    );
    drop(third);
    log.wait(|seen| seen.cancelled.len() == 2);
}

#[test]
fn a_client_that_goes_from_a_reply_that_is_not_streamed_is_told() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    let stream = served.open(r#"{"prompt":"a","max_tokens":1000000}"#);
    log.wait(|seen| seen.started.len() == 1);
    drop(stream);
    told(&log, &served, 1, Instant::now());
}

#[test]
fn a_client_that_has_sent_ahead_and_goes_is_told() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    for (n, ahead) in
        ["GET /live HTTP/1.1\r\nHost: a\r\n\r\n", "GET /li", "\r\n"].iter().enumerate()
    {
        let mut stream = served.open(ENDLESS);
        stream.write_all(ahead.as_bytes()).unwrap();
        log.wait(|seen| seen.started.len() == n + 1);
        drop(stream);
        told(&log, &served, n + 1, Instant::now());
    }
}

#[test]
fn every_choice_of_a_client_that_goes_is_told() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    let body = r#"{"prompt":["a","b"],"n":3,"max_tokens":1000000,"stream":true}"#;
    let mut stream = served.open(body);
    read_some(&mut stream);
    drop(stream);
    told(&log, &served, 6, Instant::now());
    let seen = log.seen();
    assert!(seen.started.iter().all(|id| seen.cancelled.contains(id)));
}

#[test]
fn a_request_that_finished_is_not_cancelled() {
    let (served, log) = serve_script(Options::default(), &[b"x", b"y"], false);
    let body = r#"{"prompt":"a","max_tokens":9,"stream":true}"#;
    for _ in 0..5 {
        assert_eq!(vec!["x", "y"], texts(&served.post("/v1/completions", body).events(), 0));
    }
    assert_eq!((5, 0), (log.seen().ended.len(), log.seen().cancelled.len()));
}

#[test]
fn a_full_line_refuses_and_says_when() {
    let options = Options { running_max: 1, queued_max: 1, ..Options::default() };
    let (served, log) = serve_script(options, &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    let _first = served.open(ENDLESS);
    log.wait(|seen| seen.started.len() == 1);
    let _second = served.open(ENDLESS);
    wait_until(|| served.metric("vllm:num_requests_waiting") == 1.0);
    let reply = served.post("/v1/completions", r#"{"prompt":"a"}"#);
    assert_eq!((503, json!("overloaded")), (reply.status, reply.json()["error"]["type"].clone()));
    assert!(reply.has("retry-after: 1") && reply.has("retry-after-ms: 1000"), "{}", reply.head);
}

#[test]
fn who_waits_too_long_in_line_is_refused() {
    let queue_timeout = Duration::from_millis(30);
    let options = Options { running_max: 1, queue_timeout, ..Options::default() };
    let (served, log) = serve_script(options, &[b"x"], true);
    log.hold.store(true, Ordering::SeqCst);
    let _first = served.open(ENDLESS);
    log.wait(|seen| seen.started.len() == 1);
    let reply = served.post("/v1/completions", r#"{"prompt":"a"}"#);
    assert_eq!(
        (503, json!("queue_timeout")),
        (reply.status, reply.json()["error"]["type"].clone())
    );
}

#[test]
fn a_runner_that_panics_fails_its_streams_and_is_made_anew() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    let mut stream = served.connect();
    stream.write_all(&request("/v1/completions", ENDLESS, "Connection: close\r\n")).unwrap();
    read_some(&mut stream);
    log.panic.store(true, Ordering::SeqCst);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8(rest).unwrap();
    assert!(text.contains("data: {\"error\":{") && text.contains("data: [DONE]\n\n"));
    assert!(text.ends_with("0\r\n\r\n"), "the stream has an end");
    log.panic.store(false, Ordering::SeqCst);
    log.wait(|seen| seen.made == 2);
    let reply = served.post("/v1/completions", r#"{"prompt":"a","max_tokens":3}"#);
    assert_eq!("xxx", reply.json()["choices"][0]["text"]);
    assert_eq!(1.0, served.metric("runner_restarts_total"));
}

#[test]
fn a_runner_that_panics_before_the_first_token_is_a_plain_error() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    log.panic.store(true, Ordering::SeqCst);
    for body in [ENDLESS, r#"{"prompt":"a"}"#] {
        let reply = served.post("/v1/completions", body);
        assert_eq!(
            (500, json!("server_error")),
            (reply.status, reply.json()["error"]["type"].clone())
        );
    }
}

#[test]
fn a_drain_lets_streams_finish_and_refuses_others() {
    let (mut served, log) = serve_script(Options::default(), &[b"x", b"y"], false);
    log.hold.store(true, Ordering::SeqCst);
    let mut stream = served.open(r#"{"prompt":"a","max_tokens":9,"stream":true}"#);
    log.wait(|seen| seen.started.len() == 1);
    let mut idle = served.connect();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_some(&mut idle);
    served.stop();
    wait_until(|| served.get("/ready").status == 503);
    let reply = served.post("/v1/completions", r#"{"prompt":"a"}"#);
    assert_eq!((503, json!("draining")), (reply.status, reply.json()["error"]["type"].clone()));
    assert_eq!("draining", served.get("/health").json()["status"]);
    log.hold.store(false, Ordering::SeqCst);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(vec!["x", "y"], texts(&Reply::parse(&rest).events(), 0));
    assert_eq!((1, 0), {
        let ended = served.end();
        (ended.finished, ended.cut)
    });
    // The idle connection was closed.
    assert!(idle.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn a_drain_that_takes_too_long_says_so_to_every_stream() {
    let drain_timeout = Duration::from_millis(50);
    let (mut served, log) =
        serve_script(Options { drain_timeout, ..Options::default() }, &[b"x"], true);
    let mut streams: Vec<_> = (0..3).map(|_| served.open(ENDLESS)).collect();
    streams.iter_mut().for_each(read_some);
    log.hold.store(true, Ordering::SeqCst);
    served.stop();
    for mut stream in streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let text = String::from_utf8(rest).unwrap();
        assert!(text.contains("\"type\":\"draining\"") && text.contains("data: [DONE]\n\n"));
        assert!(text.ends_with("0\r\n\r\n"));
    }
    assert_eq!((0, 3), {
        let ended = served.end();
        (ended.finished, ended.cut)
    });
}

/// More than the kernel holds for a client that does not read.
const LARGE: &[u8] = &[b'x'; 200_000];

/// A server with a reply that is whole, and nobody reads it.
fn serve_unread(options: Options) -> (Served, std::net::TcpStream) {
    let (served, _) = serve_script(options, &[LARGE; 200], false);
    let stream = served.open(r#"{"prompt":"a","max_tokens":200}"#);
    let success = "vllm:request_success_total{model_name=\"test\",finished_reason=\"length\"}";
    wait_until(|| served.metric(success) == 1.0);
    (served, stream)
}

/// Its bytes were no longer counted when it was rendered, and a drain took it for sent.
#[test]
fn a_whole_reply_runs_until_it_was_sent() {
    let (served, mut stream) = serve_unread(Options::default());
    assert_eq!(1.0, served.metric("vllm:num_requests_running"));
    let mut reply = vec![0; 200 * LARGE.len()];
    stream.read_exact(&mut reply).unwrap();
    wait_until(|| served.metric("vllm:num_requests_running") == 0.0);
}

#[test]
fn a_drain_says_which_whole_replies_it_cuts() {
    let drain_timeout = Duration::from_millis(50);
    let (served, _stream) = serve_unread(Options { drain_timeout, ..Options::default() });
    let ended = served.end();
    assert_eq!((0, 1), (ended.finished, ended.cut));
}

/// Waits for what a server tells of itself.
#[track_caller]
fn wait_until(what: impl Fn() -> bool) {
    let limit = Instant::now() + crate::helpers::LIMIT;
    while !what() {
        assert!(Instant::now() < limit, "it never came to that");
        std::thread::yield_now();
    }
}
