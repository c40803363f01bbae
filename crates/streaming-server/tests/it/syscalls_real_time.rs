//! How often the kernel is asked, by strace's count of the program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::helpers::{LIMIT, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_streaming-server");
/// All of them are due at the same instants, as the sequences of one engine are.
const STREAMS: u64 = 100;

/// The program under strace, which writes its table to `table` when the program has ended. The child
/// is the program itself: strace stands beside it (`-D`).
fn start(table: &Path) -> Option<(Child, String)> {
    let mut child = Command::new("strace")
        .args(["-D", "-f", "-c", "-o"])
        .arg(table)
        .args([PROGRAM, "--interval", "20ms", "--aligned"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let Some(address) = line.trim().strip_prefix("listening on http://") else {
        child.wait().unwrap();
        return None;
    };
    Some((child, address.to_owned()))
}

/// The sum in the last line of strace's table: `100.00    0.123456     5     1234     12 total`.
fn total(table: &Path) -> u64 {
    let until = Instant::now() + LIMIT;
    loop {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.ends_with(" total")) {
            return line.split_whitespace().nth(3).unwrap().parse().unwrap();
        }
        assert!(Instant::now() < until, "strace wrote no table: {text:?}");
        sleep(Duration::from_millis(10));
    }
}

/// Calls of the program from its start to its end, while each stream brings so many tokens; none
/// where strace is not there or may not trace.
fn calls(tokens: u64) -> Option<u64> {
    let folder = std::env::temp_dir().join(format!("syscalls-{}-{tokens}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let table = folder.join("table");
    let (mut child, address) = start(&table)?;
    let body = format!(r#"{{"prompt":"a","max_tokens":{tokens},"stream":true}}"#);
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(&request("/v1/completions", &body, "Connection: close\r\n")).unwrap();
            stream
        })
        .collect();
    for mut stream in streams {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(Some(0), child.wait().unwrap().code());
    let total = total(&table);
    std::fs::remove_dir_all(&folder).unwrap();
    Some(total)
}

#[test]
fn a_token_costs_one_call_at_aligned_steps() {
    let (few, many) = (25, 125);
    let (Some(short), Some(long)) = (calls(few), calls(many)) else {
        println!("skipped: strace is not there, or may not trace");
        return;
    };
    let per_token = (long - short) as f64 / ((many - few) * STREAMS) as f64;
    println!("{per_token:.3} system calls for each token");
    assert!(per_token <= 1.1, "{per_token:.3}: from {short} to {long} calls");
}
