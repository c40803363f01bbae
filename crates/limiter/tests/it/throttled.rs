//! Readers and writers that keep to a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use limiter::{Burst, Limiter, Rate, Throttled};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, duplex, sink};
use tokio::time::{Instant, timeout};

use crate::model::millis;

fn limiter(rate: u64, burst: u64) -> Limiter {
    Limiter::new(Rate::bytes_per_second(rate), Burst::new(burst).unwrap())
}

/// Brings at most so many bytes at a time, and fails at the end.
struct Trickle {
    bytes_max: usize,
    left: usize,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let bytes = self.bytes_max.min(self.left).min(buf.remaining());
        self.left -= bytes;
        buf.put_slice(&vec![7; bytes]);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn reads_keep_to_the_rate() {
    let limiter = limiter(1000, 100);
    let mut reader = Throttled::new(&[7_u8; 600][..], limiter);
    let start = Instant::now();
    let mut body = Vec::new();
    reader.read_to_end(&mut body).await.unwrap();
    assert_eq!(vec![7; 600], body);
    // The last look, for the end, needs tokens too, which it gives back.
    assert!((millis(500)..=millis(601)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn writes_keep_to_the_rate() {
    let mut writer = Throttled::new(sink(), limiter(1000, 100));
    let start = Instant::now();
    writer.write_all(&[7; 600]).await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(millis(500), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn short_reads_and_errors_are_charged_for_what_they_bring() {
    let limiter = limiter(1000, 1000);
    let mut reader = Throttled::new(Trickle { bytes_max: 3, left: 30 }, limiter.clone());
    let mut body = Vec::new();
    reader.read_to_end(&mut body).await.unwrap_err();
    let stats = limiter.stats();
    assert_eq!(30, stats.granted_tokens - stats.given_back_tokens);
    assert_eq!(970, stats.available_tokens);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_holds_no_tokens() {
    let limiter = limiter(1000, 1000);
    let (near, _far) = duplex(64);
    let mut reader = Throttled::new(near, limiter.clone());
    assert!(timeout(millis(10), reader.read_u8()).await.is_err());
    limiter.try_acquire(1000).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_is_never_larger_than_what_was_granted() {
    let limiter = limiter(1000, 10);
    let mut reader = Throttled::with_quantum(&[7_u8; 100][..], limiter, 4);
    let mut buf = [0; 100];
    assert_eq!(4, reader.read(&mut buf).await.unwrap());
    // Asked for four, come back with room for two.
    let mut wait = Box::pin(reader.read(&mut buf));
    for _ in 0..2 {
        wait.as_mut().await.unwrap();
        wait = Box::pin(reader.read(&mut buf));
    }
    drop(wait);
    assert!(reader.read(&mut buf[..2]).await.unwrap() <= 2);
    assert_eq!(0, reader.read(&mut []).await.unwrap());
}
