//! What stands on the wire, held against the least forgiving of clients.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use streaming_server::Options;

use crate::helpers::{Reply, request, serve_script, serve_test, texts, tokens};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

#[test]
fn one_event_per_token_then_the_reason_then_done() {
    let reply = serve_test().post(COMPLETIONS, r#"{"prompt":"a b","max_tokens":3,"stream":true}"#);
    assert_eq!(200, reply.status);
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-cache",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
    ] {
        assert!(reply.has(line), "{line} in {}", reply.head);
    }
    let events = reply.events();
    assert_eq!((4, tokens(3)), (events.len(), texts(&events, 0)));
    let last = &events[3]["choices"][0];
    assert_eq!((json!(""), json!("length")), (last["text"].clone(), last["finish_reason"].clone()));
    for event in &events {
        assert_eq!("text_completion", event["object"]);
        for field in ["id", "created", "model"] {
            assert_eq!(events[0][field], event[field]);
        }
    }
    assert!(events[0]["id"].as_str().unwrap().starts_with("cmpl-"));
}

#[test]
fn a_chat_begins_with_the_role_and_ends_with_an_empty_delta() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"stream":true}"#;
    let events = serve_test().post(CHAT, body).events();
    let deltas: Vec<&Value> = events.iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(&json!({"role": "assistant", "content": ""}), deltas[0]);
    assert_eq!(&json!({"content": "token_0"}), deltas[1]);
    assert_eq!(&json!({}), deltas[3]);
    assert_eq!("length", events[3]["choices"][0]["finish_reason"]);
    assert_eq!("chat.completion.chunk", events[0]["object"]);
}

/// vLLM's bench splits at empty lines, drops comments and removes `data: `; nothing else.
#[test]
fn the_simplest_splitter_reads_it() {
    let text =
        serve_test().post(COMPLETIONS, r#"{"prompt":"a","max_tokens":9,"stream":true}"#).text();
    let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(Some(&"data: [DONE]"), blocks.last());
    for block in &blocks[..blocks.len() - 1] {
        let data = block.strip_prefix("data: ").unwrap();
        assert!(serde_json::from_str::<Value>(data).is_ok() && !data.contains('\n'), "{data}");
    }
}

#[test]
fn usage_has_an_event_of_its_own_without_choices() {
    let body = r#"{"prompt":"a b c","max_tokens":2,"stream":true,
        "stream_options":{"include_usage":true}}"#;
    let events = serve_test().post(COMPLETIONS, body).events();
    let (last, others) = events.split_last().unwrap();
    assert_eq!(json!([]), last["choices"]);
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    assert_eq!(usage, last["usage"]);
    assert!(others.iter().all(|event| event["usage"].is_null()));
}

#[test]
fn continuous_usage_counts_up() {
    let body = r#"{"prompt":[7,8],"max_tokens":3,"stream":true,
        "stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
    let events = serve_test().post(COMPLETIONS, body).events();
    let counts: Vec<_> =
        events.iter().map(|event| event["usage"]["completion_tokens"].clone()).collect();
    assert_eq!(vec![json!(1), json!(2), json!(3), json!(3), json!(3)], counts);
}

#[test]
fn several_prompts_and_choices_share_a_stream() {
    let body = r#"{"prompt":["a","b"],"n":2,"max_tokens":5,"stream":true}"#;
    let events = serve_test().post(COMPLETIONS, body).events();
    for choice in 0..4 {
        assert_eq!(tokens(5), texts(&events, choice));
    }
    assert_eq!(4 * 6, events.len());
}

#[test]
fn a_reply_that_is_not_streamed_holds_the_same() {
    let served = serve_test();
    let body = r#"{"prompt":["a b","c"],"n":2,"max_tokens":3,"echo":true,"logprobs":0}"#;
    let reply = served.post(COMPLETIONS, body).json();
    assert_eq!("text_completion", reply["object"]);
    let texts: Vec<_> = (0..4).map(|choice| reply["choices"][choice]["text"].clone()).collect();
    let said = "token_0token_1token_2";
    let expected = ["a b", "a b", "c", "c"].map(|prompt| json!(format!("{prompt}{said}")));
    assert_eq!(expected.to_vec(), texts);
    assert_eq!(json!([3, 10, 17]), reply["choices"][0]["logprobs"]["text_offset"]);
    assert_eq!(
        json!({"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15}),
        reply["usage"]
    );

    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x y"}]}],"max_completion_tokens":2}"#;
    let reply = served.post(CHAT, body).json();
    let message = json!({"role": "assistant", "content": "token_0token_1"});
    assert_eq!((json!(message), json!("length")), {
        let choice = &reply["choices"][0];
        (choice["message"].clone(), choice["finish_reason"].clone())
    });
    assert_eq!("chat.completion", reply["object"]);
}

/// A token's JSON is ten times its text.
#[test]
fn a_whole_reply_counts_what_its_json_takes() {
    let options = Options { held_bytes_max: 1 << 20, ..Options::default() };
    let (served, _) = serve_script(options, &[b"token"], true);
    let body = |logprobs| {
        let messages = r#"[{"role":"user","content":"x"}]"#;
        format!(r#"{{"messages":{messages},"max_tokens":15000,"logprobs":{logprobs}}}"#)
    };
    let refused = served.post(CHAT, &body(true));
    assert_eq!(
        (503, json!("overloaded")),
        (refused.status, refused.json()["error"]["type"].clone())
    );
    assert_eq!(200, served.post(CHAT, &body(false)).status);
}

#[test]
fn lines_of_json_where_they_are_asked_for() {
    let served = serve_test();
    let body = r#"{"prompt":"a","max_tokens":2,"stream":true}"#;
    let headers = "Accept: text/plain, Application/X-NDJSON;q=0.9\r\nConnection: close\r\n";
    let reply = Reply::parse(&served.send(&request(COMPLETIONS, body, headers)));
    assert!(reply.has("content-type: application/x-ndjson"));
    let text = reply.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((3, tokens(2)), (lines.len(), texts(&lines, 0)));
    assert!(text.ends_with("}\n") && !text.contains("[DONE]"));
}

#[test]
fn a_stop_string_ends_a_choice_across_tokens() {
    let (served, log) = serve_script(Options::default(), &[b"ab", b"cST", b"OPde", b"f"], false);
    let body = r#"{"prompt":"a","max_tokens":9,"stream":true,"stop":["STOP"]}"#;
    let events = served.post(COMPLETIONS, body).events();
    assert_eq!("abc", texts(&events, 0).concat());
    assert_eq!("stop", events.last().unwrap()["choices"][0]["finish_reason"]);
    assert_eq!(1, log.seen().ended.len());

    let body = r#"{"prompt":"a","max_tokens":9,"stop":"zz"}"#;
    let reply = served.post(COMPLETIONS, body).json();
    assert_eq!("abcSTOPdef", reply["choices"][0]["text"]);
    assert_eq!(json!(4), reply["usage"]["completion_tokens"]);
}

#[test]
fn characters_are_held_back_until_they_are_whole() {
    let text = "aé€🦀z";
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (served, _) = serve_script(Options::default(), &bytes, false);
    let body =
        r#"{"prompt":"a","max_tokens":99,"stream":true,"stream_options":{"include_usage":true}}"#;
    let events = served.post(COMPLETIONS, body).events();
    assert_eq!(vec!["a", "é", "€", "🦀", "z"], texts(&events, 0));
    let usage = &events.last().unwrap()["usage"]["completion_tokens"];
    assert_eq!(&json!(text.len()), usage);
}

#[test]
fn whatever_a_token_holds_an_event_is_one_line() {
    let odd = "\n\n\r\0\u{1f}\u{85}\u{2028}\u{2029}\"\\data: [DONE]\n\n";
    let (served, _) = serve_script(Options::default(), &[odd.as_bytes(), b"", b"\xff"], false);
    let reply = served.post(COMPLETIONS, r#"{"prompt":"a","max_tokens":9,"stream":true}"#);
    assert_eq!(vec![odd, "", "\u{fffd}"], texts(&reply.events(), 0));
    let text = reply.text();
    for line in text.lines() {
        assert!(line.is_empty() || line.starts_with("data: "), "{line}");
    }
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\0']));
}

#[test]
fn usage_in_every_event_where_it_is_asked_for() {
    let served = serve_test();
    let rest = r#""max_tokens":2,"stream":true,"stream_options":{"continuous_usage_stats":true}"#;
    for (path, body) in [
        (COMPLETIONS, format!(r#"{{"prompt":"a","echo":true,{rest}}}"#)),
        (CHAT, format!(r#"{{"messages":[{{"role":"user","content":"a"}}],{rest}}}"#)),
    ] {
        let events = served.post(path, &body).events();
        let told = events.iter().map(|event| event["usage"]["completion_tokens"].as_u64());
        assert_eq!(vec![Some(0), Some(1), Some(2), Some(2)], told.collect::<Vec<_>>(), "{path}");
    }
}

#[test]
fn offsets_count_characters() {
    let body = r#"{"prompt":"é x","max_tokens":1,"echo":true,"logprobs":1,"stream":true}"#;
    let events = serve_test().post(COMPLETIONS, body).events();
    assert_eq!(json!([3]), events[1]["choices"][0]["logprobs"]["text_offset"]);
}

#[test]
fn probabilities_in_both_shapes() {
    let served = serve_test();
    let body = r#"{"prompt":"ab","max_tokens":2,"stream":true,"logprobs":1,"echo":true}"#;
    let events = served.post(COMPLETIONS, body).events();
    assert_eq!(vec!["ab", "token_0", "token_1"], texts(&events, 0));
    let told = &events[2]["choices"][0]["logprobs"];
    assert_eq!((&json!(["token_1"]), &json!([9])), (&told["tokens"], &told["text_offset"]));
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"stream":true,"logprobs":true,"top_logprobs":2}"#;
    let told = served.post(CHAT, body).events()[1]["choices"][0]["logprobs"]["content"][0].clone();
    assert_eq!((json!("token_0"), json!(0.0)), (told["token"].clone(), told["logprob"].clone()));
    assert_eq!(json!(b"token_0"), told["bytes"]);
}

#[test]
fn time_stamps_where_they_are_asked_for() {
    let served = serve_test();
    let body = r#"{"prompt":"a","max_tokens":3,"stream":true}"#;
    let headers = "X-Stream-Timestamps: 1\r\nConnection: close\r\n";
    let events = Reply::parse(&served.send(&request(COMPLETIONS, body, headers))).events();
    let due: Vec<u64> =
        events[..3].iter().map(|event| event["ts"]["due_ns"].as_u64().unwrap()).collect();
    assert_eq!((1_000_000, 1_000_000), (due[1] - due[0], due[2] - due[1]));
    assert!(
        events[..3]
            .iter()
            .all(|event| event["ts"]["due_ns"].as_u64() <= event["ts"]["emit_ns"].as_u64())
    );
}

#[test]
fn http_1_0_gets_no_chunks() {
    let body = r#"{"prompt":"a","max_tokens":3,"stream":true}"#;
    let length = body.len();
    let raw = format!("POST {COMPLETIONS} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    let reply = Reply::parse(&serve_test().send(raw.as_bytes()));
    assert!(!reply.head.contains("transfer-encoding"), "{}", reply.head);
    assert_eq!(tokens(3), texts(&reply.events(), 0));
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let served = serve_test();
    let body = r#"{"prompt":"a","max_tokens":2,"stream":true}"#;
    let mut raw = request(COMPLETIONS, body, "X-Request-Id: first\r\n");
    raw.extend(b"GET /health HTTP/1.1\r\nHost: test\r\nX-Request-Id: second\r\n\r\n");
    raw.extend(request(COMPLETIONS, body, "X-Request-Id: third\r\nConnection: close\r\n"));
    let bytes = served.send(&raw);
    let (first, rest) = Reply::split(&bytes);
    let (second, rest) = Reply::split(rest);
    let third = Reply::parse(rest);
    for (reply, id) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        assert!(reply.has(&format!("x-request-id: {id}")), "{}", reply.head);
    }
    assert_eq!((4, 4), (first.events().len() + 1, third.events().len() + 1));
    assert_eq!("healthy", second.json()["status"]);
}

#[test]
fn a_request_that_came_ahead_is_answered_when_its_turn_comes() {
    for (stream, panics) in [(true, false), (false, false), (false, true)] {
        let (served, log) = serve_script(Options::default(), &[b"x"], false);
        log.hold.store(true, Ordering::SeqCst);
        log.panic.store(panics, Ordering::SeqCst);
        let body = format!(r#"{{"prompt":"a","max_tokens":1,"stream":{stream}}}"#);
        let mut requests = request(COMPLETIONS, &body, "");
        requests.extend(b"GET /version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let mut client = served.connect();
        client.write_all(&requests).unwrap();
        log.wait(|seen| seen.started.len() == 1);
        log.hold.store(false, Ordering::SeqCst);
        let mut replies = Vec::new();
        client.read_to_end(&mut replies).unwrap();
        assert!(Reply::parse(Reply::split(&replies).1).text().contains("version"));
    }
}

/// Far more of them than are kept ahead of their turn.
#[test]
fn requests_in_one_write_are_all_answered() {
    let served = serve_test();
    let mut client = served.connect();
    let get = "GET /live HTTP/1.1\r\nHost: test\r\n\r\n".repeat(9_999);
    let last = "GET /version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    std::thread::scope(|scope| {
        let mut sender = client.try_clone().unwrap();
        scope.spawn(move || sender.write_all(format!("{get}{last}").as_bytes()).unwrap());
        let mut replies = Vec::new();
        client.read_to_end(&mut replies).unwrap();
        let (mut rest, mut n) = (&replies[..], 0);
        while !rest.is_empty() {
            let (reply, behind) = Reply::split(rest);
            (rest, n) = (behind, n + 1);
            assert_eq!((200, n == 10_000), (reply.status, reply.text().contains("version")));
        }
        assert_eq!(10_000, n);
    });
}

#[test]
fn a_client_that_expects_is_told_to_continue() {
    let served = serve_test();
    let mut stream = served.connect();
    let body = r#"{"prompt":"a","max_tokens":1}"#;
    let raw = request(COMPLETIONS, body, "Expect: 100-continue\r\nConnection: close\r\n");
    let head = raw.len() - body.len();
    stream.write_all(&raw[..head]).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(b"HTTP/1.1 100 Continue\r\n\r\n", &interim);
    stream.write_all(&raw[head..]).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(200, Reply::parse(&reply).status);
}

#[test]
fn bodies_may_come_in_chunks_and_byte_by_byte() {
    let served = serve_test();
    let body = r#"{"prompt":"a","max_tokens":1}"#;
    let mut raw = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n"
    );
    for part in [&body[..1], &body[1..9], &body[9..]] {
        raw += &format!("{:x}\r\n{part}\r\n", part.len());
    }
    raw += "0\r\n\r\n";
    let mut stream = served.connect();
    for byte in raw.as_bytes() {
        stream.write_all(std::slice::from_ref(byte)).unwrap();
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!("token_0", Reply::parse(&reply).json()["choices"][0]["text"]);
}

/// Whoever closes its side for writing cannot be told from whoever has gone.
#[test]
fn a_client_that_half_closes_has_gone() {
    let (served, log) = serve_script(Options::default(), &[b"x"], true);
    let mut stream = served.open(r#"{"prompt":"a","max_tokens":1000000,"stream":true}"#);
    let mut some = [0; 64];
    stream.read_exact(&mut some).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    log.wait(|seen| seen.cancelled.len() == 1);
}

#[test]
fn requests_have_ids() {
    let served = serve_test();
    let reply = served.get("/nothing/here");
    assert!(reply.head.contains("x-request-id: "), "{}", reply.head);
    let long = "y".repeat(200);
    let raw = format!(
        "GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: {long}\r\nConnection: close\r\n\r\n"
    );
    assert!(!Reply::parse(&served.send(raw.as_bytes())).head.contains(&long));
}

#[test]
fn probes_find_what_they_look_for() {
    let served = serve_test();
    for (path, field, value) in [
        ("/health", "status", "healthy"),
        ("/ready", "status", "healthy"),
        ("/live", "status", "alive"),
        ("/ping", "status", "alive"),
        ("/v1/models", "object", "list"),
        ("/v1/models/test", "id", "test"),
        ("/v1/models/t%65st", "id", "test"),
    ] {
        let reply = served.get(path);
        assert_eq!((200, &json!(value)), (reply.status, &reply.json()[field]), "{path}");
    }
    assert_eq!("test", served.get("/v1/models").json()["data"][0]["id"]);
    assert!(served.get("/version").json()["version"].is_string());
    let metrics = served.get("/metrics");
    assert!(metrics.has("content-type: text/plain; version=0.0.4; charset=utf-8"));
    let names = include_str!("metric_names.txt");
    for name in names.lines() {
        let told = format!("# TYPE {name} ");
        assert!(metrics.text().contains(&told), "{name}");
    }
}

#[test]
fn the_original_test_reads_it() {
    // 2048 tokens were asked for and counted by content.
    let body = r#"{"prompt":"a","max_tokens":2048,"stream":true}"#;
    let tokens_1ms = serve_test().post(COMPLETIONS, body).events();
    assert_eq!(tokens(2048), texts(&tokens_1ms, 0));
}
