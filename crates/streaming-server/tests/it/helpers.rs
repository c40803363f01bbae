//! A server on loopback, a runner that says what it is told, and a client that reads bytes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use streaming_server::{
    Ended, Listener, Next, Options, Push, Runner, Sequence, SequenceId, Server, Step, TestOptions,
    TestRunner, Token,
};
use testkit::{SseFrame, SseReader};
use tokio::sync::oneshot;

/// Longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A server that ends with its test.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Ended>>,
}

pub(crate) fn serve<R: Runner + 'static>(
    options: Options,
    runner: impl Fn() -> R + Send + Sync + 'static,
) -> Served {
    serve_on(Server::start(options, runner).unwrap())
}

/// A server on a thread of its own, once it is ready.
pub(crate) fn serve_on(server: Server) -> Served {
    let (stop, stopped) = oneshot::channel();
    let (told, address) = std::sync::mpsc::channel();
    let thread = std::thread::spawn({
        let server = server.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let address = listener.address().unwrap();
                let serving = server.serve(listener, stopped);
                let telling = async {
                    server.ready().await;
                    told.send(address).unwrap();
                };
                // Whether an upstream is there is found out while serving.
                tokio::join!(serving, telling).0
            })
        }
    });
    Served { address: address.recv().unwrap(), server, stop: Some(stop), thread: Some(thread) }
}

/// A server whose tokens come every millisecond.
pub(crate) fn serve_test() -> Served {
    serve_test_with(Options::default())
}

pub(crate) fn serve_test_with(options: Options) -> Served {
    let tokens = TestOptions { interval: Duration::from_millis(1), ..TestOptions::default() };
    serve(options, move || TestRunner::new(tokens))
}

impl Served {
    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Tells it to stop and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends bytes and reads to the end of the connection.
    pub(crate) fn send(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        reply
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        Reply::parse(&self.send(head.as_bytes()))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        Reply::parse(&self.send(&request(path, body, "Connection: close\r\n")))
    }

    /// Opens a stream and reads its head, and no more than comes with it.
    pub(crate) fn open(&self, body: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&request("/v1/completions", body, "")).unwrap();
        stream
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.server.metrics();
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn request(path: &str, body: &str, headers: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A reply, taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Without the framing.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Parses a reply that ends with its connection.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (reply, rest) = Self::split(bytes);
        assert!(rest.is_empty(), "{:?} follow", String::from_utf8_lossy(rest));
        reply
    }

    /// Parses the first reply of several.
    pub(crate) fn split(bytes: &[u8]) -> (Self, &[u8]) {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap().to_lowercase();
        let status = head[9..12].parse().unwrap();
        let rest = &bytes[end + 4..];
        let field = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let (body, rest) = if field("transfer-encoding:").as_deref() == Some("chunked") {
            dechunk(rest)
        } else if let Some(length) = field("content-length:") {
            let (body, rest) = rest.split_at(length.parse().unwrap());
            (body.to_vec(), rest)
        } else {
            (rest.to_vec(), &[][..])
        };
        (Self { status, head, body }, rest)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The events of a whole, strictly correct stream, without `[DONE]`.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut reader = SseReader::new();
        let mut events = Vec::new();
        // The least friendly network brings one byte at a time.
        for byte in &self.body {
            for frame in reader.push(std::slice::from_ref(byte)).unwrap() {
                if let SseFrame::Data(value) = frame {
                    events.push(value);
                }
            }
        }
        reader.finish().unwrap();
        events
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|head| head == line)
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            panic!("the stream was cut after {:?}", String::from_utf8_lossy(&body));
        };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size]);
        assert_eq!(b"\r\n", &rest[size..size + 2]);
        rest = &rest[size + 2..];
        if size == 0 {
            return (body, rest);
        }
    }
}

/// The texts of the events that have some, by choice.
pub(crate) fn texts(events: &[Value], choice: u64) -> Vec<String> {
    let of_choice = events
        .iter()
        .filter_map(|event| event["choices"].get(0))
        .filter(|told| told["index"] == choice && told["finish_reason"].is_null());
    let text = |told: &Value| {
        told["text"].as_str().or_else(|| told["delta"]["content"].as_str()).unwrap().to_owned()
    };
    of_choice.map(text).collect()
}

pub(crate) fn tokens(n: usize) -> Vec<String> {
    (0..n).map(|token| format!("token_{token}")).collect()
}

/// What a [`Script`] saw.
#[derive(Debug, Default)]
pub(crate) struct Log {
    seen: Mutex<Seen>,
    changed: Condvar,
    /// As long as it is set, nothing is said.
    pub(crate) hold: AtomicBool,
    /// From this token on the runner panics.
    pub(crate) panic: AtomicBool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) made: usize,
    pub(crate) started: Vec<SequenceId>,
    pub(crate) cancelled: Vec<SequenceId>,
    pub(crate) ended: Vec<SequenceId>,
    pub(crate) said: usize,
}

impl Log {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until something was seen.
    #[track_caller]
    pub(crate) fn wait(&self, what: impl Fn(&Seen) -> bool) {
        let seen = self.seen.lock().unwrap();
        let waited = self.changed.wait_timeout_while(seen, LIMIT, |seen| !what(seen)).unwrap();
        assert!(!waited.1.timed_out(), "{:?}", waited.0);
    }
}

/// Says the same tokens to everybody, as fast as they are taken; for ever if told so.
pub(crate) struct Script {
    log: Arc<Log>,
    tokens: Vec<Vec<u8>>,
    endless: bool,
    running: VecDeque<(SequenceId, usize)>,
    paused: Vec<(SequenceId, usize)>,
}

impl Script {
    pub(crate) fn new(log: &Arc<Log>, tokens: &[&[u8]]) -> Self {
        log.note(|seen| seen.made += 1);
        Self {
            log: Arc::clone(log),
            tokens: tokens.iter().map(|token| token.to_vec()).collect(),
            endless: false,
            running: VecDeque::new(),
            paused: Vec::new(),
        }
    }

    /// Begins again at the end.
    pub(crate) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Says one token of a sequence; puts it back where it belongs.
    fn say(&mut self, step: &mut Step<'_>, id: SequenceId, at: usize) {
        let at = if self.endless { at % self.tokens.len() } else { at };
        let Some(token) = self.tokens.get(at) else {
            step.finish(id);
            self.log.note(|seen| seen.ended.push(id));
            return;
        };
        match step.push(id, Token::text(token)) {
            Push::Taken => {
                self.running.push_back((id, at + 1));
                self.log.note(|seen| seen.said += 1);
            }
            Push::Full => self.paused.push((id, at)),
            Push::Ended => self.log.note(|seen| {
                seen.said += 1;
                seen.ended.push(id);
            }),
        }
    }
}

impl Runner for Script {
    fn start(&mut self, id: SequenceId, _: &Arc<Sequence>, _: Instant) {
        self.running.push_back((id, 0));
        self.log.note(|seen| seen.started.push(id));
    }

    fn cancel(&mut self, id: SequenceId) {
        self.running.retain(|running| running.0 != id);
        self.paused.retain(|paused| paused.0 != id);
        self.log.note(|seen| seen.cancelled.push(id));
    }

    fn resume(&mut self, id: SequenceId) {
        while let Some(at) = self.paused.iter().position(|paused| paused.0 == id) {
            self.running.push_back(self.paused.remove(at));
        }
    }

    fn step(&mut self, step: &mut Step<'_>) -> Next {
        if self.log.hold.load(Ordering::SeqCst) {
            return Next::At(step.now() + Duration::from_millis(1));
        }
        for _ in 0..self.running.len() {
            let (id, at) = self.running.pop_front().unwrap();
            assert!(!self.log.panic.load(Ordering::SeqCst), "as it was told");
            self.say(step, id, at);
        }
        if self.running.is_empty() { Next::Idle } else { Next::Now }
    }
}

/// A server with a [`Script`].
pub(crate) fn serve_script(
    options: Options,
    tokens: &[&[u8]],
    endless: bool,
) -> (Served, Arc<Log>) {
    let log = Arc::new(Log::default());
    let tokens: Vec<Vec<u8>> = tokens.iter().map(|token| token.to_vec()).collect();
    let served = serve(options, {
        let log = Arc::clone(&log);
        move || {
            let tokens: Vec<_> = tokens.iter().map(Vec::as_slice).collect();
            let script = Script::new(&log, &tokens);
            if endless { script.endless() } else { script }
        }
    });
    (served, log)
}
