//! Connectors, and layers on what they connect.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
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

/// Returns a connector over TCP, of which the pool expects a connection within `limit`.
///
/// The addresses of a host are tried in turn and share its time-out: without one, the first that does not
/// answer would use up all of `limit`. It is a little longer, so that the last attempt is ended by the pool,
/// which says so.
pub(super) fn tcp<R>(resolver: R, limit: Option<Duration>) -> HttpConnector<R> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(limit.map(|limit| limit.saturating_add(limit / 16)));
    tcp
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

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::io;
    use std::net::SocketAddr;
    use std::vec;

    use hyper_util::client::legacy::connect::dns::Name;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::timeout;

    use super::*;

    /// Resolves every name to these addresses.
    #[derive(Clone)]
    struct Known(Vec<SocketAddr>);

    impl Service<Name> for Known {
        type Response = vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            ready(Ok(self.0.clone().into_iter()))
        }
    }

    /// A listener whose line is full: the kernel answers nobody else.
    async fn silent() -> (TcpListener, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(0).unwrap();
        let only = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener, only)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let (silent, _only) = silent().await;
        let port = silent.local_addr().unwrap().port();
        let other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let addresses = [&silent, &other].map(|listener| listener.local_addr().unwrap());
        let limit = Duration::from_secs(10);
        let mut tcp = tcp(Known(addresses.to_vec()), Some(limit));
        let uri = format!("http://two.example:{port}/").parse().unwrap();
        timeout(limit, tcp.call(uri)).await.expect("in time").unwrap();
    }
}
