//! A child process that may use 64 MiB writes and hashes a 4 GiB stream; beside it, what others take.
//!
//! ```text
//! cargo run --release -p memory --example low_memory -- [MIB] [FOLDER]
//! ```
//!
//! The child is limited by a control group, page cache included, where one may be made; else by
//! `RLIMIT_DATA`. Every other way runs without a limit, which favors it. Needs `cp` and `dd`, and as much
//! disk as the stream is long.

#![expect(clippy::print_stdout, reason = "an example prints")]

mod child;

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use memory::{CachePolicy, steps};
use nix::sys::resource::{Resource, setrlimit};
use sha2::{Digest, Sha256};

type Outcome = Result<(), Box<dyn Error>>;

/// What the child may use.
const LIMIT_BYTES: u64 = 64 << 20;
/// How often each way is tried, in turn.
const ROUNDS: usize = 3;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, group, target, mib, cache] = &arguments[..] {
        assert_eq!("--child", flag, "five arguments are the child's");
        return child_main(group, Path::new(target), mib.parse()?, cache);
    }
    let mib: u64 = arguments.first().map_or(Ok(4096), |mib| mib.parse())?;
    let folder = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("low-memory-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let result = compare(&folder, mib);
    fs::remove_dir_all(&folder)?;
    result
}

/// Runs all ways in turn and prints a line for each.
fn compare(folder: &Path, mib: u64) -> Outcome {
    let target = folder.join("stream");
    println!("{:<34} {:>8} {:>9}", format!("{mib} MiB"), "s", "MB/s");
    for _ in 0..ROUNDS {
        let say = |name: &str, bytes_mib: u64, wall_s: f64| {
            let rate = bytes_mib as f64 * 1.048_576 / wall_s;
            println!("{name:<34} {wall_s:>8.3} {rate:>9.0}");
        };
        say("SHA-256 alone", mib, time(|| hash_alone(mib))?);
        say("std 1 MiB writes + fsync", mib, time(|| std_writes(&target, mib))?);
        fs::remove_file(&target)?;
        // Half of the stream, from memory: the disk may hold one stream at a time.
        let source = Path::new("/dev/shm").join(format!("low-memory-{}", std::process::id()));
        std_writes(&source, mib / 2)?;
        let copied = time(|| run(Command::new("cp").arg(&source).arg(&target), &target));
        fs::remove_file(&target)?;
        let written = time(|| run(&mut dd(&source, &target, mib / 2), &target));
        fs::remove_file(&source)?;
        fs::remove_file(&target)?;
        say("cp + fsync, half, from memory", mib / 2, copied?);
        say("dd conv=fsync, half, from memory", mib / 2, written?);
        // Disks may treat zeros in a way of their own.
        let zeros = time(|| run(&mut dd(Path::new("/dev/zero"), &target, mib), &target));
        say("dd conv=fsync, of zeros", mib, zeros?);
        fs::remove_file(&target)?;
        for cache in ["drop", "keep"] {
            limited_child(&target, mib, cache)?;
            fs::remove_file(&target)?;
        }
    }
    Ok(())
}

fn time(work: impl FnOnce() -> Outcome) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn hash_alone(mib: u64) -> Outcome {
    let mut pattern = child::pattern();
    let mut hash = Sha256::new();
    for number in 0..mib {
        child::stamp(&mut pattern, number);
        steps(&pattern).for_each(|step| hash.update(step));
    }
    std::hint::black_box(hash.finalize());
    Ok(())
}

fn std_writes(target: &Path, mib: u64) -> Outcome {
    let mut pattern = child::pattern();
    let mut file = fs::File::create(target)?;
    for number in 0..mib {
        child::stamp(&mut pattern, number);
        file.write_all(&pattern)?;
    }
    file.sync_all()?;
    Ok(())
}

fn dd(source: &Path, target: &Path, mib: u64) -> Command {
    let mut dd = Command::new("dd");
    dd.args(["bs=1M", "conv=fsync", "status=none", &format!("count={mib}")]);
    dd.arg(format!("if={}", source.display())).arg(format!("of={}", target.display()));
    dd
}

fn run(command: &mut Command, target: &Path) -> Outcome {
    if !command.status()?.success() {
        return Err(format!("{command:?} failed").into());
    }
    fs::File::open(target)?.sync_all()?;
    Ok(())
}

/// Starts this program again as a child with a limit.
fn limited_child(target: &Path, mib: u64, cache: &str) -> Outcome {
    let group = make_group();
    let name = group.as_deref().map_or("rlimit".into(), Path::to_string_lossy);
    let status = Command::new(std::env::current_exe()?)
        .args(["--child", &name])
        .arg(target)
        .args([&mib.to_string(), cache])
        .status()?;
    if let Some(group) = &group {
        fs::remove_dir(group)?;
    }
    if status.success() { Ok(()) } else { Err(format!("the child ended with {status}").into()) }
}

/// A control group of version 1 or 2 with the limit; `None` where none may be made.
fn make_group() -> Option<PathBuf> {
    let bases = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
    bases.into_iter().find_map(|(base, limit)| {
        let name = format!("low-memory-{}", std::process::id());
        let group = Path::new("/sys/fs/cgroup").join(base).join(name);
        fs::create_dir(&group).ok()?;
        let limited = fs::write(group.join(limit), LIMIT_BYTES.to_string());
        if limited.is_err() {
            let _ = fs::remove_dir(&group);
        }
        limited.ok().map(|()| group)
    })
}

fn child_main(group: &str, target: &Path, mib: u64, cache: &str) -> Outcome {
    if group == "rlimit" {
        setrlimit(Resource::RLIMIT_DATA, LIMIT_BYTES, LIMIT_BYTES)?;
    } else {
        fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string())?;
    }
    let policy = if cache == "drop" { CachePolicy::Drop } else { CachePolicy::Keep };
    let outcome = child::write_and_hash(target, mib << 20, policy)?;
    let kind = if group == "rlimit" { "rlimit" } else { "cgroup" };
    let mib_of = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{:<34} {:>8.3} {:>9.0}   peak RSS {:.1} MiB, cached {:.1} MiB at most, {:.1} after, {}…",
        format!("ours, 64 MiB by {kind}, {cache}"),
        outcome.wall_s,
        mib as f64 * 1.048_576 / outcome.wall_s,
        mib_of(outcome.peak_rss_bytes),
        mib_of(outcome.cached_bytes_max),
        mib_of(outcome.cached_bytes_after),
        &outcome.digest[..8],
    );
    Ok(())
}
