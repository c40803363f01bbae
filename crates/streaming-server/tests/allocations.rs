//! Nothing is allocated per token, counted over the whole process: server, runner and clients.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memory::heap::CountingAllocator;
use streaming_server::{Listener, Options, Server, TestOptions, TestRunner};

#[global_allocator]
static HEAP: CountingAllocator = CountingAllocator::system();

/// Tokens of each stream until pools and buffers have their sizes, and those that are counted.
const WARM: usize = 300;
const COUNTED: usize = 1000;
/// In how many stretches they are counted. What is allocated for each token is so in all of them; where the
/// machine pauses, more tokens than ever wait, and what holds them grows once.
const STRETCHES: usize = 3;
/// How often a stream's two buffers may still grow, when more tokens than ever wait for their turn:
/// they double, and keep what they have. It does not depend on how many tokens come.
const GROWTHS_MAX: u64 = 8;

/// A client that allocates nothing while it reads.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    events: usize,
    last: u8,
}

impl Client {
    fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let body = r#"{"prompt":"a","max_tokens":100000,"stream":true}"#;
        let length = body.len();
        let head = "POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json";
        write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        Self { stream, buffer: vec![0; 1 << 16], events: 0, last: 0 }
    }

    /// Reads on until so many events, each with an empty line at its end, have come.
    fn read_to(&mut self, events: usize) {
        while self.events < events {
            let read = self.stream.read(&mut self.buffer).unwrap();
            assert_ne!(0, read, "the stream ended after {} events", self.events);
            for byte in &self.buffer[..read] {
                self.events += usize::from([self.last, *byte] == *b"\n\n");
                self.last = *byte;
            }
        }
    }
}

/// A server on a thread of its own, to the end of the process.
fn serve(interval: Duration) -> SocketAddr {
    let tokens = TestOptions { interval, ..TestOptions::default() };
    let server = Server::start(Options::default(), move || TestRunner::new(tokens)).unwrap();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            told.send(listener.address().unwrap()).unwrap();
            server.serve(listener, std::future::pending::<()>()).await
        })
    });
    address.recv().unwrap()
}

/// The fewest allocations in a stretch in which so many streams bring their tokens.
fn allocations(address: SocketAddr, streams: usize) -> u64 {
    let mut clients: Vec<_> = (0..streams).map(|_| Client::open(address)).collect();
    let mut read_to = |events| clients.iter_mut().for_each(|client| client.read_to(events));
    (1..=WARM).for_each(&mut read_to);
    let stretches = (0..STRETCHES).map(|stretch| {
        let (begin, before) = (WARM + stretch * COUNTED, HEAP.counts().allocations);
        (begin + 1..=begin + COUNTED).for_each(&mut read_to);
        HEAP.counts().allocations - before
    });
    stretches.min().unwrap()
}

// One test alone: another one beside it would be counted too.
#[test]
fn no_token_is_allocated_for() {
    let address = serve(Duration::from_micros(500));
    for streams in [1, 50] {
        let allocations = allocations(address, streams);
        let tokens = streams * COUNTED;
        let allowed = GROWTHS_MAX * (1 + streams as u64);
        assert!(allocations <= allowed, "{allocations} allocations for {tokens} tokens");
    }
}
