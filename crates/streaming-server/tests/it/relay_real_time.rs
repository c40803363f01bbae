//! Upstreams that stall, and upstreams of different speed. Nothing here is more exact than twice or half.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use streaming_server::{Options, TestOptions, TestRunner};

use crate::helpers::{LIMIT, Reply, request, serve};
use crate::upstreams::{STREAM_HEAD, Upstream, chunk, relay, relay_to, stream, whole};

const BODY: &str = r#"{"prompt":"a","max_tokens":20,"stream":true}"#;
const BODY_WHOLE: &str = r#"{"prompt":"a","max_tokens":20}"#;
const EVENTS: &str = "data: 1\n\ndata: [DONE]\n\n";

fn quick() -> Options {
    Options { runner_timeout: Duration::from_millis(300), ..Options::default() }
}

#[test]
fn an_upstream_that_stalls_is_given_up() {
    let silent = Upstream::new(|stream, _| {
        let _ = stream.read(&mut [0; 16]);
    });
    let good = Upstream::says_on(stream(EVENTS, 100));
    let served = relay(quick(), &[&silent, &good]);
    for _ in 0..2 {
        let raw = request("/v1/completions", BODY, "Connection: close\r\n");
        assert_eq!(EVENTS, Reply::parse(&served.send(&raw)).text());
    }
    assert_eq!(1, silent.seen().len());

    let stalls = Upstream::new(|stream, _| {
        stream.write_all(STREAM_HEAD.as_bytes()).unwrap();
        stream.write_all(&chunk(b"data: 1\n\n")).unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    let served = relay(quick(), &[&stalls]);
    let raw = request("/v1/completions", BODY, "Connection: close\r\n");
    let reply = Reply::parse(&served.send(&raw)).text();
    assert!(
        reply.starts_with("data: 1\n\ndata: {\"error\"") && reply.ends_with("[DONE]\n\n"),
        "{reply}"
    );
}

/// Of a reply that is not streamed nothing is heard while it is generated: silence is no failure.
#[test]
fn a_whole_reply_may_take_longer_than_a_stream_may_be_silent() {
    let (head, body) = ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "{}");
    for at_once in [head, ""] {
        let rest = format!("{head}{body}").split_off(at_once.len());
        let upstream = Upstream::keeps(move |stream, _| {
            let _ = stream.write_all(at_once.as_bytes());
            std::thread::sleep(2 * quick().runner_timeout);
            let _ = stream.write_all(rest.as_bytes());
        });
        let served = relay(quick(), &[&upstream]);
        let raw = request("/v1/completions", BODY_WHOLE, "Connection: close\r\n");
        let reply = Reply::parse(&served.send(&raw));
        assert_eq!((200, body, 1), (reply.status, reply.text().as_str(), upstream.seen().len()));
    }
}

/// Twelve clients, one request after the other each: the upstream that is three times as fast serves
/// about three times as many of them.
#[test]
fn load_follows_speed() {
    let upstreams = [3, 9].map(|interval_ms| {
        let interval = Duration::from_millis(interval_ms);
        let tokens = TestOptions { interval, ..TestOptions::default() };
        serve(Options::default(), move || TestRunner::new(tokens))
    });
    let urls = upstreams.iter().map(|upstream| format!("http://{}", upstream.address));
    let served = relay_to(Options::default(), urls.collect());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let raw = request("/v1/completions", BODY, "Connection: close\r\n");
                    assert_eq!(200, Reply::parse(&served.send(&raw)).status);
                }
            });
        }
    });
    let asked = upstreams.iter().map(|upstream| {
        upstream.metric("vllm:request_success_total{model_name=\"test\",finished_reason=\"length\"")
    });
    let asked: Vec<f64> = asked.collect();
    let ratio = asked[0] / asked[1];
    assert!((1.5..6.0).contains(&ratio), "{asked:?}");
}

/// Five failures, a pause of a second, a trial that is refused or whose client goes: the next request is
/// served, without a second pause.
#[test]
fn a_trial_that_is_refused_or_given_up_is_no_second_pause() {
    for refuses in [true, false] {
        let asked = AtomicUsize::new(0);
        let upstream = Upstream::keeps(move |stream, _| {
            let reply = match asked.fetch_add(1, Ordering::SeqCst) {
                0..5 => whole("500 Oh", "", ""),
                5 if refuses => whole("503 Full", "", ""),
                5 => return drop(stream.read(&mut [0; 16])),
                _ => whole("200 OK", "", "{}"),
            };
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let served = relay(Options::default(), &[&upstream]);
        let raw = request("/v1/completions", BODY_WHOLE, "Connection: close\r\n");
        let ask = || Reply::parse(&served.send(&raw)).status;
        assert_eq!([502, 502, 503], [ask(), ask(), ask()]);
        let begun = Instant::now();
        while upstream.seen().len() < 6 {
            assert!(begun.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(10));
            let mut client = served.connect();
            client.write_all(&raw).unwrap();
            // Whoever tries and is not answered goes.
            client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let _ = client.read(&mut [0; 16]);
        }
        let begun = Instant::now();
        while ask() != 200 {
            assert!(begun.elapsed() < LIMIT / 2);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
