//! Requests that cross with the end of their connection, over pipes in memory: so fast that the two meet.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use pool::Options;
use pool::http::{Body, Client, ClientOptions, Error};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use crate::http::{eventually, get, request};
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

/// Connects by pipes and passes on their far ends.
#[derive(Clone)]
struct Dial(UnboundedSender<DuplexStream>);

impl Service<Uri> for Dial {
    type Response = TokioIo<Pipe>;
    type Error = Infallible;
    type Future = Ready<Result<TokioIo<Pipe>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(1024);
        self.0.send(far).unwrap();
        ready(Ok(TokioIo::new(Pipe(near))))
    }
}

/// A client that waits for 5 s for a head, and the far ends of its connections.
pub(crate) fn client() -> (Client, UnboundedReceiver<DuplexStream>) {
    let (sender, far_ends) = unbounded_channel();
    let options = ClientOptions {
        head_timeout: Some(Duration::from_secs(5)),
        pool: Options { connections_max: 2, ..ClientOptions::default().pool },
        ..ClientOptions::default()
    };
    (Client::with_connector(Dial(sender), options), far_ends)
}

async fn answer(far: &mut DuplexStream) -> io::Result<()> {
    read_head(far).await?;
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
}

async fn expect_ok(reply: Result<Response<Body>, Error>) {
    let body = reply.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!("ok", body);
}

/// Answers one request on each connection and closes it a moment later, on a thread of its own.
fn serve(mut far_ends: UnboundedReceiver<DuplexStream>) {
    let times = AtomicU64::new(0);
    let runtime = Builder::new_current_thread().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Some(mut far) = far_ends.recv().await {
                let turns = scatter(&times) % TURNS_MAX;
                tokio::spawn(async move {
                    answer(&mut far).await?;
                    for _ in 0..turns {
                        std::hint::spin_loop();
                    }
                    Ok::<_, io::Error>(())
                });
            }
        });
    });
}

/// hyper#4122: a request handed over in the very instant in which the connection ends may be left where
/// nobody looks, and its sender waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_4122_no_request_is_left_behind() {
    let asked = std::env::var("POOL_RACES").ok().and_then(|number| number.parse().ok());
    let exchanges: u64 = asked.unwrap_or(EXCHANGES);
    let (client, far_ends) = client();
    serve(far_ends);
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..exchanges {
                expect_ok(client.send(get("http://pipe/")).await).await;
            }
        });
    }
    tasks.join_all().await;
    let stats = client.pool().stats();
    println!("{} exchanges, {} retries, {stats:?}", 2 * exchanges, client.retries());
    assert!(stats.adds_up());
    assert_ne!(0, client.retries(), "requests and closes did not meet");
}

/// Answers one request on the next connection and returns its far end.
async fn answer_next(far_ends: &mut UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let mut far = far_ends.recv().await.unwrap();
    answer(&mut far).await.unwrap();
    far
}

/// Premise: the connection has ended and the task that drives it has not run since, so the request is
/// handed over but never written.
#[tokio::test]
async fn a_request_that_was_never_sent_is_sent_whatever_it_is() {
    let (client, mut far_ends) = client();
    let post = || request(Method::POST, "http://pipe/");
    let (reply, far) = tokio::join!(client.send(post()), answer_next(&mut far_ends));
    expect_ok(reply).await;
    eventually("idle", || client.pool().stats().idle == 1).await;
    drop(far);
    let again = async { tokio::join!(client.send(post()), answer_next(&mut far_ends)) };
    let (reply, _far) = timeout(Duration::from_secs(5), again).await.expect("sent again");
    expect_ok(reply).await;
    assert_eq!(1, client.retries());
}

/// Premise: the server closes a new connection at any moment between its opening and the reply.
#[tokio::test]
async fn a_new_connection_that_ends_is_never_replaced() {
    for turns in 0..16 {
        let (client, mut far_ends) = client();
        let closes = async {
            let far = far_ends.recv().await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            drop(far);
        };
        let (reply, ()) = tokio::join!(client.send(get("http://pipe/")), closes);
        assert!(reply.is_err(), "after {turns} turns");
        assert_eq!((0, true), (client.retries(), far_ends.is_empty()), "after {turns} turns");
    }
}
