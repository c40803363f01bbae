use proptest::prelude::*;

use super::*;

/// What is handed on of bytes that come `piece` at a time, and what was said of them.
fn pass(bytes: &[u8], piece: usize) -> (Vec<u8>, Verdict) {
    let (mut guard, mut out) = (Guard::new(), Vec::new());
    let mut verdict = Verdict::Fine;
    for mut bytes in bytes.chunks(piece) {
        while verdict == Verdict::Fine && !bytes.is_empty() {
            let read = guard.read(bytes, &mut out);
            (bytes, verdict) = (&bytes[read.0..], read.1);
        }
    }
    (out, verdict)
}

#[track_caller]
fn check_fine(text: &str) {
    for piece in [1, 3, usize::MAX] {
        let (out, verdict) = pass(text.as_bytes(), piece);
        assert_eq!((text, Verdict::Fine), (String::from_utf8_lossy(&out).as_ref(), verdict));
    }
}

#[track_caller]
fn check_fault(head: &str, fault: Fault) {
    for piece in [1, usize::MAX] {
        let (out, verdict) = pass(head.as_bytes(), piece);
        assert_eq!(Verdict::Refused(fault), verdict, "{head}");
        assert_eq!(STAND_IN, out);
    }
}

#[test]
fn plain_requests_pass_as_they_are() {
    check_fine("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    check_fine("GET / HTTP/1.0\r\n\r\n");
    check_fine("OPTIONS * HTTP/1.1\r\nhOST: a.b:80\r\nX-Empty:\r\nX:\t y \r\n\r\n");
    check_fine("GET http://A:1/x?y=z HTTP/1.1\r\nHost: a:1\r\n\r\n");
    check_fine("GET /?a[]=b|c HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n");
    check_fine(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    check_fine(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
         3;a=\"b\"\r\nabc\r\nA\r\n0123456789\r\n000\r\nX-T: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
}

#[test]
fn an_empty_line_before_a_request_is_dropped() {
    let (out, verdict) = pass(b"\r\nGET / HTTP/1.0\r\n\r\n\r\nGET /b HTTP/1.0\r\n\r\n", usize::MAX);
    assert_eq!(Verdict::Fine, verdict);
    assert_eq!(b"GET / HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", &out[..]);
}

#[test]
fn heads_that_may_be_read_in_two_ways_are_refused() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    for (head, fault) in [
        (get(""), Fault::NoHost),
        (get("Host: a\r\nHost: a\r\n"), Fault::TwoHosts),
        (get("Host:\r\n"), Fault::Host),
        (get("Host: a b\r\n"), Fault::Host),
        (get("Host: a/b\r\n"), Fault::Host),
        (get("Host: u@a\r\n"), Fault::Host),
        (get("Host: a:b\r\n"), Fault::Host),
        (get("Host: a, b\r\n"), Fault::Host),
        (
            get("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            Fault::LengthAndCoding,
        ),
        (
            get("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            Fault::Coding,
        ),
        (get("Host: a\r\nTransfer-Encoding: identity, chunked\r\n"), Fault::Coding),
        (get("Host: a\r\nTransfer-Encoding: chunked, chunked\r\n"), Fault::Coding),
        (get("Host: a\r\nTransfer-Encoding: gzip\r\n"), Fault::UnknownCoding),
        (get("Host: a\r\nTransfer-Encoding:\r\n"), Fault::Coding),
        (get("Host: a\r\nTransfer-Encoding: \"chunked\"\r\n"), Fault::Coding),
        (get("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length: 5, 5\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length: +5\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length: 05\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length: 0x5\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length:\r\n"), Fault::Length),
        (get("Host: a\r\nContent-Length: 18446744073709551616\r\n"), Fault::Length),
        (get("Host : a\r\n"), Fault::Field),
        (get("Host: a\r\nnonsense\r\n"), Fault::Field),
        (get("Host: a\r\nX: \x01\r\n"), Fault::Field),
        (get("Host: a\r\nX: y\r\n z\r\n"), Fault::Folded),
        (get(" Host: a\r\n"), Fault::Folded),
        (get("Host: a\nX: y\r\n"), Fault::LineEnd),
        (get("Host: a\rX: y\r\n"), Fault::LineEnd),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Fault::Coding),
        (line("GET /"), Fault::RequestLine),
        (line("GET  / HTTP/1.1"), Fault::RequestLine),
        (line("GET / HTTP/1.1 "), Fault::RequestLine),
        (line("G(T / HTTP/1.1"), Fault::RequestLine),
        (line("GET / http/1.1"), Fault::RequestLine),
        (line("GET / HTTP/2.0"), Fault::Version),
        (line("GET / HTTP/1.2"), Fault::Version),
        (line("CONNECT a:1 HTTP/1.1"), Fault::Connect),
        (line("GET * HTTP/1.1"), Fault::Target),
        (line("GET a HTTP/1.1"), Fault::Target),
        (line("GET /ü HTTP/1.1"), Fault::Target),
        (line("GET /#x HTTP/1.1"), Fault::Target),
        (line("GET /<x> HTTP/1.1"), Fault::Target),
        (line("GET /?`x` HTTP/1.1"), Fault::Target),
        (line("GET /?\"x\" HTTP/1.1"), Fault::Target),
        (line("GET http://u@a/ HTTP/1.1"), Fault::Target),
        (line("GET http://b/ HTTP/1.1"), Fault::OtherHost),
    ] {
        check_fault(&head, fault);
    }
    check_fault(&get(&format!("Host: a\r\n{}", "X: y\r\n".repeat(100))), Fault::TooLong);
    check_fault(&get(&format!("X: {}\r\n", "y".repeat(HEAD_BYTES_MAX))), Fault::TooLong);
}

#[test]
fn bodies_that_are_framed_wrongly_are_broken_off() {
    for body in [
        "x\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3\nabc\r\n",
        "\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3\r\nabcX",
        "11111111111111111\r\n",
        "3;a\nabc\r\n",
        "0\r\n\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for piece in [1, usize::MAX] {
            let (_, verdict) = pass(format!("{head}{body}").as_bytes(), piece);
            assert_eq!(Verdict::Broken, verdict, "{body}");
        }
    }
}

#[test]
fn what_waits_holds_nothing_and_is_not_within() {
    let (mut guard, mut out) = (Guard::new(), Vec::new());
    assert!(!guard.is_within());
    guard.read(b"GET / HT", &mut out);
    assert!(guard.is_within() && out.is_empty());
    guard.read(b"TP/1.0\r\nContent-Length: 1\r\n\r\n", &mut out);
    assert!(guard.is_within());
    guard.read(b"x", &mut out);
    assert!(!guard.is_within());
    assert_eq!((0, 1), (guard.head.capacity(), guard.heads()));
}

#[test]
fn nothing_is_read_of_a_request_behind_another() {
    let (chunked, plain) = ("Transfer-Encoding: chunked", "Content-Length: 3");
    for (field, body) in [(chunked, "1\r\nx\r\n0\r\n\r\n"), (plain, "abc"), ("X: y", "")] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{body}");
        let (mut guard, mut out) = (Guard::new(), Vec::new());
        let read = guard.read(format!("{request}nonsense\n").as_bytes(), &mut out);
        assert_eq!((request.len(), Verdict::Fine, request.as_bytes()), (read.0, read.1, &out[..]));
        assert!(!guard.is_within());
    }
}

proptest! {
    /// However a connection's bytes are split, the same is handed on and said.
    #[test]
    fn pieces_make_no_difference(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("GET / HTTP/1.1\r\n"), Just("POST /a HTTP/1.1\r\n"), Just("Host: a\r\n"),
                Just("Content-Length: 3\r\n"), Just("Transfer-Encoding: chunked\r\n"), Just("\r\n"),
                Just("abc"), Just("3\r\nabc\r\n"), Just("0\r\n"), Just("\n"), Just("\r"), Just(" "),
                Just("X: y\r\n"), Just("0\r\n\r\n"),
            ],
            0..12,
        ),
        piece in 1_usize..9,
    ) {
        let text = parts.concat();
        prop_assert_eq!(pass(text.as_bytes(), usize::MAX), pass(text.as_bytes(), piece));
    }
}
