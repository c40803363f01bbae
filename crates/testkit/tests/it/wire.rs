//! A client that reads bytes and believes nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use testkit::{Blob, Options, Origin};

/// Longer than anything here takes; a read that needs it is a test that hangs.
const HANG: Duration = Duration::from_secs(20);

/// Waits for something that a server does by itself.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + HANG;
    while !holds() {
        assert!(Instant::now() < limit, "waited {HANG:?} for what did not come");
        std::thread::yield_now();
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// All bytes of a connection, and how it ended.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Received {
    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (header, value) = line.split_once(": ")?;
            header.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// The blob that most tests fetch: 10 000 bytes of seed 5 at `/blob`.
pub(crate) fn blob() -> Blob {
    Blob::new("blob", 10_000, 5)
}

pub(crate) fn bytes_of(blob: &Blob, start: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; (end - start) as usize];
    blob.fill(start, &mut bytes);
    bytes
}

/// An origin with [`blob`] and these rules.
pub(crate) fn origin(rules: &[&str]) -> Origin {
    let origin = Origin::start(Options { blobs: vec![blob()], ..Options::default() }).unwrap();
    origin.update(|settings| {
        settings.faults = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    });
    origin
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// Sends a GET that closes the connection and reads all that comes.
#[track_caller]
pub(crate) fn get(origin: &Origin, path: &str, headers: &[&str]) -> Received {
    request(origin.address(), "GET", path, headers, "")
}

#[track_caller]
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Received {
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    exchange(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}"
        ),
    )
}

/// Sends bytes and reads all that comes.
#[track_caller]
pub(crate) fn exchange(address: SocketAddr, request: &str) -> Received {
    let mut stream = connect(address);
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(request.as_bytes());
    receive(&mut stream)
}

#[track_caller]
pub(crate) fn receive(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => End::Fin,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("after {} bytes: {error}", bytes.len()),
    };
    split(&bytes, end)
}

pub(crate) fn split(bytes: &[u8], end: End) -> Received {
    let border = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let border = border.map_or(bytes.len(), |border| border + 4);
    let head = String::from_utf8(bytes[..border].to_vec()).unwrap();
    Received { head, body: bytes[border..].to_vec(), end }
}

/// Reads one reply with a Content-Length and leaves the connection open.
pub(crate) fn receive_one(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let mut received = split(&bytes, End::Fin);
    let length =
        received.header("Content-Length").map_or(0, |length| length.parse::<usize>().unwrap());
    assert!(length <= 1 << 26, "{length} bytes are no reply of these tests");
    received.body = vec![0; length];
    stream.read_exact(&mut received.body).unwrap();
    received
}

/// Takes chunks out of their frames; `false` where the last chunk is missing.
pub(crate) fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(border) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(str::from_utf8(&bytes[..border]).unwrap(), 16).unwrap();
        bytes = &bytes[border + 2..];
        if length == 0 {
            assert_eq!(b"\r\n", bytes, "nothing follows the last chunk");
            return (body, true);
        }
        body.extend(&bytes[..length]);
        bytes = &bytes[length + 2..];
    }
    (body, false)
}
