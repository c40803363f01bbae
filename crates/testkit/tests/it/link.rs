//! A link carries bytes unchanged, and breaks them as told.

use testkit::{Link, LinkSettings, Options, Origin};

use crate::wire::{End, blob, bytes_of, exchange, get, origin, request, until};

const GET: &str = "GET /blob HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn link(origin: &Origin, rules: &[&str]) -> Link {
    let faults = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Link::start(origin.address(), LinkSettings { faults, ..LinkSettings::default() }).unwrap()
}

#[test]
fn bytes_arrive_unchanged() {
    let origin = origin(&[]);
    let link = link(&origin, &[]);
    let received = exchange(link.address(), GET);
    assert_eq!((End::Fin, bytes_of(&blob(), 0, 10_000)), (received.end, received.body));
    let stats = link.stats();
    assert_eq!((1, GET.len() as u64), (stats.opened, stats.up_bytes));
    assert_eq!(received.head.len() as u64 + 10_000, stats.down_bytes);
}

#[track_caller]
fn check_broken(rule: &str, expected_bytes: usize, expected_end: End) {
    let origin = origin(&[]);
    let link = link(&origin, &[rule]);
    let received = exchange(link.address(), GET);
    assert_eq!(expected_bytes, received.head.len() + received.body.len(), "{rule}");
    assert_eq!(expected_end, received.end, "{rule}");
    assert_eq!(1, link.stats().faults[rule]);
}

#[test]
fn connections_are_cut_reset_and_half_closed_after_so_many_bytes() {
    check_broken("cut:at=1000", 1000, End::Fin);
    check_broken("cut", 0, End::Fin);
    check_broken("rst:at=5000", 5000, End::Reset);
    check_broken("half-close:at=10", 10, End::Fin);
}

#[test]
fn rules_choose_connections_by_number() {
    let origin = origin(&[]);
    let link = link(&origin, &["cut#2:at=0"]);
    let lengths: Vec<_> = (0..3).map(|_| exchange(link.address(), GET).body.len()).collect();
    assert_eq!(vec![10_000, 0, 10_000], lengths);
}

#[test]
fn a_short_stall_goes_on() {
    check_broken_not("stall=5ms:at=100");
    check_broken_not("trickle=1GB/s:at=100");
    check_broken_not("cap=1GB/s");
}

#[track_caller]
fn check_broken_not(rule: &str) {
    let origin = origin(&[]);
    let link = link(&origin, &[rule]);
    assert_eq!(bytes_of(&blob(), 0, 10_000), exchange(link.address(), GET).body);
    assert_eq!(1, link.stats().faults[rule]);
}

#[test]
fn a_paused_link_holds_all_bytes_until_it_goes_on() {
    let origin = origin(&[]);
    let link =
        Link::start(origin.address(), LinkSettings { paused: true, ..LinkSettings::default() });
    let link = link.unwrap();
    let address = link.address();
    let client = std::thread::spawn(move || exchange(address, GET));
    until(|| link.stats().opened == 1);
    assert_eq!((0, 0), (link.stats().up_bytes, origin.stats().requests));
    link.configure(LinkSettings::default()).unwrap();
    assert_eq!(10_000, client.join().unwrap().body.len());
}

#[test]
fn all_open_connections_can_be_reset() {
    let origin = origin(&["stall:at=100"]);
    let link = link(&origin, &[]);
    let address = link.address();
    let client = std::thread::spawn(move || exchange(address, GET));
    until(|| 100 <= origin.stats().sent_bytes && 100 <= link.stats().down_bytes);
    link.reset_open();
    assert_eq!(End::Reset, client.join().unwrap().end);
}

#[test]
fn a_target_that_is_not_there_resets() {
    let gone = origin(&[]).address();
    let link = Link::start(gone, LinkSettings::default()).unwrap();
    assert_eq!(End::Reset, exchange(link.address(), GET).end);
}

#[test]
fn what_a_link_cannot_do_is_refused() {
    let refused = |rule: &str| {
        let faults = vec![rule.parse().unwrap()];
        let settings = LinkSettings { faults, ..LinkSettings::default() };
        Link::start("127.0.0.1:1".parse().unwrap(), settings).unwrap_err().to_string()
    };
    assert!(refused("gzip").starts_with("a link cannot do `gzip`, only cut"));
    assert!(refused("cut@/a").starts_with("a link sees no paths"));
}

#[test]
fn an_origin_can_be_a_link_with_control_routes() {
    let origin = origin(&[]);
    let front =
        Origin::start(Options { link: Some(origin.address()), ..Options::default() }).unwrap();
    assert_eq!(10_000, get(&front, "/blob", &[]).body.len());
    let stats = get(&front, "/_stats", &[]);
    let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
    assert_eq!(1, stats["link"]["opened"]);
    let config = r#"{"faults":["cut:at=50"]}"#;
    assert_eq!(200, request(front.address(), "PUT", "/_config", &[], config).status());
    let cut = get(&front, "/blob", &[]);
    assert_eq!(50, cut.head.len() + cut.body.len());
    let config = r#"{"faults":["gzip"]}"#;
    assert_eq!(400, request(front.address(), "PUT", "/_config", &[], config).status());
}
