//! Requests that can be sent a second time.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{Empty, Full};
use hyper::Request;
use hyper::body::{Body, Buf, Frame, SizeHint};

use crate::connect::BoxError;

/// A request body that may know how to begin again.
pub trait Replay: Body<Data: Send, Error: Into<BoxError>> + Send + Sized + 'static {
    /// Returns a body that sends the same bytes from the beginning; `None` when that cannot be. Asked
    /// before the first byte is read.
    fn replay(&self) -> Option<Self>;
}

impl<D: Buf + Send + 'static> Replay for Empty<D> {
    fn replay(&self) -> Option<Self> {
        Some(Self::new())
    }
}

impl<D: Buf + Clone + Send + 'static> Replay for Full<D> {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// A body that is sent once: its requests are never repeated after they were begun.
#[derive(Debug, Default)]
pub struct Once<B>(pub B);

impl<B: Body<Data: Send, Error: Into<BoxError>> + Unpin + Send + 'static> Replay for Once<B> {
    fn replay(&self) -> Option<Self> {
        None
    }
}

impl<B: Body + Unpin> Body for Once<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Returns a copy of a request that may be sent twice, or `None`.
pub(super) fn copy_of<B: Replay>(request: &Request<B>) -> Option<Request<B>> {
    if !may_repeat(request) {
        return None;
    }
    let mut copy = Request::new(request.body().replay()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Whether doing it twice is as good as once (RFC 9110, 9.2.2), or the request has a key by which the
/// server knows it again.
fn may_repeat<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
}
