//! What a shared socket needs beyond tokio's traits, which want it alone.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::TcpStream;

/// How long bytes have to leave before a reset, which throws away what has not left.
const RESET_PAUSE: Duration = Duration::from_millis(20);

/// How much is read and thrown away after our last byte, so that unread bytes do not turn our FIN into a
/// RST that destroys the reply before it is read.
const LINGER_BYTES_MAX: usize = 4 << 20;
/// How long that may take.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Writes all bytes.
///
/// # Cancel safety
///
/// Some of the bytes may have been written.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads some bytes behind those that `inbox` holds, at most `bytes_max`; 0 means that there are no more.
///
/// # Cancel safety
///
/// Nothing is lost.
pub(crate) async fn read_some(
    stream: &TcpStream,
    inbox: &mut Vec<u8>,
    bytes_max: usize,
) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        let length = inbox.len();
        inbox.resize(length + bytes_max, 0);
        let result = stream.try_read(&mut inbox[length..]);
        inbox.truncate(length + *result.as_ref().unwrap_or(&0));
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Waits until the other end has closed its direction or the connection has failed. A client that
/// closed its direction alone cannot be told from one that has left.
///
/// # Cancel safety
///
/// Nothing is read.
pub(crate) async fn left(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        // There is another request; what comes after it cannot be seen before it is read.
        std::future::pending::<()>().await;
    }
}

/// Closes our direction (FIN).
pub(crate) fn finish(stream: &TcpStream) -> io::Result<()> {
    Ok(shutdown(stream.as_raw_fd(), Shutdown::Write)?)
}

/// Closes our direction and waits, within limits, until the other end has closed its own.
///
/// # Cancel safety
///
/// The direction is closed at once.
pub(crate) async fn linger(stream: &TcpStream) {
    drain(stream, LINGER_MAX).await;
}

/// The same with a limit of time of the caller's.
///
/// # Cancel safety
///
/// The direction is closed at once.
pub(crate) async fn drain(stream: &TcpStream, limit: Duration) {
    if finish(stream).is_err() {
        return;
    }
    let drained = async {
        let mut bytes = 0;
        let mut waste = Vec::new();
        while bytes < LINGER_BYTES_MAX
            && let Ok(n @ 1..) = read_some(stream, &mut waste, 16 << 10).await
        {
            bytes += n;
            waste.clear();
        }
    };
    // Out of time is as good as out of bytes.
    let _ = tokio::time::timeout(limit, drained).await;
}

/// Ends the connection by RST once what was written has had time to leave.
///
/// # Cancel safety
///
/// The connection then ends in whatever way its owner drops it.
pub(crate) async fn reset(stream: &TcpStream) {
    tokio::time::sleep(RESET_PAUSE).await;
    // If it cannot be had, the connection has failed already.
    let _ = stream.set_zero_linger();
}
