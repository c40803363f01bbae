//! One thread that writes the tokens of all streams, each at its deadline.
//!
//! A thread of its own, because a runtime's timers and its other tasks would add their lateness to the
//! truth that others measure themselves against; one for all streams, because thousands of them would
//! overload the core on which they wake.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::events::{Events, whole};
use super::lateness::{Histogram, Lateness};
use super::order::Order;

/// Bytes that a client may leave unread; above it, its stream is cut.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// How long to wait before writing again what a client's socket did not take.
const PENDING_PAUSE: Duration = Duration::from_millis(1);
/// Deadlines that are served before arrivals are looked at again: a stream without intervals must not
/// keep others out.
const STEPS_MAX: usize = 4096;
/// How long the thread sleeps where nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// How a stream ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emitted {
    /// Whether all of it was written.
    pub(crate) whole: bool,
    pub(crate) bytes: u64,
}

/// The handle of the thread; dropping it ends the thread and cuts the streams.
#[derive(Debug)]
pub(crate) struct Emitter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    ids: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    record: Mutex<Record>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Inbox {
    arrivals: Vec<Stream>,
    stop: bool,
}

#[derive(Debug)]
struct Record {
    histogram: Histogram,
    cut_streams: u64,
}

impl Emitter {
    pub(crate) fn start() -> io::Result<Self> {
        let record = Mutex::new(Record { histogram: Histogram::new(), cut_streams: 0 });
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            record,
            started: Instant::now(),
        });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("testkit-emitter".to_owned())
            .spawn(move || Loop::default().run(&for_thread))?;
        Ok(Self { shared, thread: Some(thread), ids: AtomicU64::new(0) })
    }

    /// Writes a stream onto the socket and waits for its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the stream to the thread, which writes it to its end.
    pub(crate) async fn run(
        &self,
        socket: &Arc<TcpStream>,
        order: Order,
        asked: Instant,
    ) -> Emitted {
        let (done, ended) = oneshot::channel();
        let id = self.ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let shift = order.schedule.shift(asked.saturating_duration_since(self.shared.started));
        let stream = Stream {
            events: Events::new(&order, id),
            order,
            id,
            socket: Arc::clone(socket),
            start: asked + shift,
            next: 0,
            pending: Vec::new(),
            bytes: 0,
            done: Some(done),
        };
        self.shared.inbox.lock().arrivals.push(stream);
        self.shared.wake.notify_one();
        ended.await.unwrap_or_default()
    }

    pub(crate) fn stats(&self) -> Lateness {
        let record = self.shared.record.lock();
        Lateness {
            tokens: record.histogram.n(),
            p50: record.histogram.quantile(0.5),
            p99: record.histogram.quantile(0.99),
            max: record.histogram.max(),
            cut_streams: record.cut_streams,
        }
    }

    pub(crate) fn reset(&self) {
        *self.shared.record.lock() = Record { histogram: Histogram::new(), cut_streams: 0 };
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        self.shared.inbox.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was its own; there is nothing left to protect from it.
            let _ = thread.join();
        }
    }
}

/// What the thread works on.
#[derive(Default)]
struct Loop {
    streams: BTreeMap<u64, Stream>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    scratch: Vec<u8>,
}

impl Loop {
    fn run(mut self, shared: &Shared) {
        // Without it wake-ups are late by 50 µs more: no reason to fail.
        let _ = nix::sys::prctl::set_timerslack(1);
        while self.take_arrivals(shared) {
            for _ in 0..STEPS_MAX {
                let Some(&Reverse((due, id))) = self.due.peek() else { break };
                if Instant::now() < due {
                    break;
                }
                self.due.pop();
                self.step(shared, due, id);
            }
        }
    }

    /// Waits for the next deadline or for arrivals; `false` when it is time to stop.
    fn take_arrivals(&mut self, shared: &Shared) -> bool {
        let next = self.due.peek().map(|Reverse((due, _))| *due);
        let mut inbox = shared.inbox.lock();
        if inbox.arrivals.is_empty() && !inbox.stop {
            let until = next.unwrap_or_else(|| Instant::now() + IDLE);
            shared.wake.wait_until(&mut inbox, until);
        }
        for stream in inbox.arrivals.drain(..) {
            self.due.push(Reverse((stream.due(), stream.id)));
            self.streams.insert(stream.id, stream);
        }
        !inbox.stop
    }

    /// Lets one stream, due at `due`, go on.
    fn step(&mut self, shared: &Shared, due: Instant, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let on_time = stream.has_tokens() && stream.due() <= due;
        if on_time {
            let late = Instant::now().saturating_duration_since(due);
            shared.record.lock().histogram.record(late);
        }
        match stream.go_on(on_time, &mut self.scratch) {
            Ok(Some(next)) => self.due.push(Reverse((next.max(due), id))),
            ended => {
                let whole = matches!(ended, Ok(None));
                shared.record.lock().cut_streams += u64::from(!whole);
                stream.finish(whole);
                self.streams.remove(&id);
            }
        }
    }
}

/// One stream half-way.
#[derive(Debug)]
struct Stream {
    order: Order,
    events: Events,
    id: u64,
    socket: Arc<TcpStream>,
    start: Instant,
    /// The token that is emitted next.
    next: u64,
    /// Rendered, and not yet taken by the socket.
    pending: Vec<u8>,
    bytes: u64,
    done: Option<oneshot::Sender<Emitted>>,
}

impl Stream {
    /// When the next token is due; for a whole text, the last.
    fn due(&self) -> Instant {
        let k = if self.order.stream { self.next } else { self.order.tokens - 1 };
        self.start + self.order.schedule.due(k, self.order.seed)
    }

    fn has_tokens(&self) -> bool {
        self.next < self.order.tokens
    }

    /// Emits a token if one is due, or else what is pending. Returns when to go on, `None` at the end.
    fn go_on(&mut self, token_due: bool, scratch: &mut Vec<u8>) -> io::Result<Option<Instant>> {
        if token_due && self.order.schedule.cut_at.is_some_and(|cut_at| cut_at <= self.next) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if token_due {
            scratch.clear();
            self.render(scratch);
            self.write(scratch)?;
            if self.order.stream && !self.has_tokens() {
                // The end is a write of its own: the last token must not wait for it.
                scratch.clear();
                self.events.end(&self.order, self.id, scratch);
                self.write(scratch)?;
            }
        } else {
            self.write(&[])?;
        }
        let retry = (!self.pending.is_empty()).then(|| Instant::now() + PENDING_PAUSE);
        Ok(match (self.has_tokens().then(|| self.due()), retry) {
            (Some(due), Some(retry)) => Some(due.min(retry)),
            (due, retry) => due.or(retry),
        })
    }

    fn render(&mut self, out: &mut Vec<u8>) {
        if !self.order.stream {
            out.extend(whole(&self.order, self.id));
            self.next = self.order.tokens;
            return;
        }
        if self.next == 0 {
            self.events.begin(&self.order, self.id, out);
        }
        self.events.token(self.next, out);
        self.next += 1;
    }

    /// Writes what is pending and then `bytes`; keeps what the socket does not take.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = try_write(&self.socket, &self.pending)?;
        self.pending.drain(..taken);
        self.bytes += taken as u64;
        let taken = if self.pending.is_empty() { try_write(&self.socket, bytes)? } else { 0 };
        self.bytes += taken as u64;
        self.pending.extend(&bytes[taken..]);
        if PENDING_BYTES_MAX < self.pending.len() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    fn finish(&mut self, whole: bool) {
        let emitted = Emitted { whole, bytes: self.bytes };
        if let Some(done) = self.done.take() {
            // The connection's task may be gone.
            let _ = done.send(emitted);
        }
    }
}

/// Writes as much as the socket takes now.
fn try_write(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.try_write(&bytes[taken..]) {
            Ok(n) => taken += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
