//! A server that answers each connection with given bytes, and drives that run against it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use inference_bench::stream::{Drive, Emitter, EmitterOptions, Plan, RequestRecord, Target};

/// What follows the bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    /// The connection is closed.
    Close,
    /// Nothing: it stays open and silent.
    Hang,
}

/// Answers every request with these pieces, each in a write of its own; returns the URL.
pub(crate) fn answer(pieces: Vec<Vec<u8>>, then: Then) -> String {
    let (listener, url) = listen();
    let pieces = Arc::new(pieces);
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let pieces = pieces.clone();
            std::thread::spawn(move || {
                read_request(&mut connection);
                connection.set_nodelay(true).unwrap();
                for piece in pieces.iter() {
                    let _ = connection.write_all(piece);
                }
                match then {
                    Then::Close => drop(connection.shutdown(Shutdown::Write)),
                    Then::Hang => drop(connection.read(&mut [0; 64])),
                }
            });
        }
    });
    url
}

/// Answers every request on every connection with these pieces; returns the URL.
pub(crate) fn answer_each(pieces: Vec<Vec<u8>>) -> String {
    let (listener, url) = listen();
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let pieces = pieces.clone();
            std::thread::spawn(move || {
                while read_request(&mut connection) {
                    for piece in &pieces {
                        let _ = connection.write_all(piece);
                    }
                }
            });
        }
    });
    url
}

/// Answers after the first bytes of each connection, and reads no further; returns the URL.
pub(crate) fn answer_early(reply: Vec<u8>, then: Then) -> String {
    let (listener, url) = listen();
    std::thread::spawn(move || {
        let mut left_open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept() {
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(&reply);
            if then == Then::Hang {
                left_open.push(connection);
            }
        }
    });
    url
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads one request; `false` if the connection ends before.
fn read_request(connection: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut byte = [0; 1024];
    // Every request here is one small JSON object, which ends in a brace.
    while !request.ends_with(b"}") {
        match connection.read(&mut byte) {
            Ok(n @ 1..) => request.extend_from_slice(&byte[..n]),
            _ => return false,
        }
    }
    true
}

/// A 200 that is a stream of this text, ended by the end of the connection.
pub(crate) fn stream(text: &str) -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    vec![format!("{head}{text}").into_bytes()]
}

/// Runs a plan to its end, on one thread.
pub(crate) fn run(target: &Target, plan: Plan) -> Vec<RequestRecord> {
    assert_eq!(1, plan.workers);
    let drive = Drive::new(target, plan).unwrap();
    runtime().block_on(drive.work(0)).unwrap()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One request to this server.
pub(crate) fn once(url: &str) -> RequestRecord {
    let target = Target { timeout: Duration::from_secs(5), ..Target::new(url) };
    run(&target, Plan::closed(1)).pop().unwrap()
}

/// An emitter on a thread of its own.
pub(crate) struct Source {
    pub(crate) url: String,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    pub(crate) fn start(options: EmitterOptions) -> Self {
        let emitter = Emitter::bind(options).unwrap();
        let url = format!("http://{}", emitter.address().unwrap());
        let (until, stop) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || emitter.run(until).unwrap());
        Self { url, stop: Some(stop.into()), thread: Some(thread) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
