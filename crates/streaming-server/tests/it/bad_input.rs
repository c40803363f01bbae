//! Requests that are wrong, and what they are told. The server serves on after each.

use std::io::{Read, Write};

use streaming_server::Options;

use crate::helpers::{Reply, Served, request, serve_test, serve_test_with};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

#[track_caller]
fn check(served: &Served, raw: &[u8], status: u16, kind: &str, param: Option<&str>) {
    let shown = String::from_utf8_lossy(&raw[..raw.len().min(300)]).into_owned();
    let reply = Reply::parse(&served.send(raw));
    assert_eq!(status, reply.status, "{shown}\n{}", String::from_utf8_lossy(&reply.body));
    let error = &reply.json()["error"];
    assert_eq!(
        (kind, param),
        (error["type"].as_str().unwrap(), error["param"].as_str()),
        "{shown}"
    );
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert!(reply.head.contains("x-request-id: "));
}

/// Every wrong field of a completion, and of a chat where it begins with `chat`.
const FIELDS: [(&str, &str); 55] = [
    (r#"{"max_tokens":1}"#, "prompt"),
    (r#"{"prompt":[]}"#, "prompt"),
    (r#"{"prompt":null}"#, "prompt"),
    (r#"{"prompt":7}"#, "prompt"),
    (r#"{"prompt":true}"#, "prompt"),
    (r#"{"prompt":{"a":1}}"#, "prompt"),
    (r#"{"prompt":["a",1]}"#, "prompt"),
    (r#"{"prompt":[1,"a"]}"#, "prompt"),
    (r#"{"prompt":[[1],2]}"#, "prompt"),
    (r#"{"prompt":[1,[2]]}"#, "prompt"),
    (r#"{"prompt":[[["a"]]]}"#, "prompt"),
    (r#"{"prompt":[-1]}"#, "prompt"),
    (r#"{"prompt":[1.5]}"#, "prompt"),
    (r#"{"prompt":[4294967296]}"#, "prompt"),
    (r#"{"prompt":["a","b"],"n":128}"#, "prompt"),
    (r#"{"prompt":"a","max_tokens":0}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":-1}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":1.5}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":"1"}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":[1]}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":1048577}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":18446744073709551615}"#, "max_tokens"),
    (r#"{"prompt":"a","max_tokens":18446744073709551616}"#, "max_tokens"),
    (r#"{"prompt":"a","n":0}"#, "n"),
    (r#"{"prompt":"a","n":129}"#, "n"),
    (r#"{"prompt":"a","n":"x"}"#, "n"),
    (r#"{"prompt":"a","stream":1}"#, "stream"),
    (r#"{"prompt":"a","stream":"true"}"#, "stream"),
    (r#"{"prompt":"a","stream_options":{}}"#, "stream_options"),
    (r#"{"prompt":"a","stream":true,"stream_options":7}"#, "stream_options"),
    (r#"{"prompt":"a","stream":true,"stream_options":{"include_usage":7}}"#, "stream_options"),
    (r#"{"prompt":"a","stop":""}"#, "stop"),
    (r#"{"prompt":"a","stop":["a",""]}"#, "stop"),
    (r#"{"prompt":"a","stop":7}"#, "stop"),
    (r#"{"prompt":"a","stop":[7]}"#, "stop"),
    (
        r#"{"prompt":"a","stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]}"#,
        "stop",
    ),
    (r#"{"prompt":"a","echo":"yes"}"#, "echo"),
    (r#"{"prompt":"a","logprobs":true}"#, "logprobs"),
    (r#"{"prompt":"a","logprobs":21}"#, "logprobs"),
    (r#"{"prompt":"a","logprobs":-1}"#, "logprobs"),
    (r#"{"prompt":"a","top_logprobs":99}"#, "top_logprobs"),
    (r#"{"prompt":"a","temperature":2.1}"#, "temperature"),
    (r#"{"prompt":"a","temperature":-0.1}"#, "temperature"),
    (r#"{"prompt":"a","temperature":"hot"}"#, "temperature"),
    (r#"{"prompt":"a","temperature":1e300}"#, "temperature"),
    (r#"{"prompt":"a","top_p":0}"#, "top_p"),
    (r#"{"prompt":"a","top_p":1.1}"#, "top_p"),
    (r#"{"prompt":"a","presence_penalty":3}"#, "presence_penalty"),
    (r#"{"prompt":"a","frequency_penalty":-3}"#, "frequency_penalty"),
    (r#"{"prompt":"a","seed":1.5}"#, "seed"),
    (r#"{"prompt":"a","seed":99999999999999999999}"#, "seed"),
    (r#"{"prompt":"a","model":7}"#, "model"),
    (r#"{"prompt":"a","model":["test"]}"#, "model"),
    (r#"{"prompt":"a","prompt":"b"}"#, "prompt"),
    (r#"{"prompt":"a","stream":true,"stream_options":[true]}"#, "stream_options"),
];

const CHATS: [(&str, &str); 14] = [
    (r#"{"max_tokens":1}"#, "messages"),
    (r#"{"messages":[]}"#, "messages"),
    (r#"{"messages":"hi"}"#, "messages"),
    (r#"{"messages":["hi"]}"#, "messages"),
    (r#"{"messages":[{}]}"#, "messages"),
    (r#"{"messages":[["user","hi"]]}"#, "messages"),
    (r#"{"messages":[{"role":"user","content":[["text","hi"]]}]}"#, "messages"),
    (r#"{"messages":[{"content":"hi"}]}"#, "messages"),
    (r#"{"messages":[{"role":"king","content":"hi"}]}"#, "messages"),
    (r#"{"messages":[{"role":"user","content":7}]}"#, "messages"),
    (r#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#, "messages"),
    (r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, "messages"),
    (r#"{"messages":[{"role":"user","content":"x"}],"logprobs":3}"#, "logprobs"),
    (
        r#"{"messages":[{"role":"user","content":"x"}],"max_completion_tokens":0}"#,
        "max_completion_tokens",
    ),
];

#[test]
fn wrong_fields_are_named() {
    let served = serve_test();
    for (path, table) in [(COMPLETIONS, &FIELDS[..]), (CHAT, &CHATS[..])] {
        for (body, param) in table {
            let raw = request(path, body, "Connection: close\r\n");
            check(&served, &raw, 400, "invalid_request_error", Some(param));
        }
    }
    let deep = format!(r#"{{"prompt":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let raw = request(COMPLETIONS, &deep, "Connection: close\r\n");
    check(&served, &raw, 400, "invalid_request_error", Some("prompt"));
    let long = format!(r#"{{"prompt":"a","stop":"{}"}}"#, "x".repeat(1025));
    let raw = request(COMPLETIONS, &long, "Connection: close\r\n");
    check(&served, &raw, 400, "invalid_request_error", Some("stop"));
    assert_eq!(200, served.get("/health").status);
}

#[test]
fn what_is_no_json_object_is_told_so() {
    let served = serve_test();
    let odd: [&[u8]; 15] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"null",
        b"7",
        b"\"prompt\"",
        b"[1,2]",
        b"[\"test\",\"a\"]",
        b"{\"prompt\":\"a\"",
        b"{\"prompt\":\"a\"} x",
        b"{\"prompt\":\"a\",}",
        b"{'prompt':'a'}",
        b"{\"prompt\":\"a\0b\"}",
        b"{\"prompt\":\"\xff\xfe\"}",
    ];
    for body in odd {
        let mut raw = request(COMPLETIONS, "", "Connection: close\r\n");
        let head = String::from_utf8(raw).unwrap();
        raw = head.replace("Length: 0", &format!("Length: {}", body.len())).into_bytes();
        raw.extend_from_slice(body);
        check(&served, &raw, 400, "invalid_request_error", None);
    }
    assert_eq!(200, served.get("/health").status);
}

#[test]
fn other_refusals_say_why() {
    let served = serve_test_with(Options { body_bytes_max: 1000, ..Options::default() });
    let invalid = "invalid_request_error";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    check(&served, get("/").as_bytes(), 404, "not_found", None);
    check(&served, get("/v1/engines").as_bytes(), 404, "not_found", None);
    check(&served, get("/v1/models/other").as_bytes(), 404, "model_not_found", Some("model"));
    check(&served, get(COMPLETIONS).as_bytes(), 405, invalid, None);
    let delete = get("/health").replace("GET", "DELETE");
    check(&served, delete.as_bytes(), 405, invalid, None);
    assert!(Reply::parse(&served.send(delete.as_bytes())).has("allow: get, head"));
    let raw = request(COMPLETIONS, r#"{"prompt":"a","model":"other"}"#, "Connection: close\r\n");
    check(&served, &raw, 404, "model_not_found", Some("model"));
    let text = String::from_utf8(raw).unwrap().replace("application/json", "text/plain");
    check(&served, text.as_bytes(), 415, invalid, None);
    let large = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(1000));
    let raw = request(COMPLETIONS, &large, "Connection: close\r\n");
    check(&served, &raw, 413, invalid, None);
    let promised = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                     Content-Length: 99999999999\r\n\r\n";
    check(&served, promised, 413, invalid, None);
    let chunks = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    check(&served, chunks.as_bytes(), 413, invalid, None);
    assert_eq!(200, served.get("/health").status);
}

#[test]
fn a_refusal_for_want_of_room_counts_as_overload() {
    let served = serve_test_with(Options { held_bytes_max: 10, ..Options::default() });
    assert_eq!(503, served.post(COMPLETIONS, r#"{"prompt":"a"}"#).status);
    let count = |reason: &str| {
        let labels = format!("{{model_name=\"test\",reason=\"{reason}\"");
        served.metric(&format!("admission_rejected_total{labels}"))
    };
    assert_eq!((1.0, 0.0), (count("overloaded"), count("invalid")));
}

/// All of a list was held before its length was looked at: eight times the body.
#[test]
fn lists_that_are_too_long_end_where_they_are() {
    let served = serve_test();
    let list = |item: &str| format!("[{}{item}]", format!("{item},").repeat(99_999));
    let message =
        |content: &str| format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
    let messages = list(r#"{"role":"user"}"#);
    for (path, body, told) in [
        (COMPLETIONS, format!(r#"{{"prompt":{}}}"#, list("[]")), "more than 128 prompts"),
        (COMPLETIONS, format!(r#"{{"prompt":"a","stop":{}}}"#, list("\"\"")), "more than 16 stop"),
        (CHAT, message(&list(r#"{"type":"text"}"#)), "more than 16384 parts"),
        (CHAT, format!(r#"{{"messages":{messages}}}"#), "more than 16384 messages"),
    ] {
        let reply = served.post(path, &body);
        let message = reply.json()["error"]["message"].clone();
        assert!(reply.status == 400 && message.as_str().unwrap().starts_with(told), "{message}");
    }
}

#[test]
fn who_ended_makes_room_for_the_next_connection() {
    let served = serve_test_with(Options { connections_max: 1, ..Options::default() });
    for _ in 0..100 {
        assert_eq!(200, served.get("/live").status);
    }
    let _only = served.connect();
    let told = Reply::parse(&served.send(b""));
    assert_eq!((503, "overloaded"), (told.status, told.json()["error"]["type"].as_str().unwrap()));
    assert!(told.has("retry-after: 1") && told.has("retry-after-ms: 1000"), "{}", told.head);
    assert!(told.head.contains("x-request-id: "));
}

/// The promised length was reserved: a few heads kept all others out.
#[test]
fn bodies_that_are_promised_and_do_not_come_hold_nothing() {
    let options = Options { held_bytes_max: 1 << 20, ..Options::default() };
    let served = serve_test_with(options);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n{";
    let promise = |_| {
        let mut stream = served.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let _promised: Vec<_> = (0..3).map(promise).collect();
    assert_eq!(
        200,
        served.post(COMPLETIONS, r#"{"prompt":"a","max_tokens":1,"stream":true}"#).status
    );
}

/// What is no HTTP has an answer, unless nothing came that could have one.
#[test]
fn what_is_no_http_is_refused() {
    let served = serve_test();
    let header = format!("GET /health HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let fields = format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    for raw in [
        "\r\n\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        header.as_str(),
        fields.as_str(),
    ] {
        let mut stream = served.connect();
        let _ = stream.write_all(raw.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let shown = String::from_utf8_lossy(&reply).into_owned();
        let refused = ["HTTP/1.1 4", "HTTP/1.1 505"].iter().any(|start| shown.starts_with(start));
        assert!(reply.is_empty() || refused, "{raw:.60}: {shown}");
    }
    assert_eq!(200, served.get("/health").status);
}

#[test]
fn what_clients_send_unasked_is_accepted() {
    let served = serve_test();
    let body = r#"{"prompt":"a","max_tokens":1,"ignore_eos":true,"min_tokens":1,"top_k":5,"best_of":1,
        "repetition_penalty":1.1,"user":"me","seed":7,"service_tier":"auto","logprobs":null,"stop":null,
        "suffix":null,"n":null,"stream":null,"stream_options":null,"echo":false,"logit_bias":{"5":1},
        "model":"test","temperature":0,"priority":3,"metadata":{"a":[1,{"b":null}]}}"#;
    assert_eq!(200, served.post(COMPLETIONS, body).status);
    // What is not looked at may be as deep as it likes.
    let deep = format!(r#"{{"prompt":"a","x":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(200, served.post(COMPLETIONS, &deep).status);
    let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"assistant","content":null,"tool_calls":[]},
        {"role":"tool","tool_call_id":"x","content":"y"},{"role":"user","name":"n","content":"u"}],
        "tools":[],"tool_choice":"auto","response_format":{"type":"text"},"max_tokens":5,"max_completion_tokens":2}"#;
    let reply = served.post(CHAT, body).json();
    assert_eq!(2, reply["usage"]["completion_tokens"]);
}
