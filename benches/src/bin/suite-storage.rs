//! The suite `storage`: writing durably, beside the simplest ways to do it.

#![forbid(unsafe_code)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use benches::memory_files::{Way, piece, write as write_file};
use benches::suite::{self, Case, Context, Mode};
use download::{Cache, GcOptions};
use inference_bench::stats::{median, paired_ratio};
use inference_bench::{CaseRecord, Limit, Verdict};
use memory::CachePolicy;

/// The least share of the best simple way that we reach.
const SHARE_MIN: f64 = 0.9;
/// Bytes of a small file.
const FILE_BYTES: u64 = 4096;
/// Within which a process that is to be killed has published its first file.
const BEGUN_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    suite::main(&[
        Case::new("write/keep", "test_disk_io_performance", 6.0, |c| {
            write(c, CachePolicy::Keep, false)
        }),
        Case::new("write/drop", "test_disk_io_performance", 6.0, |c| {
            write(c, CachePolicy::Drop, false)
        }),
        Case::new("write/drop_hashed", "test_disk_io_performance", 6.0, |c| {
            write(c, CachePolicy::Drop, true)
        }),
        Case::new("publish/small_files", "test_atomic_operation_performance", 2.0, small_files),
        Case::new("publish/under_kill", "test_atomic_operation_performance", 2.0, under_kill),
        Case::new("collect/10000_blobs", "test_garbage_collection_performance", 1.0, collected),
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
        timed(
            &folder.path().join(format!("file-{number}")),
            FILE_BYTES,
            Way::Ours(CachePolicy::Keep),
        );
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

/// Kills a process at any instant while it publishes small files: how many stand there torn.
///
/// The process is this program at the case before; its temporary folder lies in ours.
fn under_kill(context: &Context) -> CaseRecord {
    let kills = if context.mode == Mode::Pair { 3 } else { 20 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut whole, mut torn) = (0_u64, 0_u64);
    for k in 0..kills {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .args(["run", "--case", "publish/small_files"])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("this program runs");
        wait_until_published(folder.path());
        // At an instant of its work that no two rounds share.
        std::thread::sleep(Duration::from_micros(1700 * k));
        // It may have ended just now.
        let _ = child.kill();
        child.wait().expect("it is our child");
        for (len_bytes, is_whole) in published(folder.path()) {
            whole += u64::from(is_whole);
            torn += u64::from(!is_whole);
            assert!(is_whole || len_bytes <= FILE_BYTES, "a file of {len_bytes} B");
        }
        for left in std::fs::read_dir(folder.path()).expect("the folder is ours").flatten() {
            std::fs::remove_dir_all(left.path()).expect("it is ours, too");
        }
    }
    let mut record = CaseRecord::new("", "torn files");
    (record.n, record.value) = (kills, Some(torn as f64));
    record.beside.insert("whole_files".to_owned(), whole as f64);
    record.judge(Limit::at_most(0.0));
    if whole == 0 {
        record.withdraw(Verdict::Invalid, "no process had published a file when it was killed");
    }
    record
}

/// Waits for the first file that has its name.
fn wait_until_published(folder: &Path) {
    let since = Instant::now();
    // The process works on, and tidies up at its end: what is listed may be gone.
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let has_begun =
        || list(folder).flat_map(|entry| list(&entry.path())).any(|entry| is_named(&entry.path()));
    while !has_begun() && since.elapsed() < BEGUN_MAX {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a file has the name under which it is published.
fn is_named(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("file-"))
}

/// Length of each file that has its name, in all folders of a folder, and whether it is what was written.
fn published(folder: &Path) -> Vec<(u64, bool)> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the folder is ours").flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = list(folder).into_iter().flat_map(|folder| list(&folder));
    let read = |path| std::fs::read(path).expect("a file that has its name is there");
    let contents: Vec<_> = files.filter(|path| is_named(path)).map(read).collect();
    let written = &piece()[..FILE_BYTES as usize];
    let is_whole = |bytes: &Vec<u8>| bytes == written;
    contents.iter().map(|bytes| (bytes.len() as u64, is_whole(bytes))).collect()
}

/// Collects what nobody refers to: blobs that went and are needed, or stayed and are not.
fn collected(context: &Context) -> CaseRecord {
    const MODELS: usize = 10;
    let blobs = if context.mode == Mode::Pair { 20 } else { 1000 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repos: Vec<_> =
        (0..MODELS).map(|k| folder.path().join(format!("models--org--m{k}"))).collect();
    for repo in &repos {
        fill(repo, blobs).expect("the disk has room");
    }
    let options = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    let start = Instant::now();
    let gc = download::collect(&Cache::new(folder.path()), &options).expect("the cache is ours");
    let seconds = start.elapsed().as_secs_f64();
    let names = |folder: &Path| std::fs::read_dir(folder).expect("it is ours").flatten();
    let is_broken = |repo: &Path| {
        names(&repo.join("snapshots").join(COMMIT)).filter(|link| !link.path().exists()).count()
    };
    let broken: usize = repos.iter().map(|repo| is_broken(repo)).sum();
    let left: usize = repos.iter().map(|repo| names(&repo.join("blobs")).count()).sum();
    let needed = MODELS * blobs / 2;
    let wrong = broken + left.abs_diff(needed) + gc.removed.len().abs_diff(needed);
    let limit = Some(Limit::at_most(0.0));
    let mut record = context.mode.judged("wrong blobs", wrong as f64, 1, limit);
    record.beside.insert("collect_s".to_owned(), seconds);
    record.beside.insert("blob_us".to_owned(), seconds * 1e6 / (MODELS * blobs) as f64);
    record
}

/// The commit of the models that are collected.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A model of so many blobs, each second of which has a name in its one snapshot.
fn fill(repo: &Path, blobs: usize) -> std::io::Result<()> {
    let snapshot = repo.join("snapshots").join(COMMIT);
    for folder in [repo.join("blobs"), repo.join("refs"), snapshot.clone()] {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(repo.join("refs/main"), COMMIT)?;
    for number in 0..blobs {
        let name = format!("{number:064x}");
        std::fs::write(repo.join("blobs").join(&name), b"weights")?;
        if number.is_multiple_of(2) {
            let link = snapshot.join(format!("part-{number}"));
            symlink(Path::new("../../blobs").join(&name), link)?;
        }
    }
    Ok(())
}
