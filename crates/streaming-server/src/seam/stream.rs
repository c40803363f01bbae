//! One connection, of either kind.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    /// Reads what is there; fails with [`WouldBlock`](io::ErrorKind::WouldBlock) where nothing is.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read(buffer),
            Self::Unix(unix) => unix.try_read(buffer),
        }
    }

    /// Writes what the kernel takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Unix(unix) => unix.try_write(bytes),
        }
    }

    /// What the kernel still holds for the other side is thrown away with the connection.
    pub(crate) fn forget(&self) {
        if let Self::Tcp(tcp) = self {
            // Refused, the connection is gone already.
            let _ = tcp.set_zero_linger();
        }
    }

    fn write(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp),
            Self::Unix(unix) => Pin::new(unix),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write().poll_write(cx, bytes)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write().poll_shutdown(cx)
    }
}
