//! The socket as hyper has it: what comes is looked at first, and what goes is watched.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use super::Connection;
use crate::guard::{Guard, Verdict};
use crate::seam::Stream;

/// What is read at once.
const READ_BYTES: usize = 8 << 10;
/// How long, and how much of it, is read of a request that was answered before its end. Closed with
/// bytes that nobody has read, a connection is reset, and the answer may be lost (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// The most that is read of requests ahead of their turn. Behind it nobody sees a client go.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    connection: Arc<Connection>,
    guard: Guard,
    verdict: Verdict,
    /// What was looked at and is still to be handed on, from `ready_at`.
    ready: Vec<u8>,
    ready_at: usize,
    /// What came of requests ahead of their turn. hyper must not have it: with bytes to read it looks for
    /// no end, and a client that goes would be noticed when its answer is written.
    ahead: Vec<u8>,
    lingers: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Socket {
    pub(super) fn new(stream: Stream, connection: &Arc<Connection>) -> Self {
        Self {
            stream,
            connection: Arc::clone(connection),
            guard: Guard::new(),
            verdict: Verdict::Fine,
            ready: Vec::new(),
            ready_at: 0,
            ahead: Vec::new(),
            lingers: None,
        }
    }

    /// Reads what is there. Ready with 0 at the end.
    fn poll_take(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Whether the next bytes are of a request whose turn it is.
    fn has_turn(&self) -> bool {
        self.guard.is_within() || self.connection.has_answered(self.guard.heads())
    }

    /// Keeps what comes ahead of its turn. Ready at the end: the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < AHEAD_BYTES_MAX {
            // Before the buffer below is made: mostly there is nothing to be read.
            ready!(self.stream.poll_read_ready(cx))?;
            let mut bytes = [0; READ_BYTES];
            let n = ready!(self.poll_take(cx, &mut bytes))?;
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(&bytes[..n]);
        }
        Poll::Pending
    }

    /// Looks at bytes whose turn it is; keeps those behind them.
    fn look_at(&mut self, bytes: &[u8]) {
        let (read, verdict) = self.guard.read(bytes, &mut self.ready);
        self.ahead.extend_from_slice(&bytes[read..]);
        if let Verdict::Refused(fault) = verdict {
            self.connection.refuse(self.guard.heads(), fault);
        }
        self.verdict = verdict;
    }

    /// Hands on what was looked at.
    fn hand_on(&mut self, buffer: &mut ReadBufCursor<'_>) {
        let n = (self.ready.len() - self.ready_at).min(buffer.remaining());
        buffer.put_slice(&self.ready[self.ready_at..][..n]);
        self.ready_at += n;
        if self.ready_at == self.ready.len() {
            // A connection that waits holds nothing.
            (self.ready, self.ready_at) = (Vec::new(), 0);
        }
    }

    /// Reads and forgets the rest of a request, within limits.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut lingers = match self.lingers.take() {
            Some(lingers) => lingers,
            None => (Box::pin(sleep(LINGER)), 0),
        };
        while lingers.1 < LINGER_BYTES_MAX && lingers.0.as_mut().poll(cx).is_pending() {
            let mut buffer = [0; READ_BYTES];
            match self.poll_take(cx, &mut buffer) {
                Poll::Ready(Ok(1..)) => lingers.1 += READ_BYTES,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.lingers = Some(lingers);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                self.hand_on(&mut buffer);
                return Poll::Ready(Ok(()));
            }
            match self.verdict {
                Verdict::Fine => {}
                // An end would be taken for a client that has gone, before it has its answer. Nothing
                // needs to wake this task: the answer is on its way.
                Verdict::Refused(_) => return Poll::Pending,
                Verdict::Broken => return Poll::Ready(Ok(())),
            }
            if !self.has_turn() {
                return self.poll_gone(cx);
            }
            if !self.ahead.is_empty() {
                let ahead = std::mem::take(&mut self.ahead);
                self.look_at(&ahead);
                continue;
            }
            ready!(self.stream.poll_read_ready(cx))?;
            let mut bytes = [0; READ_BYTES];
            let n = ready!(self.poll_take(cx, &mut bytes))?;
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            self.look_at(&bytes[..n]);
        }
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.connection.is_cut() {
            self.stream.forget();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = self.stream.poll_write(cx, bytes);
        match &written {
            Poll::Ready(Ok(_)) => self.connection.on_written(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.on_blocked(),
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(self.stream.poll_shutdown(cx))?;
        }
        if self.guard.is_within() && !self.connection.is_cut() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
