//! The suite `storage`: writing durably, beside the simplest ways to do it.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use benches::memory_files::{Way, write as write_file};
use benches::suite::{self, Case, Context, Mode};
use inference_bench::stats::{median, paired_ratio};
use inference_bench::{CaseRecord, Limit};
use memory::CachePolicy;

/// The least share of the best simple way that we reach.
const SHARE_MIN: f64 = 0.9;

fn main() -> ExitCode {
    let case = |name: &str, seed_case, expected_s, run: fn(&Context) -> CaseRecord| Case {
        name: name.to_owned(),
        seed_case: Some(seed_case),
        expected_s,
        paired: false,
        run: Box::new(run),
    };
    suite::main(&[
        case("write/keep", "test_disk_io_performance", 6.0, |c| write(c, CachePolicy::Keep, false)),
        case("write/drop", "test_disk_io_performance", 6.0, |c| write(c, CachePolicy::Drop, false)),
        case("write/drop_hashed", "test_disk_io_performance", 6.0, |c| {
            write(c, CachePolicy::Drop, true)
        }),
        case("publish/small_files", "test_atomic_operation_performance", 2.0, small_files),
    ])
}

/// File size and rounds.
fn extent(mode: Mode) -> (u64, usize) {
    match mode {
        Mode::Pair => (8 << 20, 1),
        Mode::Quick => (96 << 20, 11),
        Mode::Comprehensive => (512 << 20, 11),
        Mode::Stress => (2 << 30, 21),
    }
}

/// Our time for a durable file, against that of the fastest simple way measured in the same rounds.
///
/// Where we hash, hashing alone is one more way: nobody who verifies is faster than that.
fn write(context: &Context, cache: CachePolicy, hashed: bool) -> CaseRecord {
    let (bytes, rounds) = extent(context.mode);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    timed(&source, bytes, Way::Std);
    let way = if hashed { Way::OursHashed(cache) } else { Way::Ours(cache) };
    let mut ways: Vec<(&str, Writing<'_>)> = vec![
        ("ours", Box::new(|| timed(&target, bytes, way))),
        ("std", Box::new(|| timed(&target, bytes, Way::Std))),
        ("cp", Box::new(|| cp(&source, &target))),
        ("dd", Box::new(|| dd(&source, &target))),
    ];
    if hashed {
        ways.push(("sha256", Box::new(|| timed(&target, bytes, Way::HashAlone))));
    }
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for round in 0..rounds {
        for place in 0..ways.len() {
            let way = (place + round) % ways.len();
            let _ = std::fs::remove_file(&target);
            let start = Instant::now();
            (ways[way].1)();
            seconds[way].push(start.elapsed().as_secs_f64());
        }
    }
    let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
    record(context, bytes, &names, &seconds, hashed)
}

type Writing<'a> = Box<dyn Fn() + 'a>;

fn timed(target: &Path, bytes: u64, way: Way) {
    write_file(target, bytes, way).expect("the disk has room");
}

fn record(
    context: &Context,
    bytes: u64,
    names: &[&str],
    seconds: &[Vec<f64>],
    hashed: bool,
) -> CaseRecord {
    let mut record = CaseRecord::new("", "ratio");
    record.n = seconds[0].len() as u64;
    record.bytes = Some(bytes);
    for (name, seconds) in names.iter().zip(seconds) {
        record.beside.insert(format!("{name}_bytes_per_s"), bytes as f64 / median(seconds));
    }
    // The bar is the slower of the fastest write and the hash: both have to be done.
    let others = 1..names.len() - usize::from(hashed);
    let fastest = others.min_by(|&a, &b| median(&seconds[a]).total_cmp(&median(&seconds[b])));
    let mut bar = fastest.expect("there are others");
    if hashed && median(&seconds[bar]) < median(&seconds[names.len() - 1]) {
        bar = names.len() - 1;
    }
    let pairs: Vec<(f64, f64)> =
        seconds[0].iter().copied().zip(seconds[bar].iter().copied()).collect();
    let ratio = paired_ratio(&pairs, context.seed);
    let medians = median(&seconds[bar]) / median(&seconds[0]);
    record.value = Some(ratio.map_or(medians, |ratio| ratio.median));
    record.interval = ratio.map(|ratio| ratio.interval);
    if ratio.is_some() {
        record.judge(Limit::at_least(SHARE_MIN));
    }
    record
}

fn cp(source: &Path, target: &Path) {
    quietly(Command::new("cp").arg("--reflink=never").arg(source).arg(target));
    quietly(Command::new("sync").arg(target));
}

fn dd(source: &Path, target: &Path) {
    let (input, output) = (format!("if={}", source.display()), format!("of={}", target.display()));
    quietly(Command::new("dd").args([&*input, &*output, "bs=1M", "conv=fsync"]));
}

fn quietly(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("coreutils are installed").success(), "{command:?} failed");
}

/// Small files, each durable and in one step under its name.
fn small_files(context: &Context) -> CaseRecord {
    let files = if context.mode == Mode::Pair { 10 } else { 300 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut micros: Vec<f64> = Vec::new();
    for number in 0..files {
        let start = Instant::now();
        timed(&folder.path().join(format!("file-{number}")), 4096, Way::Ours(CachePolicy::Keep));
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let names = std::fs::read_dir(folder.path()).expect("the folder is ours").count();
    assert_eq!(files, names, "each file is there and no part is left");
    micros.sort_by(f64::total_cmp);
    let mut record = CaseRecord::new("", "us");
    record.n = files as u64;
    record.value = Some(median(&micros));
    record.interval = inference_bench::stats::interval(&micros, 0.5, 0.95);
    record
}
