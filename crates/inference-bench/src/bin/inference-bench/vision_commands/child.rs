//! A worker process, watched: what it says, how it ends, and that it ends in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::worker::{Message, Request};
use crate::interrupt::Interrupt;

/// How often an interrupt and the time are looked at.
const WATCH: Duration = Duration::from_millis(50);
/// The end of what a worker says on stderr that is kept: its last words.
const LAST_WORDS_BYTES: usize = 2048;

/// Runs a worker to its end and hands on what it says. The error is why it did not end well; a worker that
/// is interrupted is killed and ends well.
pub(super) fn run(
    request: &Request,
    limit: Duration,
    interrupt: &Interrupt,
    mut hear: impl FnMut(Message),
) -> Result<(), String> {
    let mut child = start(request).map_err(|error| format!("cannot start a process: {error}"))?;
    let messages = listen(&mut child);
    let last_words = child.stderr.take().map(|stderr| thread::spawn(move || end_of(stderr)));
    let begin = Instant::now();
    let mut killed = None;
    loop {
        match messages.recv_timeout(WATCH) {
            Ok(message) => hear(message),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if killed.is_none() && interrupt.code().is_some() {
            killed = Some(Ok(()));
        } else if killed.is_none() && limit < begin.elapsed() {
            killed = Some(Err(format!("killed after {} s: --timeout", limit.as_secs_f64())));
        } else {
            continue;
        }
        // It may have ended just now.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("lost sight of a process: {error}"))?;
    let words = last_words.and_then(|thread| thread.join().ok()).unwrap_or_default();
    match killed {
        Some(outcome) => outcome,
        None if status.success() => Ok(()),
        None => Err(obituary(status, &words, request.memory_limit)),
    }
}

fn start(request: &Request) -> std::io::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("see")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Should it be dead already, its status says more than this.
        let _ = stdin.write_all(&serde_json::to_vec(request)?);
    }
    Ok(child)
}

fn listen(child: &mut Child) -> Receiver<Message> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // An engine that prints into our lines breaks none of the others.
                if let Ok(message) = serde_json::from_str(&line)
                    && sender.send(message).is_err()
                {
                    return;
                }
            }
        });
    }
    receiver
}

fn end_of(mut stderr: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stderr.read(&mut piece) {
        kept.extend_from_slice(&piece[..n]);
        kept.drain(..kept.len().saturating_sub(LAST_WORDS_BYTES));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// How a process died, in the words that help most.
fn obituary(status: ExitStatus, words: &str, memory_limit: Option<u64>) -> String {
    use std::os::unix::process::ExitStatusExt;
    let marks = ["memory allocation of", "bad_alloc", "Cannot allocate"];
    let is_mark = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    if let Some(line) = words.lines().find(is_mark) {
        let line = line.trim().replace(char::is_control, " ");
        return format!("out of memory{}: {line}", under(memory_limit));
    }
    let around = |line: &&str| !line.trim().is_empty() && !line.contains("backtrace");
    let last = words.lines().rfind(around).unwrap_or_default().trim();
    let last = last.replace(char::is_control, " ");
    match status.signal() {
        // The kernel's way to end whoever takes too much of a container's memory.
        Some(9) => "killed by signal 9: out of memory, or somebody killed it".to_owned(),
        Some(signal) => format!("its process died of signal {signal}: {last}"),
        None => format!("its process ended with {status}: {last}"),
    }
}

/// The same reason, with the limit that was in the way where memory was.
pub(super) fn explained(reason: String, memory_limit: Option<u64>) -> String {
    if reason.contains("out of memory") { reason + &under(memory_limit) } else { reason }
}

fn under(memory_limit: Option<u64>) -> String {
    let set = [Resource::RLIMIT_AS, Resource::RLIMIT_DATA].into_iter();
    let inherited = set.filter_map(|resource| getrlimit(resource).ok()).map(|(soft, _)| soft).min();
    let limit = memory_limit.or(inherited.filter(|&soft| soft != nix::libc::RLIM_INFINITY));
    limit.map_or_else(String::new, |limit| format!(" under the limit of {} MiB", limit >> 20))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[track_caller]
    fn check(status: i32, words: &str, expected: &str) {
        assert_eq!(expected, obituary(ExitStatus::from_raw(status), words, Some(512 << 20)));
    }

    #[test]
    fn a_death_is_told_in_the_words_that_help() {
        let words = "memory allocation of 999 bytes failed\nskipping backtrace printing\n";
        let expected =
            "out of memory under the limit of 512 MiB: memory allocation of 999 bytes failed";
        check(6, words, expected);
        check(9, "", "killed by signal 9: out of memory, or somebody killed it");
        check(6, "odd\u{1b}[31m\n\n", "its process died of signal 6: odd [31m");
        check(256, "last", "its process ended with exit status: 1: last");
    }
}
