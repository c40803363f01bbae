//! The suite `download`: what links can give and how much of it comes; that files are right whatever
//! happens; that nothing is fetched twice.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use benches::download_world::{Brought, World, options, run};
use benches::model_cases;
use benches::suite::{self, Case, Context, Mode};
use download::{FetchOptions, Job};
use inference_bench::{CaseRecord, Limit};
use testkit::{Fault, Link, LinkSettings};

/// The least share of what a link can give.
const SHARE_MIN: f64 = 0.9;
/// The longest last tenth, in fair shares.
const TAIL_MAX: f64 = 1.2;
/// The least gain of eight connections where each is capped.
const GAIN_MIN: f64 = 3.0;
/// The least share of requests over connections that are open already.
const REUSE_MIN: f64 = 0.9;
const MB: u64 = 1_000_000;

fn main() -> ExitCode {
    let links = "_benchmark_concurrent_downloads";
    let recovery = "_benchmark_error_recovery";
    let mut cases = vec![
        Case::new("links/capped", links, 4.5, |c| link(c, &CAPPED)),
        Case::new("links/distant", links, 4.5, |c| link(c, &DISTANT)),
        Case::new("links/uneven", links, 4.5, |c| link(c, &UNEVEN)),
        Case::new("links/uneven_tail", links, 4.5, uneven_tail),
        Case::new("links/collapse_6", links, 4.5, |c| link(c, &COLLAPSE_6)),
        Case::new("links/collapse_12", links, 4.5, |c| link(c, &COLLAPSE_12)),
        Case::new("links/collapse_24", links, 4.5, |c| link(c, &COLLAPSE_24)),
        Case::new("links/halved", links, 5.0, |c| link(c, &HALVED)),
        Case::new("concurrency/8_over_1", links, 3.5, gain),
        Case::new("files/mixed_sizes", "test_mixed_model_size_performance", 0.5, mixed_sizes),
        Case::new("files/one_transfer", "test_lock_contention_performance", 0.5, one_transfer),
        Case::new("files/reuse", "_benchmark_connection_pooling", 1.0, reuse),
        Case::new("files/chunks_adaptive_over_fixed", "_benchmark_adaptive_chunking", 3.0, chunks),
        Case::new("files/critical_first", "_benchmark_queue_management", 0.3, critical_first),
        Case::new("errors/0", recovery, 0.3, |c| errors(c, 0.0)),
        Case::new("errors/10", recovery, 0.5, |c| errors(c, 0.1)),
        Case::new("errors/30", recovery, 0.8, |c| errors(c, 0.3)),
        Case::new("errors/timeout", "test_download_timeout_handling", 0.5, timeout),
        Case::new("errors/retries", "test_retry_performance", 0.3, retries),
        Case::new("scale/per_file", "_benchmark_scalability", 1.0, per_file),
    ];
    cases.extend(model_cases::cases());
    suite::main(&cases)
}

/// What a link is like, and what it can give.
struct Line {
    /// Bytes per second of all.
    rate: u64,
    /// Bytes per second of each connection.
    per_connection: Option<u64>,
    /// One way, and bytes in flight per connection.
    distance: Option<(Duration, u64)>,
    /// Of each four connections the second gets this rate.
    one_in_four: Option<u64>,
    /// Above so many bodies all together get little.
    collapse: Option<u64>,
    /// Half-way the rate is halved.
    is_halved: bool,
    connections_max: usize,
}

const PLAIN: Line = Line {
    rate: 40 * MB,
    per_connection: None,
    distance: None,
    one_in_four: None,
    collapse: None,
    is_halved: false,
    connections_max: 20,
};
const CAPPED: Line = Line { per_connection: Some(2 * MB), ..PLAIN };
const DISTANT: Line = Line { distance: Some((Duration::from_millis(50), 512 << 10)), ..PLAIN };
const UNEVEN: Line =
    Line { rate: 24 * MB, per_connection: Some(2 * MB), one_in_four: Some(MB / 5), ..PLAIN };
const COLLAPSE_6: Line =
    Line { rate: 24 * MB, per_connection: Some(4 * MB), collapse: Some(6), ..PLAIN };
const COLLAPSE_12: Line =
    Line { rate: 36 * MB, per_connection: Some(3 * MB), collapse: Some(12), ..PLAIN };
const COLLAPSE_24: Line = Line {
    rate: 48 * MB,
    per_connection: Some(2 * MB),
    collapse: Some(24),
    connections_max: 64,
    ..PLAIN
};
const HALVED: Line = Line { per_connection: Some(4 * MB), is_halved: true, ..PLAIN };
/// What a server gives when it has collapsed.
const COLLAPSED: u64 = MB;

/// For how long a link is filled.
fn seconds(mode: Mode) -> u64 {
    match mode {
        Mode::Pair => 1,
        Mode::Quick => 4,
        Mode::Comprehensive => 20,
        Mode::Stress => 120,
    }
}

fn faults(line: &Line) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(rate) = line.one_in_four {
        // As many connections as may ever be opened.
        let rules = (0..256).map(|k| format!("cap={rate}#{}", 4 * k + 2));
        faults.extend(rules.map(|rule| rule.parse().expect("a rule")));
    }
    if let Some(bodies) = line.collapse {
        faults.push(format!("collapse={bodies},{COLLAPSED}").parse().expect("a rule"));
    }
    faults
}

/// Fills a link for some seconds; returns what came, and the seconds that an ideal client would have taken.
fn fill(mode: Mode, line: &Line) -> (Brought, f64) {
    let seconds = seconds(mode);
    let bytes = line.rate * seconds;
    let world = World::new(&[bytes], 1);
    world.set(|settings| {
        settings.connection_bandwidth = line.per_connection;
        settings.bandwidth = Some(line.rate);
        settings.faults = faults(line);
    });
    let far = line.distance.map(|(latency, window)| {
        let settings = LinkSettings { latency, window: Some(window), ..LinkSettings::default() };
        Link::start(world.origin.address(), settings).expect("a port on loopback")
    });
    let address = far.as_ref().map_or(world.origin.address(), Link::address);
    let mut ideal = seconds as f64;
    let (options, jobs) = (options(line.connections_max), world.jobs(address));
    let running = std::thread::spawn(|| run(options, jobs));
    if line.is_halved {
        std::thread::sleep(Duration::from_secs(seconds) / 2);
        world.set(|settings| settings.bandwidth = Some(line.rate / 2));
        ideal *= 1.5;
    }
    let brought = running.join().expect("no transfer panics");
    assert_eq!(0, world.wrong(&brought), "the file is wrong: {:?}", brought.results);
    (brought, ideal)
}

fn link(context: &Context, line: &Line) -> CaseRecord {
    let (brought, ideal_s) = fill(context.mode, line);
    let share = ideal_s / brought.wall.as_secs_f64();
    let mut record = context.mode.judged("of the link", share, 1, Some(Limit::at_least(SHARE_MIN)));
    (record.bytes, record.expected) = (Some(brought.traffic.fetched_bytes), Some(1.0));
    record.beside.insert("ideal_s".to_owned(), ideal_s);
    let beside = [
        ("opened", brought.traffic.opened),
        ("recycled", brought.traffic.recycled),
        ("hedged_bytes", brought.traffic.hedged_bytes),
    ];
    record.beside.extend(beside.map(|(name, value)| (name.to_owned(), value as f64)));
    record.beside.extend(brought.last_tenth().map(|tail| ("last_tenth_shares".to_owned(), tail)));
    record
}

/// The last tenth where one connection in four is ten times slower.
fn uneven_tail(context: &Context) -> CaseRecord {
    let (brought, _) = fill(context.mode, &UNEVEN);
    let tail = brought.last_tenth().unwrap_or(f64::NAN);
    context.mode.judged("fair shares", tail, 1, Some(Limit::at_most(TAIL_MAX)))
}

/// How much faster more connections are where each is capped.
fn gain(context: &Context) -> CaseRecord {
    let time_with = |connections| {
        let world = World::new(&[6 * MB], 1);
        world.set(|settings| {
            settings.connection_bandwidth = Some(4 * MB);
            settings.latency = Duration::from_millis(2);
        });
        let brought = world.fetch(options(connections));
        assert_eq!(0, world.wrong(&brought), "the file is wrong");
        brought.wall.as_secs_f64()
    };
    let times = [1, 2, 4, 8, 16].map(time_with);
    let mut record =
        context.mode.judged("x", times[0] / times[3], 1, Some(Limit::at_least(GAIN_MIN)));
    record.expected = Some(8.0);
    let names = [
        "connections_1_s",
        "connections_2_s",
        "connections_4_s",
        "connections_8_s",
        "connections_16_s",
    ];
    let beside = names.map(str::to_owned).into_iter().zip(times);
    record.beside = beside.collect();
    record
}

fn none_wrong(mode: Mode, world: &World, brought: &Brought) -> CaseRecord {
    let wrong = world.wrong(brought) as f64;
    let mut record = mode.judged("wrong files", wrong, 1, Some(Limit::at_most(0.0)));
    record.beside.insert("wall_s".to_owned(), brought.wall.as_secs_f64());
    record.beside.insert("requests".to_owned(), brought.traffic.requests as f64);
    record
}

fn mixed_sizes(context: &Context) -> CaseRecord {
    let world = World::new(&[0, 1, 4 << 10, 100_000, (1 << 20) + 1, 8 * MB], 60);
    none_wrong(context.mode, &world, &world.fetch(options(20)))
}

/// Eight requests for one file: bytes that left the origin, in sizes of the file.
fn one_transfer(context: &Context) -> CaseRecord {
    let size = 64 << 20;
    let world = World::new(&[size], 1);
    let job = world.jobs(world.origin.address()).remove(0);
    let brought = run(options(20), vec![job; 8]);
    assert!(brought.results.iter().all(Result::is_ok), "{:?}", brought.results);
    let sent = world.origin.stats().sent_bytes as f64 / size as f64;
    // Each may ask its first question, a mebibyte, before it sees the others.
    context.mode.judged("transfers", sent, 1, Some(Limit::at_most(1.2)))
}

/// The share of requests over connections that were open already; beside it, what that saves on a link.
fn reuse(context: &Context) -> CaseRecord {
    let world = World::new(&[20_000], 200);
    let brought = world.fetch(options(20));
    assert_eq!(0, world.wrong(&brought), "files are wrong");
    let traffic = brought.traffic;
    let share = traffic.reused as f64 / traffic.requests as f64;
    let mut record = context.mode.judged("of requests", share, 1, Some(Limit::at_least(REUSE_MIN)));
    record.beside.insert("without_reuse_times_as_long".to_owned(), without_reuse());
    record
}

/// The time from 5 ms away where each answer ends its connection, over that where none does.
fn without_reuse() -> f64 {
    let time_with = |faults: &[&str]| {
        let world = World::new(&[20_000], 200);
        world.set(|settings| {
            settings.faults = faults.iter().map(|rule| rule.parse().expect("a rule")).collect();
        });
        let settings =
            LinkSettings { latency: Duration::from_millis(5), ..LinkSettings::default() };
        let link = Link::start(world.origin.address(), settings).expect("a port on loopback");
        let brought = run(options(20), world.jobs(link.address()));
        assert_eq!(0, world.wrong(&brought), "files are wrong: {:?}", brought.results);
        brought.wall.as_secs_f64()
    };
    time_with(&["http10"]) / time_with(&[])
}

/// The time with parts that fit themselves, over the time with parts of a mebibyte, on a distant link.
fn chunks(context: &Context) -> CaseRecord {
    let time_with = |part_bytes| {
        let world = World::new(&[30 * MB], 1);
        let settings = LinkSettings {
            latency: Duration::from_millis(40),
            window: Some(1 << 20),
            ..LinkSettings::default()
        };
        let link = Link::start(world.origin.address(), settings).expect("a port on loopback");
        let options = FetchOptions { part_bytes, ..options(4) };
        run(options, world.jobs(link.address())).wall.as_secs_f64()
    };
    let ratio = time_with(None) / time_with(Some(1 << 20));
    context.mode.judged("x", ratio, 1, Some(Limit::at_most(1.0)))
}

/// How many files ended before one of a better class that waited beside them.
fn critical_first(context: &Context) -> CaseRecord {
    let world = World::new(&[50_000], 60);
    let jobs = world.jobs(world.origin.address());
    let class = |k: usize| u8::from(k < 50);
    let jobs: Vec<_> =
        jobs.into_iter().enumerate().map(|(k, job)| Job { class: class(k), ..job }).collect();
    let brought = run(FetchOptions { files_max: 1, ..options(4) }, jobs);
    assert_eq!(0, world.wrong(&brought), "files are wrong");
    // The first was started before the others were there.
    let early = brought.order[1..11].iter().filter(|&&k| class(k) == 1).count();
    context.mode.judged("files", early as f64, 1, Some(Limit::at_most(0.0)))
}

fn errors(context: &Context, rate: f64) -> CaseRecord {
    let world = World::new(&[4 << 10, 300_000, 3 * MB], 30);
    world.set(|settings| settings.error_rate = rate);
    none_wrong(context.mode, &world, &world.fetch(options(8)))
}

/// How long a server that never answers is waited for, over what was allowed.
fn timeout(context: &Context) -> CaseRecord {
    let world = World::new(&[MB], 1);
    world.set(|settings| settings.faults = vec!["hang".parse().expect("a rule")]);
    let limit = Duration::from_millis(300);
    let brought = world.fetch(FetchOptions { timeout: Some(limit), ..options(4) });
    assert!(brought.results[0].is_err(), "there was no answer");
    let over = brought.wall.saturating_sub(limit).as_secs_f64() * 1e3;
    context.mode.judged("ms", over, 1, Some(Limit::at_most(100.0)))
}

fn retries(context: &Context) -> CaseRecord {
    let world = World::new(&[6 * MB], 1);
    world.set(|settings| settings.faults = vec!["rst#1..4".parse().expect("a rule")]);
    let brought = world.fetch(options(4));
    assert_eq!(4, brought.traffic.retries, "each reset is answered by one retry");
    none_wrong(context.mode, &world, &brought)
}

/// The time per file of many small ones, over that of few: cost is to be linear.
fn per_file(context: &Context) -> CaseRecord {
    let many = if context.mode == Mode::Quick { 2000 } else { 10_000 };
    let time_of = |count: usize| {
        let world = World::new(&[4 << 10], count);
        let brought = world.fetch(options(20));
        assert_eq!(0, world.wrong(&brought), "files are wrong");
        brought.wall.as_secs_f64() / count as f64
    };
    let (few, all) = (time_of(many / 10), time_of(many));
    let mut record = context.mode.judged("x", all / few, 1, Some(Limit::at_most(1.5)));
    record.beside.insert("per_file_us".to_owned(), all * 1e6);
    record
}
