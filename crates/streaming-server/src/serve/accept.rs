//! From accepting to the drain.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinSet;

use super::generate::RETRY_AFTER;
use super::keeper::Keeper;
use super::route::answer;
use super::socket::Socket;
use super::{Connection, Core, Ended, Source};
use crate::arena::Arena;
use crate::body::FramePool;
use crate::guard::HEAD_BYTES_MAX;
use crate::handover::{Failure, Outlet, Steps};
use crate::seam::{Listener, Stream};
use crate::sync::Mutex;
use crate::wire::ApiError;

/// How long no connection is accepted when the system has no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may take to send what it was given when the server ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// What hyper may hold of a connection, either way.
const BUFFER_BYTES: usize = 64 << 10;
/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) core: Arc<Core>,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) frames: Arc<FramePool>,
    pub(crate) connections: Mutex<Arena<Arc<Connection>>>,
}

pub(super) struct Acceptor {
    local: Arc<Local>,
    listener: Listener,
    tasks: JoinSet<()>,
    /// Those that serve every connection. They end with this.
    helpers: JoinSet<()>,
}

impl Acceptor {
    pub(super) fn new(core: &Arc<Core>, listener: Listener) -> Self {
        let local = Arc::new(Local {
            core: Arc::clone(core),
            outlet: Arc::default(),
            frames: Arc::default(),
            connections: Mutex::default(),
        });
        let mut helpers = JoinSet::new();
        helpers.spawn(deliver(Arc::clone(&local.outlet)));
        helpers.spawn(Keeper::new(&local).keep());
        if let Source::Relay(relay) = &core.source {
            relay.watch(&mut helpers);
        }
        Self { local, listener, tasks: JoinSet::new(), helpers }
    }

    pub(super) async fn run(mut self, stop: impl Future) -> Ended {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                stream = self.listener.accept() => self.accept(stream.ok()).await,
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
        let ended = self.drain().await;
        self.helpers.abort_all();
        ended
    }

    /// Serves a connection; none where the system had no room for one.
    async fn accept(&mut self, stream: Option<Stream>) {
        let Some(stream) = stream else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return;
        };
        // Those that have ended are gone for their clients already.
        while self.tasks.try_join_next().is_some() {}
        let core = &self.local.core;
        if core.options.connections_max <= self.tasks.len() {
            core.metrics.refused_connection.add(1);
            refuse(core, &stream);
            return;
        }
        self.tasks.spawn(serve(Arc::clone(&self.local), stream));
    }

    /// Lets what runs finish, and ends the rest.
    async fn drain(&mut self) -> Ended {
        let core = Arc::clone(&self.local.core);
        core.admission.drain();
        let (running, _) = core.admission.counts();
        for connection in self.local.connections.lock().iter() {
            connection.drain();
        }
        let empty = core.admission.empty();
        let mut in_time = pin!(tokio::time::timeout(core.options.drain_timeout, empty));
        let finished = loop {
            tokio::select! {
                finished = &mut in_time => break finished.is_ok(),
                stream = self.listener.accept() => self.accept(stream.ok()).await,
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        };
        let (left, _) = core.admission.counts();
        if !finished {
            for stream in self.local.outlet.streams().iter() {
                stream.fail(Failure::Draining);
            }
        }
        // Connections that came since are told as well: they have had their answer.
        for connection in self.local.connections.lock().iter() {
            connection.drain();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, all).await;
        let cut = if finished { 0 } else { left.min(running) };
        Ended { finished: running - cut, cut }
    }
}

/// Says so before the connection is closed. Whoever does not read it sees a closed connection.
fn refuse(core: &Core, stream: &Stream) {
    let error = ApiError::overloaded("there are too many connections; come later", RETRY_AFTER);
    let (id, body) = (core.id_of(core.draw()), error.to_json());
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: {}\r\n\
         Retry-After-Ms: {}\r\nX-Request-Id: {id}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        RETRY_AFTER.as_secs(),
        RETRY_AFTER.as_millis(),
        body.len()
    );
    let _ = stream.try_write(reply.as_bytes());
}

/// Serves one connection to its end.
async fn serve(local: Arc<Local>, stream: Stream) {
    let core = &local.core;
    let connection = Arc::new(Connection::new(core.clock, &core.metrics));
    let _entry = Entry::new(&local, &connection);
    let socket = Socket::new(stream, &connection);
    let service = service_fn({
        let (local, connection) = (Arc::clone(&local), Arc::clone(&connection));
        move |request| answer(Arc::clone(&local), Arc::clone(&connection), request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(core.options.header_timeout)
        .max_buf_size(BUFFER_BYTES)
        // The guard has looked at its length already.
        .max_header_size(2 * HEAD_BYTES_MAX)
        // One buffer, written at once: pieces are small, and copying them is cheaper than a list.
        .writev(false);
    connection.drive(http.serve_connection(socket, service)).await;
}

/// A connection's place among the others.
struct Entry<'a> {
    local: &'a Local,
    id: crate::arena::Id,
}

impl<'a> Entry<'a> {
    fn new(local: &'a Local, connection: &Arc<Connection>) -> Self {
        local.core.metrics.connections.add(1);
        Self { local, id: local.connections.lock().insert(Arc::clone(connection)) }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.local.connections.lock().remove(self.id);
        self.local.core.metrics.connections.subtract(1);
    }
}

/// Gives the steps of the runner to the streams, for ever.
async fn deliver(outlet: Arc<Outlet>) {
    let mut steps = Steps::default();
    poll_fn::<(), _>(|cx| {
        if outlet.poll_take(cx, &mut steps).is_ready() {
            outlet.deliver(&mut steps);
            // Whoever was woken has a turn before the next steps.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}
