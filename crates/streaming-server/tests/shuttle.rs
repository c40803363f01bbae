//! The hand-over and the door under random schedules: nothing is lost, doubled or reordered, no wake is
//! missed, a stream that is given up is cancelled once, and whoever leaves lets the next one in.
//!
//! `SHUTTLE_ITERATIONS` sets how many schedules each test tries, and `SHUTTLE_SEED` what they are drawn
//! from; a test prints its seed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner};
use streaming_server::admission::checked::Visitors;
use streaming_server::handover::checked::{Consumer, Seen, ends};

fn iterations() -> usize {
    let set = std::env::var("SHUTTLE_ITERATIONS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2000)
}

/// Tries random schedules, drawn from a seed that is printed.
fn explore(work: impl Fn() + Send + Sync + 'static) {
    let set = std::env::var("SHUTTLE_SEED").ok();
    let seed = set.and_then(|text| text.parse().ok()).unwrap_or_else(rand_seed);
    println!("SHUTTLE_SEED={seed}");
    let scheduler = RandomScheduler::new_from_seed(seed, iterations());
    Runner::new(scheduler, Config::new()).run(work);
}

/// Another one in each run.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Runs both ends under random schedules and hands what came of it to `judge`.
fn check(
    tokens: u64,
    backlog_bytes: u64,
    burst: usize,
    pieces_max: usize,
    judge: fn(u64, String, Seen),
) {
    explore(move || {
        let (producer, consumer) = ends(tokens, backlog_bytes);
        let produced = shuttle::thread::spawn(move || producer.run(burst));
        let deliver = shuttle::future::spawn(Consumer::deliver(consumer.outlet()));
        let text = shuttle::future::block_on(consumer.read(pieces_max));
        let seen = produced.join().unwrap();
        deliver.abort();
        judge(tokens, text, seen);
    });
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

/// Clients of two keys come, wait, run and go, some of them while they wait. There are never more than
/// may run, nobody waits for ever, and the last one leaves the door as it was.
#[test]
fn whoever_leaves_lets_the_next_one_in() {
    explore(|| {
        let visitors = Visitors::new(2, 3);
        let threads: Vec<_> = (0..5)
            .map(|number| {
                let visitors = visitors.clone();
                shuttle::thread::spawn(move || visitors.visit(number % 2, number == 3))
            })
            .collect();
        let ran = threads.into_iter().map(|thread| thread.join().unwrap());
        let ran = ran.filter(|ran| *ran).count();
        // Two run at once and three wait: nobody is refused but who gave up.
        assert!((4..=5).contains(&ran), "{ran}");
        assert!(visitors.most_at_once() <= 2);
        assert_eq!((0, 0), visitors.counts());
    });
}
