//! The suite `bandwidth`: does a limiter keep its rate, by the machine's clock: at the limiter itself, and
//! at the client of a download that it holds.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::download_world::{World, options};
use benches::limiter_precision::{Point, Precision, measure};
use benches::suite::{self, Case, Context, Mode};
use inference_bench::{CaseRecord, Limit};
use limiter::{Burst, Limiter, Rate, Share};
use tokio::runtime::{Builder, Runtime};

/// The largest mean error, in percent.
const ERROR_PCT_MAX: f64 = 0.1;
/// Bytes per second, by name.
const RATES: [(&str, u64); 5] = [
    ("100KB", 100_000),
    ("1MB", 1_000_000),
    ("10MB", 10_000_000),
    ("100MB", 100_000_000),
    ("1GB", 1_000_000_000),
];
/// The largest mean error at the client of a socket, in percent.
const SOCKET_ERROR_PCT_MAX: f64 = 1.0;
/// Rates over sockets: below 0.8 of what the origin can compute and send on two cores.
const SOCKET_RATES: [(&str, u64); 3] =
    [("1MB", 1_000_000), ("10MB", 10_000_000), ("100MB", 100_000_000)];
/// Weights of three children that share a limit.
const WEIGHTS: [u32; 3] = [1, 2, 4];
/// What a share may differ from its weight's by, in percent of it.
const SHARE_PCT_MAX: f64 = 2.0;

fn main() -> ExitCode {
    let seed_case = "test_bandwidth_limiting_performance";
    let mut cases = Vec::new();
    for (name, rate) in RATES {
        for n_tasks in [1, 16] {
            let case = |what: &str, run: Box<dyn Fn(&Context) -> CaseRecord>| Case {
                name: format!("limiter/{name}/{n_tasks}/{what}"),
                seed_case,
                expected_s: 1.1,
                paired: false,
                run,
            };
            cases.push(case("error", Box::new(move |context| error(context, rate, n_tasks))));
            cases.push(case("excess", Box::new(move |context| excess(context, rate, n_tasks))));
        }
    }
    for (name, rate) in SOCKET_RATES {
        for n_files in [1, 16] {
            cases.push(Case {
                name: format!("socket/{name}/{n_files}/error"),
                seed_case,
                expected_s: 2.5,
                paired: false,
                run: Box::new(move |context| socket_error(context, rate, n_files)),
            });
        }
    }
    let whole = |name: &str, run: fn(&Context) -> CaseRecord| Case {
        name: name.to_owned(),
        seed_case: "_benchmark_bandwidth_limiting",
        expected_s: 1.2,
        paired: false,
        run: Box::new(run),
    };
    cases.push(whole("limiter/change_while_running", change_while_running));
    cases.push(whole("limiter/weights_1_2_4", weights));
    suite::main(&cases)
}

fn time_of(mode: Mode) -> Duration {
    match mode {
        Mode::Pair => Duration::from_millis(100),
        Mode::Quick => Duration::from_secs(1),
        Mode::Comprehensive => Duration::from_secs(4),
        Mode::Stress => Duration::from_secs(30),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads to run on")
}

fn limiter_at(point: Point) -> Limiter {
    let burst = Burst::new(point.burst_bytes).expect("bursts are above 0");
    Limiter::new(Rate::per_second(point.rate), burst)
}

/// What tasks get that ask for more than the rate, after the burst is exhausted.
fn precision(mode: Mode, point: Point) -> Precision {
    runtime().block_on(async {
        let limiter = limiter_at(point);
        drop(limiter.acquire(point.burst_bytes).await);
        let acquire = move || {
            let limiter = limiter.clone();
            async move { drop(limiter.acquire(point.request_bytes).await) }
        };
        measure(point, time_of(mode), acquire).await
    })
}

/// The mean error of the rate, in percent, whichever its sign.
fn error(context: &Context, rate: u64, n_tasks: usize) -> CaseRecord {
    let precision = precision(context.mode, Point::at(rate, n_tasks));
    let percent = (100.0 * precision.error).abs();
    context.mode.judged("%", percent, 1, Some(Limit::at_most(ERROR_PCT_MAX)))
}

/// The mean error at the client, in percent: files that share a rate, fetched over loopback.
fn socket_error(context: &Context, rate: u64, n_files: u64) -> CaseRecord {
    // Two seconds at least: each of the files has to be larger than a small one.
    let bytes = ((time_of(context.mode) * 2).as_secs_f64() * rate as f64) as u64 / n_files;
    let world = World::new(&[bytes.max(1_200_000)], n_files as usize);
    let rate = Rate::per_second(rate);
    // As the program has it. A frame that is larger than the burst waits until the bucket is full, and what
    // drips while its timer is late, up to a millisecond, is lost: 3 % at 10 ms and 1 MB/s.
    let burst = Burst::lasting(Duration::from_millis(50), rate);
    let limiter = Some(Limiter::new(rate, burst));
    let options = download::FetchOptions {
        limiter,
        files_max: n_files as usize,
        ..options(n_files as usize)
    };
    let brought = world.fetch(options);
    assert_eq!(0, world.wrong(&brought), "files are wrong");
    let ideal = rate.tokens_in(Duration::from_secs(1)) as f64;
    let percent = 100.0 * (brought.rate().unwrap_or(f64::NAN) / ideal - 1.0).abs();
    context.mode.judged("%", percent, 1, Some(Limit::at_most(SOCKET_ERROR_PCT_MAX)))
}

/// Bytes over `rate · window + burst` in the worst window of 10 ms, 100 ms or 1 s.
///
/// A window of 1 ms tells more about when a task got a core than about when it was granted.
fn excess(context: &Context, rate: u64, n_tasks: usize) -> CaseRecord {
    let precision = precision(context.mode, Point::at(rate, n_tasks));
    let worst = precision.excess_bytes[1..].iter().copied().max().unwrap_or(0);
    // So does a run of a tenth of a second.
    let limit = (context.mode != Mode::Pair).then(|| Limit::at_most(0.0));
    context.mode.judged("bytes", worst.max(0) as f64, 1, limit)
}

/// The rate is doubled half-way, under tasks that wait: what has come by the end, against the ideal.
fn change_while_running(context: &Context) -> CaseRecord {
    let time = time_of(context.mode);
    let point = Point::at(20_000_000, 16);
    let error = runtime().block_on(async {
        let limiter = limiter_at(point);
        drop(limiter.acquire(point.burst_bytes).await);
        let changed = limiter.clone();
        let change = tokio::spawn(async move {
            tokio::time::sleep(time / 2).await;
            let at = Instant::now();
            changed.set_rate(Rate::per_second(2 * point.rate));
            at
        });
        let start = Instant::now();
        let acquire = move || {
            let limiter = limiter.clone();
            async move { drop(limiter.acquire(point.request_bytes).await) }
        };
        let precision = measure(point, time, acquire).await;
        // Over the whole span the mean rate is that of its two parts.
        let (first, last) = precision.span;
        let changed = change.await.expect("no task panics") - start;
        let (before, after) = (changed - first, last - changed);
        let ideal = (before + 2 * after).as_secs_f64() / (last - first).as_secs_f64();
        (1.0 + precision.error) / ideal - 1.0
    });
    context.mode.judged("%", (100.0 * error).abs(), 1, Some(Limit::at_most(1.0)))
}

/// Three children with weights 1, 2 and 4, eight tasks each: how far the worst share is off.
fn weights(context: &Context) -> CaseRecord {
    let point = Point::at(50_000_000, 8);
    let bytes = runtime().block_on(async {
        let root = limiter_at(point);
        drop(root.acquire(point.burst_bytes).await);
        let end = Instant::now() + time_of(context.mode);
        let mut tasks = Vec::new();
        let bytes: Vec<Arc<AtomicU64>> = WEIGHTS.iter().map(|_| Arc::default()).collect();
        for (weight, bytes) in WEIGHTS.into_iter().zip(&bytes) {
            let share = Share { weight, ..Share::default() };
            let child = root.child(share).expect("a plain share");
            for _ in 0..point.n_tasks {
                let (child, bytes) = (child.clone(), Arc::clone(bytes));
                tasks.push(tokio::spawn(async move {
                    loop {
                        drop(child.acquire(point.request_bytes / 16).await);
                        // What every task still waits for at the end is the same for all weights.
                        if end <= Instant::now() {
                            break;
                        }
                        bytes.fetch_add(point.request_bytes / 16, Ordering::Relaxed);
                    }
                }));
            }
        }
        for task in tasks {
            task.await.expect("no task panics");
        }
        bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed) as f64).collect::<Vec<_>>()
    });
    let (total, parts) = (bytes.iter().sum::<f64>(), f64::from(WEIGHTS.iter().sum::<u32>()));
    let off = |(bytes, weight): (&f64, u32)| bytes / (total * f64::from(weight) / parts) - 1.0;
    let worst = bytes.iter().zip(WEIGHTS).map(off).map(f64::abs).fold(0.0, f64::max);
    context.mode.judged("%", 100.0 * worst, 1, Some(Limit::at_most(SHARE_PCT_MAX)))
}
