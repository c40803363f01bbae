//! The program `download`: files from the web, verified and resumable.

#![forbid(unsafe_code)]

mod args;
mod exit;
mod history;
mod metrics;
mod plan;
mod tell;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use download::{Downloader, FetchOptions, Job, Patience, told};
use limiter::{Burst, Limiter, Rate};
use memory::files::OsFiles;
use memory::{Budget, Monitor, MonitorOptions};
use pool::http::{Client, ClientOptions, Proxies, Tls};
use tokio::signal::unix::{SignalKind, signal};

use self::args::{Arguments, Chunk, Command, Get, Transfer};
use self::tell::Teller;

/// A frame is so long at most: fewer calls and wake-ups; longer ones cost memory and gain nothing
/// (feasibility prototypes).
const FRAME_BYTES: usize = 256 << 10;
/// Under a limit frames are shorter, so that bytes come evenly.
const FRAME_BYTES_LIMITED: usize = 32 << 10;
/// What a limit lets through at once.
const BURST: Duration = Duration::from_millis(50);
/// The least memory to work with: one file and one connection.
const MEMORY_BYTES_MIN: u64 = 2 << 20;
/// Freed memory that the heap may keep, in halves: what all frames on their way take.
const KEPT_BYTES: usize = 16 << 20;
/// How often progress is told, and after how many of those the metrics are written.
const TICK: Duration = Duration::from_secs(1);
const TICKS_PER_METRICS: u32 = 5;
/// Transfers end within this long after a signal.
const END_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    keep_freed_memory();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let Command::Get(get) = arguments.command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no runtime: {error}"), 1),
    };
    let result = prepare(&get).map(|prepared| runtime.block_on(run(&get, prepared)));
    // Drops what still runs: it keeps what was written.
    runtime.shutdown_timeout(END_WITHIN);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(what) => refuse(&what, exit::USAGE),
    }
}

/// Lets the heap keep what is freed, for the next frames: given back to the kernel and asked for again,
/// each page costs a fault.
///
/// The C library of Linux takes the largest mapped block that was freed for its threshold of what to map,
/// and twice that for what to keep (`mallopt(3)`, `M_MMAP_THRESHOLD`).
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

fn refuse(what: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}

/// What a run needs.
struct Prepared {
    jobs: Vec<Job>,
    client: ClientOptions,
    options: FetchOptions,
}

/// Finds every mistake of the command line before anything is done.
fn prepare(get: &Get) -> Result<Prepared, String> {
    let transfer = &get.transfer;
    if transfer.memory < MEMORY_BYTES_MIN {
        return Err(format!("--memory {} B is too little: give at least 2MiB", transfer.memory));
    }
    let jobs = plan::jobs(get)?;
    let needs_tls = jobs.iter().any(|job| job.url.scheme() == "https");
    let limiter = limiter(transfer)?;
    let client = client(transfer, needs_tls, limiter.is_some())?;
    let patience = Patience { retries_max: transfer.retries, ..Patience::default() };
    let options = FetchOptions {
        connections_max: transfer.connections,
        files_max: transfer.files,
        queue_timeout: transfer.queue_timeout,
        timeout: transfer.timeout,
        part_bytes: match transfer.chunk_size {
            Chunk::Auto => None,
            Chunk::Bytes(bytes) => Some(bytes),
        },
        patience,
        require_digest: get.require_digest,
        limiter,
        memory: Budget::new(transfer.memory),
        history: history::read(transfer),
        ..FetchOptions::default()
    };
    let folders: BTreeSet<&Path> = jobs.iter().filter_map(|job| job.target.parent()).collect();
    for folder in folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        if get.dir.is_some() {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        }
        if !folder.is_dir() {
            return Err(format!("there is no folder {}: create it first", folder.display()));
        }
        // Left by runs that were killed; what cannot be removed does no harm.
        let _ = memory::remove_orphans(&OsFiles::new(), folder);
    }
    Ok(Prepared { jobs, client, options })
}

fn limiter(transfer: &Transfer) -> Result<Option<Limiter>, String> {
    let rate = match &transfer.limit_rate_file {
        Some(path) => Some(read_rate(path)?),
        None => transfer.limit_rate,
    };
    Ok(rate.map(|rate| Limiter::new(rate, Burst::lasting(BURST, rate))))
}

fn read_rate(path: &Path) -> Result<Rate, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    args::rate(&text).map_err(|error| format!("{name}: {error}"))
}

fn client(transfer: &Transfer, needs_tls: bool, limited: bool) -> Result<ClientOptions, String> {
    let mut client = ClientOptions::default();
    client.http1.max_buf_size(if limited { FRAME_BYTES_LIMITED } else { FRAME_BYTES });
    client.body_timeout = Some(transfer.stall_timeout);
    // A server may think before it answers.
    client.head_timeout = Some(2 * transfer.stall_timeout);
    client.pool.connections_max = transfer.connections;
    client.pool.connections_per_key_max = transfer.connections;
    if let Some(proxy) = &transfer.proxy {
        let proxy = proxy.parse().map_err(|_| "--proxy is no URL".to_owned())?;
        client.proxies = Proxies { http: Some(proxy), ..Proxies::default() };
        client.proxies.https.clone_from(&client.proxies.http);
    }
    let tls = match &transfer.ca_file {
        Some(path) => Some(Tls::with_ca_file(path).map_err(|error| told(&error))?),
        None if needs_tls => Some(Tls::new().map_err(|error| told(&error))?),
        // Redirects may lead to https; where the platform has no roots they are refused then.
        None => Tls::new().ok(),
    };
    client.tls = tls;
    Ok(client)
}

async fn run(get: &Get, prepared: Prepared) -> u8 {
    let Prepared { jobs, client, options } = prepared;
    let teller = Arc::new(Teller::new(&jobs, get.transfer.json));
    let limiter = options.limiter.clone();
    let downloader = Downloader::new(Client::new(client), options);
    let _monitor = watch(&downloader);
    let (on_event, on_end) = (Arc::clone(&teller), Arc::clone(&teller));
    let transfers = downloader.fetch_all(
        jobs,
        move |k, event| on_event.event(k, event),
        move |k, result| on_end.ended(k, result),
    );
    let signal = tokio::select! {
        _ = transfers => None,
        code = signaled() => Some(code),
        () = ticks(get, &teller, &downloader) => None,
        () = reread(get, limiter.as_ref(), &teller) => None,
    };
    let code = teller.end(&downloader.traffic(), signal);
    write_metrics(get, &teller, &downloader);
    if let Err(error) = history::write(&get.transfer, &downloader.learnt()) {
        teller.say(&format!("what was learnt cannot be kept: {}", told(&error)));
    }
    code
}

/// Has the downloader hear how pressing the want of memory is; without a monitor it knows its own budget
/// alone.
fn watch(downloader: &Downloader) -> Option<Monitor> {
    let monitor = Monitor::start(MonitorOptions::default()).ok()?;
    downloader.press(monitor.level());
    let downloader = downloader.clone();
    monitor.on_change(move |change, _| downloader.press(change.to));
    Some(monitor)
}

/// Waits for the signal that ends the run.
async fn signaled() -> u8 {
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
async fn ticks(get: &Get, teller: &Teller, downloader: &Downloader) {
    let mut interval = tokio::time::interval(TICK);
    interval.tick().await;
    for k in 1_u32.. {
        interval.tick().await;
        teller.tick();
        if k % TICKS_PER_METRICS == 0 {
            write_metrics(get, teller, downloader);
        }
    }
}

fn write_metrics(get: &Get, teller: &Teller, downloader: &Downloader) {
    let Some(path) = &get.transfer.metrics_file else { return };
    if let Err(error) = metrics::write(path, teller.figures(), &downloader.traffic()) {
        teller.say(&format!("cannot write the metrics: {}", told(&error)));
    }
}

/// Reads the rate again when it is told to, as long as it is polled.
async fn reread(get: &Get, limiter: Option<&Limiter>, teller: &Teller) {
    let path = get.transfer.limit_rate_file.as_deref();
    let hangup = signal(SignalKind::hangup()).ok();
    let (Some(path), Some(limiter), Some(mut hangup)) = (path, limiter, hangup) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        match read_rate(path) {
            Ok(rate) => {
                limiter.set_rate(rate);
                limiter.set_burst(Burst::lasting(BURST, rate));
                teller.say(&format!("the rate is {rate} now"));
            }
            Err(error) => teller.say(&format!("the rate stays: {error}")),
        }
    }
}
