//! The table of precision in real time, the peers beside ours: `cargo bench -p benches --bench
//! limiter_precision`. Without `--bench`, as a test, each point is tried for a moment only.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "prints a table")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_speed_limit::clock::StandardClock;
use benches::limiter_precision::{Point, Precision, RATES, measure};
use governor::clock::{Clock, MonotonicClock};
use governor::{Quota, RateLimiter};
use leaky_bucket::RateLimiter as LeakyBucket;
use limiter::{Burst, Limiter, Rate};
use ratelimit::Ratelimiter;
use tokio::time::sleep;

/// The number of tasks of each half of the table.
const TASKS: [usize; 2] = [1, 16];

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    // One wake-up of the machine that comes 2 ms late, at either end, is then 0.04 %.
    let time = Duration::from_millis(if is_bench { 5000 } else { 20 });
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime of two threads").block_on(table(time, only.as_deref()));
}

/// Prints a line per limiter, rate and number of tasks; all of them or those of one limiter.
async fn table(time: Duration, only: Option<&str>) {
    println!("limiter            rate B/s tasks  mean error   excess B in 1 / 10 / 100 / 1000 ms");
    for n_tasks in TASKS {
        for rate in RATES {
            for name in ["ours", "governor", "ratelimit", "async-speed-limit", "leaky-bucket"] {
                if only.is_some_and(|only| only != name) {
                    continue;
                }
                let point = Point::at(rate, n_tasks);
                let Precision { error, excess_bytes, .. } = one(name, point, time).await;
                let percent = 100.0 * error;
                println!("{name:17} {rate:11} {n_tasks:5} {percent:+10.3} %  {excess_bytes:?}");
            }
        }
    }
}

async fn one(name: &str, point: Point, time: Duration) -> Precision {
    match name {
        "ours" => ours(point, time).await,
        "governor" => governor(point, time).await,
        "ratelimit" => ratelimit(point, time).await,
        "async-speed-limit" => speed_limit(point, time).await,
        _ => leaky_bucket(point, time).await,
    }
}

async fn ours(point: Point, time: Duration) -> Precision {
    let burst = Burst::new(point.burst_bytes).expect("a point has a burst");
    let limiter = Limiter::new(Rate::bytes_per_second(point.rate), burst);
    limiter.acquire(point.burst_bytes).await;
    let acquire = move || {
        let limiter = limiter.clone();
        async move { drop(limiter.acquire(point.request_bytes).await) }
    };
    measure(point, time, acquire).await
}

/// Waits on tokio's timer: its own futures read another clock.
async fn governor(point: Point, time: Duration) -> Precision {
    let quota = Quota::per_second(cells(point.rate)).allow_burst(cells(point.burst_bytes));
    let clock = MonotonicClock;
    let limiter = Arc::new(RateLimiter::direct_with_clock(quota, clock));
    let _ = limiter.check_n(cells(point.burst_bytes));
    let acquire = move || {
        let limiter = Arc::clone(&limiter);
        async move {
            while let Ok(Err(not_until)) = limiter.check_n(cells(point.request_bytes)) {
                sleep(not_until.wait_time_from(MonotonicClock.now())).await;
            }
        }
    };
    measure(point, time, acquire).await
}

/// Governor counts in 32 bits.
fn cells(bytes: u64) -> NonZeroU32 {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    NonZeroU32::new(bytes).expect("it is not 0")
}

async fn ratelimit(point: Point, time: Duration) -> Precision {
    let limiter = Ratelimiter::builder(point.rate).max_tokens(point.burst_bytes).build();
    let limiter = Arc::new(limiter.expect("a point is in bounds"));
    let acquire = move || {
        let limiter = Arc::clone(&limiter);
        async move {
            while limiter.try_wait_n(point.request_bytes).is_err() {
                let seconds = point.request_bytes as f64 / point.rate as f64;
                sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
    };
    measure(point, time, acquire).await
}

async fn speed_limit(point: Point, time: Duration) -> Precision {
    let limiter = async_speed_limit::Limiter::<StandardClock>::new(point.rate as f64);
    let acquire = move || {
        let limiter = limiter.clone();
        async move { limiter.consume(point.request_bytes as usize).await }
    };
    measure(point, time, acquire).await
}

/// Refilled every 10 ms, its own recommendation being 100.
async fn leaky_bucket(point: Point, time: Duration) -> Precision {
    const REFILL: Duration = Duration::from_millis(10);
    let limiter = LeakyBucket::builder()
        .max(point.burst_bytes as usize)
        .initial(0)
        .interval(REFILL)
        .refill((point.rate / 100) as usize)
        .build();
    let limiter = Arc::new(limiter);
    let acquire = move || {
        let limiter = Arc::clone(&limiter);
        async move { limiter.acquire(point.request_bytes as usize).await }
    };
    measure(point, time, acquire).await
}
