//! Requests that two servers may read differently: ours answers each with one status and ends the
//! connection.

use std::io::{Read, Write};

use crate::helpers::{Reply, Served, serve_test};

const TABLE: &str = include_str!("ambiguous.txt");
const CHUNKED: &str = "POST /v1/completions HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: application/json\\r\\n\
                       Transfer-Encoding: chunked\\r\\n\\r\\n";

/// Bytes as the table writes them.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().unwrap() {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            other => panic!("\\{}", char::from(other)),
        }
    }
    bytes
}

/// The statuses of all replies, which a client reads that sends all and waits for the end.
fn statuses(served: &Served, request: &[u8]) -> Vec<u16> {
    let mut stream = served.connect();
    stream.write_all(request).unwrap();
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies).unwrap();
    let mut rest = &replies[..];
    let mut statuses = Vec::new();
    while !rest.is_empty() {
        let reply;
        (reply, rest) = Reply::split(rest);
        if 400 <= reply.status {
            assert_eq!("invalid_request_error", reply.json()["error"]["type"]);
            assert!(reply.has("connection: close") || rest.is_empty());
        }
        statuses.push(reply.status);
    }
    statuses
}

#[test]
fn each_has_the_answer_of_the_table() {
    let served = serve_test();
    let (mut n, mut wrong) = (0, Vec::new());
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        let (name, expected, raw) = (word(), word(), word());
        let head = if name.starts_with("chunked-") { CHUNKED } else { "" };
        let statuses = statuses(&served, &bytes_of(&format!("{head}{raw}")));
        let told: Vec<_> = statuses.iter().map(u16::to_string).collect();
        println!("{name} {}", told.join(","));
        if told.join(",") != expected {
            wrong.push(format!("{name}: {expected} expected, {told:?}"));
        }
        n += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(40 <= n);
    assert_eq!(200, served.get("/health").status);
}
