//! Keys, as clients see them; and who else may ask.

use serde_json::Value;
use streaming_server::Options;

use crate::helpers::{Reply, Served, request, serve_script, serve_test_with};

const BODY: &str = r#"{"prompt":"a b","max_tokens":8}"#;

fn serve(keys: &str) -> Served {
    let keys = Some(keys.parse().unwrap());
    serve_test_with(Options { keys, ..Options::default() })
}

fn post(served: &Served, body: &str, headers: &str) -> Reply {
    let headers = format!("{headers}Connection: close\r\n");
    Reply::parse(&served.send(&request("/v1/completions", body, &headers)))
}

fn error(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json()["error"]["type"].clone())
}

#[test]
fn without_a_key_that_is_known_nothing_is_generated() {
    let served = serve("a:sekret");
    for headers in ["", "Authorization: Bearer other\r\n", "Authorization: Basic sekret\r\n"] {
        let reply = post(&served, BODY, headers);
        assert_eq!((401, "invalid_api_key".into()), error(&reply));
        assert!(reply.has("www-authenticate: bearer"), "{}", reply.head);
        assert!(!reply.text().contains("sekret"));
    }
    assert_eq!(401, served.get("/v1/models").status);
    for open in ["/health", "/live", "/ready", "/metrics", "/version"] {
        assert_eq!(200, served.get(open).status);
    }
    assert_eq!(200, post(&served, BODY, "Authorization: Bearer sekret\r\n").status);
    let metrics = served.get("/metrics").text();
    assert!(metrics.contains(r#"key_generation_tokens_total{model_name="test",key="a"} 8"#));
    assert!(!metrics.contains("sekret") && !format!("{:?}", served.server).contains("sekret"));
    assert_eq!(4.0, served.metric(r#"admission_rejected_total{model_name="test",reason="key""#));
}

#[test]
fn a_key_over_its_rate_hurts_only_itself() {
    let served = serve("a:k1 requests=2/h\nb:k2 tokens=20/h\nc:k3");
    let ask = |key: &str| post(&served, BODY, &format!("Authorization: Bearer {key}\r\n"));
    assert_eq!((200, 200), (ask("k1").status, ask("k1").status));
    let refused = ask("k1");
    assert_eq!((429, "rate_limit_exceeded".into()), error(&refused));
    let line = |reply: &Reply, name: &str| -> u64 {
        let line = reply.head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let (seconds, millis) = (line(&refused, "retry-after:"), line(&refused, "retry-after-ms:"));
    assert!((1700..=1800).contains(&seconds) && millis.div_ceil(1000) == seconds);
    // Two of the prompt and eight of the reply, twice.
    assert_eq!((200, 200), (ask("k2").status, ask("k2").status));
    assert_eq!((429, "rate_limit_exceeded".into()), error(&ask("k2")));
    assert_eq!(200, ask("k3").status);
    let refused = |reason: &str| {
        let label = format!("admission_rejected_total{{model_name=\"test\",reason=\"{reason}\"");
        served.metric(&label)
    };
    assert_eq!((1.0, 1.0), (refused("request_rate"), refused("token_rate")));
}

#[test]
fn what_a_request_did_not_use_is_there_for_the_next() {
    let keys = Some("a:k tokens=100/h".parse().unwrap());
    let (served, _) = serve_script(Options { keys, ..Options::default() }, &[b"x", b"END"], false);
    for _ in 0..10 {
        let body = r#"{"prompt":"a","max_tokens":50,"stop":"END"}"#;
        assert_eq!(200, post(&served, body, "Authorization: Bearer k\r\n").status);
    }
}

#[test]
fn hosts_and_origins_are_those_that_are_named() {
    let options = Options {
        allowed_hosts: vec!["models.test".to_owned()],
        cors_origins: vec!["https://page.test".to_owned()],
        ..Options::default()
    };
    let served = serve_test_with(options);
    let get = |host: &str, more: &str| {
        let head = format!("GET /live HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        Reply::parse(&served.send(head.as_bytes()))
    };
    assert_eq!((200, 200), (get("models.test", "").status, get("MODELS.test:80", "").status));
    for other in ["evil.test", "models.test.evil", "[::1]"] {
        assert_eq!((400, "invalid_request_error".into()), error(&get(other, "")));
    }
    let reply = get("models.test", "Origin: https://page.test\r\n");
    assert!(
        reply.has("access-control-allow-origin: https://page.test") && reply.has("vary: origin")
    );
    let reply = get("models.test", "Origin: https://evil.test\r\n");
    assert!(reply.status == 200 && !reply.head.contains("allow-origin"));
    let asks = "OPTIONS /v1/completions HTTP/1.1\r\nHost: models.test\r\nOrigin: https://page.test\r\n\
                Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    let reply = Reply::parse(&served.send(asks.as_bytes()));
    assert_eq!(204, reply.status);
    assert!(reply.has("access-control-allow-methods: get, head, post"));
    assert!(!reply.head.contains("allow-credentials"));
}
