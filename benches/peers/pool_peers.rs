//! What others answer to the questions of `pool`, each in its best configuration.

use std::convert::Infallible;

use benches::pool_bodies::{
    TASKS_PER_CONNECTION, by_tasks, expect_ok, root, runtime, serve, warmed_by_tasks,
};
use benches::{Body, Run};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// All bodies of this module.
pub(crate) const BODIES: &[Body] = &[
    Body { case: "pool/get", subject: "deadpool", prepare: deadpool_get },
    Body { case: "pool/get", subject: "bb8", prepare: bb8_get },
    Body { case: "pool/get-with-time-outs", subject: "deadpool", prepare: deadpool_get },
    Body { case: "pool/get-with-time-outs", subject: "bb8", prepare: bb8_get },
    Body { case: "pool/get-16-tasks", subject: "deadpool", prepare: || deadpool_by_tasks(16) },
    Body { case: "pool/get-16-tasks", subject: "bb8", prepare: || bb8_by_tasks(16) },
    Body { case: "pool/get-256-tasks", subject: "deadpool", prepare: || deadpool_by_tasks(256) },
    Body { case: "pool/get-256-tasks", subject: "bb8", prepare: || bb8_by_tasks(256) },
    Body { case: "pool/http", subject: "bare", prepare: bare_http },
    Body { case: "pool/http", subject: "hyper-util", prepare: || legacy_by_tasks(1) },
    Body { case: "pool/http", subject: "reqwest", prepare: || reqwest_by_tasks(1) },
    Body { case: "pool/http-16-tasks", subject: "bare", prepare: || bare_by_tasks(16) },
    Body { case: "pool/http-16-tasks", subject: "hyper-util", prepare: || legacy_by_tasks(16) },
    Body { case: "pool/http-16-tasks", subject: "reqwest", prepare: || reqwest_by_tasks(16) },
    Body { case: "pool/http-256-tasks", subject: "bare", prepare: || bare_by_tasks(256) },
    Body { case: "pool/http-256-tasks", subject: "hyper-util", prepare: || legacy_by_tasks(256) },
    Body { case: "pool/http-256-tasks", subject: "reqwest", prepare: || reqwest_by_tasks(256) },
];

/// A manager that does nothing, for both pools.
struct Tokens;

impl deadpool::managed::Manager for Tokens {
    type Type = ();
    type Error = Infallible;

    async fn create(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn recycle(
        &self,
        (): &mut (),
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl bb8::ManageConnection for Tokens {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

fn deadpool_of(connections_max: usize) -> deadpool::managed::Pool<Tokens> {
    let builder = deadpool::managed::Pool::builder(Tokens).max_size(connections_max);
    builder.build().expect("no time-outs are set, so no runtime is needed")
}

async fn bb8_of(connections_max: u32) -> bb8::Pool<Tokens> {
    let builder = bb8::Pool::builder().max_size(connections_max).test_on_check_out(false);
    builder.build(Tokens).await.expect("a token is opened without fail")
}

fn deadpool_get() -> Run {
    let pool = deadpool_of(1);
    let runtime = runtime();
    Box::new(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                drop(pool.get().await.expect("a token is opened without fail"));
            }
        });
        assert_eq!(1, pool.status().size);
    })
}

fn deadpool_by_tasks(n_tasks: usize) -> Run {
    let pool = deadpool_of(n_tasks / TASKS_PER_CONNECTION);
    by_tasks(n_tasks, move || {
        let pool = pool.clone();
        async move {
            let object = pool.get().await.expect("a token is opened without fail");
            tokio::task::yield_now().await;
            drop(object);
        }
    })
}

fn bb8_get() -> Run {
    let runtime = runtime();
    let pool = runtime.block_on(bb8_of(1));
    Box::new(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                drop(pool.get().await.expect("a token is opened without fail"));
            }
        });
        assert_eq!(1, pool.state().connections);
    })
}

fn bb8_by_tasks(n_tasks: usize) -> Run {
    let connections_max = n_tasks / TASKS_PER_CONNECTION;
    let pool = std::sync::Arc::new(tokio::sync::OnceCell::new());
    by_tasks(n_tasks, move || {
        let pool = pool.clone();
        async move {
            let build = || bb8_of(u32::try_from(connections_max).expect("some hundreds"));
            let pool: &bb8::Pool<Tokens> = pool.get_or_init(build).await;
            let connection = pool.get().await.expect("a token is opened without fail");
            tokio::task::yield_now().await;
            drop(connection);
        }
    })
}

type Sender = SendRequest<Empty<Bytes>>;

async fn bare_connection(address: std::net::SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP option");
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.expect("nothing is sent yet");
    tokio::spawn(connection);
    sender
}

async fn bare_turn(sender: &mut Sender, host: &str) {
    let request = Request::get("/").header("host", host).body(Empty::new());
    sender.ready().await.expect("the connection is open");
    let reply = sender.send_request(request.expect("a valid request")).await;
    expect_ok(reply.expect("the server replies").into_body()).await;
}

/// The floor: one connection, no pool. In a task of its own, like all the others: what `block_on` itself
/// waits for costs a call of the system more at each turn.
fn bare_http() -> Run {
    let runtime = runtime();
    let address = serve(&runtime);
    let host = address.to_string();
    let mut sender = Some(runtime.block_on(bare_connection(address)));
    Box::new(move |iterations| {
        let (mut own, host) = (sender.take().expect("each run puts it back"), host.clone());
        let task = runtime.spawn(async move {
            for _ in 0..iterations {
                bare_turn(&mut own, &host).await;
            }
            own
        });
        sender = Some(runtime.block_on(task).expect("no turn panics"));
    })
}

/// The floor for many tasks: as many connections, handed around by a stack.
fn bare_by_tasks(n_tasks: usize) -> Run {
    let runtime = runtime();
    let address = serve(&runtime);
    let host = address.to_string();
    let idle = std::sync::Arc::new(Mutex::new(Vec::new()));
    warmed_by_tasks(runtime, n_tasks, move || {
        let (idle, host) = (idle.clone(), host.clone());
        async move {
            let taken = idle.lock().await.pop();
            let mut sender = match taken {
                Some(sender) => sender,
                None => bare_connection(address).await,
            };
            bare_turn(&mut sender, &host).await;
            idle.lock().await.push(sender);
        }
    })
}

fn legacy_by_tasks(n_tasks: usize) -> Run {
    let runtime = runtime();
    let url = root(serve(&runtime));
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(tcp);
    warmed_by_tasks(runtime, n_tasks, move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a valid URL");
            let reply = client.request(request).await.expect("the server replies");
            expect_ok(reply.into_body()).await;
        }
    })
}

fn reqwest_by_tasks(n_tasks: usize) -> Run {
    let runtime = runtime();
    let url: reqwest::Url =
        root(serve(&runtime)).to_string().parse().expect("an address makes a valid URL");
    let client = reqwest::Client::builder().no_proxy().build().expect("no TLS is asked for");
    warmed_by_tasks(runtime, n_tasks, move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let reply = client.get(url).send().await.expect("the server replies");
            let body = reply.bytes().await.expect("the body comes to its end");
            assert_eq!("ok", body);
        }
    })
}
