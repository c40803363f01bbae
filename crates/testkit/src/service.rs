//! A listener with a runtime of its own, so that tests of any kind can use it.

use std::error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Threads that serve. Two, so that a timer need not wait for a large piece that the other fills.
const THREADS: usize = 2;

/// Connections that wait to be accepted. The standard library's 128 overflow in a burst of 1000, and
/// then each of them waits a second for its second try.
const BACKLOG: u32 = 4096;

/// How long to wait where accepting fails, as it does while all descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How long stopping may take.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Timer slack in nanoseconds; the default of 50 µs would be late by that for no reason.
const TIMER_SLACK_NS: u64 = 1;

/// Why a server could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address is not one of loopback. Servers that misbehave stay on this machine.
    NotLoopback(SocketAddr),
    /// The address could not be listened on.
    Listen(SocketAddr, io::Error),
    /// The folder to serve could not be opened.
    Root(PathBuf, io::Error),
    /// The operating system gave no thread or timer.
    Threads(io::Error),
    /// A setting that a server of this kind does not know.
    Setting(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => {
                write!(f, "{address} is not a loopback address: listen on 127.0.0.1 or [::1]")
            }
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Root(path, _) => write!(f, "cannot open the folder {}", path.display()),
            Self::Threads(_) => f.write_str("cannot start the server's threads"),
            Self::Setting(what) => f.write_str(what),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotLoopback(_) | Self::Setting(_) => None,
            Self::Listen(_, error) | Self::Root(_, error) | Self::Threads(error) => Some(error),
        }
    }
}

/// A server at work; dropping it closes its listener and all of its connections, and waits for that.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<()>,
}

impl Service {
    /// Listens on `listen` and serves each connection in a task of its own.
    pub(crate) fn start<F>(
        name: &str,
        listen: SocketAddr,
        mut serve: impl FnMut(TcpStream) -> F + Send + 'static,
    ) -> Result<Self, StartError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let runtime = runtime(name).map_err(StartError::Threads)?;
        let listener = {
            let _within = runtime.enter();
            bind(listen).map_err(|error| StartError::Listen(listen, error))?
        };
        let address = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
        let (stop, stopping) = oneshot::channel();
        let (tell, stopped) = mpsc::channel();
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            tokio::select! {
                _ = stopping => {}
                () = accept(&listener, &mut connections, &mut serve) => {}
            }
            drop(listener);
            connections.shutdown().await;
            // Whoever waits may have given up.
            let _ = tell.send(());
        });
        Ok(Self { address, runtime: Some(runtime), stop: Some(stop), stopped })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // Either answer means that nothing more can be done: it has stopped, or it does not.
        let _ = self.stopped.recv_timeout(STOP_MAX);
        if let Some(runtime) = self.runtime.take() {
            // Does not block, so that a server can be dropped within another runtime.
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str) -> io::Result<Runtime> {
    let precise = || {
        // Without it timers are late by 50 µs more: no reason to fail.
        let _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS);
    };
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).thread_name(name).on_thread_start(precise).enable_all().build()
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever; a failure to accept is waited out, so that the server never stops by itself.
async fn accept<F>(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    serve: &mut (impl FnMut(TcpStream) -> F + Send),
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small pieces must leave at once; where that cannot be had, they leave later.
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
