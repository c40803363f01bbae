//! One HTTP/1.1 connection and the task that drives it.

use std::fmt;

use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::Extensions;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::Connected;
use tokio::task::JoinHandle;

use super::replay::Replay;
use super::watched::Heard;
use crate::connect::{Poolable, State};

/// One HTTP/1.1 connection. The pool's users never see it; its key is the [`Origin`](super::Origin).
///
/// It is moved at each step from the pool to the reply's body and back, so all of it is in one place.
pub struct HttpConnection<B>(pub(super) Box<Link<B>>);

/// What a connection consists of.
pub(super) struct Link<B> {
    pub(super) sender: SendRequest<B>,
    pub(super) driver: Driver,
    pub(super) heard: Heard,
    pub(super) address: Address,
    pub(super) connected: Connected,
}

/// How requests over a connection say where they go.
pub(super) struct Address {
    pub(super) host: HeaderValue,
    pub(super) form: TargetForm,
}

/// The form of the request target (RFC 9112, 3.2).
pub(super) enum TargetForm {
    /// To the origin itself, or through a tunnel.
    Origin,
    /// To a proxy that forwards, with its credentials.
    Absolute(Option<HeaderValue>),
}

impl Address {
    /// Writes host and target into a request.
    pub(super) fn write<B>(&self, request: &mut Request<B>) {
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        match &self.form {
            TargetForm::Origin => {
                let target = request.uri().path_and_query().cloned();
                let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
                *request.uri_mut() = Uri::from(target);
            }
            TargetForm::Absolute(Some(authorization)) => {
                request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
            }
            TargetForm::Absolute(None) => {}
        }
    }
}

impl<B> HttpConnection<B> {
    /// Adds what the layers below know of the connection.
    pub(super) fn extend(&self, extensions: &mut Extensions) {
        self.0.connected.get_extras(extensions);
    }
}

impl<B: Replay> Poolable for HttpConnection<B> {
    /// Ready for a request: the exchange before is over on both sides, and hyper has looked for the end
    /// of the connection and for unasked bytes since.
    fn state(&mut self) -> State {
        if self.0.sender.is_ready() { State::Reusable } else { State::Dead }
    }

    /// Says goodbye if nothing is under way (`close_notify`, FIN), else cuts the connection off.
    fn close(self) -> impl Future<Output = ()> + Send {
        let Link { sender, mut driver, .. } = *self.0;
        if !sender.is_ready() {
            driver.0.abort();
        }
        drop(sender);
        async move {
            // Fails when it was cut off; it is gone in any case.
            drop((&mut driver.0).await);
        }
    }
}

impl<B> fmt::Debug for HttpConnection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection")
            .field("host", &self.0.address.host)
            .field("heard_bytes", &self.0.heard.bytes())
            .finish_non_exhaustive()
    }
}

/// The task that reads and writes; dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Driver(pub(super) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
