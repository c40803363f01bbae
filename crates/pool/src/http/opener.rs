//! Opens HTTP/1.1 connections: dials, tunnels, encrypts, shakes hands.

use std::future::poll_fn;
use std::marker::PhantomData;

use hyper::Uri;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::alarm::Alarm;
use super::connection::{Address, Driver, HttpConnection, Link, TargetForm};
use super::dial::Dial;
use super::origin::Origin;
use super::proxies::{Route, UnsupportedProxy};
use super::replay::Replay;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::watched::{Traffic, Watched};
use crate::connect::{BoxError, CloseNotice, Connect};

/// The connector of the client's pool.
pub(super) struct Opener<S, B> {
    pub(super) dial: S,
    pub(super) http1: http1::Builder,
    pub(super) proxies: Result<Option<Matcher>, UnsupportedProxy>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) body: PhantomData<fn(B)>,
}

/// What is known of a connection before it is one.
struct Draft {
    address: Address,
    connected: Connected,
    notice: CloseNotice,
}

impl<S: Dial, B: Replay> Connect<Origin> for Opener<S, B> {
    type Connection = HttpConnection<B>;
    type Error = BoxError;

    async fn connect(
        &self,
        origin: &Origin,
        notice: CloseNotice,
    ) -> Result<HttpConnection<B>, BoxError> {
        let (stream, form) = self.dial_by_route(origin).await?;
        let address = Address { host: HeaderValue::from_str(origin.authority())?, form };
        let draft = Draft { address, connected: stream.connected(), notice };
        let stream = TokioIo::new(stream);
        if origin.is_https() {
            self.encrypt(origin, stream, draft).await
        } else {
            self.shake_hands(stream, draft).await
        }
    }
}

impl<S: Dial, B: Replay> Opener<S, B> {
    async fn dial_by_route(&self, origin: &Origin) -> Result<(S::Response, TargetForm), BoxError> {
        let dial = self.dial.clone();
        let proxies = self.proxies.as_ref().map_err(Clone::clone)?;
        match Route::to(origin, proxies.as_ref()) {
            Route::Direct => Ok((call(dial, origin.uri()).await?, TargetForm::Origin)),
            Route::Forward(hop) => {
                let stream = call(dial, hop.uri.clone()).await;
                Ok((stream.map_err(|e| hop.failed(e))?, TargetForm::Absolute(hop.authorization)))
            }
            Route::Tunnel(hop) => {
                let mut tunnel = Tunnel::new(hop.uri.clone(), dial);
                if let Some(authorization) = &hop.authorization {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                let stream = call(tunnel, origin.uri()).await;
                Ok((stream.map_err(|e| hop.failed(e))?, TargetForm::Origin))
            }
        }
    }

    #[cfg(feature = "tls")]
    async fn encrypt(
        &self,
        origin: &Origin,
        stream: TokioIo<S::Response>,
        draft: Draft,
    ) -> Result<HttpConnection<B>, BoxError> {
        let Some(tls) = &self.tls else {
            return Err("no TLS: set `ClientOptions::tls`".into());
        };
        let stream = tls.connect(origin.host(), stream).await?;
        self.shake_hands(stream, draft).await
    }

    #[cfg(not(feature = "tls"))]
    async fn encrypt(
        &self,
        _: &Origin,
        _: TokioIo<S::Response>,
        _: Draft,
    ) -> Result<HttpConnection<B>, BoxError> {
        Err("no TLS: build with the feature `tls`".into())
    }

    async fn shake_hands<T>(&self, stream: T, draft: Draft) -> Result<HttpConnection<B>, BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Draft { address, connected, notice } = draft;
        let traffic = Traffic::default();
        let stream = TokioIo::new(Watched::new(stream, traffic.clone()));
        let (mut sender, connection) = self.http1.handshake(stream).await?;
        let driver = Driver::new(tokio::spawn(async move {
            // Why it ended is told to whoever waits for a reply; an idle one ends in peace.
            drop(connection.await);
            notice.send();
        }));
        sender.ready().await?;
        let sender = Some(sender);
        let (spare, upload, alarm) = (None, None, Alarm::default());
        let link = Link { sender, driver, traffic, address, connected, spare, upload, alarm };
        Ok(HttpConnection(Box::new(link)))
    }
}

async fn call<S>(mut service: S, uri: Uri) -> Result<S::Response, BoxError>
where
    S: Service<Uri, Error: Into<BoxError>>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(uri).await.map_err(Into::into)
}
