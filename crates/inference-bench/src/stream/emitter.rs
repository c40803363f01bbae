//! A source of tokens whose emit times are known: the ground truth of the instrument.

mod connection;
mod fault;
mod wire;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use self::connection::{Connection, Next};
pub use self::fault::{Fault, Misdeed};
use super::seam::Clock;

/// Connections that wait to be accepted: a run may open thousands at once.
const BACKLOG: i32 = 4096;
/// Tokens that are written before arrivals are looked at again.
const BATCH_MAX: usize = 256;
const EVENTS_MAX: usize = 256;
/// The least time between two wakes: above 20 000 tokens a second, a wake for each would be most of the
/// emitter's work, and a source that is behind is none. What is due meanwhile is emitted together, each
/// token with the time of its own write.
const STEP_NS: u64 = 50_000;
/// A congestion control that paces would hold back what is stamped already, and works at each
/// acknowledgement, which on loopback is the client's time.
const CONGESTION_CONTROL: &str = "reno";

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

/// How a source emits.
#[derive(Clone, Debug)]
pub struct EmitterOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Between two tokens of a stream.
    pub interval: Duration,
    /// From the request to the first token.
    pub ttft: Duration,
    /// Whether streams are moved against each other by a part of the interval, each by its own.
    pub scattered: bool,
    /// One server that works on one request at a time, for so long each: its first token is due when it
    /// is served. With Poisson arrivals this is the queue M/D/1, whose waits are known.
    pub service: Option<Duration>,
    /// Stand still once, so long after the first request, for so long.
    pub freeze: Option<(Duration, Duration)>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

impl Default for EmitterOptions {
    /// Every 20 ms, scattered, from a free port of 127.0.0.1.
    fn default() -> Self {
        let interval = Duration::from_millis(20);
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            interval,
            ttft: interval,
            scattered: true,
            service: None,
            freeze: None,
            fault: None,
        }
    }
}

/// An OpenAI-like endpoint that emits `token_0`, `token_1`, … at absolute deadlines, each event after a
/// comment with its emit time: `: t=NANOSECONDS`, since 1970, read just before the write.
///
/// One thread serves all streams in steps: thousands of threads would overload the core on which they
/// wake, and be the error that they are to show. It is no server for others: what it does not know it
/// answers with 404, and a client that does not read is cut.
///
/// # Examples
///
/// ```no_run
/// use inference_bench::stream::{Emitter, EmitterOptions};
///
/// # fn main() -> std::io::Result<()> {
/// let emitter = Emitter::bind(EmitterOptions::default())?;
/// println!("listening on http://{}", emitter.address()?);
/// emitter.run(std::io::stdin())
/// # }
/// ```
#[derive(Debug)]
pub struct Emitter {
    options: EmitterOptions,
    listener: TcpListener,
}

/// What a running emitter holds.
struct Running {
    options: EmitterOptions,
    clock: Clock,
    epoll: Epoll,
    /// By their slot; a slot without a connection is free.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// When the stream in a slot has to emit next. The generation tells a stream from its forerunner.
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    streams: u64,
    /// When the one server of `service` is free.
    free_at_ns: u64,
    freeze_at_ns: Option<u64>,
    /// When it woke last.
    woke_ns: u64,
    out: Vec<u8>,
}

impl Emitter {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub fn bind(options: EmitterOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        // Every kernel has it, but a machine may forbid it; then the default has to do.
        let _ = setsockopt(&listener, sockopt::TcpCongestion, &CONGESTION_CONTROL.into());
        listener.set_nonblocking(true)?;
        Ok(Self { options, listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves on this thread until `stop` can be read or is closed.
    ///
    /// # Errors
    ///
    /// When the system has no descriptors to give. What goes wrong with one connection ends that one.
    pub fn run(self, stop: impl AsFd) -> io::Result<()> {
        let Self { options, listener } = self;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut running = Running {
            options,
            clock: Clock::start(),
            epoll,
            connections: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            streams: 0,
            free_at_ns: 0,
            freeze_at_ns: None,
            woke_ns: 0,
            out: Vec::new(),
        };
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        loop {
            running.freeze();
            let timeout = running.emit_due(&timer)?;
            let n = match running.epoll.wait(&mut events, timeout) {
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            running.woke_ns = running.clock.now_ns();
            for event in &events[..n] {
                match event.data() {
                    STOP => return Ok(()),
                    TIMER => {}
                    LISTENER => running.accept(&listener)?,
                    slot => running.ready(slot as usize, event.events()),
                }
            }
        }
    }
}

impl Running {
    /// Stands still if it is time to.
    fn freeze(&mut self) {
        let Some((_, how_long)) = self.options.freeze else { return };
        if self.freeze_at_ns.is_some_and(|at_ns| at_ns <= self.clock.now_ns()) {
            self.freeze_at_ns = None;
            self.options.freeze = None;
            std::thread::sleep(how_long);
        }
    }

    /// Emits what is due and tells how long to wait then: not at all while more is due, else until the
    /// timer.
    fn emit_due(&mut self, timer: &TimerFd) -> io::Result<EpollTimeout> {
        for _ in 0..BATCH_MAX {
            let Some(&Reverse((due_ns, slot, generation))) = self.due.peek() else {
                return Ok(EpollTimeout::NONE);
            };
            if self.clock.now_ns() < due_ns {
                self.set(timer, due_ns.max(self.woke_ns + STEP_NS))?;
                return Ok(EpollTimeout::NONE);
            }
            self.due.pop();
            self.emit(slot, generation, due_ns);
        }
        Ok(EpollTimeout::ZERO)
    }

    fn set(&self, timer: &TimerFd, due_ns: u64) -> io::Result<()> {
        let system_ns = self.clock.system_ns(due_ns);
        let due = TimeSpec::new(system_ns / 1_000_000_000, system_ns % 1_000_000_000);
        timer.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(())
    }

    /// Writes the next token of a stream.
    fn emit(&mut self, slot: usize, generation: u64, due_ns: u64) {
        let interval_ns = self.options.interval.as_nanos() as u64;
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let now_ns = self.clock.now_ns();
        let since_1970_ns = self.clock.since_1970_ns(now_ns);
        let stamp = since_1970_ns.saturating_add_unsigned(self.clock.now_ns());
        match connection.emit(generation, stamp, &mut self.out) {
            Ok(Next::Token) => self.due.push(Reverse((due_ns + interval_ns, slot, generation))),
            Ok(Next::End) => self.after_stream(slot),
            Ok(Next::Nothing) => {}
            Err(_) => return self.close(slot),
        }
        self.watch(slot);
    }

    /// A request may have come while its forerunner was served.
    fn after_stream(&mut self, slot: usize) {
        self.ready(slot, EpollFlags::EPOLLIN);
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((socket, _)) => self.adopt(socket)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It was gone before we came to it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn adopt(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
        self.connections[slot] = Some(Connection::new(socket));
        Ok(())
    }

    /// Reads and writes what can be.
    fn ready(&mut self, slot: usize, flags: EpollFlags) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let written =
            if flags.contains(EpollFlags::EPOLLOUT) { connection.flush() } else { Ok(()) };
        let order = written.and_then(|()| connection.order());
        match order {
            Ok(None) => self.watch(slot),
            Ok(Some(order)) => {
                self.streams += 1;
                let first_ns = self.first_token_ns();
                let fault = self.options.fault.filter(|fault| fault.befalls(self.streams));
                let connection = self.connections[slot].as_mut().expect("it was there just now");
                match connection.begin(order, self.streams, fault) {
                    Ok(true) => self.due.push(Reverse((first_ns, slot, self.streams))),
                    Ok(false) => {}
                    Err(_) => return self.close(slot),
                }
                self.watch(slot);
            }
            Err(_) => self.close(slot),
        }
    }

    /// When the stream that begins now has its first token.
    fn first_token_ns(&mut self) -> u64 {
        let now_ns = self.clock.now_ns();
        if let Some((after, _)) = self.options.freeze {
            self.freeze_at_ns.get_or_insert(now_ns + after.as_nanos() as u64);
        }
        if let Some(service) = self.options.service {
            self.free_at_ns = self.free_at_ns.max(now_ns) + service.as_nanos() as u64;
            return self.free_at_ns;
        }
        let interval_ns = self.options.interval.as_nanos() as u64;
        let shift_ns = if self.options.scattered { scatter(self.streams, interval_ns) } else { 0 };
        now_ns + self.options.ttft.as_nanos() as u64 + shift_ns
    }

    /// Waits for what the connection waits for.
    fn watch(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        if let Some(flags) = connection.new_interest() {
            let event = &mut EpollEvent::new(flags, slot as u64);
            if self.epoll.modify(connection.socket(), event).is_err() {
                self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        // Closing the socket takes it out of the set.
        if self.connections[slot].take().is_some() {
            self.free.push(slot);
        }
    }
}

/// Spreads streams evenly over an interval, whatever their number: multiples of the golden ratio.
fn scatter(stream: u64, interval_ns: u64) -> u64 {
    let turn = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((u128::from(turn) * u128::from(interval_ns)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_spread_evenly() {
        let mut shifts: Vec<u64> = (1..=100).map(|stream| scatter(stream, 1000)).collect();
        shifts.sort_unstable();
        assert!(shifts.windows(2).all(|pair| pair[1] - pair[0] <= 20), "{shifts:?}");
    }
}
