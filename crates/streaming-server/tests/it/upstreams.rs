//! Upstreams that do as they are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streaming_server::{Options, RelayOptions, Server};

use crate::helpers::{LIMIT, Served, serve_on};

/// What an upstream does with a request after it has read it.
type Play = Box<dyn Fn(&mut TcpStream, &str) + Send + Sync>;

/// An upstream; it is well, whatever it does with requests.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// What it was asked, heads and bodies.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Plays to one request of each connection, then closes.
    pub(crate) fn new(play: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        Self::start(play, false)
    }

    fn start(play: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static, keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let play: Arc<Play> = Arc::new(Box::new(play));
        std::thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                for stream in listener.incoming() {
                    let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
                    let play = Arc::clone(&play);
                    std::thread::spawn(move || {
                        stream.set_nodelay(true).unwrap();
                        stream.set_read_timeout(Some(LIMIT)).unwrap();
                        while let Some(request) = read(&mut stream) {
                            if request.starts_with("GET /health ") {
                                let well = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                                let _ = stream.write_all(well);
                                continue;
                            }
                            seen.lock().unwrap().push(request.clone());
                            play(&mut stream, &request);
                            if !keeps {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Self { address, seen }
    }

    /// Says the same to everybody, then closes.
    pub(crate) fn says(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::new(move |stream, _| {
            let _ = stream.write_all(&reply);
        })
    }

    /// Plays to every request of each connection.
    pub(crate) fn keeps(play: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        Self::start(play, true)
    }

    /// Says the same to everybody, and keeps its connections: whoever closes without a word may do so while
    /// the next request is under way, which fails then.
    pub(crate) fn says_on(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::keeps(move |stream, _| drop(stream.write_all(&reply)))
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads one request; none at the end.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// A relay to these.
pub(crate) fn relay(options: Options, upstreams: &[&Upstream]) -> Served {
    let urls = upstreams.iter().map(|upstream| format!("http://{}", upstream.address));
    relay_to(options, urls.collect())
}

pub(crate) fn relay_to(options: Options, upstreams: Vec<String>) -> Served {
    let options = Options { models: Vec::new(), ..options };
    let health_interval = Duration::from_millis(200);
    let relay = RelayOptions { upstreams, health_interval, ..RelayOptions::default() };
    serve_on(Server::relay(options, &relay).unwrap())
}

/// The head of a stream in chunks.
pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Theirs: yes\r\n\
                                      Transfer-Encoding: chunked\r\n\r\n";

pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// A whole reply: a stream in pieces of so many bytes.
pub(crate) fn stream(events: &str, piece: usize) -> Vec<u8> {
    let chunks: Vec<u8> = events.as_bytes().chunks(piece).flat_map(chunk).collect();
    [STREAM_HEAD.as_bytes(), &chunks, b"0\r\n\r\n"].concat()
}

/// A whole reply that is no stream.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    )
}
