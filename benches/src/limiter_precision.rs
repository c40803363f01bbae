//! How exactly a limiter keeps its rate, by the machine's clock.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Windows in which bytes over `rate · window + burst` are looked for.
pub const WINDOWS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Rates of the table, in bytes per second.
pub const RATES: [u64; 9] = [
    10_000,
    1_000_000,
    10_000_000,
    30_000_000,
    150_000_000,
    300_000_000,
    600_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// A rate to keep, and how it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may go at once.
    pub burst_bytes: u64,
    /// Bytes per request.
    pub request_bytes: u64,
    /// Tasks that ask at the same time, each for one request after the other.
    pub n_tasks: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Precision {
    /// The mean rate over the asked one, less 1; the burst's exhaustion is not counted.
    pub error: f64,
    /// The most bytes over `rate · window + burst` in any window, by [`WINDOWS`]; below 0 if under.
    pub excess_bytes: [i64; 4],
    /// When the first request was granted and when the last, since the start: what `error` speaks of.
    pub span: (Duration, Duration),
}

impl Point {
    /// The usual point at a rate: requests of 5 ms, 1 to 256 KiB, and a burst of 20 ms, which tokio's
    /// timers (1 to 2 ms late) and a busy machine do not exhaust.
    pub fn at(rate: u64, n_tasks: usize) -> Self {
        let request_bytes = (rate / 200).clamp(1 << 10, 256 << 10);
        let burst_bytes = (rate / 50).max(2 * request_bytes);
        Self { rate, burst_bytes, request_bytes, n_tasks }
    }
}

/// Measures a limiter for a while. `acquire` waits for a request of the point; the burst must have been
/// taken before.
///
/// Grants are logged when the asking task goes on. That is later than the grant, by different amounts,
/// so windows of 1 ms may show more than was granted in them, never less.
///
/// # Panics
///
/// When `acquire` does.
pub async fn measure<A, F>(point: Point, time: Duration, acquire: A) -> Precision
where
    A: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let tasks: Vec<_> = (0..point.n_tasks)
        .map(|_| {
            let (log, acquire) = (Arc::clone(&log), acquire.clone());
            tokio::spawn(async move {
                while start.elapsed() < time {
                    acquire().await;
                    log.lock().expect("no holder panics").push(start.elapsed());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    let mut log = std::mem::take(&mut *log.lock().expect("no holder panics"));
    log.sort();
    Precision {
        error: mean_error(&log, point),
        excess_bytes: WINDOWS.map(|w| excess(&log, point, w)),
        span: log.first().copied().zip(log.last().copied()).unwrap_or_default(),
    }
}

/// Whole requests only: between the first grant and the last, the first not counted.
fn mean_error(log: &[Duration], point: Point) -> f64 {
    let (Some(first), Some(last)) = (log.first(), log.last()) else {
        return -1.0;
    };
    let bytes = (log.len() - 1) as f64 * point.request_bytes as f64;
    bytes / ((*last - *first).as_secs_f64() * point.rate as f64) - 1.0
}

fn excess(log: &[Duration], point: Point, window: Duration) -> i64 {
    let allowed = point.burst_bytes as f64 + point.rate as f64 * window.as_secs_f64();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in log.iter().enumerate() {
        while window < *at - log[first] {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    (most as u64 * point.request_bytes) as i64 - allowed as i64
}
