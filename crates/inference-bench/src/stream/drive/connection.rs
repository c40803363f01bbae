//! One connection to the target: how it is opened, written and read.
//!
//! An idle stream owns no buffer: all connections of a thread read into the same bytes, which are decoded
//! where they lie. hyper's client would keep 27 KB for each, and its task reads ahead of whoever reads the
//! body, by which stamps and bytes come apart.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::{Buf, Bytes};
use hyper_util::client::legacy::connect::HttpConnector;
use pool::http::Origin;
use pool::{BoxError, CloseNotice, Connect, Poolable, State};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::Shared;
use crate::stream::plan::StampSource;
use crate::stream::seam::{Stamped, Stamps};
use crate::stream::transcript::Stamp;

/// How long a connection may take to be there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that one read takes: four times what a step of a server puts on one stream.
const READ_BYTES_MAX: usize = 16 << 10;

thread_local! {
    /// What was read last, from whichever connection.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// A stream of bytes, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, lent for one request at a time.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    stamps: Stamps,
    /// What is left to write of the request.
    unsent: Bytes,
    is_flushed: bool,
    /// Writing has failed: the server takes no more.
    is_cut: bool,
    /// An exchange is under way, or was cut short: nobody else can use the connection.
    is_busy: bool,
}

impl Connection {
    fn new(stream: Box<dyn Stream>, stamps: Stamps) -> Self {
        let unsent = Bytes::new();
        Self { stream, stamps, unsent, is_flushed: true, is_cut: false, is_busy: false }
    }

    /// Begins a request, which is written while the reply is [read](Self::read).
    pub(super) fn begin(&mut self, request: Bytes) {
        (self.unsent, self.is_flushed, self.is_busy) = (request, false, true);
    }

    /// Says that the reply was read to its end, and that the connection stays.
    pub(super) fn finish(&mut self) {
        self.is_busy = self.is_cut || !self.unsent.is_empty() || !self.is_flushed;
    }

    /// Waits for more bytes and hands them to `take` with their stamp; `None` at the end of the
    /// connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn read<R>(
        &mut self,
        mut take: impl FnMut(&[u8], Stamp) -> R,
    ) -> io::Result<Option<R>> {
        poll_fn(|cx| {
            // A server may answer before it has heard all, and hang up on the rest: its answer counts.
            self.is_cut = self.is_cut || matches!(self.poll_write(cx), Poll::Ready(Err(_)));
            READ.with_borrow_mut(|bytes| {
                let mut buf = ReadBuf::new(bytes);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
                let bytes = buf.filled();
                Poll::Ready(Ok((!bytes.is_empty()).then(|| take(bytes, self.stamps.last()))))
            })
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.unsent.advance(n),
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Poolable for Connection {
    /// Idle, and neither closed nor with anything to read: that would be what nobody asked for.
    fn state(&mut self) -> State {
        if self.is_busy {
            return State::Dead;
        }
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf) {
            Poll::Pending => State::Reusable,
            Poll::Ready(_) => State::Dead,
        }
    }

    /// Says goodbye if nothing is under way (`close_notify`, FIN), else cuts the connection off.
    async fn close(mut self) {
        if !self.is_busy {
            // Whoever has left already needs no goodbye.
            drop(poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("last", &self.stamps.last())
            .field("unsent_bytes", &self.unsent.len())
            .field("is_busy", &self.is_busy)
            .finish_non_exhaustive()
    }
}

/// Opens connections over TCP, with happy eyeballs and the system's resolver, and encrypts them where the
/// target says so. Stamps are taken below TLS.
pub(super) struct Opener(pub(super) Arc<Shared>);

impl Connect<Origin> for Opener {
    type Connection = Connection;
    type Error = BoxError;

    async fn connect(&self, origin: &Origin, _: CloseNotice) -> Result<Connection, BoxError> {
        let shared = &*self.0;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // The addresses of a host share it: one that does not answer leaves time for the others. It is a
        // little longer than the pool's, so that the last attempt is ended by the pool, which says so.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT + CONNECT_TIMEOUT / 16));
        let tcp = tcp.call(shared.uri.clone()).await?.into_inner();
        let by_kernel = shared.plan.stamp == StampSource::Kernel;
        let tcp = Stamped::new(tcp, shared.clock.clone(), shared.counts.clone(), by_kernel);
        let stamps = tcp.stamps();
        let stream = encrypted(shared, origin, tcp).await?;
        Ok(Connection::new(stream, stamps))
    }
}

#[cfg(feature = "tls")]
async fn encrypted(
    shared: &Shared,
    origin: &Origin,
    tcp: Stamped,
) -> Result<Box<dyn Stream>, BoxError> {
    Ok(match &shared.tls {
        Some(tls) => Box::new(tls.connect(origin.host(), tcp).await?),
        None => Box::new(tcp),
    })
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "with TLS there is something to wait for")]
async fn encrypted(_: &Shared, _: &Origin, tcp: Stamped) -> Result<Box<dyn Stream>, BoxError> {
    Ok(Box::new(tcp))
}
