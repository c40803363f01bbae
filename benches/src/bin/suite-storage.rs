//! The suite `storage`: writing durably, beside the simplest ways to do it.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use benches::streaming::{PIECE_BYTES, Stream, fill};
use benches::suite::{self, Case, Context, Mode};
use inference_bench::stats::{median, paired_ratio};
use inference_bench::{CaseRecord, Limit};
use memory::CachePolicy;
use sha2::{Digest, Sha256};

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
        Mode::Quick => (96 << 20, 7),
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
    std_write(&source, bytes);
    let stream = Stream { bytes, cache, hashed };
    let mut ways: Vec<(&str, Way<'_>)> = vec![
        ("ours", Box::new(|| drop(stream.write(&target)))),
        ("std", Box::new(|| std_write(&target, bytes))),
        ("cp", Box::new(|| cp(&source, &target))),
        ("dd", Box::new(|| dd(&source, &target))),
    ];
    if hashed {
        ways.push(("sha256", Box::new(|| sha256_alone(bytes))));
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

type Way<'a> = Box<dyn Fn() + 'a>;

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

/// 1 MiB writes by the standard library, and one fsync.
fn std_write(target: &Path, bytes: u64) {
    let mut file = File::create(target).expect("the folder is ours");
    let mut piece = vec![0; PIECE_BYTES];
    for offset in (0..bytes).step_by(PIECE_BYTES) {
        fill(&mut piece, offset);
        file.write_all(&piece).expect("the disk has room");
    }
    file.sync_all().expect("the disk works");
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

fn sha256_alone(bytes: u64) {
    let mut sha256 = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    for offset in (0..bytes).step_by(PIECE_BYTES) {
        fill(&mut piece, offset);
        sha256.update(&piece);
    }
    assert_ne!([0; 32], *sha256.finalize());
}

/// Small files, each durable and in one step under its name.
fn small_files(context: &Context) -> CaseRecord {
    let files = if context.mode == Mode::Pair { 10 } else { 300 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stream = Stream { bytes: 4096, cache: CachePolicy::Keep, hashed: false };
    let mut micros: Vec<f64> = Vec::new();
    for number in 0..files {
        let start = Instant::now();
        drop(stream.write(&folder.path().join(format!("file-{number}"))));
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
