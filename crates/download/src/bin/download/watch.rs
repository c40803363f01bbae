//! What goes on beside the transfers: signals, progress, metrics.

use std::time::Duration;

use download::{Downloader, told};
use limiter::Limiter;
use memory::{Monitor, MonitorOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Transfer;
use crate::{exit, history, metrics, setup};

/// How often progress is told, and after how many of those the metrics are written.
const TICK: Duration = Duration::from_secs(1);
const TICKS_PER_METRICS: u32 = 5;

/// What tells of a run.
pub(crate) trait Told {
    /// Tells how far it is.
    fn tick(&self);
    /// A line for people.
    fn say(&self, line: &str);
    /// Files done, files failed, bytes, seconds.
    fn figures(&self) -> (usize, usize, u64, f64);
    /// Other figures of this moment: name, what it says, value.
    fn gauges(&self) -> Vec<(&'static str, &'static str, f64)> {
        Vec::new()
    }
}

/// Has the downloader hear how pressing the want of memory is; without a monitor it knows its own budget
/// alone.
pub(crate) fn memory_of(downloader: &Downloader) -> Option<Monitor> {
    let monitor = Monitor::start(MonitorOptions::default()).ok()?;
    let pressed = downloader.clone();
    monitor.on_change(move |change, _| pressed.press(change.to));
    // After that, or a change in between would go unheard.
    downloader.press(monitor.level());
    Some(monitor)
}

/// Writes what a run leaves behind: its metrics, and what was learnt of servers.
pub(crate) fn conclude(transfer: &Transfer, told_of: &impl Told, downloader: &Downloader) {
    write_metrics(transfer, told_of, downloader);
    if let Err(error) = history::write(transfer, &downloader.learnt()) {
        told_of.say(&format!("what was learnt cannot be kept: {}", told(&error)));
    }
}

/// Waits for the signal that ends the run.
pub(crate) async fn signaled() -> u8 {
    let of = |kind| signal(kind).ok();
    let interrupt = wait_for(of(SignalKind::interrupt()));
    let terminate = wait_for(of(SignalKind::terminate()));
    tokio::select! {
        () = interrupt => exit::INTERRUPTED,
        () = terminate => exit::TERMINATED,
    }
}

/// Waits for a signal; for ever, where it cannot be had.
async fn wait_for(signal: Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(mut signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells progress and writes metrics as long as it is polled.
pub(crate) async fn ticks(transfer: &Transfer, told: &impl Told, downloader: &Downloader) {
    let mut interval = tokio::time::interval(TICK);
    interval.tick().await;
    for k in 1_u32.. {
        interval.tick().await;
        told.tick();
        if k % TICKS_PER_METRICS == 0 {
            write_metrics(transfer, told, downloader);
        }
    }
}

fn write_metrics(transfer: &Transfer, told_of: &impl Told, downloader: &Downloader) {
    let Some(path) = &transfer.metrics_file else { return };
    if let Err(error) = metrics::write(path, told_of, &downloader.traffic()) {
        told_of.say(&format!("cannot write the metrics: {}", told(&error)));
    }
}

/// Reads the rate again when it is told to, as long as it is polled.
pub(crate) async fn reread(transfer: &Transfer, limiter: Option<&Limiter>, told: &impl Told) {
    let path = transfer.limit_rate_file.as_deref();
    let hangup = signal(SignalKind::hangup()).ok();
    let (Some(path), Some(limiter), Some(mut hangup)) = (path, limiter, hangup) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        match setup::read_rate(path) {
            Ok(rate) => {
                setup::set_rate(limiter, rate);
                told.say(&format!("the rate is {rate} now"));
            }
            Err(error) => told.say(&format!("the rate stays: {error}")),
        }
    }
}
