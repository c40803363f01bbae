//! One request and its stream.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Bytes;
use pool::GetError;
use pool::http::Origin;
use tokio::time::timeout;

use super::reply::Reply;
use super::{Connections, Shared, head};
use crate::stream::record::{Failure, Outcome, RequestRecord};
use crate::stream::trace::Traced;
use crate::stream::transcript::{Broken, Transcript};

/// Characters of a failure's words that are kept.
const DETAIL_CHARS_MAX: usize = 300;
/// How long the end of a body may take after `[DONE]`; later, the connection is closed.
const TAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// What one request asks for.
#[derive(Clone)]
pub(super) struct Order {
    request: Bytes,
    pub(super) tokens: u32,
}

impl Order {
    /// What every request asks for.
    pub(super) fn of(shared: &Shared) -> Self {
        Self { request: shared.request.clone(), tokens: shared.target.tokens }
    }

    /// What a request of a trace asks for.
    pub(super) fn traced(shared: &Shared, traced: &Traced) -> Self {
        let body = shared.target.traced_body(traced);
        Self { request: head::request(&shared.head, &body).into(), tokens: traced.tokens }
    }
}

/// Sends requests and reads their streams.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    connections: Connections,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, connections: Connections) -> Self {
        Self { shared, connections }
    }

    /// Sends a request that was due at this instant and reads its stream to the end.
    pub(super) async fn run(&self, number: u64, intended_ns: u64, order: Order) -> RequestRecord {
        let shared = &*self.shared;
        let counters = &shared.counters;
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut record = RequestRecord {
            number,
            intended_ns,
            issued_ns: shared.clock.now_ns(),
            warmup: shared.is_warmup(intended_ns),
            tokens_asked: order.tokens,
            ..RequestRecord::default()
        };
        let mut transcript = Transcript::new(order.tokens);
        record.outcome = self.within_limits(order.request, &mut record, &mut transcript).await;
        if record.ended_ns == 0 {
            record.ended_ns = shared.clock.now_ns();
        }
        (record.events, record.sequence, record.usage_tokens) = transcript.into_parts();
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        match record.outcome {
            Outcome::Ok => counters.ok.fetch_add(1, Ordering::Relaxed),
            Outcome::Failed { .. } => counters.failed.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        record
    }

    async fn within_limits(
        &self,
        request: Bytes,
        record: &mut RequestRecord,
        transcript: &mut Transcript,
    ) -> Outcome {
        let shared = &*self.shared;
        let mut stopped = pin!(shared.stop.notified());
        stopped.as_mut().enable();
        if shared.is_stopped() {
            return Outcome::Abandoned;
        }
        let talk = timeout(shared.timeout, self.talk(request, record, transcript));
        let talked = tokio::select! {
            biased;
            talked = talk => talked,
            () = stopped => return Outcome::Abandoned,
        };
        match talked {
            Ok(Ok(())) => Outcome::Ok,
            Ok(Err(Broken { failure, detail })) => failed(failure, &shared.without_key(&detail)),
            // The end of a body that was told to be over is not worth a failure.
            Err(_) if transcript.is_done() => Outcome::Ok,
            Err(_) => {
                let limit_ms = shared.timeout.as_millis();
                failed(Failure::TimedOut, &format!("it was not over after {limit_ms} ms"))
            }
        }
    }

    async fn talk(
        &self,
        request: Bytes,
        record: &mut RequestRecord,
        transcript: &mut Transcript,
    ) -> Result<(), Broken> {
        let shared = &*self.shared;
        // In a box of its own, which is gone when the connection is there: thousands of streams would
        // keep the room for it.
        let connection = Box::pin(self.connections.get(&shared.origin)).await;
        let mut connection = connection.map_err(|error| no_connection(&shared.origin, &error))?;
        record.reused = connection.reused();
        record.sent_ns = Some(shared.clock.now_ns());
        connection.begin(request);
        let mut reply = Reply::new(shared, record, transcript);
        reply.hear(&mut connection, Reply::has_told_all).await?;
        if !reply.is_over() {
            // What goes wrong behind the end of a stream is no failure, but the connection's end.
            let rest = reply.hear(&mut connection, Reply::is_over);
            drop(timeout(TAIL_TIMEOUT, rest).await);
        }
        if reply.leaves_connection() {
            connection.finish();
        }
        reply.verdict()
    }
}

fn no_connection(origin: &Origin, error: &GetError) -> Broken {
    let detail = format!("no connection to {origin}: {}", words(error, error.source()));
    Broken { failure: Failure::Connect, detail }
}

/// An error and all that is behind it.
fn words(error: &dyn std::fmt::Display, mut source: Option<&dyn std::error::Error>) -> String {
    let mut text = error.to_string();
    // Chains of errors are short; one that is not is cut below.
    while let Some(error) = source.filter(|_| text.len() < 4 * DETAIL_CHARS_MAX) {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn failed(failure: Failure, detail: &str) -> Outcome {
    Outcome::Failed { failure, detail: detail.chars().take(DETAIL_CHARS_MAX).collect() }
}
