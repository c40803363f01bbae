//! The suite `memory`: how much of it a stream of any length takes.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::Meter;
use benches::download_world::{World, options};
use benches::memory_files::{Way, write};
use benches::suite::{self, Case, Context, Mode};
use inference_bench::{CaseRecord, Limit};
use memory::{Budget, CachePolicy};
use tempfile::TempDir;
use testkit::OpenFiles;

/// The peak that a stream may have, whatever its length.
const PEAK_BYTES_MAX: f64 = 32.0 * (1 << 20) as f64;
/// The peak that a download may have that nobody limits: its default budget for what is under way.
const DOWNLOAD_BYTES_MAX: f64 = 64.0 * (1 << 20) as f64;
/// What a download under a low limit may use.
const LOW_LIMIT_BYTES: u64 = 2 << 20;
/// How many times larger the larger of two files is.
const GROWTH: u64 = 8;
/// How often both are written.
const ROUNDS: u64 = 3;
/// What operations may leave behind: allocators keep some pages.
const LEFT_BYTES_MAX: f64 = (2 << 20) as f64;
/// How long sockets may take to close.
const CLOSING_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    suite::main(&[
        Case::new("peak/large_file", "test_large_model_memory_usage", 2.0, large_file),
        Case::new("peak/whole_buffer_saved", "_benchmark_memory_optimization", 2.0, whole_buffer),
        Case::new("peak/download", "test_large_model_memory_usage", 1.5, download_peak),
        Case::new("peak/growth", "test_large_model_memory_usage", 3.0, growth),
        Case::new("peak/many_files", "test_mixed_model_size_performance", 2.0, many_files),
        Case::new("peak/concurrent", "test_concurrent_memory_usage", 2.0, concurrent),
        Case::new("peak/low_limit", "_benchmark_memory_optimization", 1.0, low_limit),
        Case::new(
            "after_operations",
            "test_memory_cleanup_after_operations",
            2.0,
            after_operations,
        ),
        Case::new("open_files_left", "test_memory_cleanup_after_operations", 0.5, open_files_left),
    ])
}

fn bytes_of(mode: Mode) -> u64 {
    match mode {
        Mode::Pair => 16 << 20,
        Mode::Quick => 256 << 20,
        Mode::Comprehensive => 1 << 30,
        Mode::Stress => 4 << 30,
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes a file of ours, hashed meanwhile.
fn stream(target: &Path, bytes: u64) {
    write(target, bytes, Way::OursHashed(CachePolicy::Drop)).expect("the disk has room");
}

/// The peak of this process while `work` runs.
fn peak_of(work: impl FnOnce()) -> f64 {
    let meter = Meter::start();
    work();
    meter.cost().peak_rss_bytes.expect("this system tells it") as f64
}

fn judged(name: &str, unit: &str, value: f64, limit: Limit) -> CaseRecord {
    let mut record = CaseRecord::new(name, unit);
    (record.n, record.value) = (1, Some(value));
    record.judge(limit);
    record
}

/// One large file, hashed while it is written.
fn large_file(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode);
    let folder = folder();
    let peak = peak_of(|| stream(&folder.path().join("file"), bytes));
    let mut record = judged("", "bytes", peak, Limit::at_most(PEAK_BYTES_MAX));
    record.bytes = Some(bytes);
    record
}

/// How much less that is than with the whole file in a buffer.
fn whole_buffer(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode).min(256 << 20);
    let folder = folder();
    let target = folder.path().join("file");
    let streamed = peak_of(|| stream(&target, bytes));
    let buffered = peak_of(|| {
        write(&target, bytes, Way::WholeBuffer).expect("the disk has room");
    });
    let saved = 100.0 * (1.0 - streamed / buffered);
    let limit = if context.mode == Mode::Pair { 0.0 } else { 80.0 };
    let mut record = judged("", "%", saved, Limit::at_least(limit));
    record.beside.insert("streamed_bytes".to_owned(), streamed);
    record.beside.insert("buffered_bytes".to_owned(), buffered);
    record
}

/// The peak of a file, in multiples of that of one that is an eighth of its size.
fn growth(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode);
    let folder = folder();
    let target = folder.path().join("file");
    // What the first file brings in (code, allocator, tables) is no growth.
    stream(&target, bytes / GROWTH);
    // As many bytes as the large one, and more than once: how many buffers are in use at once is a matter of
    // chance, and where the disk is slow for a moment it is all of them.
    let rounds = if context.mode == Mode::Pair { 1 } else { ROUNDS };
    let small = peak_of(|| (0..rounds * GROWTH).for_each(|_| stream(&target, bytes / GROWTH)));
    let large = peak_of(|| (0..rounds).for_each(|_| stream(&target, bytes)));
    judged("", "ratio", large / small, Limit::at_most(1.1))
}

/// Many small files, one after the other.
fn many_files(context: &Context) -> CaseRecord {
    let files = if context.mode == Mode::Pair { 20 } else { 500 };
    let folder = folder();
    let peak = peak_of(|| {
        for number in 0..files {
            stream(&folder.path().join(format!("file-{number}")), 64 << 10);
        }
    });
    judged("", "bytes", peak, Limit::at_most(PEAK_BYTES_MAX))
}

/// Four streams at once, each with buffers of its own.
fn concurrent(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode) / 4;
    let folder = folder();
    let peak = peak_of(|| {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let target = folder.path().join(format!("file-{number}"));
                scope.spawn(move || stream(&target, bytes));
            }
        });
    });
    judged("", "bytes", peak, Limit::at_most(2.0 * PEAK_BYTES_MAX))
}

/// A download that may use two mebibytes for what is under way. What the origin in this process takes is
/// counted in.
fn low_limit(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode).min(256 << 20);
    let world = World::new(&[bytes], 1);
    let memory = Budget::new(LOW_LIMIT_BYTES);
    let options = download::FetchOptions { memory: memory.clone(), ..options(8) };
    let peak = peak_of(|| {
        let brought = world.fetch(options);
        assert_eq!(0, world.wrong(&brought), "the file is wrong: {:?}", brought.results);
    });
    assert_eq!(0, memory.stats().reserved_bytes, "all of it is given back");
    judged("", "bytes", peak, Limit::at_most(PEAK_BYTES_MAX))
}

/// A large file, fetched as it is by default and verified. What the origin in this process takes is counted in.
fn download_peak(context: &Context) -> CaseRecord {
    let bytes = bytes_of(context.mode);
    let world = World::new(&[bytes], 1);
    let peak = peak_of(|| {
        let brought = world.fetch(options(20));
        assert_eq!(0, world.wrong(&brought), "the file is wrong: {:?}", brought.results);
    });
    let mut record = judged("", "bytes", peak, Limit::at_most(DOWNLOAD_BYTES_MAX));
    record.bytes = Some(bytes);
    record
}

/// What is left when all is done.
fn after_operations(context: &Context) -> CaseRecord {
    let folder = folder();
    let target = folder.path().join("file");
    let working_set = || {
        let cost = Meter::start().cost();
        cost.working_set_bytes.expect("this system tells it") as f64
    };
    stream(&target, 8 << 20);
    let before = working_set();
    stream(&target, bytes_of(context.mode) / 4);
    memory::heap::trim_c_heap();
    judged("", "bytes", (working_set() - before).max(0.0), Limit::at_most(LEFT_BYTES_MAX))
}

/// Files and sockets that are open when all is done, and were not before.
fn open_files_left(_: &Context) -> CaseRecord {
    // A process opens some for good with its first runtime: tokio's pair of sockets for signals.
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
    let before = OpenFiles::now();
    {
        let folder = folder();
        stream(&folder.path().join("file"), 8 << 20);
        let world = World::new(&[4 << 10, 4 << 20], 20);
        let brought = world.fetch(options(8));
        assert_eq!(0, world.wrong(&brought), "files are wrong: {:?}", brought.results);
    }
    let end = Instant::now() + CLOSING_MAX;
    let mut left = OpenFiles::now().not_in(&before);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        left = OpenFiles::now().not_in(&before);
    }
    let mut record = judged("", "files", left.len() as f64, Limit::at_most(0.0));
    if let Some(first) = left.first() {
        record.withdraw(record.verdict, format!("still open: {first}"));
    }
    record
}
