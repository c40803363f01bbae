//! Faults in how a reply is sent, each on raw bytes.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::wire::{End, blob, bytes_of, connect, get, origin, receive, unchunked, until};

const GET: &str = "GET /blob HTTP/1.1\r\nHost: h\r\n\r\n";

#[track_caller]
fn check_broken(rule: &str, expected_bytes: u64, expected_end: End) {
    let origin = origin(&[rule]);
    let received = get(&origin, "/blob", &[]);
    assert_eq!((200, Some("10000")), (received.status(), received.header("Content-Length")));
    assert_eq!(bytes_of(&blob(), 0, expected_bytes), received.body, "{rule}");
    assert_eq!(expected_end, received.end, "{rule}");
    let stats = origin.stats();
    assert_eq!((1, expected_bytes), (stats.faults[rule], stats.sent_bytes));
}

#[test]
fn a_cut_ends_the_body_by_fin() {
    check_broken("cut", 5_000, End::Fin);
    check_broken("cut:at=0", 0, End::Fin);
    check_broken("cut:at=1", 1, End::Fin);
    check_broken("cut:at=9999", 9_999, End::Fin);
}

#[test]
fn a_reset_ends_the_body_by_rst() {
    check_broken("rst", 5_000, End::Reset);
    check_broken("rst:at=123", 123, End::Reset);
}

#[test]
fn a_cut_may_leave_no_trace_of_the_length() {
    let received = get(&origin(&["cut=close:at=100"]), "/blob", &[]);
    assert_eq!((None, 100), (received.header("Content-Length"), received.body.len()));
    assert_eq!(None, received.header("Transfer-Encoding"));

    let received = get(&origin(&["cut=chunked:at=100"]), "/blob", &[]);
    assert_eq!(Some("chunked"), received.header("Transfer-Encoding"));
    assert_eq!((bytes_of(&blob(), 0, 100), false), unchunked(&received.body));
}

#[test]
fn a_collapse_counts_the_bodies_that_it_slows_down() {
    for (rule, expected) in [("collapse=0,100MB/s", 2), ("collapse=1,100MB/s", 0)] {
        let origin = origin(&[rule]);
        for _ in 0..2 {
            assert_eq!(10_000, get(&origin, "/blob", &[]).body.len());
        }
        assert_eq!(expected, origin.stats().faults[rule], "{rule}");
    }
}

#[test]
fn a_half_closed_server_still_reads() {
    let origin = origin(&["half-close:at=100"]);
    let mut stream = connect(origin.address());
    stream.write_all(GET.as_bytes()).unwrap();
    let received = receive(&mut stream);
    assert_eq!((100, End::Fin), (received.body.len(), received.end));
    // More than any socket buffers: it can be written only if it is read.
    for _ in 0..64 {
        stream.write_all(&[b'x'; 1 << 15]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(1, origin.stats().connections.opened);
}

#[test]
fn a_stall_lasts_until_the_client_leaves() {
    let origin = origin(&["stall:at=100"]);
    let mut stream = connect(origin.address());
    stream.write_all(GET.as_bytes()).unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") || bytes.len() < 100 {
        let mut some = [0; 64];
        let n = stream.read(&mut some).unwrap();
        bytes.extend(&some[..n]);
    }
    until(|| origin.stats().faults["stall:at=100"] == 1);
    assert_eq!(100, origin.stats().sent_bytes);
    assert_eq!(1, origin.stats().connections.open);
    drop(stream);
    until(|| origin.stats().connections.open == 0);
}

#[test]
fn a_short_stall_and_a_hang_go_on_by_themselves() {
    let origin = origin(&["stall=20ms", "hang=20ms"]);
    let start = std::time::Instant::now();
    let received = get(&origin, "/blob", &[]);
    assert_eq!(bytes_of(&blob(), 0, 10_000), received.body);
    assert!(40 <= start.elapsed().as_millis());
    assert_eq!((1, 1), (origin.stats().faults["stall=20ms"], origin.stats().faults["hang=20ms"]));
}

#[test]
fn a_hang_says_nothing_at_all() {
    let origin = origin(&["hang"]);
    let mut stream = connect(origin.address());
    stream.write_all(GET.as_bytes()).unwrap();
    until(|| origin.stats().faults["hang"] == 1);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(0, stream.read_to_end(&mut bytes).unwrap());
    assert!(origin.stats().by_status.is_empty());
}

#[test]
fn bodies_that_end_before_the_byte_are_left_alone_and_not_counted() {
    let origin = origin(&["cut#1:at=5000"]);
    assert_eq!(10, get(&origin, "/blob", &["Range: bytes=0-9"]).body.len());
    assert_eq!(5000, get(&origin, "/blob", &["Range: bytes=0-4999"]).body.len());
    assert_eq!(404, get(&origin, "/none", &[]).status());
    assert_eq!(0, origin.stats().faults["cut#1:at=5000"]);
    assert_eq!(5000, get(&origin, "/blob", &[]).body.len());
    assert_eq!(10_000, get(&origin, "/blob", &[]).body.len());
}

#[test]
fn several_faults_of_one_body_come_in_the_order_of_its_bytes() {
    let origin = origin(&["rst:at=9000", "stall=1ms:at=10", "flip:at=20", "stall=1ms:at=5000"]);
    let received = get(&origin, "/blob", &[]);
    assert_eq!((9_000, End::Reset), (received.body.len(), received.end));
    assert!(origin.stats().faults.values().all(|&n| n == 1), "{:?}", origin.stats().faults);
}

#[test]
fn a_changed_setting_frees_a_transfer_under_way() {
    let origin = origin(&["trickle=1:at=5000"]);
    let mut stream = connect(origin.address());
    stream.write_all(GET.as_bytes()).unwrap();
    until(|| 5_000 <= origin.stats().sent_bytes);
    origin.update(|settings| settings.connection_bandwidth = Some(1));
    drop(stream);
    let mut stream = connect(origin.address());
    origin.update(|settings| settings.faults = Vec::new());
    stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    until(|| 5_500 <= origin.stats().sent_bytes);
    // At a byte per second the rest would take an hour and more.
    origin.update(|settings| settings.connection_bandwidth = None);
    assert_eq!(bytes_of(&blob(), 0, 10_000), receive(&mut stream).body);
}
