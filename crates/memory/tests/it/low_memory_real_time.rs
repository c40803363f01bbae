//! A child that may use 64 MiB writes and hashes a stream that is larger; the long form is the example
//! `low_memory`.

#[path = "../../examples/low_memory/child.rs"]
mod child;

use std::path::Path;
use std::process::Command;

use memory::CachePolicy;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use sha2::{Digest, Sha256};

/// Where the child writes; set by the parent alone.
const TARGET_VARIABLE: &str = "MEMORY_TEST_TARGET_OF_CHILD";
const LIMIT_BYTES: u64 = 64 << 20;
const STREAM_BYTES: u64 = (160 << 20) + 12_345;
const PEAK_RSS_BYTES_MAX: u64 = 32 << 20;
const CACHED_BYTES_MAX: u64 = 64 << 20;

#[test]
#[ignore = "started by the test below"]
fn limited_child() {
    let Ok(target) = std::env::var(TARGET_VARIABLE) else { return };
    setrlimit(Resource::RLIMIT_DATA, LIMIT_BYTES, LIMIT_BYTES).unwrap();
    let outcome =
        child::write_and_hash(Path::new(&target), STREAM_BYTES, CachePolicy::Drop).unwrap();
    let child::Outcome { peak_rss_bytes, cached_bytes_after, digest, .. } = &outcome;
    assert!(0.0 < outcome.wall_s && outcome.cached_bytes_max <= STREAM_BYTES);
    println!("\nchild {peak_rss_bytes} {cached_bytes_after} {digest}");
}

#[test]
fn a_stream_larger_than_memory_is_written_and_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("stream");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "low_memory_real_time::limited_child", "--ignored", "--nocapture"])
        .env(TARGET_VARIABLE, &target)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix("child "));
    let words: Vec<_> = found.unwrap_or_else(|| panic!("{text}")).split(' ').collect();
    let [peak_rss_bytes, cached_bytes, digest] = words[..] else { panic!("{text}") };

    assert_eq!(child::hex(&Sha256::digest(expected())), digest);
    assert_eq!(expected(), std::fs::read(&target).unwrap());
    let peak_rss_bytes: u64 = peak_rss_bytes.parse().unwrap();
    assert!(peak_rss_bytes <= PEAK_RSS_BYTES_MAX, "{peak_rss_bytes} B");
    // What lies in memory cannot be dropped from the page cache.
    if statfs(folder.path()).unwrap().filesystem_type() != TMPFS_MAGIC {
        let cached_bytes: u64 = cached_bytes.parse().unwrap();
        assert!(cached_bytes <= CACHED_BYTES_MAX, "{cached_bytes} B");
    }
}

fn expected() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut pattern = child::pattern();
    for number in 0..STREAM_BYTES.div_ceil(child::BUFFER_BYTES as u64) {
        child::stamp(&mut pattern, number);
        bytes.extend(&pattern);
    }
    bytes.truncate(STREAM_BYTES as usize);
    bytes
}
