//! Whatever clients do, each gets a beginning of what was said, and whoever reads on gets all of it.
//!
//! `PROPTEST_CASES` sets how many schedules are tried.

use std::io::Read;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use streaming_server::Options;
use testkit::{SseFrame, SseReader};

use crate::helpers::{serve_script, texts};

/// What one client does.
#[derive(Clone, Debug)]
struct Client {
    tokens: u64,
    choices: u64,
    /// Sizes of its reads, over and over.
    reads: Vec<usize>,
    /// Whether it yields to others between reads.
    dawdles: bool,
    /// It goes after so many bytes, if at all.
    gone_after: Option<usize>,
}

fn client() -> impl Strategy<Value = Client> {
    let reads = proptest::collection::vec(prop_oneof![1_usize..40, 1000..100_000_usize], 1..4);
    let gone_after = proptest::option::weighted(0.4, 0_usize..200_000);
    (1_u64..2000, 1_u64..4, reads, any::<bool>(), gone_after).prop_map(
        |(tokens, choices, reads, dawdles, gone_after)| Client {
            // Reading byte by byte is slow enough as it is.
            tokens: if reads.iter().any(|size| *size < 40) { tokens / 8 + 1 } else { tokens },
            choices,
            reads,
            dawdles,
            gone_after,
        },
    )
}

/// Reads as a client would; returns the payload, and whether it was there to the end.
fn read(client: &Client, mut stream: impl Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    for size in client.reads.iter().cycle() {
        let limit =
            client.gone_after.map_or(*size, |gone| (*size).min(gone - bytes.len().min(gone)));
        if limit == 0 {
            return (bytes, false);
        }
        let mut buffer = vec![0; limit];
        match stream.read(&mut buffer).expect("a stream goes on or ends") {
            0 => return (bytes, true),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
        if client.dawdles {
            thread::yield_now();
        }
    }
    (bytes, true)
}

/// The events that arrived whole, whatever framing was cut.
fn events(bytes: &[u8]) -> Vec<Value> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Vec::new();
    };
    let mut rest = &bytes[head + 4..];
    let mut reader = SseReader::new();
    let mut events = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let data = &rest[end + 2..];
        for frame in reader.push(&data[..size.min(data.len())]).unwrap() {
            if let SseFrame::Data(value) = frame {
                events.push(value);
            }
        }
        if size == 0 || data.len() < size + 2 {
            break;
        }
        rest = &data[size + 2..];
    }
    events
}

/// A server of these tests that says nothing for so long has lost something: it would otherwise be waited
/// for without end, while its comments keep the stream alive.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A failure that is found by waiting is not made smaller for longer than this.
const SHRINK_MS_MAX: u32 = 30_000;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig { max_shrink_time: SHRINK_MS_MAX, ..ProptestConfig::default() };
    ProptestConfig { cases: cases.unwrap_or(24), max_shrink_iters: 50, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        clients in proptest::collection::vec(client(), 1..6),
        backlog_bytes_max in prop_oneof![1_usize..200, 1000..50_000_usize],
    ) {
        let said: Vec<String> = (0..7).map(|token| format!("<{token}>")).collect();
        let said_bytes: Vec<&[u8]> = said.iter().map(String::as_bytes).collect();
        let keep_alive = 10 * SILENCE_MAX;
        let options = Options { backlog_bytes_max, keep_alive, ..Options::default() };
        let (served, log) = serve_script(options, &said_bytes, true);
        let read: Vec<_> = thread::scope(|scope| {
            let ask = |client: &Client| {
                let Client { tokens, choices, .. } = client;
                let body = format!(
                    r#"{{"prompt":"a","max_tokens":{tokens},"n":{choices},"stream":true}}"#
                );
                let mut stream = served.connect();
                stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
                let raw = crate::helpers::request("/v1/completions", &body, "Connection: close\r\n");
                std::io::Write::write_all(&mut stream, &raw).unwrap();
                read(client, stream)
            };
            let threads: Vec<_> =
                clients.iter().map(|client| scope.spawn(move || ask(client))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (client, (bytes, whole)) in clients.iter().zip(&read) {
            let events = events(bytes);
            for choice in 0..client.choices {
                let got = texts(&events, choice);
                let expected: Vec<_> =
                    said.iter().cycle().take(client.tokens as usize).cloned().collect();
                if *whole {
                    prop_assert_eq!(&expected, &got);
                } else {
                    prop_assert!(expected.starts_with(&got));
                }
            }
        }
        // Each sequence ended in exactly one way.
        let all: u64 = clients.iter().map(|client| client.choices).sum();
        log.wait(|seen| (seen.ended.len() + seen.cancelled.len()) as u64 >= seen.started.len() as u64);
        let seen = log.seen();
        prop_assert!(seen.started.len() as u64 <= all);
        let mut ends: Vec<_> = seen.ended.iter().chain(&seen.cancelled).collect();
        let n_ends = ends.len();
        ends.sort_by_key(|id| format!("{id:?}"));
        ends.dedup();
        prop_assert_eq!((n_ends, seen.started.len()), (ends.len(), n_ends));
        served.end();
    }
}
