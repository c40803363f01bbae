//! HTTP bodies that keep to a limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Limiter;
use crate::handle::Pending;

pin_project! {
    /// A body that charges a limiter for the bytes of its frames, before it hands them on.
    ///
    /// A frame waits inside of the wrapper until its tokens are there, and the inner body is not polled
    /// meanwhile, so at most one frame per body is read ahead of the limit; where that is too much, wrap
    /// the socket with [`Throttled`](crate::Throttled). Trailers are free.
    ///
    /// # Cancel safety
    ///
    /// A dropped `frame()` future loses nothing: frame and place in the line stay in the body. Dropping
    /// the body gives up both.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use limiter::{Limiter, ThrottledBody};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new("1MB/s".parse()?, "64KiB".parse()?);
    /// let body = ThrottledBody::new(Full::new(Bytes::from_static(b"model")), limiter);
    /// assert_eq!("model", body.collect().await?.to_bytes());
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct ThrottledBody<B: Body> {
        #[pin]
        inner: B,
        limiter: Limiter,
        held: Option<Held<B::Data>>,
    }
}

/// A frame that waits for its tokens.
#[derive(Debug)]
struct Held<D> {
    frame: Frame<D>,
    bytes: u64,
    pending: Pending,
}

impl<B: Body> ThrottledBody<B> {
    /// Returns a wrapper that charges `limiter` one token per byte of data.
    pub fn new(inner: B, limiter: Limiter) -> Self {
        Self { inner, limiter, held: None }
    }

    /// Returns the inner body.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

impl<B: Body> Body for ThrottledBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if this.held.is_none() {
            match ready!(this.inner.poll_frame(cx)) {
                Some(Ok(frame)) => *this.held = Some(Held::new(frame)),
                end => return Poll::Ready(end),
            }
        }
        if let Some(held) = this.held {
            ready!(held.pending.poll(this.limiter, held.bytes, cx));
        }
        Poll::Ready(this.held.take().map(|held| Ok(held.frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held_bytes = self.held.as_ref().map_or(0, |held| held.bytes);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held_bytes));
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(held_bytes)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<D: Buf> Held<D> {
    fn new(frame: Frame<D>) -> Self {
        let bytes = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        Self { frame, bytes, pending: Pending::default() }
    }
}
