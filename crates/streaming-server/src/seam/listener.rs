//! Where connections come from.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

use super::Stream;

/// How many connections may wait to be accepted. A burst that finds no room costs its clients a
/// second, the first retransmission of a SYN (RFC 6298, 2).
const BACKLOG: u32 = 4096;
/// What the kernel may hold for a client that does not read, in bytes; it doubles the figure for its
/// own book-keeping (socket(7)). Unset it grows to megabytes.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// A socket that accepts connections, 4096 of which may wait to be accepted.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = streaming_server::Listener::bind(([127, 0, 0, 1], 0).into())?;
/// assert_ne!(0, listener.address()?.port());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    /// The file goes with the listener.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens on an address; port 0 takes a free one. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the kernel says: the address is in use, or is not of this machine.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        Ok(Self(Kind::Tcp(socket.listen(BACKLOG)?)))
    }

    /// Listens on a socket in the file system, which whoever may write to it may use. One that nobody
    /// listens on any more is replaced; this one is removed when the listener is dropped. Call it
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the kernel says: there is a file of this name, or somebody listens there.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).await.is_err_and(refused) {
            fs::remove_file(path)?;
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        Ok(Self(Kind::Unix(socket.listen(BACKLOG)?, path.to_owned())))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the kernel says; and a socket in the file system has no address of this kind.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr(),
            Kind::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        loop {
            let accepted = match &self.0 {
                Kind::Tcp(listener) => listener.accept().await.map(|(tcp, _)| Stream::Tcp(tcp)),
                Kind::Unix(listener, _) => {
                    listener.accept().await.map(|(unix, _)| Stream::Unix(unix))
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            // A token is smaller than a packet: it must not wait for the acknowledgment of the one
            // before it (RFC 896), which the other side delays by 40 ms. Refused, the client has gone.
            if stream.set_nodelay().is_ok() {
                return Ok(stream);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = &self.0 {
            // Whoever has removed it was faster.
            let _ = fs::remove_file(path);
        }
    }
}
