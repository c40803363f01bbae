//! The hand-over under random schedules: nothing is lost, doubled or reordered, no wake is missed, and
//! a stream that is given up is cancelled once.
//!
//! `SHUTTLE_ITERATIONS` sets how many schedules each test tries.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use streaming_server::handover::checked::{Consumer, Seen, ends};

fn iterations() -> usize {
    let set = std::env::var("SHUTTLE_ITERATIONS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2000)
}

/// Runs both ends under random schedules and hands what came of it to `judge`.
fn check(
    tokens: u64,
    backlog_bytes: u64,
    burst: usize,
    pieces_max: usize,
    judge: fn(u64, String, Seen),
) {
    shuttle::check_random(
        move || {
            let (producer, consumer) = ends(tokens, backlog_bytes);
            let produced = shuttle::thread::spawn(move || producer.run(burst));
            let deliver = shuttle::future::spawn(Consumer::deliver(consumer.outlet()));
            let text = shuttle::future::block_on(consumer.read(pieces_max));
            let seen = produced.join().unwrap();
            deliver.abort();
            judge(tokens, text, seen);
        },
        iterations(),
    );
}

fn whole(tokens: u64) -> String {
    (0..tokens).map(|token| format!("{token};")).collect()
}

#[test]
fn every_token_arrives_once_and_in_order() {
    // Room for two tokens of 32 bytes and their text.
    check(12, 70, 3, usize::MAX, |tokens, text, seen| {
        assert_eq!(whole(tokens), text);
        assert_eq!((tokens, 0), (seen.taken, seen.cancelled));
    });
}

#[test]
fn a_token_larger_than_the_backlog_passes() {
    check(5, 1, 2, usize::MAX, |tokens, text, seen| {
        assert_eq!((whole(tokens), tokens), (text, seen.taken));
    });
}

#[test]
fn a_stream_that_is_given_up_is_cancelled_at_most_once() {
    check(12, 70, 3, 4, |tokens, text, seen| {
        assert!(whole(tokens).starts_with(&text), "{text}");
        assert!(seen.cancelled <= 1 && seen.taken <= tokens);
        // Whatever was taken beyond the backlog had been read.
        let read = text.matches(';').count() as u64;
        assert!(seen.taken <= read + 4, "{seen:?} of which {read} were read");
    });
}
