//! What an origin does where no fault tells it otherwise.

use std::collections::BTreeMap;
use std::io::Write;

use testkit::{Blob, Options, Origin, StartError, temp_dir};

use crate::wire::{End, blob, bytes_of, connect, exchange, get, origin, receive_one, request};

#[test]
fn a_blob_is_served_whole() {
    let origin = origin(&[]);
    let received = get(&origin, "/blob", &[]);
    assert_eq!((200, End::Fin), (received.status(), received.end));
    assert_eq!(Some("10000"), received.header("Content-Length"));
    assert_eq!(Some("bytes"), received.header("Accept-Ranges"));
    assert_eq!(bytes_of(&blob(), 0, 10_000), received.body);
}

#[test]
fn large_blobs_are_right_in_every_piece() {
    let blob = Blob::new("large", (3 << 20) + 5, 9);
    let origin =
        Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() }).unwrap();
    let received = get(&origin, "/large", &["Range: bytes=3-"]);
    assert!(bytes_of(&blob, 3, blob.size()) == received.body);
}

#[test]
fn ranges_are_honored() {
    let origin = origin(&[]);
    for (range, start, end) in [("10-19", 10, 20), ("9990-", 9990, 10_000), ("-7", 9993, 10_000)] {
        let received = get(&origin, "/blob", &[&format!("Range: bytes={range}")]);
        assert_eq!(206, received.status());
        let content_range = format!("bytes {start}-{}/10000", end - 1);
        assert_eq!(Some(content_range.as_str()), received.header("Content-Range"));
        assert_eq!(bytes_of(&blob(), start, end), received.body);
    }
}

#[test]
fn several_ranges_get_the_whole() {
    let received = get(&origin(&[]), "/blob", &["Range: bytes=0-1,5-6"]);
    assert_eq!((200, 10_000), (received.status(), received.body.len()));
}

#[test]
fn ranges_outside_are_refused_with_the_size() {
    let origin = origin(&[]);
    for range in ["bytes=10000-", "bytes=x-y", "bytes=5-2"] {
        let received = get(&origin, "/blob", &[&format!("Range: {range}")]);
        assert_eq!(
            (416, Some("bytes */10000")),
            (received.status(), received.header("Content-Range"))
        );
    }
}

#[test]
fn marks_guard_ranges() {
    let origin = origin(&[]);
    let etag = get(&origin, "/blob", &[]).header("ETag").unwrap().to_owned();
    let status = |headers: &[&str]| get(&origin, "/blob", headers).status();
    let (same, other) = (format!("If-Range: {etag}"), "If-Range: \"other\"");
    assert_eq!(206, status(&["Range: bytes=0-0", &same]));
    assert_eq!(200, status(&["Range: bytes=0-0", other]));
    assert_eq!(206, status(&["Range: bytes=0-0", &format!("If-Match: {etag}")]));
    assert_eq!(412, status(&["Range: bytes=0-0", "If-Match: \"other\""]));
    assert_eq!(304, status(&[&format!("If-None-Match: {etag}")]));
}

#[test]
fn heads_have_no_bodies() {
    let origin = origin(&[]);
    let received = request(origin.address(), "HEAD", "/blob", &[], "");
    assert_eq!((200, Some("10000")), (received.status(), received.header("Content-Length")));
    assert!(received.body.is_empty());
    assert_eq!(0, origin.stats().sent_bytes);
}

#[test]
fn a_connection_serves_request_after_request() {
    let origin = origin(&[]);
    let mut stream = connect(origin.address());
    for range in ["0-9", "10-19", "20-29"] {
        write!(stream, "GET /blob HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n").unwrap();
        assert_eq!(10, receive_one(&mut stream).body.len());
    }
    // Two at once are answered in order.
    let two = "GET /blob HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0\r\n\r\n".repeat(2);
    stream.write_all(two.as_bytes()).unwrap();
    assert_eq!(206, receive_one(&mut stream).status());
    assert_eq!(206, receive_one(&mut stream).status());
    assert_eq!((1, 5), (origin.stats().connections.opened, origin.stats().requests));
}

#[test]
fn old_clients_get_an_end_and_a_length() {
    let received = exchange(origin(&[]).address(), "GET /blob HTTP/1.0\r\n\r\n");
    assert_eq!((200, End::Fin, 10_000), (received.status(), received.end, received.body.len()));
}

#[test]
fn bytes_in_memory_and_files_of_a_folder_are_served() {
    let folder = temp_dir(&[("config.json", "{}"), ("sub/a b.txt", "text")]);
    let bytes = BTreeMap::from([("notes".to_owned(), b"in memory".to_vec())]);
    let root = Some(folder.path().to_owned());
    let origin = Origin::start(Options { root, bytes, ..Options::default() }).unwrap();
    assert_eq!("in memory", get(&origin, "/notes", &[]).text());
    assert_eq!("{}", get(&origin, "/config.json", &[]).text());
    let received = get(&origin, "/sub/a%20b.txt", &["Range: bytes=1-2"]);
    assert_eq!((206, "ex"), (received.status(), received.text()));
    assert!(received.header("Last-Modified").is_some());
    for path in ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/sub", "/none"] {
        assert_eq!(404, get(&origin, path, &[]).status(), "{path}");
    }
}

#[test]
fn malformed_requests_get_4xx_and_the_next_is_served() {
    let origin = origin(&[]);
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(500));
    let cases = [
        ("nonsense\r\n\r\n", 400),
        ("GET /blob\r\n\r\n", 400),
        ("GET /blob HTTP/9.9\r\nHost: h\r\n\r\n", 400),
        ("\0\u{1}\u{2} /blob HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /blob HTTP/1.1\r\n\r\n", 400),
        (long.as_str(), 431),
        (many.as_str(), 431),
        ("POST /blob HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /blob HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", 413),
        ("POST /blob HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 405),
        ("GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404),
    ];
    for (text, expected) in cases {
        let received = exchange(origin.address(), text);
        assert_eq!((expected, End::Fin), (received.status(), received.end), "{text:.40}");
    }
    assert_eq!(200, get(&origin, "/blob", &[]).status());
    let stats = origin.stats();
    assert_eq!(12, stats.requests);
    assert_eq!(12, stats.by_status.values().sum::<u64>());
}

#[test]
fn a_reply_survives_bytes_that_nobody_reads() {
    let junk = "x".repeat(500_000);
    let request = format!("GET /blob HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{junk}");
    let received = exchange(origin(&[]).address(), &request);
    assert_eq!((10_000, End::Fin), (received.body.len(), received.end));
}

#[test]
fn only_loopback_is_listened_on() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let error = Origin::start(Options { listen, ..Options::default() }).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback(_)));
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
}

#[test]
fn an_address_in_use_is_told() {
    let first = origin(&[]);
    let listen = first.address();
    let error = Origin::start(Options { listen, ..Options::default() }).unwrap_err();
    assert!(matches!(error, StartError::Listen(..)), "{error}");
}

#[test]
fn a_dropped_origin_is_gone() {
    let origin = origin(&[]);
    let address = origin.address();
    let mut idle = connect(address);
    get(&origin, "/blob", &["Range: bytes=0-0"]);
    drop(origin);
    assert!(std::net::TcpStream::connect(address).is_err());
    let _ = idle.write_all(b"GET /blob HTTP/1.1\r\n");
    let mut rest = Vec::new();
    assert!(matches!(std::io::Read::read_to_end(&mut idle, &mut rest), Ok(0) | Err(_)));
}

#[tokio::test(start_paused = true)]
async fn an_origin_can_be_dropped_within_a_runtime() {
    drop(origin(&["stall"]));
}
