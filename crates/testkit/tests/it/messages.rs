//! Faults that lie in what is said, each on raw bytes.

use testkit::{Blob, Options, Origin};

use crate::wire::{End, blob, bytes_of, get, origin, request, unchunked};

fn whole() -> Vec<u8> {
    bytes_of(&blob(), 0, 10_000)
}

#[test]
fn ignore_range_sends_the_whole_with_200() {
    let origin = origin(&["ignore-range#2.."]);
    let fetch = || get(&origin, "/blob", &["Range: bytes=5-9"]);
    assert_eq!((206, 5), (fetch().status(), fetch().body.len().min(5)));
    let received = fetch();
    assert_eq!((200, whole()), (received.status(), received.body));
    assert_eq!(None, get(&origin, "/blob", &[]).header("Content-Range"));
    assert_eq!(2, origin.stats().faults["ignore-range#2.."]);
}

/// The reply to `Range: bytes=100-199` under a `wrong-range` of this form.
#[track_caller]
fn check_wrong_range(form: &str, content_range: Option<&str>, start: u64, end: u64) {
    let rule = format!("wrong-range={form}");
    let origin = origin(&[&rule]);
    let received = get(&origin, "/blob", &["Range: bytes=100-199"]);
    assert_eq!(206, received.status(), "{form}");
    assert_eq!(content_range, received.header("Content-Range"), "{form}");
    assert_eq!(bytes_of(&blob(), start, end), received.body, "{form}");
    assert_eq!(1, origin.stats().faults[&rule], "{form}");
    assert_eq!(200, get(&origin, "/blob", &[]).status(), "{form}");
}

#[test]
fn wrong_ranges_are_wrong_each_in_its_way() {
    check_wrong_range("shift", Some("bytes 101-199/10000"), 101, 200);
    check_wrong_range("lie", Some("bytes 100-199/10000"), 101, 201);
    check_wrong_range("zero", Some("bytes 0-9999/10000"), 0, 10_000);
    check_wrong_range("none", None, 100, 200);
    check_wrong_range("equals", Some("bytes=100-199/10000"), 100, 200);
    check_wrong_range("star", Some("bytes 100-199/*"), 100, 200);
    check_wrong_range("total", Some("bytes 100-199/10001"), 100, 200);
    check_wrong_range("short", Some("bytes 100-149/10000"), 100, 150);
}

/// What `bytes=FIRST-LAST` brings under a rule, and whether the rule is counted.
#[track_caller]
fn check_wrong_byte(form: &str, range: &str, expected: (u64, u64), is_counted: bool) {
    let rule = format!("wrong-range={form}");
    let origin = origin(&[&rule]);
    let received = get(&origin, "/blob", &[&format!("Range: bytes={range}")]);
    assert_eq!(bytes_of(&blob(), expected.0, expected.1), received.body, "{form} {range}");
    let counted = origin.stats().faults.get(&rule).copied().unwrap_or_default();
    assert_eq!(u64::from(is_counted), counted, "{form} {range}");
}

#[test]
fn a_rule_that_would_leave_the_range_right_is_not_counted() {
    check_wrong_byte("shift", "0-0", (1, 2), true);
    check_wrong_byte("shift", "9999-9999", (9998, 9999), true);
    check_wrong_byte("short", "5-5", (5, 6), false);
    check_wrong_byte("zero", "0-", (0, 10_000), false);
    check_wrong_byte("lie", "0-9999", (0, 10_000), false);
    check_wrong_byte("lie", "1-9999", (0, 9999), true);
}

#[test]
fn ranges_can_be_refused_or_pressed_on() {
    let origin = origin(&["wrong-range=416", "wrong-range=unasked"]);
    let received = get(&origin, "/blob", &["Range: bytes=100-199"]);
    assert_eq!((416, Some("bytes */10000")), (received.status(), received.header("Content-Range")));
    let received = get(&origin, "/blob", &[]);
    assert_eq!((206, 10_000), (received.status(), received.body.len()));
}

#[test]
fn swapped_bytes_keep_size_and_mark() {
    let origin = origin(&["swap#2"]);
    let (first, second) = (get(&origin, "/blob", &[]), get(&origin, "/blob", &[]));
    assert_eq!(first.header("ETag"), second.header("ETag"));
    assert_eq!(first.header("Content-Length"), second.header("Content-Length"));
    let inverted: Vec<_> = first.body.iter().map(|byte| !byte).collect();
    assert_eq!(inverted, second.body);
}

#[test]
fn another_mark_is_obeyed_or_not() {
    let true_etag = get(&origin(&[]), "/blob", &[]).header("ETag").unwrap().to_owned();
    let resumed = |rule: &str, condition: &str| {
        let headers = ["Range: bytes=5-", &format!("{condition}: {true_etag}")];
        let received = get(&origin(&[rule]), "/blob", &headers);
        (received.status(), received.header("ETag").map(str::to_owned))
    };
    let (status, etag) = resumed("etag", "If-Range");
    assert_eq!(200, status);
    assert!(etag.is_some_and(|etag| etag != true_etag));
    assert_eq!(412, resumed("etag", "If-Match").0);
    let (status, etag) = resumed("etag=ignore", "If-Range");
    assert_eq!(206, status);
    assert!(etag.is_some_and(|etag| etag != true_etag));
    assert_eq!((200, Some(format!("W/{true_etag}"))), resumed("etag=weak", "If-Range"));
    assert_eq!((200, None), resumed("etag=none", "If-Range"));
}

#[test]
fn an_object_that_was_replaced_has_other_bytes_and_another_mark() {
    let origin = origin(&["swap@/blob#2..", "etag@/blob#2.."]);
    let first = get(&origin, "/blob", &["Range: bytes=0-4999"]);
    let guard = format!("If-Range: {}", first.header("ETag").unwrap());
    let second = get(&origin, "/blob", &["Range: bytes=5000-", &guard]);
    assert_eq!((200, 10_000), (second.status(), second.body.len()));
    assert_ne!(whole(), second.body);
}

#[test]
fn gzip_comes_unasked_and_can_be_unpacked() {
    let origin = origin(&["gzip"]);
    let headers = ["Range: bytes=5-9", "Accept-Encoding: identity"];
    let received = get(&origin, "/blob", &headers);
    assert_eq!((200, Some("gzip")), (received.status(), received.header("Content-Encoding")));
    assert_eq!(None, received.header("Content-Length"));
    let (zipped, complete) = unchunked(&received.body);
    assert!(complete);
    // One stored block: ten bytes of header, five of block, then the bytes themselves.
    assert_eq!([0x1f, 0x8b, 8], zipped[..3]);
    assert_eq!(whole(), zipped[15..10_015]);
    assert_eq!(10_000_u32.to_le_bytes(), zipped[10_019..]);
}

#[test]
fn lengths_are_too_small_or_too_large() {
    let received = get(&origin(&["short=10"]), "/blob", &[]);
    assert_eq!((Some("9990"), End::Fin), (received.header("Content-Length"), received.end));
    assert_eq!(whole(), received.body);
    let received = get(&origin(&["long"]), "/blob", &["Range: bytes=0-9"]);
    assert_eq!((Some("1010"), End::Fin), (received.header("Content-Length"), received.end));
    assert_eq!(10, received.body.len());
}

#[test]
fn one_bit_is_flipped_where_the_byte_is_sent() {
    let origin = origin(&["flip:at=7000"]);
    let differing = |received: &[u8], start: u64| {
        let expected = bytes_of(&blob(), start, start + received.len() as u64);
        let pairs = expected.iter().zip(received).enumerate();
        pairs.filter(|(_, (a, b))| a != b).map(|(i, (a, b))| (i, a ^ b)).collect::<Vec<_>>()
    };
    assert_eq!(vec![(7000, 1)], differing(&get(&origin, "/blob", &[]).body, 0));
    let received = get(&origin, "/blob", &["Range: bytes=6000-7999"]);
    assert_eq!(vec![(1000, 1)], differing(&received.body, 6000));
    let received = get(&origin, "/blob", &["Range: bytes=0-6999"]);
    assert_eq!(Vec::<(usize, u8)>::new(), differing(&received.body, 0));
    assert_eq!(2, origin.stats().faults["flip:at=7000"]);
}

#[test]
fn statuses_come_in_bursts() {
    let origin = origin(&["status=502#2..3"]);
    let statuses: Vec<_> = (0..4).map(|_| get(&origin, "/blob", &[]).status()).collect();
    assert_eq!(vec![200, 502, 502, 200], statuses);
}

#[test]
fn retry_after_has_every_form() {
    let told = |rules: &[&str]| {
        let received = get(&origin(rules), "/blob", &[]);
        (received.status(), received.header("Retry-After").unwrap().to_owned())
    };
    assert_eq!((429, "2".to_owned()), told(&["retry-after=2"]));
    assert_eq!((503, "1.5".to_owned()), told(&["status", "retry-after=1.5"]));
    let date = "Fri, 31 Dec 1999 23:59:59 GMT";
    assert_eq!((429, date.to_owned()), told(&[&format!("retry-after={date}")]));
    let (status, date) = told(&["retry-after=date+30s"]);
    assert_eq!((429, 29, true), (status, date.len(), date.ends_with(" GMT")));
}

#[test]
fn redirects_lead_elsewhere() {
    let location = |rule: &str, path: &str| {
        let received = get(&origin(&[rule]), path, &[]);
        assert_eq!(302, received.status());
        received.header("Location").unwrap().to_owned()
    };
    assert_eq!("http://h:1/blob", location("redirect=http://h:1", "/blob"));
    assert_eq!("http://h:1/x", location("redirect=http://h:1/x", "/blob"));
    assert_eq!("/blob?hop=1", location("redirect-loop", "/blob"));
    assert_eq!("/blob?hop=8", location("redirect-loop", "/blob?hop=7"));
}

#[test]
fn old_versions_end_with_the_connection() {
    let received = get(&origin(&["http10"]), "/blob", &[]);
    assert!(received.head.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!((Some("10000"), End::Fin), (received.header("Content-Length"), received.end));
    let received = get(&origin(&["http10=close"]), "/blob", &[]);
    assert_eq!((None, &whole()), (received.header("Content-Length"), &received.body));
}

#[test]
fn signed_urls_pass_while_they_are_fresh() {
    let origin = origin(&["expire=1h"]);
    let location = get(&origin, "/blob", &[]).header("Location").unwrap().to_owned();
    assert_eq!(200, get(&origin, &location, &[]).status());
    let forged = location.replace("signed=", "signed=1");
    assert_eq!(403, get(&origin, &forged, &[]).status());
    assert_eq!(1, origin.stats().faults["expire=1h"]);
    // Another rule does not know the old signature's age, but the origin's clock does.
    origin.update(|settings| settings.faults = vec!["expire=0".parse().unwrap()]);
    while get(&origin, &location, &[]).status() == 200 {}
    assert_eq!(403, get(&origin, &location, &[]).status());
}

#[test]
fn rules_are_limited_by_path_and_by_the_bytes_of_the_object() {
    let blobs = vec![Blob::new("a.bin", 1000, 1), Blob::new("b.txt", 1000, 1)];
    let origin = Origin::start(Options { blobs, ..Options::default() }).unwrap();
    origin.update(|settings| {
        settings.faults = vec!["status=500@*.bin#1:at=900".parse().unwrap()];
    });
    let status = |path, range| get(&origin, path, &[range]).status();
    assert_eq!(206, status("/b.txt", "Range: bytes=900-"));
    assert_eq!(206, status("/a.bin", "Range: bytes=0-899"));
    assert_eq!(500, status("/a.bin", "Range: bytes=800-999"));
    assert_eq!(206, status("/a.bin", "Range: bytes=800-999"));
}

#[test]
fn heads_lie_like_replies() {
    let origin = origin(&["etag=weak"]);
    let received = request(origin.address(), "HEAD", "/blob", &[], "");
    assert!(received.header("ETag").unwrap().starts_with("W/"));
}
