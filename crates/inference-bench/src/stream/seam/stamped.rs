//! A TCP stream that notes when its bytes arrived.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::clock::Clock;
use crate::stream::transcript::Stamp;

thread_local! {
    /// Room for a stamp beside the bytes: a thread reads one socket at a time.
    static CONTROL: RefCell<Vec<u8>> = RefCell::new(nix::cmsg_space!(TimeSpec));
}

/// When the last bytes of a connection came.
///
/// Shared by the socket, which may lie below TLS, and by whoever reads from what is above it, on one
/// thread: what is told right after a read is of that read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    reads: AtomicU64,
    recv_ns: AtomicU64,
    user_ns: AtomicU64,
    since_1970_ns: AtomicI64,
}

impl Stamps {
    /// That of the last read.
    pub(crate) fn last(&self) -> Stamp {
        Stamp {
            read: self.0.reads.load(Ordering::Relaxed),
            recv_ns: self.0.recv_ns.load(Ordering::Relaxed),
            user_ns: self.0.user_ns.load(Ordering::Relaxed),
            since_1970_ns: self.0.since_1970_ns.load(Ordering::Relaxed),
        }
    }
}

/// How reads were stamped, over all connections.
#[derive(Debug, Default)]
pub(crate) struct StampCounts {
    pub(crate) kernel: AtomicU64,
    pub(crate) user: AtomicU64,
}

/// A TCP stream whose reads are stamped: by the kernel where asked for and able, else by us.
#[derive(Debug)]
pub(crate) struct Stamped {
    tcp: TcpStream,
    clock: Arc<Clock>,
    stamps: Stamps,
    counts: Arc<StampCounts>,
    by_kernel: bool,
}

impl Stamped {
    pub(crate) fn new(
        tcp: TcpStream,
        clock: Arc<Clock>,
        counts: Arc<StampCounts>,
        by_kernel: bool,
    ) -> Self {
        let by_kernel = by_kernel && setsockopt(&tcp, ReceiveTimestampns, &true).is_ok();
        Self { tcp, clock, stamps: Stamps::default(), counts, by_kernel }
    }

    /// Tells when what is read from it came.
    pub(crate) fn stamps(&self) -> Stamps {
        self.stamps.clone()
    }

    fn note_read(&self, kernel: Option<TimeSpec>) {
        let now_ns = self.clock.now_ns();
        let since_1970_ns = self.clock.since_1970_ns(now_ns);
        let recv_ns = kernel.and_then(|time| {
            let wall_ns = time.tv_sec() * 1_000_000_000 + time.tv_nsec();
            u64::try_from(wall_ns - since_1970_ns).ok()
        });
        let count = if recv_ns.is_some() { &self.counts.kernel } else { &self.counts.user };
        count.fetch_add(1, Ordering::Relaxed);
        let cells = &self.stamps.0;
        cells.recv_ns.store(recv_ns.unwrap_or(now_ns).min(now_ns), Ordering::Relaxed);
        cells.user_ns.store(now_ns, Ordering::Relaxed);
        cells.since_1970_ns.store(since_1970_ns, Ordering::Relaxed);
        cells.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads what is there and tells how much it was. Says "would block" to the runtime when less came
    /// than had room: the socket is empty then, and asking once more would only cost a call.
    fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut received = None;
        let outcome = self.tcp.try_io(Interest::READABLE, || {
            let (n, stamp) = read_once(&self.tcp, bytes, self.by_kernel)?;
            received = Some((n, stamp));
            if 0 < n && n < bytes.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (received, outcome) {
            (Some((n, stamp)), _) => {
                self.note_read(stamp);
                Ok(n)
            }
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn read_once(
    tcp: &TcpStream,
    bytes: &mut [u8],
    by_kernel: bool,
) -> io::Result<(usize, Option<TimeSpec>)> {
    if !by_kernel {
        let n = nix::sys::socket::recv(tcp.as_raw_fd(), bytes, MsgFlags::empty())?;
        return Ok((n, None));
    }
    CONTROL.with_borrow_mut(|control| {
        let mut pieces = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::empty();
        let message =
            recvmsg::<SockaddrStorage>(tcp.as_raw_fd(), &mut pieces, Some(control), flags)?;
        let stamp = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(time),
                _ => None,
            })
        });
        Ok((message.bytes, stamp))
    })
}

impl AsyncRead for Stamped {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.receive(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
