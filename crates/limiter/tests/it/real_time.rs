//! What virtual time cannot show: sockets, and the clock of the machine.
//!
//! The short form holds on a busy machine as well. `LIMITER_LONG=1` runs the long one, which prints its
//! figures and demands the shares to 2 %: run it alone, with `--release -- --nocapture real_time`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use limiter::{Burst, Limiter, Rate, Share, Throttled};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, sleep};

const RATE: u64 = 50_000_000;
const BURST_BYTES: u64 = 1 << 20;
const RECEIVE_BUFFER_BYTES: u32 = 64 << 10;

/// What a server has sent grows in steps of what its buffer takes at once, so it is a small one: with 64
/// KiB too, the steps at the beginning and at the end were up to 2 % of what the lightest stream gets.
const SEND_BUFFER_BYTES: u32 = 8 << 10;

/// A sixteenth of a megabyte per turn would be 2 % of what the lightest stream gets in ten seconds.
const QUANTUM_BYTES: u64 = 16 << 10;

fn is_long() -> bool {
    std::env::var_os("LIMITER_LONG").is_some()
}

/// Sends to every connection as fast as it takes, and counts for each by the number that it sends first.
async fn serve(listener: TcpListener, sent: Arc<[AtomicU64]>) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            let index = usize::from(stream.read_u8().await?);
            let bytes = vec![7; 4 << 10];
            loop {
                let sent_bytes = stream.write(&bytes).await? as u64;
                sent[index].fetch_add(sent_bytes, Ordering::Relaxed);
            }
            #[expect(unreachable_code, reason = "says what the errors above are")]
            io::Result::Ok(())
        });
    }
}

/// Reads from a connection through a limiter, for ever; returns the bytes that its socket buffers.
async fn read(address: std::net::SocketAddr, index: u8, limiter: Limiter) -> io::Result<u64> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let buffered_bytes = u64::from(socket.recv_buffer_size()?);
    let mut stream = socket.connect(address).await?;
    stream.write_u8(index).await?;
    let mut reader = Throttled::with_quantum(stream, limiter, QUANTUM_BYTES);
    tokio::spawn(async move {
        let mut buf = vec![0; 64 << 10];
        while 0 < reader.read(&mut buf).await.unwrap_or(0) {}
    });
    Ok(buffered_bytes)
}

fn counts(sent: &[AtomicU64]) -> Vec<u64> {
    sent.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect()
}

fn grants(limiters: &[Limiter]) -> Vec<u64> {
    let stats = limiters.iter().map(Limiter::stats);
    stats.map(|stats| stats.granted_tokens - stats.given_back_tokens).collect()
}

/// The largest part of its share by which a stream got more or less, from one count to the other.
fn worst_share(before: &[u64], after: &[u64], weights: &[u32]) -> f64 {
    let got: Vec<f64> =
        after.iter().zip(before).map(|(after, before)| (after - before) as f64).collect();
    let unit = got.iter().sum::<f64>() / f64::from(weights.iter().sum::<u32>());
    let errors = got.iter().zip(weights).map(|(got, weight)| got / unit / f64::from(*weight) - 1.0);
    errors.map(f64::abs).fold(0.0, f64::max)
}

/// How far off the share of a stream may be in a long look.
const TOLERANCE: f64 = 0.02;

/// Streams of weights 1, 2, 4 under one limit: the shares, and the bytes on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_share_a_limit_by_weight_and_keep_to_it_on_the_wire() {
    let (n_streams, warmup, time) = if is_long() {
        (64, Duration::from_secs(2), Duration::from_secs(10))
    } else {
        (12, Duration::from_millis(300), Duration::from_millis(700))
    };
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    let send_buffer_bytes = u64::from(listener.send_buffer_size().unwrap());
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let sent: Arc<[AtomicU64]> = (0..n_streams).map(|_| AtomicU64::new(0)).collect();
    tokio::spawn(serve(listener, Arc::clone(&sent)));

    let limiter = Limiter::new(Rate::bytes_per_second(RATE), Burst::new(BURST_BYTES).unwrap());
    let start = Instant::now();
    let weights: Vec<u32> = (0..n_streams).map(|index| 1 << (index % 3)).collect();
    let mut buffered_bytes = 0;
    let mut children = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let child = limiter.child(Share { weight: *weight, ..Share::default() }).unwrap();
        children.push(child.clone());
        buffered_bytes += send_buffer_bytes + read(address, index as u8, child).await.unwrap();
    }

    let mut excess_max = i64::MIN;
    let mut before = None;
    while start.elapsed() < warmup + time {
        sleep(Duration::from_millis(10)).await;
        let on_the_wire: u64 = counts(&sent).iter().sum();
        let allowed = BURST_BYTES + (RATE as f64 * start.elapsed().as_secs_f64()) as u64;
        excess_max = excess_max.max(on_the_wire as i64 - allowed as i64);
        assert!(on_the_wire <= allowed + buffered_bytes, "{on_the_wire} of {allowed} bytes");
        if before.is_none() && warmup <= start.elapsed() {
            before = Some((counts(&sent), grants(&children)));
        }
    }
    let (sent_before, granted_before) = before.unwrap();
    let worst_sent = worst_share(&sent_before, &counts(&sent), &weights);
    let worst_granted = worst_share(&granted_before, &grants(&children), &weights);
    if is_long() {
        println!(
            "{n_streams} streams: worst share off by {:.2} % as sent, {:.2} % as granted; on the wire at \
             most {excess_max} B over rate and burst, {buffered_bytes} B buffered",
            100.0 * worst_sent,
            100.0 * worst_granted,
        );
    }
    let served = |weight: u32| -> u64 {
        let now = grants(&children);
        let of = (0..n_streams).filter(|&k| weights[k] == weight);
        of.map(|k| now[k] - granted_before[k]).sum()
    };
    // Whoever is not scheduled asks for nothing and loses its share: a short look at a busy machine tells the
    // order of the weights, a long one at an idle machine their shares.
    assert!(served(1) < served(2) && served(2) < served(4), "{:?}", [1, 2, 4].map(served));
    if is_long() {
        assert!(worst_sent <= TOLERANCE, "{worst_sent} as sent, {worst_granted} as granted");
        assert!(worst_granted <= TOLERANCE, "{worst_granted} as granted");
    }
}

/// Never over rate and burst by the machine's clock, and close to the rate where nothing disturbs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_clock_is_kept_to() {
    let burst = BURST_BYTES;
    let limiter = Limiter::new(Rate::bytes_per_second(RATE), Burst::new(burst).unwrap());
    limiter.acquire(burst).await;
    let start = Instant::now();
    let time = Duration::from_millis(if is_long() { 2000 } else { 300 });
    for _ in 0..4 {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            loop {
                limiter.acquire(16 << 10).await;
            }
        });
    }
    sleep(time).await;
    let granted = limiter.stats().granted_tokens - burst;
    let dripped = RATE as f64 * start.elapsed().as_secs_f64();
    assert!(granted as f64 <= dripped, "{granted} of {dripped}");
    // A busy machine may come late by more than the burst lasts, 20 ms, now and then.
    let least = if is_long() { 0.999 * dripped - burst as f64 } else { 0.5 * dripped };
    assert!(least <= granted as f64, "{granted} of {dripped}");
}

/// Whoever looks at all siblings whenever one goes takes 16 times as long for 16 times as many of them.
#[test]
fn a_child_goes_as_quickly_among_many_as_among_few() {
    const FEW: usize = 1000;
    let drop_all = |children: usize| {
        let parent = Limiter::new(Rate::per_second(1), Burst::ONE);
        let child = |_| parent.child(Share::default()).unwrap();
        let siblings: Vec<_> = (0..children).map(child).collect();
        let start = Instant::now();
        drop(siblings);
        start.elapsed()
    };
    let least = |time: &dyn Fn() -> Duration| (0..3).map(|_| time()).min().unwrap();
    let of_few = least(&|| (0..16).map(|_| drop_all(FEW)).sum());
    let of_many = least(&|| drop_all(16 * FEW));
    assert!(of_many < 5 * of_few, "{of_many:?} after {of_few:?}");
}
