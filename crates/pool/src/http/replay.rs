//! Requests that can be sent a second time.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{Empty, Full};
use hyper::body::{Body, Buf, Frame, SizeHint};
use hyper::http::Extensions;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Uri, Version};

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

/// What is needed to send a request a second time. Few need it, so it is what costs least to keep.
pub(super) struct Spare<B> {
    method: Method,
    target: Option<PathAndQuery>,
    version: Version,
    /// Most have none when they are kept.
    fields: Option<Box<(HeaderMap, Extensions)>>,
    body: B,
}

impl<B: Replay> Spare<B> {
    /// Keeps what is needed of a request whose URI is a path and a query; `None` if it may not be sent
    /// twice.
    pub(super) fn of(request: &Request<B>) -> Option<Self> {
        if !may_repeat(request) {
            return None;
        }
        let has_fields = !request.headers().is_empty() || !request.extensions().is_empty();
        let fields = || Box::new((request.headers().clone(), request.extensions().clone()));
        Some(Self {
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            version: request.version(),
            fields: has_fields.then(fields),
            body: request.body().replay()?,
        })
    }

    /// The request.
    pub(super) fn into_request(self) -> Request<B> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.map(Uri::from).unwrap_or_default();
        *request.version_mut() = self.version;
        if let Some(fields) = self.fields {
            (*request.headers_mut(), *request.extensions_mut()) = *fields;
        }
        request
    }
}

/// Whether doing it twice is as good as once (RFC 9110, 9.2.2), or the request has a key by which the
/// server knows it again.
fn may_repeat<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
}
