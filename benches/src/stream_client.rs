//! A client of the suite `stream`: one thread, many connections, every token checked by its text.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::stream_direct::monotonic_ns;

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

/// What stands before a token's number, and before the instant at which it was due.
const TOKEN: &[u8] = b"\"token_";
const DUE: &[u8] = b"\"due_ns\":";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many streams at once.
    pub streams: usize,
    /// `max_tokens` of each.
    pub tokens: u64,
    /// Whether events say when their token was due.
    pub stamped: bool,
    /// How long after each other the streams begin.
    pub spread: Duration,
}

impl Default for Load {
    /// One stream without an end within a case, stamped, begun at once.
    fn default() -> Self {
        Self { streams: 1, tokens: 1 << 40, stamped: true, spread: Duration::ZERO }
    }
}

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Tokens that came, each the one that was expected.
    pub tokens: u64,
    /// Tokens that came instead of those that were expected: lost, doubled, out of order or one too many; and
    /// streams that were cut.
    pub wrong: u64,
    /// Reads that brought at least one token.
    pub reads: u64,
    /// Received less due, in nanoseconds, of every token since the start of the window.
    pub late_ns: Vec<u64>,
    /// The same of the last token of each stream that ended.
    pub last_late_ns: Vec<u64>,
    /// When the first and the last token of each stream came, by the client's clock.
    pub spans_ns: Vec<(u64, u64)>,
    /// Streams that ended with `[DONE]`.
    pub done: usize,
    /// How long the window was.
    pub window: Duration,
}

impl Outcome {
    /// A quantile of the lateness, in microseconds.
    #[must_use]
    pub fn late_us(&self, quantile: f64) -> f64 {
        let mut sorted = self.late_ns.clone();
        sorted.sort_unstable();
        let at = (quantile * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(at).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
    }
}

/// Where the framing of a connection stands.
#[derive(Debug, Default)]
enum Framing {
    #[default]
    Head,
    /// Closed at the end.
    Plain,
    /// So many bytes of the chunk are left, its line end included; none before its size.
    Chunks(Option<usize>),
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    framing: Framing,
    /// Bytes that were not understood yet, with framing.
    raw: Vec<u8>,
    /// Bytes of events, without.
    events: Vec<u8>,
    expected: u64,
    /// Bytes from the end of a token's number to the end of its event, where that never changes.
    tail_bytes: usize,
    /// Bytes from the start of an event to its token's number.
    head_bytes: usize,
    /// Bytes from the end of that number to the instant at which it was due.
    due_bytes: usize,
    /// Where that stands in the event that was read last.
    due_at: usize,
    first_ns: u64,
    last_ns: u64,
    last_due_ns: u64,
    done: bool,
}

/// Connections that are open and streaming.
#[derive(Debug)]
pub struct Client {
    load: Load,
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    open: usize,
    /// How many have brought a token.
    begun: usize,
}

impl Client {
    /// Opens all streams.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn open(address: SocketAddr, load: Load) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let body = format!("{{\"prompt\":\"a\",\"max_tokens\":{},\"stream\":true}}", load.tokens);
        let stamps = if load.stamped { "X-Stream-Timestamps: 1\r\n" } else { "" };
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{stamps}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connections = Vec::with_capacity(load.streams);
        for number in 0..load.streams {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(request.as_bytes())?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            connections.push(Connection::new(stream));
            std::thread::sleep(load.spread);
        }
        let open = load.streams;
        Ok(Self { load, epoll, connections, buffer: vec![0; READ_BYTES], open, begun: 0 })
    }

    /// Reads for so long, or until all streams have ended.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn read_for(&mut self, time: Duration) -> io::Result<Outcome> {
        self.read_while(time, |_| true)
    }

    /// Reads until every stream has brought a token, or for so long.
    ///
    /// # Errors
    ///
    /// What the kernel says, and [`ErrorKind::TimedOut`] when some have not begun.
    pub fn read_until_begun(&mut self, time: Duration) -> io::Result<Outcome> {
        let outcome = self.read_while(time, |client| client.begun < client.connections.len())?;
        if self.begun < self.connections.len() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(outcome)
    }

    fn read_while(
        &mut self,
        time: Duration,
        goes_on: impl Fn(&Self) -> bool,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let start = Instant::now();
        let mut events = vec![EpollEvent::empty(); 1024];
        while 0 < self.open && goes_on(self) {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let millis = u16::try_from(left.as_millis().clamp(1, 1000)).unwrap_or(1000);
            let n = self.epoll.wait(&mut events, EpollTimeout::from(millis))?;
            for event in &events[..n] {
                self.read_one(event.data() as usize, &mut outcome)?;
            }
        }
        outcome.window = start.elapsed();
        for connection in self.connections.iter().filter(|connection| connection.done) {
            outcome.done += 1;
            outcome.last_late_ns.push(connection.last_ns.saturating_sub(connection.last_due_ns));
        }
        let span = |connection: &Connection| (connection.first_ns, connection.last_ns);
        outcome.spans_ns = self.connections.iter().map(span).collect();
        Ok(outcome)
    }

    fn read_one(&mut self, number: usize, outcome: &mut Outcome) -> io::Result<()> {
        let connection = &mut self.connections[number];
        let n = match connection.stream.read(&mut self.buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        let now_ns = monotonic_ns();
        if n == 0 {
            // Who brought all and said so is read no more: this one was cut.
            outcome.wrong += 1;
            self.open -= 1;
            return self.epoll.delete(&connection.stream).map_err(io::Error::from);
        }
        let before = outcome.tokens;
        let had_begun = connection.first_ns != 0;
        connection.take(&self.buffer[..n]);
        connection.read_events(self.load, now_ns, outcome);
        self.begun += usize::from(!had_begun && connection.first_ns != 0);
        outcome.reads += u64::from(before < outcome.tokens);
        if connection.done && self.load.tokens <= connection.expected {
            self.open -= 1;
            self.epoll.delete(&connection.stream)?;
        }
        Ok(())
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            framing: Framing::Head,
            raw: Vec::new(),
            events: Vec::new(),
            expected: 0,
            tail_bytes: 0,
            head_bytes: 0,
            due_bytes: 0,
            due_at: 0,
            first_ns: 0,
            last_ns: 0,
            last_due_ns: 0,
            done: false,
        }
    }

    /// Takes the framing off.
    fn take(&mut self, bytes: &[u8]) {
        if self.raw.is_empty() {
            let used = self.unframe(bytes);
            self.raw.extend_from_slice(&bytes[used..]);
        } else {
            let mut raw = std::mem::take(&mut self.raw);
            raw.extend_from_slice(bytes);
            let used = self.unframe(&raw);
            raw.drain(..used);
            self.raw = raw;
        }
    }

    /// Returns how many bytes were understood.
    fn unframe(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match &mut self.framing {
                Framing::Plain => {
                    self.events.extend_from_slice(rest);
                    return bytes.len();
                }
                Framing::Head => {
                    let Some(end) = find(rest, b"\r\n\r\n") else { return used };
                    assert!(rest.starts_with(b"HTTP/1.1 200 "), "the request was refused");
                    let chunked = find(&rest[..end], b"chunked").is_some();
                    self.framing = if chunked { Framing::Chunks(None) } else { Framing::Plain };
                    used += end + 4;
                }
                Framing::Chunks(None) => {
                    let Some(end) = find(&rest[..rest.len().min(18)], b"\r\n") else { return used };
                    let digits = std::str::from_utf8(&rest[..end]).expect("digits");
                    let size = usize::from_str_radix(digits, 16).expect("the size of a chunk");
                    self.framing = Framing::Chunks(Some(size + 2));
                    used += end + 2;
                }
                Framing::Chunks(Some(left)) => {
                    let n = rest.len().min(*left);
                    // The line end belongs to no event.
                    let data = n.min(left.saturating_sub(2));
                    self.events.extend_from_slice(&rest[..data]);
                    *left -= n;
                    used += n;
                    if *left != 0 {
                        return used;
                    }
                    self.framing = Framing::Chunks(None);
                }
            }
            if used == bytes.len() {
                return used;
            }
        }
    }

    /// Reads all whole events.
    fn read_events(&mut self, load: Load, now_ns: u64, outcome: &mut Outcome) {
        let events = std::mem::take(&mut self.events);
        let mut rest = &events[..];
        while let Some((number, after)) = self.number(rest) {
            if number == Some(self.expected) && self.expected < load.tokens {
                outcome.tokens += 1;
            } else if number.is_some() {
                outcome.wrong += 1;
            }
            if let Some(number) = number {
                self.expected = number + 1;
                self.last_ns = now_ns;
                if self.first_ns == 0 {
                    self.first_ns = now_ns;
                }
            }
            if load.stamped && number.is_some() {
                let due_ns = decimal(&rest[self.due_at..]).expect("stamps were asked for");
                self.last_due_ns = due_ns;
                outcome.late_ns.push(now_ns.saturating_sub(due_ns));
            }
            rest = &rest[after..];
        }
        let used = events.len() - rest.len();
        self.events = events;
        self.events.drain(..used);
    }

    /// The number of the first event's token, if it has one, and where the next event begins.
    fn number(&mut self, rest: &[u8]) -> Option<(Option<u64>, usize)> {
        if 0 < self.tail_bytes
            && let Some(fast) = self.number_fast(rest)
        {
            return Some(fast);
        }
        let end = find(rest, b"\n\n")? + 2;
        let event = &rest[..end];
        self.done |= event.starts_with(b"data: [DONE]");
        let Some(at) = find(event, TOKEN).map(|at| at + TOKEN.len()) else {
            return Some((None, end));
        };
        let after = at + digits(&event[at..]);
        self.head_bytes = at;
        self.tail_bytes = end - after;
        self.due_bytes = find(&event[after..], DUE).map_or(0, |due| due + DUE.len());
        self.due_at = after + self.due_bytes;
        Some((decimal(&event[at..]), end))
    }

    /// The same where the event is built as the one before it.
    fn number_fast(&mut self, rest: &[u8]) -> Option<(Option<u64>, usize)> {
        let at = self.head_bytes;
        let number = rest.get(at..)?;
        let after = at + digits(number);
        let end = after + self.tail_bytes;
        let due_at = after + self.due_bytes;
        let is_alike = &rest[at - TOKEN.len()..at] == TOKEN
            && rest.get(end - 2..end)? == b"\n\n"
            && (self.due_bytes == 0 || &rest[due_at - DUE.len()..due_at] == DUE);
        self.due_at = due_at;
        is_alike.then(|| (decimal(number), end))
    }
}

/// How many digits the bytes begin with.
fn digits(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len())
}

/// The number that the bytes begin with.
fn decimal(bytes: &[u8]) -> Option<u64> {
    let digits = &bytes[..digits(bytes)];
    let value = |number, digit: &u8| number * 10 + u64::from(digit - b'0');
    (!digits.is_empty()).then(|| digits.iter().fold(0, value))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Quantiles of a sample, by name, in microseconds.
#[must_use]
pub fn quantiles(outcome: &Outcome, of: &str) -> BTreeMap<String, f64> {
    let named = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
    named.into_iter().map(|(name, q)| (format!("{of}_{name}_us"), outcome.late_us(q))).collect()
}
