//! A TCP stream that notes when its bytes arrived.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::clock::Clock;
use crate::stream::transcript::Stamp;

/// The most that one read takes: four times what a step of a server puts on one stream.
const READ_BYTES_MAX: usize = 16 << 10;

thread_local! {
    /// All connections of a thread read into the same bytes, which are copied on at once: a buffer of
    /// its own for each would be most of what a stream costs.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        bytes: vec![0; READ_BYTES_MAX],
        control: nix::cmsg_space!(TimeSpec),
    });
}

struct Scratch {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

/// When the last bytes of a connection came, and when the last request left.
///
/// Written by the task that drives the connection and read by the one that reads its body. Both run on
/// one thread, so the readings belong together: the driver reads on only after the body was taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    reads: AtomicU64,
    recv_ns: AtomicU64,
    user_ns: AtomicU64,
    sent_ns: AtomicU64,
    since_1970_ns: std::sync::atomic::AtomicI64,
    /// Whether something was read since the last write: the next one begins a request.
    has_read: AtomicBool,
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

    /// When the first byte of the last request was written.
    pub(crate) fn sent_ns(&self) -> u64 {
        self.0.sent_ns.load(Ordering::Relaxed)
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
    tcp: TokioIo<TcpStream>,
    clock: Arc<Clock>,
    stamps: Stamps,
    counts: Arc<StampCounts>,
    by_kernel: bool,
}

impl Stamped {
    pub(crate) fn new(
        tcp: TokioIo<TcpStream>,
        clock: Arc<Clock>,
        counts: Arc<StampCounts>,
        by_kernel: bool,
    ) -> Self {
        let by_kernel = by_kernel && setsockopt(tcp.inner(), ReceiveTimestampns, &true).is_ok();
        let stamps = Stamps::default();
        stamps.0.has_read.store(true, Ordering::Relaxed);
        Self { tcp, clock, stamps, counts, by_kernel }
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
        cells.has_read.store(true, Ordering::Relaxed);
    }

    fn note_write(&self) {
        if self.stamps.0.has_read.swap(false, Ordering::Relaxed) {
            self.stamps.0.sent_ns.store(self.clock.now_ns(), Ordering::Relaxed);
        }
    }

    /// Reads what is there into `buf` and tells how much it was. Says "would block" to the runtime when
    /// less came than had room: the socket is empty then, and asking once more would only cost a call.
    fn receive(&self, buf: &mut ReadBufCursor<'_>) -> io::Result<usize> {
        let tcp = self.tcp.inner();
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(READ_BYTES_MAX);
            let mut received = None;
            let outcome = tcp.try_io(Interest::READABLE, || {
                let (n, stamp) = read_once(tcp, scratch, room, self.by_kernel)?;
                received = Some((n, stamp));
                if 0 < n && n < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (received, outcome) {
                (Some((n, stamp)), _) => {
                    self.note_read(stamp);
                    buf.put_slice(&scratch.bytes[..n]);
                    Ok(n)
                }
                (None, Err(error)) => Err(error),
                (None, Ok(())) => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
    }
}

fn read_once(
    tcp: &TcpStream,
    scratch: &mut Scratch,
    room: usize,
    by_kernel: bool,
) -> io::Result<(usize, Option<TimeSpec>)> {
    let Scratch { bytes, control } = scratch;
    if !by_kernel {
        let n = nix::sys::socket::recv(tcp.as_raw_fd(), &mut bytes[..room], MsgFlags::empty())?;
        return Ok((n, None));
    }
    let mut pieces = [IoSliceMut::new(&mut bytes[..room])];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(tcp.as_raw_fd(), &mut pieces, Some(control), flags)?;
    let stamp = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        })
    });
    Ok((message.bytes, stamp))
}

impl Read for Stamped {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.tcp.inner().poll_read_ready(cx))?;
            match self.receive(&mut buf) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Write for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_write();
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_write();
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}

impl Connection for Stamped {
    fn connected(&self) -> Connected {
        self.tcp.connected().extra(self.stamps.clone())
    }
}
