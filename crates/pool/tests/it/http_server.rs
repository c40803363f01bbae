//! A server on loopback that answers by script, byte for byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What it does after it has written its bytes.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Waits for the next request.
    KeepAlive,
    /// Closes in both directions.
    Close,
    /// Closes for writing and goes on reading.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Does nothing at all, for ever.
    Hang,
    /// Closes if no request comes for so long.
    CloseAfter(Duration),
}

impl Answer {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { bytes: bytes.into(), then }
    }

    /// A whole reply.
    pub(crate) fn ok(body: &str, then: Then) -> Self {
        let length = body.len();
        Self::new(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"), then)
    }
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The number of the request on its connection, from 0.
    pub(crate) request: usize,
    /// All of the head.
    pub(crate) head: String,
}

/// What is known of the server from outside.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) open: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server that answers each request by `script`.
    pub(crate) async fn start<F>(script: F) -> Self
    where
        F: Fn(Seen) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            open: Arc::default(),
        };
        let (script, shared) = (Arc::new(script), server.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, server) = (script.clone(), shared.clone());
                tokio::spawn(async move {
                    let connection = server.connections.fetch_add(1, Ordering::SeqCst);
                    server.open.fetch_add(1, Ordering::SeqCst);
                    drop(server.serve(stream, connection, &*script).await);
                    server.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn serve(
        &self,
        mut stream: TcpStream,
        connection: usize,
        script: &(dyn Fn(Seen) -> Answer + Send + Sync),
    ) -> io::Result<()> {
        let mut idle_limit = None;
        for request in 0.. {
            let reading = read_head(&mut stream);
            let head = match idle_limit {
                Some(limit) => match tokio::time::timeout(limit, reading).await {
                    Ok(head) => head?,
                    Err(_) => return Ok(()),
                },
                None => reading.await?,
            };
            self.requests.fetch_add(1, Ordering::SeqCst);
            let answer = script(Seen { connection, request, head });
            stream.write_all(&answer.bytes).await?;
            match answer.then {
                Then::KeepAlive => idle_limit = None,
                Then::CloseAfter(limit) => idle_limit = Some(limit),
                Then::Close => return Ok(()),
                Then::Reset => {
                    stream.set_zero_linger()?;
                    return Ok(());
                }
                Then::HalfClose => {
                    stream.shutdown().await?;
                    while stream.read(&mut [0; 1024]).await? != 0 {}
                    return Ok(());
                }
                Then::Hang => std::future::pending().await,
            }
        }
        Ok(())
    }
}

/// Reads up to and with the empty line; a body announced by `content-length` is read and dropped.
pub(crate) async fn read_head<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(head)
}
