//! Bodies that keep to a limit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use limiter::{Burst, Limiter, Rate, ThrottledBody};
use tokio::time::{Instant, timeout};

use crate::model::millis;

fn limiter(rate: u64, burst: u64) -> Limiter {
    Limiter::new(Rate::bytes_per_second(rate), Burst::new(burst).unwrap())
}

/// So many frames of 100 bytes.
struct Frames(usize);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 100])))))
    }
}

#[tokio::test(start_paused = true)]
async fn frames_keep_to_the_rate() {
    let limiter = limiter(1000, 100);
    let body = ThrottledBody::new(Frames(6), limiter);
    let start = Instant::now();
    assert_eq!(600, body.collect().await.unwrap().to_bytes().len());
    assert_eq!(millis(500), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_held_frame_is_neither_lost_nor_forgotten() {
    let limiter = limiter(1000, 100);
    limiter.acquire(100).await;
    let mut body = ThrottledBody::new(Full::new(Bytes::from_static(&[7; 50])), limiter);
    assert_eq!(Some(50), body.size_hint().exact());
    assert!(timeout(millis(10), body.frame()).await.is_err());
    assert!(!body.is_end_stream());
    assert_eq!(Some(50), body.size_hint().exact());
    assert_eq!(50, body.frame().await.unwrap().unwrap().into_data().unwrap().len());
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}
