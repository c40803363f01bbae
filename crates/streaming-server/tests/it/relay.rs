//! The relay: what it passes on, and what becomes of upstreams that fail.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use streaming_server::Options;

use crate::helpers::{Reply, Served, request, serve_script, serve_test_with, texts};
use crate::upstreams::{STREAM_HEAD, Upstream, chunk, relay, relay_to, stream, whole};

const BODY: &str = r#"{"model":"m","prompt":"a","max_tokens":4,"stream":true,"odd":[1,{}]}"#;
const WHOLE: &str = r#"{"model":"m","prompt":"a","max_tokens":4}"#;
const EVENTS: &str = ": hi\n\ndata: {\"a\":1}\n\ndata: {\"b\":\"\u{20ac}\"}\r\n\r\nevent: x\ndata:{}\n\ndata: [DONE]\n\n";
const PATH: &str = "/v1/completions";

fn post(served: &Served, body: &str, headers: &str) -> Reply {
    let headers = format!("{headers}Connection: close\r\n");
    Reply::parse(&served.send(&request(PATH, body, &headers)))
}

fn failures(served: &Served, name: &str) -> f64 {
    let text = served.server.metrics();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Whether a stream ends with an error event and nothing is half.
#[track_caller]
fn check_told(reply: &Reply, before: &str) {
    let rest =
        reply.text().strip_prefix(before).unwrap_or_else(|| panic!("{}", reply.text())).to_owned();
    let event = rest.strip_prefix("data: ").unwrap().strip_suffix("\n\ndata: [DONE]\n\n").unwrap();
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!("server_error", event["error"]["type"]);
}

#[test]
fn a_stream_is_passed_on_byte_for_byte() {
    for piece in [1, 7, 1000] {
        let upstream = Upstream::says(stream(EVENTS, piece));
        let served = relay(Options::default(), &[&upstream]);
        let reply = post(&served, BODY, "X-More: 1\r\nAuthorization: Bearer theirs\r\n");
        assert_eq!((200, EVENTS.as_bytes()), (reply.status, &reply.body[..]));
        assert!(reply.has("content-type: text/event-stream") && reply.has("x-theirs: yes"));
        let seen = upstream.seen().remove(0);
        assert!(seen.starts_with("POST /v1/completions HTTP/1.1\r\n") && seen.ends_with(BODY));
        let lower = seen.to_lowercase();
        assert!(
            lower.contains("\r\nx-more: 1\r\n")
                && lower.contains("\r\nauthorization: bearer theirs\r\n")
        );
        assert!(lower.contains(&format!("\r\nhost: {}\r\n", upstream.address)));
        assert_eq!(3.0, served.metric("vllm:generation_tokens_total"));
    }
}

#[test]
fn the_media_type_of_a_stream_regards_no_case() {
    let named = |kind| {
        let head = STREAM_HEAD.replace("text/event-stream", kind);
        let upstream = Upstream::says([head.as_bytes(), &chunk(b"{}\n"), b"0\r\n\r\n"].concat());
        let served = relay(Options::default(), &[&upstream]);
        post(&served, BODY, "")
    };
    assert_eq!("{}\n", named("Application/X-NDJSON; charset=utf-8").text());
    check_told(&named("Text/Event-Stream"), "");
    assert_eq!(502, named("text/event-streams").status);
}

#[test]
fn replies_that_are_no_streams_are_passed_on_as_they_are() {
    for (status, body) in [
        ("200 OK", r#"{"usage":{"completion_tokens":4}}"#),
        ("400 No", r#"{"error":{}}"#),
        ("501 No", ""),
    ] {
        let upstream = Upstream::says(whole(status, "", body));
        let served = relay(Options::default(), &[&upstream]);
        let reply = post(&served, WHOLE, "");
        assert_eq!(
            (&status[..3], body),
            (reply.status.to_string().as_str(), reply.text().as_str())
        );
        assert_eq!(body, served.get("/v1/models").text());
    }
}

/// Until the last of it is on its way: so a drain waits for it, and no more run than may.
#[test]
fn a_whole_reply_has_its_place_until_it_is_read() {
    let large = "x".repeat(16 << 20);
    let upstream = Upstream::says(whole("200 OK", "", &large));
    let served = relay(Options::default(), &[&upstream]);
    let mut client = served.connect();
    client.write_all(&request(PATH, WHOLE, "Connection: close\r\n")).unwrap();
    client.read_exact(&mut [0; 64]).unwrap();
    assert_eq!(1.0, served.metric("vllm:num_requests_running"));
    client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(0.0, served.metric("vllm:num_requests_running"));
}

#[test]
fn our_own_server_behind_a_relay_is_our_own_server() {
    let (behind, _) = serve_script(Options::default(), &[b"x"], true);
    let served = relay_to(Options::default(), vec![format!("http://{}/v1/", behind.address)]);
    let body =
        r#"{"prompt":"a","max_tokens":50,"stream":true,"stream_options":{"include_usage":true}}"#;
    let events = post(&served, body, "").events();
    assert_eq!(50, texts(&events, 0).len());
    assert_eq!(50, events.last().unwrap()["usage"]["completion_tokens"]);
    let reply = post(&served, body, "Accept: application/x-ndjson\r\n");
    assert_eq!(52, reply.text().lines().count());
    assert_eq!(400, post(&served, r#"{"max_tokens":7}"#, "").status);
    assert_eq!("test", served.get("/v1/models").json()["data"][0]["id"]);
}

#[test]
fn what_is_passed_on_is_counted_as_what_is_generated() {
    let (behind, _) = serve_script(Options::default(), &[b"x"], true);
    let served = relay_to(Options::default(), vec![format!("http://{}", behind.address)]);
    for body in [BODY.replace(r#""model":"m","#, ""), WHOLE.replace(r#""model":"m","#, "")] {
        assert_eq!(200, post(&served, &body, "").status);
    }
    for name in [
        "vllm:prompt_tokens_total",
        "vllm:request_prompt_tokens_sum",
        "vllm:request_generation_tokens_sum",
        "vllm:request_inference_time_seconds_sum",
    ] {
        assert!(0.0 < served.metric(name), "{name}");
    }
    assert_eq!(2.0, served.metric("vllm:request_generation_tokens_count"));
}

#[test]
fn keys_of_ours_are_not_passed_on() {
    let upstream = Upstream::says(stream(EVENTS, 1000));
    let keys = Some("a:sekret tokens=1000/h".parse().unwrap());
    let served = relay(Options { keys, ..Options::default() }, &[&upstream]);
    assert_eq!(401, post(&served, BODY, "").status);
    assert_eq!(200, post(&served, BODY, "Authorization: Bearer sekret\r\n").status);
    let seen = upstream.seen();
    assert!(seen.len() == 1 && !seen[0].contains("sekret"));
    let large = BODY.replace(":4,", ":1000,");
    assert_eq!(429, post(&served, &large, "Authorization: Bearer sekret\r\n").status);
}

#[test]
fn which_pages_may_read_a_reply_is_not_the_upstreams_to_say() {
    let theirs = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
                  Set-Cookie: a=b\r\nVary: Accept\r\n";
    let upstream = Upstream::says(whole("200 OK", theirs, "{}"));
    let cors_origins = vec!["https://good.test".to_owned()];
    let served = relay(Options { cors_origins, ..Options::default() }, &[&upstream]);
    let [evil, good] = ["evil", "good"]
        .map(|page| post(&served, WHOLE, &format!("Origin: https://{page}.test\r\n")));
    for reply in [&evil, &good] {
        assert!(!reply.head.contains("credentials") && !reply.head.contains("set-cookie"));
        assert!(reply.has("vary: accept") && reply.has("vary: origin"), "{}", reply.head);
    }
    assert!(!evil.head.contains("access-control-"), "{}", evil.head);
    assert!(good.has("access-control-allow-origin: https://good.test"), "{}", good.head);
}

#[test]
fn what_an_upstream_refuses_takes_no_tokens() {
    for status in ["400 No", "429 Slow", "503 Full", "302 Found"] {
        let upstream = Upstream::says(whole(status, "", "{}"));
        let keys = Some("a:k tokens=3000/h".parse().unwrap());
        let served = relay(Options { keys, ..Options::default() }, &[&upstream]);
        let large = BODY.replace(":4,", ":2000,");
        for _ in 0..3 {
            let reply = post(&served, &large, "Authorization: Bearer k\r\n");
            assert_eq!(status[..3], reply.status.to_string());
        }
        let success = "vllm:request_success_total{model_name=\"\",finished_reason=";
        let ended = ["stop", "error"].map(|why| served.metric(&format!("{success}\"{why}\"")));
        assert_eq!(([0.0, 3.0], 0.0), (ended, served.metric("key_generation_tokens_total")));
    }
}

#[test]
fn a_figure_that_no_reply_can_have_turns_no_counter_back() {
    let usage = format!(r#"{{"usage":{{"completion_tokens":{}}}}}"#, u64::MAX);
    let upstream = Upstream::says(whole("200 OK", "", &usage));
    let served = relay(Options::default(), &[&upstream]);
    let count = || {
        assert_eq!(200, post(&served, WHOLE, "").status);
        served.metric("vllm:generation_tokens_total")
    };
    assert!(1.0 < count() && count() < count());
}

#[test]
fn a_request_whose_body_has_no_room_is_counted_as_overload() {
    let options = Options { held_bytes_max: 8, ..Options::default() };
    let upstream = Upstream::says(stream(EVENTS, 1000));
    for served in [relay(options.clone(), &[&upstream]), serve_test_with(options)] {
        assert_eq!(503, post(&served, BODY, "").status);
        let text = served.server.metrics();
        for (reason, n) in [("overloaded", 1), ("invalid", 0)] {
            let line = format!("reason=\"{reason}\",key_class=\"none\"}} {n}\n");
            assert!(text.contains(&line), "{line}");
        }
    }
}

/// Everything that can go wrong before the first byte of a reply's body.
#[test]
fn what_fails_before_the_first_byte_is_sent_to_another_one() {
    let refused = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
    for (reply, name) in [
        (String::new(), "upstream_failures_total"),
        ("HTTP/1.1 200 OK\r\nContent-".to_owned(), "upstream_failures_total"),
        (STREAM_HEAD.to_owned(), "upstream_failures_total"),
        (format!("{STREAM_HEAD}0\r\n\r\n"), "upstream_failures_total"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "upstream_failures_total"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>".to_owned(),
            "upstream_failures_total",
        ),
        ("\u{1}\u{2}\u{3} garbage\r\n\r\n".to_owned(), "upstream_failures_total"),
        (refused.to_owned(), "upstream_refused_total"),
        (refused.replace("429", "503"), "upstream_refused_total"),
    ] {
        let (bad, good) = (Upstream::says(reply.clone()), Upstream::says_on(stream(EVENTS, 1000)));
        let served = relay(Options::default(), &[&bad, &good]);
        // Both have as little to do: one of two requests goes to the bad one first.
        for _ in 0..2 {
            let answer = post(&served, BODY, "");
            assert_eq!((200, EVENTS), (answer.status, answer.text().as_str()), "{reply}");
        }
        assert_eq!((1, 2), (bad.seen().len(), good.seen().len()), "{reply}");
        assert_eq!(
            (1.0, 1.0),
            (failures(&served, name), failures(&served, "upstream_retries_total"))
        );
    }
}

#[test]
fn where_there_is_no_other_the_client_is_told() {
    let refused = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
    let upstream = Upstream::says(refused);
    let served = relay(Options::default(), &[&upstream]);
    let reply = post(&served, BODY, "");
    assert_eq!((429, "slow"), (reply.status, reply.text().as_str()));
    assert!(reply.has("retry-after: 7"));
    assert_eq!((1, 1.0), (upstream.seen().len(), failures(&served, "upstream_requests_total")));

    let upstream = Upstream::says("");
    let served = relay(Options::default(), &[&upstream]);
    let reply = post(&served, BODY, "");
    assert_eq!(
        (502, "server_error"),
        (reply.status, reply.json()["error"]["type"].as_str().unwrap())
    );
    assert_eq!(3, upstream.seen().len());
    // Two failures more, and it is left alone.
    let reply = post(&served, BODY, "");
    assert_eq!((502, 5), (reply.status, upstream.seen().len()));
    let reply = post(&served, BODY, "");
    assert_eq!(
        (503, "overloaded"),
        (reply.status, reply.json()["error"]["type"].as_str().unwrap())
    );
    assert!(reply.has("retry-after: 1"));
    assert_eq!(5, upstream.seen().len());
}

#[test]
fn what_fails_after_the_first_byte_is_told_by_an_error_event() {
    let first = "data: {\"a\":1}\n\n";
    let head = STREAM_HEAD.as_bytes();
    for (rest, name) in [
        (&b""[..], "dies"),
        (&chunk(b"data: {\"half")[..], "dies within an event"),
        (b"zz\r\ngarbage", "garbage for a chunk"),
        (b"0\r\n\r\n", "ends without [DONE]"),
    ] {
        let upstream = Upstream::says([head, &chunk(first.as_bytes()), rest].concat());
        let other = Upstream::says(stream(EVENTS, 1000));
        let served = relay(Options::default(), &[&upstream, &other]);
        let replies: Vec<_> = (0..2).map(|_| post(&served, BODY, "")).collect();
        let told = replies.iter().find(|reply| reply.text() != EVENTS).unwrap();
        check_told(told, first);
        assert_eq!((1, 1), (upstream.seen().len(), other.seen().len()), "{name}");
        assert_eq!(1.0, failures(&served, "upstream_failures_total"), "{name}");
        assert_eq!(0.0, failures(&served, "upstream_retries_total"), "{name}");
    }
}

#[test]
fn after_the_last_event_nothing_is_told_or_waited_for() {
    let head = STREAM_HEAD.as_bytes();
    for (rest, name) in [
        (&b""[..], "closes without the last chunk"),
        (b"zz\r\ngarbage", "garbage for a chunk"),
        (&chunk(b"data: {\"half")[..], "half an event"),
    ] {
        for holds in [false, true] {
            let reply = [head, &chunk(EVENTS.as_bytes()), rest].concat();
            let upstream = Upstream::new(move |stream, _| {
                stream.write_all(&reply).unwrap();
                if holds {
                    let _ = stream.read(&mut [0; 16]);
                }
            });
            let served = relay(Options::default(), &[&upstream]);
            assert_eq!(EVENTS, post(&served, BODY, "").text(), "{name}");
            let error = r#"vllm:request_success_total{model_name="",finished_reason="error""#;
            let failed = (failures(&served, "upstream_failures_total"), served.metric(error));
            assert_eq!((0.0, 0.0), failed, "{name}");
        }
    }
}

/// The end of the chunks may come after the last event, in a write of its own.
#[test]
fn a_connection_whose_stream_has_ended_serves_again() {
    let ports = Arc::new(Mutex::new(HashSet::new()));
    let upstream = Upstream::keeps({
        let ports = Arc::clone(&ports);
        move |stream, _| {
            stream.write_all(STREAM_HEAD.as_bytes()).unwrap();
            stream.write_all(&chunk(EVENTS.as_bytes())).unwrap();
            stream.write_all(b"0\r\n\r\n").unwrap();
            ports.lock().unwrap().insert(stream.peer_addr().unwrap().port());
        }
    });
    let served = relay(Options::default(), &[&upstream]);
    // Now and then the next request may be quicker than the end of the one before it.
    (0..50).for_each(|_| assert_eq!(EVENTS, post(&served, BODY, "").text()));
    assert!(ports.lock().unwrap().len() < 50);
}

#[test]
fn an_event_without_end_is_broken_off() {
    let endless = chunk(&vec![b'x'; 5 << 20]);
    let upstream =
        Upstream::says([STREAM_HEAD.as_bytes(), &chunk(b"data: 1\n\n"), &endless].concat());
    let served = relay(Options::default(), &[&upstream]);
    check_told(&post(&served, BODY, ""), "data: 1\n\n");
}

#[test]
fn a_client_that_goes_is_told_to_the_upstream() {
    let (gone, told) = std::sync::mpsc::channel();
    let upstream = Upstream::new(move |stream, _| {
        stream.write_all(STREAM_HEAD.as_bytes()).unwrap();
        stream.write_all(&chunk(b"data: 1\n\n")).unwrap();
        // Nothing comes, and then the end.
        let _ = gone.send(stream.read(&mut [0; 16]).unwrap_or(0));
    });
    let served = relay(Options::default(), &[&upstream]);
    let mut client = served.open(BODY);
    client.read_exact(&mut [0; 64]).unwrap();
    drop(client);
    assert_eq!(0, told.recv_timeout(crate::helpers::LIMIT).unwrap());
}

#[test]
fn a_drain_that_takes_too_long_says_so_to_relayed_streams() {
    let upstream = Upstream::new(|stream, _| {
        stream.write_all(STREAM_HEAD.as_bytes()).unwrap();
        stream.write_all(&chunk(b"data: 1\n\n")).unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    let drain_timeout = std::time::Duration::from_millis(50);
    let mut served = relay(Options { drain_timeout, ..Options::default() }, &[&upstream]);
    let mut client = served.connect();
    client.write_all(&request(PATH, BODY, "")).unwrap();
    let mut reply = vec![0; 64];
    client.read_exact(&mut reply).unwrap();
    served.stop();
    client.read_to_end(&mut reply).unwrap();
    let reply = Reply::parse(&reply).text();
    assert!(reply.starts_with("data: 1\n\ndata: {") && reply.contains("\"draining\""), "{reply}");
    assert_eq!(1, served.end().cut);
}

#[test]
fn tokens_through_a_relay_are_those_of_its_upstream() {
    let (behind, _) = serve_script(Options::default(), &[b"x"], true);
    let served = relay_to(Options::default(), vec![format!("http://{}", behind.address)]);
    let body = r#"{"prompt":"a","max_tokens":3000,"stream":true}"#;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(3000, texts(&post(&served, body, "").events(), 0).len()));
        }
    });
}
