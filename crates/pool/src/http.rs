//! An HTTP/1.1 client whose replies give their connection back at the end of their body.
//!
//! hyper speaks the protocol; hyper-util connects, resolves and finds the way through proxies; the
//! [`Pool`] decides who gets which connection when.
//!
//! # What it does
//!
//! - A reply is there as soon as its head is. Its [`Body`] owns the lease: read to its end it gives the
//!   connection back, dropped earlier it closes the connection.
//! - Connections are read while they are idle: one that the server closes leaves the pool at once.
//! - A request is sent a second time, once and over a new connection, if the first one had been used
//!   before and failed before any byte of a reply came: the server closed it while the request was under
//!   way. Only requests that may be repeated are (RFC 9110, 9.2.2), or that were never sent.
//! - Everything else is left to the caller: redirects, further attempts, cookies, decompression. `Expect:
//!   100-continue` is sent like any field, and the body is not held back for the answer.
//!
//! # Below it
//!
//! Any connector of hyper-util's kind will do ([`Dial`]), and [`wrap`] puts a layer between TCP and
//! what is above it, TLS included: one that takes time stamps, throttles, or simulates. What the layer
//! tells through [`Connection::connected`] is found in the extensions of each reply.
//!
//! # Examples
//!
//! ```no_run
//! use http_body_util::BodyExt;
//! use hyper::Request;
//! use pool::http::{Client, ClientOptions};
//!
//! # async fn get() -> Result<(), Box<dyn std::error::Error>> {
//! let client: Client = Client::new(ClientOptions::default());
//! let reply = client.send(Request::get("http://example.org/").body(Default::default())?).await?;
//! println!("{}", reply.status());
//! let page = reply.into_body().collect().await?.to_bytes();
//! # Ok(()) }
//! ```
//!
//! [`Pool`]: crate::Pool
//! [`Connection::connected`]: hyper_util::client::legacy::connect::Connection::connected

mod alarm;
mod body;
mod client;
mod connection;
mod dial;
mod error;
mod opener;
mod origin;
mod proxies;
mod replay;
#[cfg(feature = "tls")]
mod tls;
mod watched;

pub use self::body::Body;
pub use self::client::{Client, ClientOptions};
pub use self::connection::HttpConnection;
pub use self::dial::{Dial, Wrapped, wrap};
pub use self::error::{BodyError, Error};
pub use self::origin::Origin;
pub use self::proxies::{Proxies, UnsupportedProxy};
pub use self::replay::{Once, Replay};
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
