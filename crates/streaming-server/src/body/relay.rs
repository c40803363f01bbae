//! A stream of an upstream's events, passed on as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::relay::{Frames, Incoming};
use crate::render::error_of;
use crate::serve::{Connection, Relayed};
use crate::wire::ApiError;

/// How long the end of the chunks may take after `[DONE]`; as a rule it is under way by then. A connection
/// on which it takes longer is closed.
const END_TIMEOUT: Duration = Duration::from_millis(100);

/// The events of one request.
#[derive(Debug)]
pub(crate) struct RelayBody {
    relayed: Relayed,
    /// None after its end.
    upstream: Option<Incoming>,
    frames: Frames,
    /// Whether events are lines of JSON.
    lines: bool,
    /// What is to be sent next.
    ready: VecDeque<Bytes>,
    connection: Arc<Connection>,
}

impl RelayBody {
    /// A stream of which the first bytes are there.
    pub(crate) fn new(
        relayed: Relayed,
        first: Bytes,
        upstream: Incoming,
        lines: bool,
        connection: Arc<Connection>,
    ) -> Self {
        let (upstream, frames) = (Some(upstream), Frames::new(lines));
        let mut body =
            Self { relayed, upstream, frames, lines, ready: VecDeque::new(), connection };
        body.take(first);
        body
    }

    pub(crate) fn is_done(&self) -> bool {
        self.ready.is_empty() && self.upstream.is_none()
    }

    /// What came, up to the end of an event.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(bytes));
            }
            if self.upstream.is_none() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(failure) = self.relayed.poll_failure(cx) {
                self.fail(&error_of(failure));
                continue;
            }
            let Some(upstream) = &mut self.upstream else { continue };
            match ready!(Pin::new(upstream).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(data);
                    }
                }
                None if self.frames.is_whole() => {
                    self.upstream = None;
                    self.end();
                }
                Some(Err(_)) | None => self.break_off(),
            }
        }
    }

    /// Takes bytes of the upstream.
    fn take(&mut self, data: Bytes) {
        let read = self.frames.read(data, &mut self.ready);
        let emitted_ns = self.relayed.note(self.frames.take_events());
        self.connection.note_emitted(emitted_ns);
        if self.frames.is_over() {
            self.end();
        } else if read.is_err() {
            self.break_off();
        }
    }

    /// All events have come. A client does not wait for what its upstream does next; the connection does,
    /// so as to serve again.
    fn end(&mut self) {
        self.relayed.end();
        if let Some(rest) = self.upstream.take().filter(|rest| !rest.is_end_stream()) {
            tokio::spawn(timeout(END_TIMEOUT, read_out(rest)));
        }
    }

    /// The upstream failed: it goes, and its client is told.
    fn break_off(&mut self) {
        self.relayed.break_off();
        self.fail(&ApiError::server("the upstream broke off; send the request again"));
    }

    fn fail(&mut self, error: &ApiError) {
        // Closes the connection to the upstream, which thereby knows.
        self.upstream = None;
        self.relayed.note_failure();
        let event = if self.lines {
            format!("{}\n", error.to_json())
        } else {
            format!("data: {}\n\ndata: [DONE]\n\n", error.to_json())
        };
        self.ready.push_back(event.into());
    }
}

/// Reads to the end, and keeps nothing.
async fn read_out(mut rest: Incoming) {
    while let Some(Ok(_)) = rest.frame().await {}
}
