//! What must be measured by the clock. Each test prints what it measured.
//!
//! In the normal run each takes about a second and asserts only what a busy machine cannot break: never
//! faster than told, and right. With `TESTKIT_LONG=1`, on a machine that does nothing else, each takes
//! several seconds and asserts the promised precision:
//!
//! ```sh
//! TESTKIT_LONG=1 cargo test --release -p testkit --test it real_time -- --nocapture --test-threads 1
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testkit::{Blob, Link, LinkSettings, Options, Origin, Schedule, Settings, TokenSource};

use crate::wire::{connect, get, receive_one};

/// Whether the machine is ours, and time too.
fn long() -> bool {
    std::env::var_os("TESTKIT_LONG").is_some()
}

/// The first burst and the ramp of the connection are not measured.
const WARM_UP: Duration = Duration::from_millis(100);

fn endless(settings: Settings) -> Origin {
    let blobs = vec![Blob::new("m", u64::MAX / 2, 1)];
    Origin::start(Options { blobs, settings, ..Options::default() }).unwrap()
}

fn ask(stream: &mut TcpStream, path: &str) {
    // One write: small pieces would wait for each other's acknowledgment (Nagle).
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
}

/// Reads for so long and returns bytes per second after the warm-up.
fn rate_of(address: SocketAddr, duration: Duration) -> f64 {
    measured(address, duration).0
}

/// The rate, and the connection, which is open still.
fn measured(address: SocketAddr, duration: Duration) -> (f64, TcpStream) {
    let mut stream = connect(address);
    ask(&mut stream, "/m");
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    let (mut bytes, mut warm) = (0_u64, None);
    loop {
        bytes += stream.read(&mut buffer).unwrap() as u64;
        let now = Instant::now();
        match warm {
            None if WARM_UP <= now - start => warm = Some((now, bytes)),
            Some((since, before)) if duration <= now - since => {
                return ((bytes - before) as f64 / (now - since).as_secs_f64(), stream);
            }
            _ => {}
        }
    }
}

/// The same with several connections at once; their rates together. None leaves before all are done: with
/// fewer the others are faster.
fn rates_of(address: SocketAddr, duration: Duration, n: usize) -> f64 {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..n).map(|_| scope.spawn(|| measured(address, duration))).collect();
        let done: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        done.iter().map(|(rate, _)| rate).sum()
    })
}

#[test]
fn bandwidth_is_kept_within_two_percent() {
    let rates: &[u64] = if long() {
        &[100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000, 200_000_000]
    } else {
        &[100_000, 20_000_000]
    };
    let duration = Duration::from_millis(if long() { 3000 } else { 300 });
    for &rate in rates {
        let origin = endless(Settings { connection_bandwidth: Some(rate), ..Settings::default() });
        let one = rate_of(origin.address(), duration) / rate as f64;
        let origin = endless(Settings { bandwidth: Some(rate), ..Settings::default() });
        let four = rates_of(origin.address(), duration, 4) / rate as f64;
        println!("bandwidth {rate:>11} B/s: one connection {one:.4}, the server by four {four:.4}");
        for share in [one, four] {
            // A short run sees the catch-up after the machine's own pauses, 25 ms at most.
            let most = if long() { 1.02 } else { 1.0 + 0.025 / duration.as_secs_f64() + 0.02 };
            assert!(share < most, "{share} of {rate}");
            assert!(!long() || 0.98 < share, "{share} of {rate}");
        }
    }
}

#[test]
fn a_change_of_bandwidth_reaches_a_transfer_under_way() {
    let origin = endless(Settings { bandwidth: Some(1), ..Settings::default() });
    let client = thread::spawn({
        let address = origin.address();
        move || rate_of(address, Duration::from_millis(200))
    });
    // At a byte per second the first piece would take minutes.
    thread::sleep(Duration::from_millis(50));
    origin.update(|settings| settings.bandwidth = Some(10_000_000));
    let rate = client.join().unwrap();
    assert!(rate < 12_000_000.0, "{rate}");
}

/// Sorts and returns p50, p99 and the largest.
fn quantiles(mut values: Vec<Duration>) -> (Duration, Duration, Duration) {
    values.sort();
    let n = values.len();
    (values[n / 2], values[n * 99 / 100], values[n - 1])
}

#[test]
fn latency_is_exact() {
    for latency_ms in [0, 1, 10, 50] {
        let latency = Duration::from_millis(latency_ms);
        let origin = Origin::start(Options {
            bytes: [("x".to_owned(), b"y".to_vec())].into(),
            settings: Settings { latency, ..Settings::default() },
            ..Options::default()
        })
        .unwrap();
        let mut stream = connect(origin.address());
        let n = if long() { 200 } else { 4 };
        let once = |_| {
            let start = Instant::now();
            ask(&mut stream, "/x");
            receive_one(&mut stream);
            let took = start.elapsed();
            assert!(latency <= took, "{took:?}");
            took - latency
        };
        let (p50, p99, max) = quantiles((0..n).map(once).collect());
        println!("latency {latency_ms:>3} ms: over by p50 {p50:?}, p99 {p99:?}, max {max:?}");
        let exact = p50 < Duration::from_millis(2) && p99 < Duration::from_millis(5);
        assert!(!long() || exact, "{p50:?} {p99:?}");
    }
}

#[test]
fn errors_lie_within_their_binomial_interval() {
    let n = if long() { 20_000 } else { 2_000 };
    for p in [0.0, 0.1, 0.3, 1.0] {
        let origin = Origin::start(Options {
            bytes: [("x".to_owned(), b"y".to_vec())].into(),
            settings: Settings { error_rate: p, ..Settings::default() },
            ..Options::default()
        })
        .unwrap();
        let mut stream = connect(origin.address());
        for _ in 0..n {
            ask(&mut stream, "/x");
            receive_one(&mut stream);
        }
        let errors = origin.stats().by_status.get(&503).copied().unwrap_or(0) as f64;
        // Four standard deviations; the seed is fixed, so that the test cannot be unlucky.
        let (mean, margin) = (f64::from(n) * p, 4.0 * (f64::from(n) * p * (1.0 - p)).sqrt());
        println!("error rate {p}: {errors} of {n}, expected {mean} ± {margin:.0}");
        assert!((errors - mean).abs() <= margin, "{errors}");
    }
}

#[test]
fn a_window_costs_what_round_trips_cost() {
    let cases: &[(u64, u64)] =
        if long() { &[(5, 64), (10, 64), (10, 256), (25, 256), (50, 1024)] } else { &[(10, 64)] };
    let origin = endless(Settings::default());
    for &(latency_ms, window_kib) in cases {
        let latency = Duration::from_millis(latency_ms);
        let window = Some(window_kib << 10);
        let settings = LinkSettings { latency, window, ..LinkSettings::default() };
        let link = Link::start(origin.address(), settings).unwrap();
        let expected = (window_kib << 10) as f64 / (2.0 * latency.as_secs_f64());
        let one = rate_of(link.address(), Duration::from_millis(if long() { 3000 } else { 500 }));
        let share = one / expected;
        println!(
            "window {window_kib:>5} KiB, round trip {:>3} ms: {:.2} MB/s, {share:.3} of window / \
                  round trip",
            2 * latency_ms,
            one / 1e6
        );
        assert!(share < 1.10 && (!long() || 0.90 < share), "{share}");
    }
}

#[test]
fn a_link_takes_a_round_trip_to_connect_and_one_to_ask() {
    let origin = Origin::start(Options {
        bytes: [("x".to_owned(), b"y".to_vec())].into(),
        ..Options::default()
    })
    .unwrap();
    let latency = Duration::from_millis(10);
    let link = LinkSettings { latency, ..LinkSettings::default() };
    let link = Link::start(origin.address(), link).unwrap();
    let start = Instant::now();
    let mut stream = connect(link.address());
    ask(&mut stream, "/x");
    receive_one(&mut stream);
    let fresh = start.elapsed();
    let start = Instant::now();
    ask(&mut stream, "/x");
    receive_one(&mut stream);
    let reused = start.elapsed();
    println!("link of 10 ms one way: {fresh:?} on a fresh connection, {reused:?} on a reused one");
    assert!(4 * latency <= fresh && 2 * latency <= reused);
    assert!(!long() || (fresh < 4 * latency + latency / 5 && reused < 2 * latency + latency / 5));
}

#[test]
fn a_link_keeps_its_bandwidth() {
    let origin = endless(Settings::default());
    let bandwidth = Some(20_000_000);
    let link = LinkSettings { bandwidth, ..LinkSettings::default() };
    let link = Link::start(origin.address(), link).unwrap();
    let duration = Duration::from_millis(if long() { 3000 } else { 500 });
    let share = rates_of(link.address(), duration, 2) / 2e7;
    println!("link bandwidth 20 MB/s by two: {share:.4}");
    assert!(share < 1.07 && (!long() || (0.98..1.02).contains(&share)), "{share}");
}

#[test]
fn caps_and_collapses_slow_down_and_trickles_drip() {
    let rule = |rule: &str| Settings { faults: vec![rule.parse().unwrap()], ..Settings::default() };
    let duration = Duration::from_millis(300);
    let within = |name: &str, rate: f64, most: f64| {
        println!("{name}: {:.2} MB/s", rate / 1e6);
        assert!(rate < most * (1.02 + 0.025 / duration.as_secs_f64()), "{name}: {rate}");
        assert!(!long() || most * 0.95 < rate, "{name}: {rate}");
    };
    let origin = endless(rule("cap=2MB/s"));
    within("cap of 2 MB/s, three connections", rates_of(origin.address(), duration, 3), 6e6);
    let origin = endless(rule("trickle=1MB/s"));
    within("trickle of 1 MB/s", rate_of(origin.address(), duration), 1e6);
    let origin = endless(rule("collapse=2,1MB/s"));
    within("three where two collapse to 1 MB/s", rates_of(origin.address(), duration, 3), 1e6);
    let two = rates_of(origin.address(), duration, 2);
    println!("two where three collapse: {:.2} MB/s", two / 1e6);
    assert!(2e6 < two, "{two}");
}

#[test]
fn a_cap_by_number_slows_one_connection_alone() {
    let mut settings = Settings::default();
    settings.faults.push("cap=1MB/s#2".parse().unwrap());
    let origin = endless(settings);
    let rates: Vec<_> =
        (0..3).map(|_| rate_of(origin.address(), Duration::from_millis(200))).collect();
    assert!(rates[1] < 1.2e6 && 2e6 < rates[0] && 2e6 < rates[2], "{rates:?}");
}

/// As many connections as asked for, or as the machine lets one process have at both ends.
fn connections_max(wanted: u64) -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    wanted.min((hard - 500) / 3)
}

#[test]
fn two_thousand_idle_and_two_hundred_active_connections() {
    let idle_max = connections_max(2_000);
    let origin = endless(Settings { bandwidth: Some(50_000_000), ..Settings::default() });
    let address = origin.address();
    let idle: Vec<_> = (0..idle_max).map(|_| connect(address)).collect();
    let rate = rates_of(address, Duration::from_millis(if long() { 3000 } else { 300 }), 200);
    println!("200 active beside {idle_max} idle: {:.1} MB/s of 50", rate / 1e6);
    let stats = origin.stats().connections;
    assert_eq!(idle_max + 200, stats.max_open);
    assert!(rate < 50e6 * 1.15, "{rate}");
    // Every idle connection is still served, and so is a new one.
    origin.update(|settings| settings.faults = vec!["status=404".parse().unwrap()]);
    for mut stream in idle {
        ask(&mut stream, "/m");
        assert_eq!(404, receive_one(&mut stream).status());
    }
    assert_eq!(404, get(&origin, "/m", &[]).status());
}

/// Opens streams of so many tokens each and reads them all to their ends on one thread.
fn read_streams(address: SocketAddr, n: usize, tokens: u32) -> u64 {
    let body = format!(r#"{{"stream":true,"max_tokens":{tokens}}}"#);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length:";
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut streams = tokio::task::JoinSet::new();
        let start = tokio::time::Instant::now();
        for k in 0..n {
            let request = request.clone();
            // Spread over 200 ms: no client's streams all begin at the same instant.
            let begin = start + Duration::from_millis(200) * k as u32 / n as u32;
            streams.spawn(async move {
                tokio::time::sleep_until(begin).await;
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let (mut buffer, mut bytes) = (vec![0; 4096], Vec::<u8>::new());
                loop {
                    match stream.read(&mut buffer).await.unwrap() {
                        0 => break,
                        read => bytes.extend(&buffer[..read]),
                    }
                }
                bytes.windows(6).filter(|window| window == b"token_").count() as u64
            });
        }
        streams.join_all().await.into_iter().sum()
    })
}

#[test]
fn five_hundred_streams_of_fifty_events_a_second_are_on_time() {
    let (n, tokens) = if long() { (512, 250) } else { (64, 25) };
    for aligned in [false, true] {
        let interval = Duration::from_millis(20);
        let source = TokenSource::start(Schedule { interval, aligned, ..Schedule::default() });
        let source = source.unwrap();
        connections_max(n as u64);
        let seen = read_streams(source.origin().address(), n, tokens);
        let lateness = source.lateness();
        println!("{n} streams × 50/s, aligned {aligned}: {lateness:?}");
        assert_eq!((n as u64 * u64::from(tokens), 0), (lateness.tokens, lateness.cut_streams));
        assert_eq!(lateness.tokens, seen, "no token is lost or repeated");
    }
}
