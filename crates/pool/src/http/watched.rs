//! A byte stream that tells how much it has heard and said.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The numbers of bytes that a stream has received and sent.
///
/// One task adds and others compare two readings. Whoever compares what was received has been told of the end
/// of the exchange by a channel, which orders the readings; whoever compares what was sent may be a moment
/// behind. The counters themselves order nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    heard_bytes: AtomicU64,
    said_bytes: AtomicU64,
}

impl Traffic {
    pub(super) fn heard_bytes(&self) -> u64 {
        self.0.heard_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn said_bytes(&self) -> u64 {
        self.0.said_bytes.load(Ordering::Relaxed)
    }

    fn hear(&self, bytes: usize) {
        self.0.heard_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn say(&self, bytes: usize) {
        self.0.said_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A stream that counts what it receives and sends.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    traffic: Traffic,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, traffic: Traffic) -> Self {
        Self { inner, traffic }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match buf.filled().len() - filled_before {
            0 => {}
            bytes => self.traffic.hear(bytes),
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent_bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.traffic.say(sent_bytes);
        Poll::Ready(Ok(sent_bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent_bytes = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.traffic.say(sent_bytes);
        Poll::Ready(Ok(sent_bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
