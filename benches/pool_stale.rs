//! How many errors users see of a server that closes idle connections at random: ours and two peers.
//!
//! One GET of five bytes after the other by each of 16 tasks, with a pause now and then, against a server
//! that closes each connection after it was idle for a random time up to 50 ms. `POOL_GETS` sets their
//! number; under `cargo test` it is small.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pool::http::{Client, ClientOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const TASKS: u64 = 16;
const IDLE_MAX_MICROS: u64 = 50_000;
const PAUSE_MAX_MICROS: u64 = 40_000;
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::main(worker_threads = 2)]
async fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("POOL_GETS").ok().and_then(|gets| gets.parse().ok());
    let gets = asked.unwrap_or(if is_test { 320 } else { 100_000 });
    let url = format!("http://{}/", serve().await);

    let ours: Client = Client::new(ClientOptions::default());
    run("ours", gets, &url, move |url| {
        let client = ours.clone();
        async move {
            let request = Request::get(url).body(Default::default()).expect("a valid URL");
            let reply = client.send(request).await.ok()?;
            Some(reply.into_body().collect().await.ok()?.to_bytes())
        }
    })
    .await;

    let legacy = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    let legacy = legacy.build(HttpConnector::new());
    run("hyper-util", gets, &url, move |url| {
        let client = legacy.clone();
        async move {
            let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a valid URL");
            let reply = client.request(request).await.ok()?;
            Some(reply.into_body().collect().await.ok()?.to_bytes())
        }
    })
    .await;

    let reqwest = reqwest::Client::builder().no_proxy().build().expect("no TLS is asked for");
    run("reqwest", gets, &url, move |url| {
        let client = reqwest.clone();
        async move { client.get(url).send().await.ok()?.bytes().await.ok() }
    })
    .await;
}

/// Sends so many GETs by one client and prints how many failed.
async fn run<G, F>(subject: &str, gets: u64, url: &str, get: G)
where
    G: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Option<Bytes>> + Send,
{
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (get, url) = (get.clone(), url.to_owned());
        tasks.spawn(async move {
            let pauses = AtomicU64::new(task);
            let mut errors = 0_u64;
            for _ in 0..gets / TASKS {
                errors += u64::from(get(url.clone()).await.as_deref() != Some(b"hello"));
                if scatter(&pauses).is_multiple_of(16) {
                    pause(scatter(&pauses) % PAUSE_MAX_MICROS).await;
                }
            }
            errors
        });
    }
    let errors: u64 = tasks.join_all().await.into_iter().sum();
    let share = 100.0 * errors as f64 / gets as f64;
    let wall_s = begin.elapsed().as_secs_f64();
    println!("{subject:10} {errors} errors in {gets} GETs ({share:.4} %), {wall_s:.1} s");
}

/// Starts the server that closes idle connections.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let limits = Arc::new(AtomicU64::new(1));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, limits.clone()));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, limits: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await? != 0 {
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        request.clear();
        stream.write_all(REPLY).await?;
        let limit = Duration::from_micros(scatter(&limits) % IDLE_MAX_MICROS);
        if tokio::time::timeout(limit, stream.readable()).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn pause(micros: u64) {
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

/// A number without pattern: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
fn scatter(state: &AtomicU64) -> u64 {
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut z = state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
