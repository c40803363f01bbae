//! Requests that cross with the end of their connection, over pipes in memory: so fast that the two meet.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use pool::Options;
use pool::http::{Client, ClientOptions};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tower_service::Service;

use crate::http::get;
use crate::http_server::read_head;
use crate::real_time::scatter;

/// Exchanges of each of the two tasks; `POOL_RACES` sets another number.
const EXCHANGES: u64 = 20_000;
/// The server goes on for a random part of this many turns of an empty loop before it closes: about the
/// time that a client needs for its next request.
const TURNS_MAX: u64 = 500;

/// One end of a pipe.
struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connects to a server, on a thread of its own, that answers one request and closes a moment later.
#[derive(Clone)]
struct Dial {
    far_side: Handle,
    times: Arc<AtomicU64>,
}

impl Dial {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let far_side = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self { far_side, times: Arc::default() }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Pipe>;
    type Error = Infallible;
    type Future = Ready<Result<TokioIo<Pipe>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, mut far) = tokio::io::duplex(1024);
        let turns = scatter(&self.times) % TURNS_MAX;
        self.far_side.spawn(async move {
            read_head(&mut far).await?;
            far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            for _ in 0..turns {
                std::hint::spin_loop();
            }
            Ok::<_, io::Error>(())
        });
        ready(Ok(TokioIo::new(Pipe(near))))
    }
}

/// hyper#4122: a request handed over in the very instant in which the connection ends may be left where
/// nobody looks, and its sender waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_4122_no_request_is_left_behind() {
    let asked = std::env::var("POOL_RACES").ok().and_then(|number| number.parse().ok());
    let exchanges: u64 = asked.unwrap_or(EXCHANGES);
    let options = ClientOptions {
        head_timeout: Some(Duration::from_secs(5)),
        pool: Options { connections_max: 2, ..ClientOptions::default().pool },
        ..ClientOptions::default()
    };
    let client: Client = Client::with_connector(Dial::new(), options);
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..exchanges {
                let reply = client.send(get("http://pipe/")).await.unwrap();
                assert_eq!("ok", reply.into_body().collect().await.unwrap().to_bytes());
            }
        });
    }
    tasks.join_all().await;
    let stats = client.pool().stats();
    println!("{} exchanges, {} retries, {stats:?}", 2 * exchanges, client.retries());
    assert!(stats.adds_up());
    assert_ne!(0, client.retries(), "requests and closes did not meet");
}
