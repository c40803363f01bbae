//! The body of a reply, which owns the connection it comes over.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::HttpConnection;
use super::error::BodyError;
use super::replay::Replay;
use crate::connect::{Poolable, State};
use crate::lease::Lease;

/// How long a connection may take to become ready after the end of a reply. What is left to do then is a
/// step of the task that drives it; unless the server replied before it had read all of the request.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The body of a reply.
///
/// Read to its end, it gives the connection back to the pool; dropped earlier, it closes the connection,
/// for the rest of the body is in its way.
///
/// # Cancel safety
///
/// Reading frames loses nothing.
pub struct Body<B: Replay = Full<Bytes>> {
    incoming: Incoming,
    /// `None` after the end.
    lease: Option<Lease<HttpConnection<B>>>,
    /// How long the next frame may take.
    timeout: Option<Duration>,
    reused: bool,
}

impl<B: Replay> Body<B> {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease<HttpConnection<B>>,
        timeout: Option<Duration>,
    ) -> Self {
        let reused = lease.reused();
        let mut body = Self { incoming, lease: Some(lease), timeout, reused };
        body.release_at_end();
        body
    }

    /// Whether the reply came over a connection that had been idle or used before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back once the body was read to its end.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        if lease.state() == State::Reusable {
            return drop(lease);
        }
        // The task that drives the connection has told us of the end but not yet come to its own.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // The lease looks for itself what came of it.
                drop(timeout(READY_TIMEOUT, lease.ready()).await);
                drop(lease);
            });
        }
    }

    /// Ready when the next frame takes too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        match (&mut self.lease, self.timeout) {
            (Some(lease), Some(after)) => {
                lease.0.alarm.poll(after, cx).map(|()| BodyError::Stalled { after })
            }
            _ => Poll::Pending,
        }
    }

    /// Closes the connection.
    fn discard(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.discard();
        }
    }
}

impl<B: Replay> hyper::body::Body for Body<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => self.poll_stalled(cx).map(|error| {
                self.discard();
                Some(Err(error))
            }),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(lease) = &mut self.lease {
                    lease.0.alarm.rest();
                }
                self.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                self.discard();
                Poll::Ready(Some(Err(BodyError::Broken(source))))
            }
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B: Replay> Drop for Body<B> {
    fn drop(&mut self) {
        self.discard();
    }
}

impl<B: Replay> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("size_hint", &self.incoming.size_hint())
            .field("is_over", &self.lease.is_none())
            .finish_non_exhaustive()
    }
}
