//! Runs a drive: a thread and a runtime for each worker, and somebody who watches.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use inference_bench::stream::{Drive, Progress, RequestRecord};
use tokio::runtime::Builder;

use crate::interrupt::Interrupt;

/// How often a run is looked after.
const WATCH: Duration = Duration::from_millis(50);

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) records: Vec<RequestRecord>,
    /// What the canary sang.
    pub(crate) canary: Vec<RequestRecord>,
    pub(crate) wall: Duration,
    /// The largest share of its time that a worker was busy, in percent.
    pub(crate) busiest_pct: f64,
    pub(crate) interrupted: bool,
}

/// What one worker brings home.
struct Part {
    records: Vec<RequestRecord>,
    canary: Vec<RequestRecord>,
    busy: Duration,
}

/// Runs a drive to its end, or to the moment when somebody interrupts it. The canary lives on the first
/// worker's thread, where it feels what that one feels.
pub(crate) fn run(
    drive: Drive,
    canary: Option<Drive>,
    workers: usize,
    interrupt: &Interrupt,
    mut watch: impl FnMut(Progress),
) -> Result<(Ran, Drive), String> {
    let begin = Instant::now();
    let drive = Arc::new(drive);
    let mut canary = canary;
    let mut threads = Vec::new();
    for worker in 0..workers {
        let (drive, canary) = (drive.clone(), canary.take());
        let work = move || on_this_thread(&drive, worker, canary.as_ref());
        let thread = thread::Builder::new().name(format!("worker-{worker}")).spawn(work);
        threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
    }
    let mut interrupted = false;
    while !threads.iter().all(thread::JoinHandle::is_finished) {
        thread::park_timeout(WATCH);
        watch(drive.progress());
        if !interrupted && interrupt.code().is_some() {
            interrupted = true;
            drive.stop();
        }
    }
    let mut records = Vec::new();
    let mut sung = Vec::new();
    let mut busiest_pct = 0.0_f64;
    for thread in threads {
        let done = thread.join().map_err(|_| "a worker panicked".to_owned())?;
        let part = done.map_err(|error| format!("a worker cannot go on: {error}"))?;
        let busy_s = part.busy.as_secs_f64();
        busiest_pct = busiest_pct.max(100.0 * busy_s / begin.elapsed().as_secs_f64());
        records.extend(part.records);
        sung.extend(part.canary);
    }
    records.sort_by_key(|record| record.number);
    let drive = Arc::into_inner(drive).expect("all threads that had it have ended");
    let ran = Ran { records, canary: sung, wall: begin.elapsed(), busiest_pct, interrupted };
    Ok((ran, drive))
}

fn on_this_thread(drive: &Drive, worker: usize, canary: Option<&Drive>) -> std::io::Result<Part> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (records, canary) = runtime.block_on(async {
        let Some(canary) = canary else { return (drive.work(worker).await, Ok(Vec::new())) };
        let load = async {
            let records = drive.work(worker).await;
            canary.stop();
            records
        };
        tokio::join!(load, canary.work(0))
    });
    Ok(Part { records: records?, canary: canary?, busy: thread_cpu() })
}

/// The CPU time of this thread.
fn thread_cpu() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    getrusage(UsageWho::RUSAGE_THREAD).map_or(Duration::ZERO, |usage| {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(micros.unsigned_abs())
    })
}
