//! What can only be seen against the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use pool::http::{Client, ClientOptions};
use pool::{Options, Pool, Poolable};
use tokio::task::JoinSet;

use crate::http::get;
use crate::http_server::{Answer, Server, Then};

/// Requests of the run against a server that closes idle connections; `POOL_GETS` sets another number.
const GETS: u64 = 100_000;
const TASKS: u64 = 16;

/// splitmix64's step: times without pattern, the same in each run.
pub(crate) fn scatter(state: &AtomicU64) -> u64 {
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut z = state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// hyper#2136: about 0.02 % of requests fail with "connection closed before message completed". Premise:
/// the server closes connections that are idle for a random time up to 50 ms, and each client pauses
/// for a random time as well, so that closes and requests cross.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_2136_no_error_reaches_the_user() {
    let times = AtomicU64::new(1);
    let server = Server::start(move |_| {
        let limit = Duration::from_micros(scatter(&times) % 50_000);
        Answer::ok("hello", Then::CloseAfter(limit))
    })
    .await;
    let gets = std::env::var("POOL_GETS").ok().and_then(|gets| gets.parse().ok()).unwrap_or(GETS);
    let client: Client = Client::new(ClientOptions::default());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (client, url) = (client.clone(), server.url("/"));
        tasks.spawn(async move {
            let pauses = AtomicU64::new(task);
            let mut errors = 0_u64;
            for _ in 0..gets / TASKS {
                if let Err(error) = hello(&client, &url).await {
                    println!("{error:?}");
                    errors += 1;
                }
                if scatter(&pauses) % 16 == 0 {
                    let pause = Duration::from_micros(scatter(&pauses) % 40_000);
                    tokio::time::sleep(pause).await;
                }
            }
            errors
        });
    }
    let errors: u64 = tasks.join_all().await.into_iter().sum();
    let stats = client.pool().stats();
    println!("{gets} gets, {} retries, {stats:?}", client.retries());
    assert_eq!(0, errors, "of {gets}; {} retries", client.retries());
    assert!(stats.adds_up());
}

async fn hello(client: &Client, url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let reply = client.send(get(url)).await?;
    match &*reply.into_body().collect().await?.to_bytes() {
        b"hello" => Ok(()),
        other => Err(format!("{} bytes of something else", other.len()).into()),
    }
}

struct Token;
impl Poolable for Token {}

/// bb8#243 once more, in real time: 1000 tasks on 50 connections, each held for a millisecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bb8_243_waits_are_alike_on_real_threads() {
    let connect = |()| async { Ok::<_, std::io::Error>(Token) };
    let options =
        Options { connections_max: 50, connections_per_key_max: 50, ..Options::default() };
    let pool: Pool<(), Token> = Pool::new(connect, options);
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for _ in 0..20 {
                let begin = Instant::now();
                let lease = pool.get(&()).await.unwrap();
                waits.push(begin.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
                drop(lease);
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 100];
    println!("waits: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    // Tasks of other programs are in these figures: judged only where the machine is ours. In virtual
    // time the same case is judged always.
    if std::env::var_os("POOL_JUDGE_TIME").is_some() {
        assert!(at(99).as_secs_f64() <= 1.5 * at(50).as_secs_f64(), "{:?} {:?}", at(50), at(99));
    }
}
