//! Upstreams that stall, and upstreams of different speed. Nothing here is more exact than twice or half.

use std::io::{Read, Write};
use std::time::Duration;

use streaming_server::{Options, TestOptions, TestRunner};

use crate::helpers::{Reply, request, serve};
use crate::upstreams::{STREAM_HEAD, Upstream, chunk, relay, relay_to, stream};

const BODY: &str = r#"{"prompt":"a","max_tokens":20,"stream":true}"#;
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
