//! Processes, run and measured one at a time.

use std::fmt;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wait4::{ResUse, Wait4};

use crate::machine::Fingerprint;

/// The end of a command's output that is kept: enough for a last line, whatever came before it.
const OUTPUT_KEPT_BYTES: usize = 1 << 20;
/// For so long the output is waited for after the end of a command. What it left running may hold it open for as long
/// as it lives; the command's own words are in the pipe by then.
const LEFT_OPEN_MAX: Duration = Duration::from_secs(1);

/// What one run of a command cost, and how it ended.
#[derive(Clone, Debug)]
pub struct Measured {
    /// From just before the start to just after the end.
    pub wall: Duration,
    /// CPU time of the process and of the children it waited for, user and system.
    pub cpu: Duration,
    /// The largest resident set of the process or of a child it waited for, in bytes.
    pub peak_rss_bytes: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// The end of what it printed to stdout, at most 1 MiB of it.
    pub output: Vec<u8>,
}

/// Why a command could not be measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The text is no command: it is empty, or a quote is left open.
    NoCommand {
        /// The text.
        text: String,
    },
    /// The program did not start.
    NotStarted {
        /// Its name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ran, but the system did not tell how it went.
    Lost {
        /// What the system said.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand { text } => {
                write!(f, "no command in `{text}`: it is empty or a quote is left open")
            }
            Self::NotStarted { program, .. } => {
                write!(f, "cannot start `{program}`; is it installed and spelled right?")
            }
            Self::Lost { .. } => f.write_str("lost sight of a command while it ran"),
            Self::TimedOut { limit } => write!(f, "killed after {} s", limit.as_secs_f64()),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } | Self::Lost { source } => Some(source),
            _ => None,
        }
    }
}

/// Splits a text into a command as a shell splits words; no shell is started.
///
/// # Errors
///
/// [`RunError::NoCommand`] when nothing is left or a quote is open.
pub fn command(text: &str) -> Result<Command, RunError> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| RunError::NoCommand { text: text.to_owned() })?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

/// Runs a command to its end, without input and with stderr thrown away, and measures it.
///
/// # Errors
///
/// [`RunError`] when it does not start, is lost, or is not done within `limit`; it is then killed and
/// waited for.
pub fn run(command: &mut Command, limit: Duration) -> Result<Measured, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|source| RunError::NotStarted {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let output = child.stdout.take().map(read_end);
    let (used, timed_out) = wait(child, limit).map_err(|source| RunError::Lost { source })?;
    let wall = start.elapsed();
    if timed_out {
        return Err(RunError::TimedOut { limit });
    }
    let output = output.map(Kept::end).unwrap_or_default();
    Ok(Measured {
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak_rss_bytes: used.rusage.maxrss,
        status: used.status,
        output,
    })
}

/// Waits for a child, and kills it when its time is over.
fn wait(child: Child, limit: Duration) -> io::Result<(ResUse, bool)> {
    let pid = child.id().to_string();
    let (ended, watchdog) = watch(pid, limit);
    let used = child.wait4();
    drop(ended);
    let timed_out = watchdog.join().unwrap_or(false);
    Ok((used?, timed_out))
}

/// Starts the thread that kills the process unless the sender is dropped within the limit.
fn watch(pid: String, limit: Duration) -> (Sender<()>, thread::JoinHandle<bool>) {
    let (ended, end) = channel::<()>();
    let watchdog = thread::spawn(move || {
        let in_time = end.recv_timeout(limit) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if !in_time {
            // The child is not waited for yet, so its number cannot have been given to another.
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
        !in_time
    });
    (ended, watchdog)
}

/// The end of what comes through a pipe, and word of when the pipe is closed.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: Receiver<()>,
}

impl Kept {
    /// What has come when the pipe is closed; or soon, where something that the command left running holds it
    /// open.
    fn end(self) -> Vec<u8> {
        let _ = self.closed.recv_timeout(LEFT_OPEN_MAX);
        let mut kept =
            self.bytes.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default();
        kept.drain(..kept.len().saturating_sub(OUTPUT_KEPT_BYTES));
        kept
    }
}

fn read_end(mut pipe: impl Read + Send + 'static) -> Kept {
    let (open, closed) = channel();
    let bytes = Arc::<Mutex<Vec<u8>>>::default();
    let written = Arc::clone(&bytes);
    thread::spawn(move || {
        let _open: Sender<()> = open;
        let mut piece = vec![0; 1 << 16];
        while let (Ok(n @ 1..), Ok(mut kept)) = (pipe.read(&mut piece), written.lock()) {
            kept.extend_from_slice(&piece[..n]);
            if 2 * OUTPUT_KEPT_BYTES < kept.len() {
                let surplus = kept.len() - OUTPUT_KEPT_BYTES;
                kept.drain(..surplus);
            }
        }
    });
    Kept { bytes, closed }
}

/// The machine that this process runs on.
#[must_use]
pub fn fingerprint() -> Fingerprint {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let osrelease = read("/proc/sys/kernel/osrelease");
    Fingerprint::read(&read("/proc/cpuinfo"), &read("/proc/meminfo"), &osrelease, cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_is_split_like_a_shell_does() {
        let command = command(r#"printf "%s" 'a b'"#).unwrap();
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(["%s", "a b"], *arguments);
    }

    #[test]
    fn nonsense_is_no_command() {
        for text in ["", "   ", "echo 'open"] {
            assert!(matches!(command(text), Err(RunError::NoCommand { .. })), "{text}");
        }
    }

    #[test]
    fn output_status_and_cost_come_back() {
        let mut command = command("sh -c 'echo one; echo two; exit 3'").unwrap();
        let measured = run(&mut command, MINUTE).unwrap();
        assert_eq!(b"one\ntwo\n".as_slice(), measured.output);
        assert_eq!(Some(3), measured.status.code());
        assert!(Duration::ZERO < measured.wall && 0 < measured.peak_rss_bytes);
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let mut command = command("sh -c 'head -c 5000000 /dev/zero; echo end'").unwrap();
        let measured = run(&mut command, MINUTE).unwrap();
        assert_eq!(OUTPUT_KEPT_BYTES, measured.output.len());
        assert!(measured.output.ends_with(b"end\n"));
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let start = Instant::now();
        let mut command = command("sh -c 'sleep 30 & echo $!'").unwrap();
        let measured = run(&mut command, MINUTE).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        let left = String::from_utf8(measured.output).unwrap();
        assert!(Command::new("kill").arg(left.trim()).status().unwrap().success(), "{left}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut command("no-such-program-here").unwrap(), MINUTE).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let error = run(&mut command("sleep 600").unwrap(), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }
}
