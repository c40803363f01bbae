//! The clock, the sockets and the process: what the rest takes from here, and simulations replace.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted. A burst that finds no room costs its clients a
/// second, the first retransmission of a SYN (RFC 6298, 2).
const BACKLOG: u32 = 4096;
/// What the kernel may hold for a client that does not read, in bytes; it doubles the figure for its
/// own book-keeping (socket(7)). Unset it grows to megabytes.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// Instants as whole nanoseconds since the server's start, and as the clock that other processes of
/// this machine read (`CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_monotonic_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let monotonic =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self { start: Instant::now(), start_monotonic_ns: nanoseconds(monotonic) }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    pub(crate) fn ns(&self, instant: Instant) -> u64 {
        nanoseconds(instant.saturating_duration_since(self.start))
    }

    /// The same instant by `CLOCK_MONOTONIC`.
    pub(crate) fn monotonic_ns(&self, since_start_ns: u64) -> u64 {
        self.start_monotonic_ns.saturating_add(since_start_ns)
    }
}

/// 584 years fit.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, by the clock of the runtime's timers.
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Seconds since 1970, as the API's `created` has them.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A number that no other start of the server has.
pub(crate) fn random_number() -> u64 {
    RandomState::new().hash_one(0)
}

/// Lets timers of this thread end when they are due, and not 50 µs later (`PR_SET_TIMERSLACK`).
pub(crate) fn set_finest_timers() {
    // Where it is refused, timers are coarser: nothing to be done about it.
    let _ = nix::sys::prctl::set_timerslack(1);
}

/// Starts a thread.
pub(crate) fn spawn_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Raises this process's limit of open files as far as it may, and returns it.
///
/// Each connection is an open file; many systems begin at 1024. For programs: a library must not change
/// its process unasked.
///
/// # Errors
///
/// What the kernel says; the limit is then unchanged.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// A socket that accepts connections, 4096 of which may wait to be accepted.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = streaming_server::Listener::bind(([127, 0, 0, 1], 0).into())?;
/// assert_ne!(0, listener.address()?.port());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on an address; port 0 takes a free one. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the kernel says: the address is in use, or is not of this machine.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        Ok(Self(socket.listen(BACKLOG)?))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            let stream = match self.0.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            // A token is smaller than a packet: it must not wait for the acknowledgment of the one
            // before it (RFC 896), which the other side delays by 40 ms. Refused, the client has gone.
            if stream.set_nodelay(true).is_ok() {
                return Ok(stream);
            }
        }
    }
}
