//! Connectors, and layers on what they connect.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower_service::Service;

use crate::connect::BoxError;

/// A connector of hyper-util's kind: from a URI to a byte stream.
///
/// Implemented for all that can be one; `HttpConnector` of hyper-util is the usual one.
pub trait Dial:
    Service<
        Uri,
        Response: Read + Write + Connection + Unpin + Send + 'static,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Dial for S where
    S: Service<
            Uri,
            Response: Read + Write + Connection + Unpin + Send + 'static,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Returns a connector that puts `layer` around each stream that `dial` connects.
///
/// The layer is below TLS and sees what goes over the wire.
///
/// # Examples
///
/// ```
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use pool::http::{Client, ClientOptions, wrap};
///
/// let same = wrap(HttpConnector::new(), |tcp| tcp);
/// let client: Client = Client::with_connector(same, ClientOptions::default());
/// ```
pub fn wrap<S, F>(dial: S, layer: F) -> Wrapped<S, F> {
    Wrapped { dial, layer }
}

/// A connector with a layer; see [`wrap`].
#[derive(Clone)]
pub struct Wrapped<S, F> {
    dial: S,
    layer: F,
}

impl<S, F, T> Service<Uri> for Wrapped<S, F>
where
    S: Service<Uri, Future: Send + 'static>,
    F: Fn(S::Response) -> T + Clone + Send + 'static,
{
    type Response = T;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<T, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.dial.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = self.dial.call(uri);
        let layer = self.layer.clone();
        Box::pin(async move { dialing.await.map(layer) })
    }
}

impl<S, F> fmt::Debug for Wrapped<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").finish_non_exhaustive()
    }
}
