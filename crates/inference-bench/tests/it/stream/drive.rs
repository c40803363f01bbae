//! What a run records, and how it counts what goes wrong.

use std::time::{Duration, Instant};

use inference_bench::stream::{
    Arrival, Dialect, Endpoint, Failure, Figures, Kind, Outcome, Plan, RequestRecord, Sequence,
    Target, Trace,
};
use testkit::{Schedule, TokenSource};

use super::server::{Then, answer, answer_each, answer_early, once, run, stream};

const MS: Duration = Duration::from_millis(1);

fn source(interval: Duration) -> TokenSource {
    TokenSource::start(Schedule { interval, ..Schedule::default() }).unwrap()
}

#[test]
fn every_token_of_every_stream_is_recorded() {
    for endpoint in [Endpoint::Completions, Endpoint::Chat] {
        let source = source(MS);
        let target = Target { endpoint, tokens: 20, ..Target::new(source.url()) };
        let records = run(&target, Plan::closed(8));
        assert_eq!(8, records.len());
        for record in &records {
            assert!(record.is_ok(), "{record:?}");
            assert_eq!((20, Some(20)), (record.tokens(), record.usage_tokens));
            let expected = Sequence { numbered: 20, ..Sequence::default() };
            assert_eq!(Some(expected), record.sequence);
            assert!(record.token_events().all(|event| event.emit_ns.is_some()));
            assert!(record.events.is_sorted_by_key(|event| event.recv_ns));
            assert_eq!(Some(Kind::Done), record.events.last().map(|event| event.kind));
            let sent_ns = record.sent_ns.unwrap();
            assert!(record.intended_ns <= record.issued_ns && record.issued_ns <= sent_ns);
            assert!(sent_ns < record.events[0].recv_ns);
        }
    }
}

#[test]
fn connections_are_used_again() {
    let source = source(MS);
    let plan = Plan { requests: Some(12), ..Plan::closed(3) };
    let records = run(&Target::new(source.url()), plan);
    assert_eq!((12, 9), (records.len(), records.iter().filter(|r| r.reused).count()));
    assert_eq!(3, source.origin().stats().connections.opened);
    // Each request has its own sent instant, not that of its connection's first one.
    assert!(records.iter().all(|record| record.issued_ns <= record.sent_ns.unwrap()));
}

/// What a server answers on its connections, in turn, and which requests had one of their own.
#[track_caller]
fn check_reuse(first: &str, expected: bool) {
    let done = "data: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let url = answer_each(vec![format!("{head}{first}").replace("DATA", done).into_bytes()]);
    let plan = Plan { requests: Some(2), ..Plan::closed(1) };
    let records = run(&Target { timeout: 500 * MS, ..Target::new(url) }, plan);
    assert!(records.iter().all(RequestRecord::is_ok), "{first}: {records:?}");
    assert_eq!((false, expected), (records[0].reused, records[1].reused), "{first}");
}

#[test]
fn a_connection_is_used_again_only_if_nothing_is_left_in_it() {
    check_reuse("content-length: 14\r\n\r\nDATA", true);
    check_reuse("transfer-encoding: chunked\r\n\r\ne;x=y\r\nDATA\r\n0\r\na: b\r\n\r\n", true);
    check_reuse("content-length: 14\r\nconnection: close\r\n\r\nDATA", false);
    // What nobody asked for may be the answer to the next request, and is not what it gets.
    check_reuse(
        "content-length: 14\r\n\r\nDATAHTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        false,
    );
    // Its end does not come: after [DONE] that is no failure, but the connection is not used again.
    check_reuse("content-length: 15\r\n\r\nDATA", false);
    check_reuse("transfer-encoding: chunked\r\n\r\ne\r\nDATA\r\n", false);
    check_reuse("transfer-encoding: chunked\r\n\r\ne\r\nDATAx", false);
}

/// A server that closes after each reply without having said so.
#[test]
fn a_connection_that_was_closed_while_it_was_idle_is_not_used() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 14\r\n\r\n";
    let url = answer(vec![format!("{head}data: [DONE]\n\n").into_bytes()], Then::Close);
    let records = run(&Target::new(url), Plan::open(20.0, Arrival::Constant, 200 * MS));
    assert_eq!(4, records.len());
    assert!(records.iter().all(|record| record.is_ok() && !record.reused), "{records:?}");
}

#[test]
fn what_is_sent_ahead_of_a_reply_is_passed_over() {
    let ahead = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
    let record = once(&answer([vec![ahead], stream("data: [DONE]\n\n")].concat(), Then::Close));
    assert!(record.is_ok(), "{record:?}");
    assert_eq!(Some(200), record.status);
}

/// A server that answers a request of many megabytes after its first kilobyte, and hears no more of it:
/// its answer counts, and nothing waits for the rest to be taken.
#[test]
fn an_answer_before_the_end_of_the_request_counts() {
    let reply = b"HTTP/1.1 413 Too Long\r\ncontent-length: 4\r\n\r\nless".to_vec();
    for then in [Then::Close, Then::Hang] {
        let url = answer_early(reply.clone(), then);
        let target =
            Target { prompt: "a".repeat(32 << 20), timeout: 5000 * MS, ..Target::new(url) };
        let records = run(&target, Plan { requests: Some(2), ..Plan::closed(1) });
        for record in &records {
            check(record, Failure::Status, "less");
            assert!(!record.reused);
        }
    }
}

#[test]
fn an_open_loop_sends_all_that_is_due() {
    let source = source(MS);
    let plan = Plan::open(500.0, Arrival::Poisson, 400 * MS);
    let records = run(&Target::new(source.url()), plan.clone());
    let mut intended: Vec<u64> = records.iter().map(|record| record.intended_ns).collect();
    intended.sort_unstable();
    let due: Vec<u64> = inference_bench::stream::Arrivals::new(Arrival::Poisson, 500.0, plan.seed)
        .take_while(|&due_ns| due_ns < 400_000_000)
        .map(|due_ns| due_ns + intended[0])
        .collect();
    assert_eq!(due.len(), intended.len());
    assert!(records.iter().all(RequestRecord::is_ok));
}

#[test]
fn what_cannot_be_sent_is_listed() {
    let source = source(50 * MS);
    let plan = Plan { in_flight_max: 5, ..Plan::open(200.0, Arrival::Constant, 100 * MS) };
    let records = run(&Target { tokens: 8, ..Target::new(source.url()) }, plan);
    let requests = Figures::of(&records, Dialect::Ours, None).requests;
    assert_eq!((20, 5, 15), (requests.planned, requests.sent, requests.not_sent));
}

#[test]
fn the_warm_up_is_marked() {
    let source = source(MS);
    let plan = Plan { warmup: 50 * MS, ..Plan::open(100.0, Arrival::Constant, 100 * MS) };
    let records = run(&Target::new(source.url()), plan);
    assert_eq!((10, 5), (records.len(), records.iter().filter(|r| r.warmup).count()));
}

#[track_caller]
fn check(record: &RequestRecord, failure: Failure, words: &str) {
    match &record.outcome {
        Outcome::Failed { failure: told, detail } => {
            assert_eq!(failure, *told, "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_way_to_fail_is_counted_by_its_name() {
    let token = "data: {\"choices\":[{\"text\":\"token_0\"}]}\n\n";
    let close = |text: &str| once(&answer(stream(text), Then::Close));
    check(&once("http://127.0.0.1:1"), Failure::Connect, "127.0.0.1:1");
    check(&close(token), Failure::NoDone, "after 1 events");
    check(&close(&token[..20]), Failure::CutOff, "within an event");
    check(&close("data: {]\n\n"), Failure::BrokenStream, "no chunk");
    check(&close("data: \u{1}\n\n"), Failure::BrokenStream, "no chunk");
    check(&close("data: {\"error\":{\"message\":\"gone\"}}\n\n"), Failure::ErrorEvent, "gone");
    check(&close(&"data: x".repeat(200_000)), Failure::TooLong, "1048576 B");
    let reply = |head: &str, body: &str| {
        let length = body.len();
        let text = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
        once(&answer(vec![text.into_bytes()], Then::Close))
    };
    check(&reply("429 Too Many", "{\"error\":\"slow down\"}"), Failure::Status, "slow down");
    check(&reply("503 Busy", ""), Failure::Status, "503");
    check(&reply("200 OK\r\ncontent-type: text/html", "<p>"), Failure::NotAStream, "text/html");
}

/// Heads and bodies that are none, or do not end: told as what they are, and never a hang.
#[test]
fn broken_http_is_counted_by_its_name() {
    let raw = |text: String| once(&answer(vec![text.into_bytes()], Then::Close));
    let hang = |text: String| once(&answer(vec![text.into_bytes()], Then::Hang));
    check(&raw("what?\r\n\r\n".to_owned()), Failure::Connection, "no HTTP/1");
    check(&raw(String::new()), Failure::Connection, "the server closed it");
    check(&raw("HTTP/1.1 200".to_owned()), Failure::Connection, "before a reply");
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(1 << 20));
    check(&hang(endless), Failure::Connection, "above 65536 B");
    check(&hang("HTTP/1.1 100 Go\r\n\r\n".repeat(1 << 16)), Failure::Connection, "above 65536 B");
    let body = |fields: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{fields}\r\n\r\n{body}")
    };
    check(&hang(body("content-length: +5", "")), Failure::Connection, "Content-Length");
    check(&raw(body("content-length: 99", "data: ")), Failure::CutOff, "within the body");
    let chunks = |text: &str| body("transfer-encoding: chunked", text);
    check(&raw(chunks("ff\r\n")), Failure::CutOff, "within the body");
    check(&raw(chunks("")), Failure::CutOff, "within the body");
    check(&hang(chunks("nonsense\r\n")), Failure::CutOff, "not made of chunks");
    check(&hang(chunks("10000000000000000\r\n")), Failure::CutOff, "64 bits");
    check(&hang(chunks(&format!("5;{}", "x".repeat(1 << 20)))), Failure::CutOff, "16384 B");
    check(
        &hang(chunks(&format!("0\r\n{}", "a: b\r\n".repeat(1 << 16)))),
        Failure::CutOff,
        "16384 B",
    );
    check(&raw(chunks("0\r\n\r\n")), Failure::NoDone, "after 0 events");
}

#[test]
fn a_silent_server_is_a_time_out_and_no_hang() {
    let token = "data: {\"choices\":[{\"text\":\"token_0\"}]}\n\n";
    for pieces in [stream(token), vec![b"HTTP/1.1".to_vec()], Vec::new()] {
        let target = Target { timeout: 100 * MS, ..Target::new(answer(pieces, Then::Hang)) };
        let begin = Instant::now();
        let records = run(&target, Plan::closed(1));
        check(&records[0], Failure::TimedOut, "100 ms");
        assert!(begin.elapsed() < 5000 * MS);
    }
}

/// After `[DONE]` there is nothing to wait for, and a time-out then is none.
#[test]
fn a_body_that_never_ends_after_its_end_is_no_failure() {
    let url = answer(stream("data: [DONE]\n\n"), Then::Hang);
    assert!(once(&url).is_ok());
    let target = Target { timeout: 300 * MS, ..Target::new(url) };
    assert!(run(&target, Plan::closed(1))[0].is_ok());
}

#[test]
fn a_server_that_refuses_is_not_asked_as_fast_as_it_can_refuse() {
    let plan = Plan { requests: None, duration: Some(200 * MS), ..Plan::closed(1) };
    let records = run(&Target::new("http://127.0.0.1:1"), plan);
    assert!((2..=21).contains(&records.len()), "{}", records.len());
}

#[test]
fn a_stream_in_one_write_is_marked_as_such() {
    let event = |k: u32| format!("data: {{\"choices\":[{{\"text\":\"token_{k}\"}}]}}\n\n");
    let text: String = (0..4).map(event).collect::<String>() + "data: [DONE]\n\n";
    let record = once(&answer(stream(&text), Then::Close));
    assert!(record.is_ok());
    let marks: Vec<bool> = record.token_events().map(|event| event.coalesced).collect();
    assert_eq!(vec![true, true, true, false], marks);
    assert_eq!(0, Figures::of(&[record], Dialect::Ours, None).icl.n());
}

/// A reply that comes byte by byte, each in a read of its own.
#[test]
fn a_stream_split_at_every_byte_is_whole() {
    let text = "data: {\"choices\":[{\"text\":\"token_0\"}]}\n\ndata: [DONE]\n\n";
    let whole = stream(text).concat();
    let pieces: Vec<Vec<u8>> = whole.iter().map(|&byte| vec![byte]).collect();
    let record = once(&answer(pieces, Then::Close));
    assert!(record.is_ok(), "{record:?}");
    assert_eq!(1, record.tokens());
}

#[test]
fn a_trace_is_replayed_at_its_times_and_of_its_lengths() {
    let source = source(MS);
    let line = |ms: u32, tokens: u32| {
        format!(
            "{{\"timestamp\":{ms},\"input_length\":{},\"output_length\":{tokens}}}\n",
            5 * tokens
        )
    };
    let text: String = (0..20).map(|k| line(10 * k, k + 1)).collect();
    let trace = Trace::parse(&text).unwrap();
    let records = run(&Target::new(source.url()), Plan::replay(trace));
    assert_eq!(20, records.len());
    let first_ns = records.iter().map(|record| record.intended_ns).min().unwrap();
    for record in &records {
        let k = record.number;
        assert!(record.is_ok(), "{record:?}");
        assert_eq!((k + 1, k + 1), (u64::from(record.tokens_asked), record.tokens()));
        assert_eq!(10_000_000 * k, record.intended_ns - first_ns);
    }
}
