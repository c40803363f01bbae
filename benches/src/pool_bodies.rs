//! Bodies of `pool`: what it costs to lend and to get back, alone and over HTTP on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use pool::http::{Client, ClientOptions};
use pool::{Options, Pool, Poolable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::{Body, Gate, Run};

/// All bodies of this module.
pub const BODIES: &[Body] = &[
    Body { case: "pool/get", subject: "ours", prepare: get },
    Body { case: "pool/get-with-time-outs", subject: "ours", prepare: get_with_time_outs },
    Body { case: "pool/get-16-tasks", subject: "ours", prepare: get_16_tasks },
    Body { case: "pool/get-256-tasks", subject: "ours", prepare: get_256_tasks },
    Body { case: "pool/http", subject: "ours", prepare: http },
    Body { case: "pool/http-16-tasks", subject: "ours", prepare: http_16_tasks },
    Body { case: "pool/http-256-tasks", subject: "ours", prepare: http_256_tasks },
];

/// What `ours` has to reach.
pub const GATES: &[(&str, Gate)] = &[
    ("pool/get", Gate::AtMostTimes { peer: "deadpool", ratio_max: 0.8 }),
    ("pool/get-16-tasks", Gate::AtMostTimes { peer: "deadpool", ratio_max: 0.8 }),
    ("pool/get-256-tasks", Gate::AtMostTimes { peer: "deadpool", ratio_max: 0.8 }),
    ("pool/http", Gate::AtMostNanosAbove { peer: "bare", nanos_max: 1000.0 }),
];

/// Tasks for each connection where they compete.
pub const TASKS_PER_CONNECTION: usize = 4;

/// Turns of each task before anything is measured.
const TURNS_TO_WARM_UP: u64 = 16;

/// A connection that costs nothing.
#[derive(Debug)]
pub struct Token;

impl Poolable for Token {}

/// One connection taken and given back, by one task; without limits in time, as the peers have it.
fn get() -> Run {
    get_with(Options { idle_timeout: None, ..Options::default() })
}

/// The same with an idle time-out and a lifetime that are checked at each turn: the clock is read twice.
fn get_with_time_outs() -> Run {
    get_with(Options { lifetime_max: Some(Duration::from_secs(600)), ..Options::default() })
}

fn get_with(options: Options) -> Run {
    let pool = tokens(options);
    let runtime = runtime();
    Box::new(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                drop(pool.get(&0).await.expect("a token is opened without fail"));
            }
        });
        assert_eq!(1, pool.stats().opened);
    })
}

fn get_16_tasks() -> Run {
    get_by_tasks(16)
}

fn get_256_tasks() -> Run {
    get_by_tasks(256)
}

/// One connection taken, held for a turn of the others, and given back, by each of many tasks for each
/// four of which there is one connection.
fn get_by_tasks(n_tasks: usize) -> Run {
    let connections = n_tasks / TASKS_PER_CONNECTION;
    let pool = tokens(Options {
        connections_max: connections,
        connections_per_key_max: connections,
        idle_timeout: None,
        ..Options::default()
    });
    by_tasks(n_tasks, move || {
        let pool = pool.clone();
        async move {
            let lease = pool.get(&0).await.expect("a token is opened without fail");
            tokio::task::yield_now().await;
            drop(lease);
        }
    })
}

fn http() -> Run {
    http_by_tasks(1)
}

fn http_16_tasks() -> Run {
    http_by_tasks(16)
}

fn http_256_tasks() -> Run {
    http_by_tasks(256)
}

/// One GET of two bytes on loopback, by each of so many tasks; each may have a connection.
fn http_by_tasks(n_tasks: usize) -> Run {
    let runtime = runtime();
    let url = root(serve(&runtime));
    let pool = Options {
        connections_max: n_tasks,
        connections_per_key_max: n_tasks,
        ..ClientOptions::default().pool
    };
    let client: Client = Client::new(ClientOptions { pool, ..ClientOptions::default() });
    warmed_by_tasks(runtime, n_tasks, move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let request = hyper::Request::get(url).body(Default::default()).expect("a valid URL");
            let reply = client.send(request).await.expect("the server replies");
            expect_ok(reply.into_body()).await;
        }
    })
}

fn tokens(options: Options) -> Pool<u32, Token> {
    let connect = |_: u32| async { Ok::<_, std::io::Error>(Token) };
    Pool::new(connect, options)
}

/// Runs so many tasks of one thread. One iteration is one turn of each of them: were the turns only spread
/// over the tasks, a sample of the slower ones would end before most tasks have had any, and measure what
/// it costs to start them.
///
/// # Panics
///
/// When a turn panics.
pub fn by_tasks<F>(n_tasks: usize, turn: impl Fn() -> F + Clone + Send + 'static) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    by_tasks_on(runtime(), n_tasks, turn)
}

/// The same on a runtime on which something runs already, after each task has had some turns: what is
/// opened once is open then, and does not count for what a turn takes.
///
/// # Panics
///
/// When a turn panics.
pub fn warmed_by_tasks<F>(
    runtime: Runtime,
    n_tasks: usize,
    turn: impl Fn() -> F + Clone + Send + 'static,
) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut run = by_tasks_on(runtime, n_tasks, turn);
    run(TURNS_TO_WARM_UP);
    run
}

fn by_tasks_on<F>(
    runtime: Runtime,
    n_tasks: usize,
    turn: impl Fn() -> F + Clone + Send + 'static,
) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(move |iterations| {
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..n_tasks {
                let turn = turn.clone();
                tasks.spawn(async move {
                    for _ in 0..iterations {
                        turn().await;
                    }
                });
            }
            assert_eq!(n_tasks, tasks.join_all().await.len());
        });
    })
}

/// The URL of a server's root: parsed once, for that is no matter of the client.
///
/// # Panics
///
/// Never: an address makes a valid URL.
#[must_use]
pub fn root(server: SocketAddr) -> hyper::Uri {
    format!("http://{server}/").parse().expect("an address makes a valid URL")
}

/// Reads the body that [`serve`] sends.
///
/// # Panics
///
/// When it is another one.
pub async fn expect_ok<B>(body: B)
where
    B: hyper::body::Body<Data: Send, Error: std::fmt::Debug> + Send,
{
    use http_body_util::BodyExt;
    let body = body.collect().await.expect("the body comes to its end").to_bytes();
    assert_eq!("ok", body);
}

/// A runtime of one thread: what is compared is the work and not the scheduler.
///
/// # Panics
///
/// When the system refuses.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// Starts a server on loopback that answers every request with two bytes. It runs on the thread of those
/// who ask: to wake another core takes many times as long as what is measured, and never the same.
///
/// # Panics
///
/// When loopback has no free port.
pub fn serve(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await? != 0 {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            stream.write_all(REPLY).await?;
        }
    }
    Ok(())
}
