//! Faults that are asked for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streaming_server::Options;

use crate::helpers::{Reply, Served, request, serve_test, serve_test_with, texts, tokens};

fn serve() -> Served {
    serve_test_with(Options { faults: true, ..Options::default() })
}

fn send(served: &Served, fault: &str) -> Vec<u8> {
    let body = r#"{"prompt":"a","max_tokens":5,"stream":true}"#;
    let headers = format!("X-Fault: {fault}\r\nConnection: close\r\n");
    served.send(&request("/v1/completions", body, &headers))
}

#[test]
fn a_cut_leaves_a_stream_without_an_end() {
    let text = String::from_utf8(send(&serve(), "cut@2")).unwrap();
    assert!(text.contains("token_1") && !text.contains("token_2") && !text.ends_with("0\r\n\r\n"));
}

#[test]
fn an_error_takes_the_place_of_a_token() {
    let events = Reply::parse(&send(&serve(), "error@2")).events();
    assert_eq!(tokens(2), texts(&events[..2], 0));
    assert_eq!((3, "server_error"), (events.len(), events[2]["error"]["type"].as_str().unwrap()));
}

#[test]
fn a_repeated_prompt_is_no_token() {
    let body = r#"{"prompt":["p","q"],"max_tokens":3,"stream":true,"echo":true}"#;
    let headers = "X-Fault: error@4\r\nConnection: close\r\n";
    let events = Reply::parse(&serve().send(&request("/v1/completions", body, headers))).events();
    let said: usize = (0..2).map(|choice| texts(&events, choice).len()).sum();
    assert_eq!(2 + 4, said, "{events:?}");
}

#[test]
fn what_is_for_streams_is_refused_without_one() {
    let served = serve();
    let body = r#"{"prompt":"a","max_tokens":1}"#;
    for (fault, status) in [
        ("stall@0=1ms", 400),
        ("cut@0", 400),
        ("error@0", 400),
        ("split@1", 400),
        ("slow-head=1ms", 200),
    ] {
        let headers = format!("X-Fault: {fault}\r\nConnection: close\r\n");
        let reply = Reply::parse(&served.send(&request("/v1/completions", body, &headers)));
        assert_eq!(status, reply.status, "{fault}");
        assert!(status == 200 || reply.json()["error"]["param"] == "x-fault");
    }
}

#[test]
fn an_error_among_lines_is_a_line() {
    let body = r#"{"prompt":"a","max_tokens":5,"stream":true}"#;
    let headers = "X-Fault: error@1\r\nAccept: application/x-ndjson\r\nConnection: close\r\n";
    let text = Reply::parse(&serve().send(&request("/v1/completions", body, headers))).text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((2, &json!("server_error")), (lines.len(), &lines[1]["error"]["type"]));
}

#[test]
fn split_events_are_whole_when_put_together() {
    assert_eq!(tokens(5), texts(&Reply::parse(&send(&serve(), "split@30")).events(), 0));
}

#[test]
fn stalls_and_slow_heads_take_their_time() {
    let served = serve();
    for fault in ["stall@3=60ms", "slow-head=60ms"] {
        let start = Instant::now();
        assert_eq!(tokens(5), texts(&Reply::parse(&send(&served, fault)).events(), 0));
        assert!(Duration::from_millis(60) <= start.elapsed());
    }
}

#[test]
fn refusals_on_demand_say_when_to_come_again() {
    let served = serve();
    for (fault, status, kind) in
        [("status=429", 429, "rate_limit_exceeded"), ("status=503", 503, "overloaded")]
    {
        let reply = Reply::parse(&send(&served, fault));
        assert_eq!((status, &json!(kind)), (reply.status, &reply.json()["error"]["type"]));
        assert!(reply.has("retry-after: 1"));
    }
}

#[test]
fn an_unknown_fault_is_named() {
    let reply = Reply::parse(&send(&serve(), "explode"));
    assert_eq!((400, json!("x-fault")), (reply.status, reply.json()["error"]["param"].clone()));
}

#[test]
fn without_leave_faults_are_ignored() {
    assert_eq!(tokens(5), texts(&Reply::parse(&send(&serve_test(), "cut@0")).events(), 0));
}
