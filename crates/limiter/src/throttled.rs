//! Readers and writers that keep to a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Limiter;
use crate::handle::Pending;

/// How many bytes are asked for at a time, unless said otherwise: large enough for one system call to
/// be cheap, small enough for 64 streams of one limit to take turns several times a second.
const QUANTUM_BYTES: u64 = 64 << 10;

pin_project! {
    /// A reader or writer that charges a limiter for its bytes, before they are moved.
    ///
    /// Before each read it waits for as many tokens as the read may bring, at most a quantum; what the
    /// read does not bring is given back. While the inner reader has nothing, no tokens are held. So
    /// however many streams share a limit, none reads ahead of it. Writes are charged in the same way;
    /// flushing and shutting down are free.
    ///
    /// # What the limit bounds, and what it does not
    ///
    /// Exact are the bytes that *this process* reads. The kernel takes bytes from the network before
    /// anybody reads them, until its receive buffer is full: on the wire up to the sum of the receive
    /// buffers arrives early, at line rate, and a peer that waits for a window update is slowed only
    /// then. Linux grows these buffers on its own (`tcp_rmem`, often to 6 MiB and more); with many
    /// connections and a slow limit set `SO_RCVBUF` to about `2 · rate per connection · round-trip
    /// time`, at least 64 KiB, before connecting. Where HTTP/2 is spoken, its windows do the same.
    ///
    /// Wrap the socket, below TLS, to bound the bytes on the wire; wrap the body (`ThrottledBody`, or a
    /// reader of the body) to bound the payload.
    ///
    /// # Cancel safety
    ///
    /// As cancel-safe as the inner reader or writer: tokens are held only inside of a poll.
    ///
    /// # Cost
    ///
    /// A read costs two short critical sections. A buffer that was never written to is zeroed up to a
    /// quantum before each read; one that is used again is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use limiter::{Burst, Limiter, Rate, Throttled};
    /// use tokio::io::AsyncReadExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new("1MB/s".parse()?, "64KiB".parse()?);
    /// let mut reader = Throttled::new(&[7; 4096][..], limiter.clone());
    /// let mut body = Vec::new();
    /// reader.read_to_end(&mut body).await?;
    /// assert_eq!(4096, body.len());
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Throttled<R> {
        #[pin]
        inner: R,
        reads: Gate,
        writes: Gate,
    }
}

impl<R> Throttled<R> {
    /// Returns a wrapper that charges `limiter` one token per byte, in either direction.
    pub fn new(inner: R, limiter: Limiter) -> Self {
        Self::with_quantum(inner, limiter, QUANTUM_BYTES)
    }

    /// Like [`Throttled::new`], asking for at most `quantum_bytes` at a time; 0 counts as 1.
    ///
    /// Small pieces share a slow limit more evenly, large ones cost less. A piece is never larger than
    /// the limiter's burst was at this moment.
    pub fn with_quantum(inner: R, limiter: Limiter, quantum_bytes: u64) -> Self {
        let quantum_bytes = quantum_bytes.min(limiter.burst().tokens()).max(1);
        let gate = |limiter| Gate { limiter, quantum_bytes, pending: None };
        Self { inner, reads: gate(limiter.clone()), writes: gate(limiter) }
    }

    /// Returns the inner reader or writer.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the inner reader or writer; what is done to it directly is not charged.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Returns the inner reader or writer and drops the limit.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

/// One direction: asks for tokens, lets the bytes pass, gives back what is left.
#[derive(Debug)]
struct Gate {
    limiter: Limiter,
    quantum_bytes: u64,
    /// The request under way, and its tokens.
    pending: Option<(Pending, u64)>,
}

impl Gate {
    /// Moves at most `bytes_max` bytes by `transfer`, which gets the number that it may move and returns
    /// the number that it did.
    fn poll(
        &mut self,
        bytes_max: usize,
        cx: &mut Context<'_>,
        transfer: impl FnOnce(usize, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let wanted = (bytes_max as u64).min(self.quantum_bytes);
        let (pending, tokens) = self.pending.get_or_insert_with(|| (Pending::default(), wanted));
        let tokens = *tokens;
        let taken_at = ready!(pending.poll(&self.limiter, tokens, cx));
        self.pending = None;
        // The caller may have come back with less room than the tokens were asked for.
        let polled = transfer(tokens.min(wanted) as usize, cx);
        let moved_bytes = match &polled {
            Poll::Ready(Ok(bytes)) => *bytes as u64,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.limiter.give_back(tokens.saturating_sub(moved_bytes), taken_at);
        polled
    }
}

impl<R: AsyncRead> AsyncRead for Throttled<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let room = buf.remaining();
        if room == 0 {
            return this.inner.poll_read(cx, buf);
        }
        let read = |bytes_max: usize, cx: &mut Context<'_>| {
            let mut granted = ReadBuf::new(buf.initialize_unfilled_to(bytes_max));
            ready!(this.inner.poll_read(cx, &mut granted))?;
            let read_bytes = granted.filled().len();
            buf.advance(read_bytes);
            Poll::Ready(Ok(read_bytes))
        };
        this.reads.poll(room, cx, read).map_ok(drop)
    }
}

impl<W: AsyncWrite> AsyncWrite for Throttled<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        if buf.is_empty() {
            return this.inner.poll_write(cx, buf);
        }
        let write =
            |bytes_max: usize, cx: &mut Context<'_>| this.inner.poll_write(cx, &buf[..bytes_max]);
        this.writes.poll(buf.len(), cx, write)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
