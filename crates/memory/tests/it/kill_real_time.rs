//! A log whose owner is killed, again and again. The number of kills is 40, or `MEMORY_TEST_KILLS`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memory::files::OsFiles;
use memory::{AppendLog, LogOptions, remove_orphans};

use crate::support::{names, os_files};

/// Where the child finds its log; set by the parent alone.
const LOG_VARIABLE: &str = "MEMORY_TEST_LOG_OF_CHILD";

/// How many records a rewrite keeps.
const KEPT: u64 = 10;

/// Record `number`: the number, and bytes that follow from it, of many lengths.
fn record(number: u64) -> Vec<u8> {
    let len = number.wrapping_mul(0x9E37_79B9) % 5000;
    let filler = (0..len).map(|index| (index ^ number) as u8);
    number.to_le_bytes().into_iter().chain(filler).collect()
}

fn open(path: &Path) -> (AppendLog, Vec<u64>) {
    let mut numbers = Vec::new();
    let read = |bytes: &[u8]| {
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(record(number), bytes, "whole and unchanged");
        numbers.push(number);
    };
    let log = AppendLog::open(&os_files(), path, LogOptions::default(), read).unwrap();
    (log, numbers)
}

/// The child: appends, commits, tells what is committed, and rewrites now and then. Until it is killed.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let Ok(path) = std::env::var(LOG_VARIABLE) else { return };
    let (mut log, numbers) = open(Path::new(&path));
    let mut out = std::io::stdout();
    for number in numbers.last().map_or(1, |last| last + 1).. {
        let position = log.append(&record(number)).unwrap();
        if number % 3 == 0 {
            log.commit(position).unwrap();
            writeln!(out, "ack {number}").unwrap();
        }
        if number % 40 == 0 {
            let kept = number.saturating_sub(KEPT) + 1..=number;
            log.rewrite(kept.map(record)).unwrap();
            writeln!(out, "ack {number}").unwrap();
        }
    }
}

#[test]
fn killed_at_any_instant_every_acknowledged_record_is_there_and_nothing_else() {
    let kills =
        std::env::var("MEMORY_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(40);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut acknowledged, mut unacknowledged) = (0, 0);
    for kill in 0..kills {
        acknowledged = acknowledged.max(run_and_kill(&path, kill));
        let (log, numbers) = open(&path);
        let (first, last) =
            (numbers.first().copied().unwrap_or(1), numbers.last().copied().unwrap_or(0));
        assert_eq!((first..=last).collect::<Vec<_>>(), numbers, "none missing, none twice");
        assert!(acknowledged <= last, "{acknowledged} was acknowledged, {last} is the last");
        assert!(first == 1 || KEPT <= last + 1 - first, "a rewrite keeps {KEPT}");
        unacknowledged += last - acknowledged;
        acknowledged = last;
        drop(log);
        remove_orphans(&OsFiles::new(), folder.path()).unwrap();
        assert_eq!(vec!["journal"], names(folder.path()));
    }
    println!(
        "{kills} kills, {acknowledged} records, {unacknowledged} of them whole but not acknowledged"
    );
    assert!(0 < acknowledged);
}

/// Lets a child work for a while that is different each time; returns the last number it acknowledged.
fn run_and_kill(path: &Path, kill: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_real_time::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(LOG_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let killer = std::thread::spawn(move || {
        let micros = kill.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49;
        std::thread::sleep(Duration::from_micros(2000 + micros));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let acks = out.lines().map_while(Result::ok);
    let numbers = acks.filter_map(|line| line.split_once("ack ")?.1.parse().ok());
    let last = numbers.last().unwrap_or(0);
    killer.join().unwrap();
    last
}
