//! The measured processes of the suite `stream`: this program again, as a server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{Backlog, listen};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use streaming_server::{
    Listener, Options, Pace, RelayOptions, Server, TestOptions, TestRunner, raise_open_files,
};
use tokio::sync::oneshot;

use crate::stream_direct;

/// The word that makes this program a server.
pub const WORD: &str = "serve";
/// As the program `streaming-server` has it.
const EVENT_INTERVAL: u32 = 32;
/// Connections that may wait to be accepted by the reference: as many as ours has.
const ACCEPT_BACKLOG: i32 = 4096;
/// The core of the servers; clients have the other ones.
const SERVER_CORE: usize = 0;

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Server,
    /// The same on all cores.
    ServerFree,
    /// The reference.
    Direct,
    /// Our relay, to the server that the limits name, on all cores.
    Relay,
}

/// What a server lets happen, where a case is about that.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many requests run at once.
    pub running: usize,
    /// How many wait beside them.
    pub queued: usize,
    /// How long a client may read nothing.
    pub stall: Duration,
    /// Who may ask, as a file of keys says it; everybody where it is empty.
    pub keys: String,
    /// Where a relay passes requests on to.
    pub upstream: String,
}

impl Default for Limits {
    fn default() -> Self {
        let Options { running_max, queued_max, stall_timeout, .. } = Options::default();
        Self {
            running: running_max,
            queued: queued_max,
            stall: stall_timeout,
            keys: String::new(),
            upstream: String::new(),
        }
    }
}

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

/// A serving process; it ends with this.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Serving {
    /// Starts this program again, as a server.
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Panics
    ///
    /// Never: the pipes were asked for.
    pub fn start(kind: Kind, interval: Duration, aligned: bool) -> io::Result<Self> {
        Self::start_with(kind, interval, aligned, &Limits::default())
    }

    /// The same with limits of its own.
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Panics
    ///
    /// Never: the pipes were asked for.
    pub fn start_with(
        kind: Kind,
        interval: Duration,
        aligned: bool,
        limits: &Limits,
    ) -> io::Result<Self> {
        let word = match kind {
            Kind::Server => "server",
            Kind::ServerFree => "server-free",
            Kind::Direct => "direct",
            Kind::Relay => "relay",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args([WORD, word, &interval.as_nanos().to_string(), &aligned.to_string()])
            .args([limits.running, limits.queued].map(|limit| limit.to_string()))
            .arg(limits.stall.as_millis().to_string())
            .args([&limits.keys, &limits.upstream])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("it was asked for");
        let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, stdin, stdout, address })
    }

    /// What it used so far.
    ///
    /// # Errors
    ///
    /// What the system says; a process that ended is one.
    pub fn used(&mut self) -> io::Result<Used> {
        self.stdin.write_all(b"\n")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).ok_or(io::ErrorKind::InvalidData);
        Ok(Used { cpu_us: next()?, rss_bytes: next()? })
    }

    /// Tells it to stop, and waits until it has. Returns whether every stream has finished.
    ///
    /// # Errors
    ///
    /// What the system says; a process that ended is one.
    pub fn drain(mut self) -> io::Result<bool> {
        self.stdin.write_all(b"stop\n")?;
        Ok(self.child.wait()?.success())
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts this process on the cores that servers leave free, where there are two.
pub fn leave_the_servers_core() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if 1 < cores {
        let mut set = CpuSet::new();
        for core in (0..cores).filter(|core| *core != SERVER_CORE) {
            let _ = set.set(core);
        }
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Serves, if this process was started for it; does not return then.
///
/// # Panics
///
/// When it was started with other words than [`Serving::start`] gives, or the kernel has no sockets.
pub fn serve_if_told() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [word, kind, interval, aligned, limits @ ..] = args.as_slice() else { return };
    if word != WORD {
        return;
    }
    let interval = Duration::from_nanos(interval.parse().expect("a number of nanoseconds"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if 1 < cores {
        let is_free = ["server-free", "relay"].contains(&kind.as_str());
        let mut set = CpuSet::new();
        for core in (0..cores).filter(|core| is_free || *core == SERVER_CORE) {
            let _ = set.set(core);
        }
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
    raise_open_files().expect("limits can be read");
    let limits = Limits::of(limits).expect("what `Serving::start_with` gives");
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || answer(stop));
    let cut = if kind == "direct" {
        direct(interval).map(|()| 0)
    } else {
        let pace = if aligned == "true" { Pace::Aligned } else { Pace::Own };
        ours(interval, pace, &limits, stopped)
    };
    std::process::exit(i32::from(0 < cut.expect("the kernel has sockets")));
}

/// Says what this process used, line by line, stops the server when told so, and ends with its parent.
fn answer(stop: oneshot::Sender<()>) {
    let mut stop = Some(stop);
    for line in io::stdin().lock().lines() {
        if line.is_ok_and(|line| line == "stop") {
            drop(stop.take());
            continue;
        }
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("this process has a usage");
        let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib: u64 =
            rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{cpu_us} {}", rss_kib << 10);
        let _ = stdout.flush();
    }
    std::process::exit(0);
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

fn direct(interval: Duration) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The standard library lets 128 wait: a client that opens a thousand would have some of them lost,
    // and begun a second later.
    listen(&listener, Backlog::new(ACCEPT_BACKLOG)?)?;
    announce(listener.local_addr()?)?;
    stream_direct::serve(&listener, interval)
}

impl Limits {
    /// What the arguments of a child say.
    fn of(arguments: &[String]) -> Option<Self> {
        let [running, queued, stall_ms, keys, upstream] = arguments else { return None };
        Some(Self {
            running: running.parse().ok()?,
            queued: queued.parse().ok()?,
            stall: Duration::from_millis(stall_ms.parse().ok()?),
            keys: keys.clone(),
            upstream: upstream.clone(),
        })
    }
}

/// Serves until it is told to stop; returns how many streams were cut.
fn ours(
    interval: Duration,
    pace: Pace,
    limits: &Limits,
    stopped: oneshot::Receiver<()>,
) -> io::Result<u64> {
    let tokens = TestOptions { interval, pace, ..TestOptions::default() };
    let keys = Some(&limits.keys).filter(|keys| !keys.is_empty());
    let options = Options {
        tokens_max: 1 << 40,
        running_max: limits.running,
        queued_max: limits.queued,
        stall_timeout: limits.stall,
        keys: keys.map(|keys| keys.parse()).transpose().map_err(io::Error::other)?,
        ..Options::default()
    };
    let server = if limits.upstream.is_empty() {
        Server::start(options, move || TestRunner::new(tokens))
    } else {
        let upstreams = vec![limits.upstream.clone()];
        let options = Options { models: Vec::new(), ..options };
        Server::relay(options, &RelayOptions { upstreams, ..RelayOptions::default() })
    };
    let server = server.map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    runtime.block_on(async {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
        announce(listener.address()?)?;
        Ok(server.serve(listener, stopped).await.cut)
    })
}
