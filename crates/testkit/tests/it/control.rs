//! The control routes.

use std::io::Write;

use serde_json::{Value, json};
use testkit::{Blob, Options, Origin};

use crate::wire::{connect, get, origin, receive_one, request, until};

fn json_of(origin: &Origin, method: &str, path: &str, body: &str) -> (u16, Value) {
    let received = request(origin.address(), method, path, &[], body);
    assert_eq!(Some("application/json"), received.header("Content-Type"), "{path}");
    (received.status(), serde_json::from_slice(&received.body).unwrap())
}

#[test]
fn statistics_have_the_promised_members() {
    let origin = origin(&["flip#1", "cut#2"]);
    get(&origin, "/blob?x=1", &["Range: bytes=0-9", "Authorization: Bearer secret"]);
    get(&origin, "/blob", &[]);
    let (status, stats) = json_of(&origin, "GET", "/_stats", "");
    assert_eq!(200, status);
    // A connection may still be open that its client has closed.
    let connections = &stats["connections"];
    let (open, max_open) = (connections["open"].clone(), connections["max_open"].clone());
    let expected = json!({
        "connections": {"opened": 2, "open": open, "max_open": max_open},
        "requests": {"total": 2, "by_status": {"200": 1, "206": 1}},
        "sent_bytes": 5010,
        "paths": {"/blob": {"requests": 2, "ranges": 1, "sent_bytes": 5010, "authorization": 1}},
        "faults": {"flip#1": 1, "cut#2": 1},
    });
    assert_eq!(expected, stats);
}

#[test]
fn connections_for_control_alone_are_not_counted() {
    let origin = origin(&[]);
    let mut idle = connect(origin.address());
    for _ in 0..3 {
        json_of(&origin, "GET", "/_stats", "");
    }
    // The idle one counts as soon as it is accepted, which may not have happened yet.
    until(|| origin.stats().connections.opened == 1);
    let stats = origin.stats().connections;
    assert_eq!((1, 1, 1), (stats.opened, stats.open, stats.max_open));
    // One that asks for control first and for an object later counts from then on.
    idle.write_all(b"GET /_stats HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(200, receive_one(&mut idle).status());
    assert_eq!(0, origin.stats().connections.opened);
    idle.write_all(b"GET /blob HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(200, receive_one(&mut idle).status());
    assert_eq!((1, 1), (origin.stats().connections.opened, origin.stats().connections.open));
}

#[test]
fn a_reset_zeroes_statistics_and_counts_requests_from_one_again() {
    let origin = origin(&["status=500#1"]);
    assert_eq!(500, get(&origin, "/blob", &[]).status());
    assert_eq!(200, get(&origin, "/blob", &[]).status());
    assert_eq!((200, json!({})), json_of(&origin, "POST", "/_reset", ""));
    let stats = origin.stats();
    assert_eq!((0, 0, 0), (stats.requests, stats.sent_bytes, stats.connections.opened));
    assert_eq!(0, stats.faults["status=500#1"]);
    assert!(stats.paths.is_empty() && stats.by_status.is_empty());
    assert_eq!(500, get(&origin, "/blob", &[]).status());
}

#[test]
fn the_configuration_changes_while_it_runs() {
    let origin = origin(&[]);
    let (status, config) =
        json_of(&origin, "PUT", "/_config", r#"{"latency":"1ms","faults":["status=501"]}"#);
    assert_eq!((200, &json!(["status=501"])), (status, &config["faults"]));
    assert_eq!(501, get(&origin, "/blob", &[]).status());
    let (_, config) = json_of(&origin, "PUT", "/_config", r#"{"faults":[]}"#);
    assert_eq!("1ms", config["latency"]);
    assert_eq!(200, get(&origin, "/blob", &[]).status());
    assert_eq!(config, json_of(&origin, "GET", "/_config", "").1);
    assert_eq!(1, origin.stats().faults["status=501"], "what was done stays known");
}

#[test]
fn bad_configurations_are_refused_and_change_nothing() {
    let origin = origin(&[]);
    let before = origin.settings();
    for body in ["", "[", "[]", r#"{"bandwith":1}"#, r#"{"latency":"1ms","error_rate":7}"#] {
        let (status, reply) = json_of(&origin, "PUT", "/_config", body);
        assert_eq!(400, status, "{body}");
        assert!(reply["error"].is_string());
    }
    assert_eq!(before, origin.settings());
}

#[test]
fn counting_goes_on_when_other_settings_change() {
    let origin = origin(&["status=500#2"]);
    assert_eq!(200, get(&origin, "/blob", &[]).status());
    origin.update(|settings| settings.bandwidth = Some(1 << 30));
    assert_eq!(500, get(&origin, "/blob", &[]).status());
}

#[test]
fn blobs_tell_their_digests() {
    let blobs = vec![Blob::new("empty", 0, 0), Blob::new("m", 100_000, 3)];
    let origin = Origin::start(Options { blobs: blobs.clone(), ..Options::default() }).unwrap();
    let (_, json) = json_of(&origin, "GET", "/_blobs", "");
    assert_eq!("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", json["empty"]["git_sha1"]);
    assert_eq!(blobs[1].digests().sha256, json["m"]["sha256"]);
    assert_eq!((json!(100_000), json!(3)), (json["m"]["size"].clone(), json["m"]["seed"].clone()));
    assert_eq!(get(&origin, "/m", &[]).header("ETag"), json["m"]["etag"].as_str());
}

#[test]
fn control_routes_take_their_own_methods_only() {
    let origin = origin(&["status=500", "hang"]);
    let received = request(origin.address(), "POST", "/_stats", &[], "");
    assert_eq!((405, Some("GET")), (received.status(), received.header("Allow")));
    assert_eq!(405, get(&origin, "/_reset", &[]).status());
}

#[test]
fn errors_are_drawn_from_the_seed() {
    let drawn = |seed| {
        let options =
            Options { seed, bytes: [("x".to_owned(), vec![1])].into(), ..Options::default() };
        let origin = Origin::start(options).unwrap();
        origin.update(|settings| settings.error_rate = 0.5);
        (0..20).map(|_| get(&origin, "/x", &[]).status()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    assert!(drawn(1).iter().all(|status| [200, 503].contains(status)));
}
