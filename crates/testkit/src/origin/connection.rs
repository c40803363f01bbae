//! One connection: requests in, replies out, one after the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::control;
use super::plan::{Answer, Ask, plan};
use super::reply::{Payload, Reply};
use super::request::{Refusal, Request};
use super::send::{End, Wire};
use super::shared::{Live, Shared};
use super::tempo::Tempo;
use crate::socket;
use crate::tokens::Route;

/// How long a connection may wait for its next request.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a request may take to come, from its first byte; above it, 408.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How much is read at once.
const READ_BYTES: usize = 8 << 10;

/// A connection and what is left of the bytes read from it.
struct Connection {
    shared: Arc<Shared>,
    stream: Arc<TcpStream>,
    inbox: Vec<u8>,
    tempo: Tempo,
    /// From 1, once it has asked for an object.
    number: Option<u64>,
    /// Whether it is among the open ones of the statistics.
    counted: bool,
}

/// Serves a connection to its end.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    shared.counters.opened();
    let mut connection = Connection {
        shared,
        stream: Arc::new(stream),
        inbox: Vec::new(),
        tempo: Tempo::new(Instant::now()),
        number: None,
        counted: true,
    };
    // An error of the socket means that the client has left: it knows.
    let _ = connection.run().await;
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.counted {
            self.shared.counters.closed();
        }
    }
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let request = match self.next_request().await? {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(refusal) => return self.refuse(refusal).await,
            };
            match self.respond(request).await? {
                End::KeepAlive => {}
                End::Finish => {
                    socket::linger(&self.stream).await;
                    return Ok(());
                }
                End::Drop => return Ok(()),
            }
        }
    }

    /// Reads a request; `None` where the client has no more of them.
    async fn next_request(&mut self) -> io::Result<Result<Option<Request>, Refusal>> {
        if self.inbox.is_empty() {
            let first = socket::read_some(&self.stream, &mut self.inbox, READ_BYTES);
            if timeout(IDLE_MAX, first).await.unwrap_or(Ok(0))? == 0 {
                return Ok(Ok(None));
            }
        }
        match timeout(REQUEST_MAX, self.read_request()).await {
            Ok(request) => request,
            Err(_) => Ok(Err(Refusal::new(408, "the request took longer than 30 s"))),
        }
    }

    async fn read_request(&mut self) -> io::Result<Result<Option<Request>, Refusal>> {
        let (mut request, head_bytes) = loop {
            match Request::parse(&self.inbox) {
                Ok(Some(parsed)) => break parsed,
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            if socket::read_some(&self.stream, &mut self.inbox, READ_BYTES).await? == 0 {
                return Ok(Ok(None));
            }
        };
        let length = match request.body_length() {
            Ok(length) => length as usize,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.inbox.drain(..head_bytes);
        if self.inbox.len() < length && request.header("expect").is_some() {
            socket::write_all(&self.stream, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        while self.inbox.len() < length {
            if socket::read_some(&self.stream, &mut self.inbox, READ_BYTES).await? == 0 {
                return Ok(Ok(None));
            }
        }
        request.body = self.inbox.drain(..length).collect();
        if self.inbox.is_empty() {
            // Idle connections keep no buffer.
            self.inbox = Vec::new();
        }
        Ok(Ok(Some(request)))
    }

    /// Says what is wrong and ends the connection, whose next byte has no meaning.
    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.settle();
        self.shared.counters.malformed(refusal.status);
        let mut reply = Reply::text(refusal.status, refusal.what);
        reply.close = true;
        self.wire(&AtomicU64::new(0)).send(reply, false).await?;
        socket::linger(&self.stream).await;
        Ok(())
    }

    /// Counts the connection among those that ask for objects, if it is not yet.
    fn settle(&mut self) -> u64 {
        if !self.counted {
            self.shared.counters.opened();
            self.counted = true;
        }
        *self.number.get_or_insert_with(|| {
            self.shared.counters.settle();
            self.shared.number_connection()
        })
    }

    async fn respond(&mut self, request: Request) -> io::Result<End> {
        if control::is_control(&request.path) {
            return self.respond_to_control(&request).await;
        }
        let received = Instant::now();
        let number = self.settle();
        let path = self.shared.counters.requested(&request);
        let live = self.shared.live();
        let mut stream = None;
        let mut reply = if self.shared.draws_error(live.settings.error_rate) {
            let mut reply = Reply::text(503, "as the error rate says");
            reply.close = !request.keeps_alive();
            reply
        } else {
            let answer = self.answer(&request, &live, &mut stream);
            self.plan(&request, &live, number, answer)
        };
        self.tempo.timer.until(received + live.settings.latency).await;
        let mut wire = self.wire(&path);
        if let Some((duration, rule)) = reply.delivery.hang.take() {
            rule.count();
            if !wire.silence(duration).await {
                return Ok(End::Drop);
            }
        }
        self.shared.counters.replied(reply.status);
        match stream {
            Some(order) if reply.status == 200 => {
                let emitter = self.shared.emitter.as_ref().expect("an order comes from an emitter");
                let emitted = emitter.run(&self.stream, order, received).await;
                self.shared.counters.sent(emitted.bytes, &path);
                let kept = request.keeps_alive() && 1 <= request.minor_version;
                Ok(match emitted.whole {
                    true if kept => End::KeepAlive,
                    true => End::Finish,
                    false => End::Drop,
                })
            }
            _ => self.wire(&path).send(reply, request.is_head()).await,
        }
    }

    /// Finds the answer; an order for a stream of tokens is put aside.
    fn answer(
        &self,
        request: &Request,
        live: &Live,
        stream: &mut Option<crate::tokens::Order>,
    ) -> Option<Answer> {
        let route =
            self.shared.emitter.as_ref().and_then(|_| Route::of(request, &live.settings.tokens));
        match route {
            None => self.shared.answer(request),
            Some(Route::Reply(reply)) => Some(Answer::Reply(reply)),
            Some(Route::Stream(order)) => {
                *stream = Some(*order);
                Some(Answer::Stream)
            }
        }
    }

    fn plan(
        &self,
        request: &Request,
        live: &Live,
        connection: u64,
        answer: Option<Answer>,
    ) -> Reply {
        let concerned = live.rules.iter().filter(|rule| rule.fault.concerns(&request.path));
        let rules: Vec<_> = concerned.cloned().collect();
        let ask = Ask {
            request,
            rules: &rules,
            connection,
            now: SystemTime::now(),
            uptime: self.shared.started.elapsed(),
            key: self.shared.key,
        };
        plan(&ask, answer)
    }

    async fn respond_to_control(&mut self, request: &Request) -> io::Result<End> {
        if self.counted && self.number.is_none() {
            self.shared.counters.take_back();
            self.counted = false;
        }
        let mut reply = control::answer(&self.shared, request).await;
        reply.close = !request.keeps_alive();
        let head = reply.head(&httpdate::fmt_http_date(SystemTime::now()));
        socket::write_all(&self.stream, head.as_bytes()).await?;
        if let (Payload::Text(text), false) = (&reply.payload, request.is_head()) {
            socket::write_all(&self.stream, text).await?;
        }
        Ok(if reply.close { End::Finish } else { End::KeepAlive })
    }

    fn wire<'a>(&'a mut self, path: &'a AtomicU64) -> Wire<'a> {
        Wire { stream: &self.stream, shared: &self.shared, tempo: &mut self.tempo, path }
    }
}
