//! Which way to an origin.

use std::fmt;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;

use super::origin::Origin;
use crate::connect::BoxError;

/// The proxies to go through, by the scheme of the request.
///
/// `http` requests are forwarded in absolute form (RFC 9112, 3.2.2), `https` goes through a tunnel
/// (RFC 9110, 9.3.6). Credentials in a proxy's URI are sent to it as `Proxy-Authorization: Basic`.
/// Nothing is read from the environment.
///
/// With a proxy that cannot be used no connection is opened at all: what was to go through a proxy never
/// goes past it.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The proxy for `http` requests: an `http` URI.
    pub http: Option<Uri>,
    /// The proxy for `https` requests: an `http` URI.
    pub https: Option<Uri>,
    /// The hosts that are reached directly: names (with all below them), addresses and networks,
    /// separated by commas, as the variable `NO_PROXY` has them; `*` for all.
    pub no_proxy: String,
}

/// How to reach one origin.
#[derive(Clone)]
pub(super) enum Route {
    Direct,
    Forward(Hop),
    Tunnel(Hop),
}

/// A proxy on the way.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) uri: Uri,
    pub(super) authorization: Option<HeaderValue>,
}

impl Hop {
    /// Says that an error is that of the way through this proxy.
    pub(super) fn failed(&self, source: BoxError) -> BoxError {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Box::new(ProxyFailed { address: format!("{host}{port}"), source })
    }
}

/// There was no way through a proxy.
#[derive(Debug)]
struct ProxyFailed {
    /// Its host and port, without the credentials that its URI may hold.
    address: String,
    source: BoxError,
}

impl fmt::Display for ProxyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no way through the proxy {}", self.address)
    }
}

impl std::error::Error for ProxyFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// A proxy that cannot be used: it is not an `http` URI with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedProxy {
    /// Not the URI, which may have credentials in it.
    scheme: Option<String>,
}

impl fmt::Display for UnsupportedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme.as_deref() {
            None => f.write_str("a proxy without a host cannot be used: use http://HOST:PORT"),
            Some(scheme) => {
                write!(f, "proxies of scheme `{scheme}` are not supported: use http://HOST:PORT")
            }
        }
    }
}

impl std::error::Error for UnsupportedProxy {}

impl Proxies {
    /// Tells whether the proxies can be used, before any connection needs them.
    ///
    /// # Errors
    ///
    /// [`UnsupportedProxy`] for any URI but `http://HOST`, with or without credentials and a port. The
    /// scheme may be left out.
    pub fn check(&self) -> Result<(), UnsupportedProxy> {
        [&self.http, &self.https].into_iter().flatten().try_for_each(check)
    }
}

fn check(proxy: &Uri) -> Result<(), UnsupportedProxy> {
    // The matcher ignores what it does not understand, so it is asked what it has understood.
    let matcher = Matcher::builder().http(proxy.to_string()).build();
    let understood = matcher.intercept(&Uri::from_static("http://origin/"));
    if understood.is_some_and(|found| found.uri().scheme() == Some(&Scheme::HTTP)) {
        return Ok(());
    }
    Err(UnsupportedProxy { scheme: proxy.scheme_str().map(str::to_owned) })
}

/// The rules of [`Proxies`], compiled; `None` when all is reached directly.
pub(super) fn matcher(proxies: &Proxies) -> Result<Option<Matcher>, UnsupportedProxy> {
    proxies.check()?;
    let Proxies { http, https, no_proxy } = proxies;
    // The matcher knows `*` for names only.
    let is_direct = no_proxy.split(',').any(|host| host.trim() == "*");
    if is_direct || (http.is_none() && https.is_none()) {
        return Ok(None);
    }
    let mut builder = Matcher::builder();
    if let Some(http) = http {
        builder = builder.http(http.to_string());
    }
    if let Some(https) = https {
        builder = builder.https(https.to_string());
    }
    Ok(Some(builder.no(no_proxy.as_str()).build()))
}

impl Route {
    pub(super) fn to(origin: &Origin, matcher: Option<&Matcher>) -> Self {
        let Some(found) = matcher.and_then(|matcher| matcher.intercept(&origin.uri())) else {
            return Self::Direct;
        };
        let authorization = found.basic_auth().cloned();
        let hop = Hop { uri: found.uri().clone(), authorization };
        if origin.is_https() { Self::Tunnel(hop) } else { Self::Forward(hop) }
    }
}
