//! Streams of tokens, as bytes.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Schedule, SseFrame, SseReader, TokenSource};

use crate::wire::{End, Received, request, unchunked, until};

fn fast() -> TokenSource {
    let interval = Duration::from_micros(500);
    TokenSource::start(Schedule { interval, ..Schedule::default() }).unwrap()
}

fn since_1970_ns() -> u128 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()
}

#[track_caller]
fn post(source: &TokenSource, path: &str, body: &Value) -> Received {
    let headers = ["Content-Type: application/json", "x-request-id: 42"];
    request(source.origin().address(), "POST", path, &headers, &body.to_string())
}

/// Reads a whole stream strictly.
#[track_caller]
fn frames(received: &Received) -> Vec<SseFrame> {
    assert_eq!(200, received.status(), "{}", received.head);
    assert_eq!(Some("text/event-stream"), received.header("Content-Type"));
    let (body, complete) = unchunked(&received.body);
    assert!(complete, "the last chunk is missing");
    let mut reader = SseReader::new();
    let frames = reader.push(&body).unwrap();
    reader.finish().unwrap();
    frames
}

fn data(frames: &[SseFrame]) -> Vec<&Value> {
    let mut data = Vec::new();
    for frame in frames {
        if let SseFrame::Data(json) = frame {
            data.push(json);
        }
    }
    data
}

#[test]
fn a_completion_streams_every_token_in_order() {
    let source = fast();
    let body = json!({"prompt": "a b c", "max_tokens": 50, "stream": true, "model": "m\"x"});
    let received = post(&source, "/v1/completions", &body);
    assert_eq!(Some("42"), received.header("x-request-id"));
    let frames = frames(&received);
    let chunks = data(&frames);
    let texts: Vec<_> = chunks.iter().map(|c| c["choices"][0]["text"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..50).map(|k| format!("token_{k}")).chain([String::new()]).collect();
    assert_eq!(expected, texts);
    assert_eq!("length", chunks[50]["choices"][0]["finish_reason"]);
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"] && c["model"] == "m\"x"));
    assert_eq!(50, source.lateness().tokens);
}

#[test]
fn faults_of_bodies_neither_touch_a_stream_nor_count_it() {
    let source = fast();
    let rules = ["cut", "cap=1KB/s", "long", "http10", "hang=1ms"];
    let parsed = || rules.iter().map(|rule| rule.parse().unwrap()).collect();
    source.origin().update(|settings| settings.faults = parsed());
    let body = json!({"prompt": "a", "max_tokens": 3, "stream": true});
    let received = post(&source, "/v1/completions", &body);
    assert_eq!(5, data(&frames(&received)).len() + 1, "3 tokens, the finish and [DONE]");
    let faults = source.origin().stats().faults;
    assert_eq!(vec![0, 0, 0, 0, 1], rules.map(|rule| faults[rule]));
}

#[test]
fn each_event_has_its_emit_time_before_it() {
    let source = fast();
    let body = json!({"prompt": "a", "max_tokens": 20, "stream": true});
    let asked = since_1970_ns();
    let frames = frames(&post(&source, "/v1/completions", &body));
    let stamp = |frame: &SseFrame| match frame {
        SseFrame::Comment(text) => text.strip_prefix("t=").unwrap().parse::<u128>().unwrap(),
        other => panic!("{other:?} where a stamp should be"),
    };
    let stamps: Vec<_> = frames.iter().step_by(2).take(21).map(stamp).collect();
    assert_eq!(43, frames.len(), "20 tokens, the finish and [DONE]");
    assert!(stamps.is_sorted());
    let now = since_1970_ns();
    assert!(stamps[20] <= now && now - stamps[0] < 60_000_000_000);
    // None before its deadline, and those are absolute: a late one does not make the next early.
    for (k, stamp) in (0..20).zip(&stamps) {
        assert!(
            asked + k * 500_000 <= *stamp,
            "token {k}, {} ns after the question",
            stamp - asked
        );
    }
}

#[test]
fn a_chat_begins_with_the_role_and_can_tell_its_usage() {
    let body = json!({
        "messages": [{"role": "user", "content": "one two"}], "max_completion_tokens": 2,
        "stream": true, "stream_options": {"include_usage": true}, "schedule": {"stamps": false},
    });
    let frames = frames(&post(&fast(), "/v1/chat/completions", &body));
    assert!(!frames.iter().any(|frame| matches!(frame, SseFrame::Comment(_))));
    let chunks = data(&frames);
    let deltas: Vec<_> = chunks[..4].iter().map(|c| c["choices"][0]["delta"].clone()).collect();
    let expected = vec![
        json!({"role": "assistant", "content": ""}),
        json!({"content": "token_0"}),
        json!({"content": "token_1"}),
        json!({}),
    ];
    assert_eq!(expected, deltas);
    assert_eq!(json!([]), chunks[4]["choices"]);
    let usage = json!({"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4});
    assert_eq!(usage, chunks[4]["usage"]);
}

#[test]
fn without_stream_the_text_comes_whole() {
    let body = json!({"prompt": "a", "max_tokens": 3});
    let received = post(&fast(), "/v1/completions", &body);
    let json: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!("token_0token_1token_2", json["choices"][0]["text"]);
    assert_eq!(3, json["usage"]["completion_tokens"]);
}

#[test]
fn a_stream_can_be_cut() {
    let source = fast();
    let body = json!({"prompt": "a", "stream": true, "schedule": {"cut_at": 3}});
    let received = post(&source, "/v1/completions", &body);
    let (body, complete) = unchunked(&received.body);
    assert_eq!((false, End::Fin), (complete, received.end));
    assert_eq!(3, SseReader::new().push(&body).unwrap().len() / 2);
    assert_eq!(1, source.lateness().cut_streams);
}

#[test]
fn bad_requests_get_the_api_s_errors() {
    let source = fast();
    let error = |body: &Value| {
        let received = post(&source, "/v1/completions", body);
        let json: Value = serde_json::from_slice(&received.body).unwrap();
        (received.status(), json["error"]["param"].as_str().unwrap().to_owned())
    };
    assert_eq!((400, "max_tokens".to_owned()), error(&json!({"max_tokens": 0})));
    assert_eq!((400, "schedule".to_owned()), error(&json!({"schedule": {"interval": 1}})));
    let address = source.origin().address();
    assert_eq!(405, request(address, "GET", "/v1/completions", &[], "").status());
    assert_eq!(200, request(address, "GET", "/v1/models", &[], "").status());
    assert_eq!(200, request(address, "GET", "/health", &[], "").status());
    assert_eq!(404, request(address, "GET", "/v1/none", &[], "").status());
}

#[test]
fn faults_that_need_no_object_act_on_streams() {
    let source = fast();
    source.origin().update(|settings| {
        settings.faults = vec!["retry-after=1@/v1/*#1".parse().unwrap()];
    });
    let body = json!({"stream": true, "max_tokens": 1});
    assert_eq!(429, post(&source, "/v1/completions", &body).status());
    assert_eq!(200, post(&source, "/v1/completions", &body).status());
}

#[test]
fn a_connection_carries_stream_after_stream() {
    use std::io::{Read, Write};
    let source = fast();
    let mut stream = crate::wire::connect(source.origin().address());
    for _ in 0..3 {
        let body = json!({"stream": true, "max_tokens": 2}).to_string();
        let length = body.len();
        write!(
            stream,
            "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n0\r\n\r\n") {
            let mut some = [0; 1024];
            let n = stream.read(&mut some).unwrap();
            assert_ne!(0, n, "the connection stays open");
            bytes.extend(&some[..n]);
        }
    }
    let stats = source.origin().stats();
    assert_eq!((1, 3), (stats.connections.opened, stats.requests));
    assert!(0 < stats.sent_bytes);
}

#[test]
fn a_client_that_does_not_read_for_a_while_loses_no_token() {
    let source = fast();
    // Some 7 MB: more than both sockets hold (4 MiB and less), and less than waits beyond them.
    let tokens = 40_000;
    let body = json!({"stream": true, "max_tokens": tokens, "schedule": {"interval": "0"}});
    let body = body.to_string();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length:";
    let mut stream = crate::wire::connect(source.origin().address());
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    until(|| source.lateness().tokens == tokens);
    let received = crate::wire::receive(&mut stream);
    assert_eq!(tokens as usize + 1, data(&frames(&received)).len());
    assert_eq!(0, source.lateness().cut_streams);
}

#[test]
fn a_client_that_leaves_is_let_go() {
    let source = fast();
    let mut stream = crate::wire::connect(source.origin().address());
    let body = json!({"stream": true, "max_tokens": 1_000_000}).to_string();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).unwrap();
    until(|| 2 <= source.lateness().tokens);
    drop(stream);
    until(|| source.origin().stats().connections.open == 0);
    assert_eq!(1, source.lateness().cut_streams);
}
