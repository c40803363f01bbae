//! One running request, as its connection holds it.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use memory::Reservation;

use super::Core;
use super::accept::Local;
use crate::admission::Permit;
use crate::arena::Id;
use crate::engine::Engine;
use crate::handover::{Command, Failure, Inbox, Outlet, Start, Stream};
use crate::metrics::{Metrics, Phase};
use crate::runner::{FinishReason, Sequence};

/// A request on its way through the server; dropped before its end, its client has gone.
#[derive(Debug)]
pub(crate) struct Visit {
    metrics: Arc<Metrics>,
    phase: Phase,
    arrived_ns: u64,
    ended: bool,
}

impl Visit {
    pub(super) fn begin(core: &Core) -> Self {
        let metrics = Arc::clone(&core.metrics);
        Self { metrics, phase: Phase::Queued, arrived_ns: core.clock.now_ns(), ended: false }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// How long it has been here.
    pub(super) fn since_arrival_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.arrived_ns)
    }

    /// It was answered.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.count_gone(self.phase);
        }
    }
}

/// What was rendered at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) tokens: u64,
    pub(crate) cost_bytes: u64,
    /// When the oldest of it was produced.
    pub(crate) emitted_ns: u64,
    pub(crate) choices_ended: usize,
    /// Why the last of them ended.
    pub(crate) reason: Option<FinishReason>,
}

/// What a request needs to run.
#[derive(Debug)]
pub(super) struct Order {
    /// One for each choice.
    pub(super) sequences: Vec<Arc<Sequence>>,
    pub(super) stops: Arc<[Box<str>]>,
    /// The prompts' bytes.
    pub(super) held: Reservation,
    pub(super) permit: Permit,
    pub(super) visit: Visit,
}

/// A running request. Dropping it before its end cancels it in the runner.
pub(crate) struct Generation {
    core: Arc<Core>,
    outlet: Arc<Outlet>,
    stream: Arc<Stream>,
    address: Id,
    /// The runner that it was given to.
    inbox: Arc<Inbox>,
    request: u64,
    choices_left: usize,
    tokens: u64,
    started_ns: u64,
    /// When the first tokens were produced, and the last ones; 0 for not yet.
    first_ns: u64,
    last_ns: u64,
    visit: Visit,
    _held: Reservation,
    permit: Permit,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Generation {
    /// Gives a request to the runner.
    pub(super) fn start(local: &Local, engine: &Engine, request: u64, order: Order) -> Self {
        let Local { core, outlet, .. } = local;
        let now_ns = core.clock.now_ns();
        let Order { sequences, stops, held, permit, mut visit } = order;
        core.metrics.queued.observe(now_ns.saturating_sub(visit.arrived_ns));
        visit.phase = Phase::Prefill;
        let current = engine.current();
        let backlog_bytes = core.options.backlog_bytes_max as u64;
        let stream = Arc::new(Stream::new(backlog_bytes, current.epoch, now_ns));
        let address = outlet.add(Arc::clone(&stream));
        let choices_left = sequences.len();
        let start = Start {
            request,
            outlet: Arc::clone(outlet),
            stream: Arc::clone(&stream),
            address,
            sequences,
            stops,
        };
        current.inbox.post(Command::Start(Box::new(start)));
        Self {
            core: Arc::clone(core),
            outlet: Arc::clone(outlet),
            stream,
            address,
            inbox: current.inbox,
            request,
            choices_left,
            tokens: 0,
            started_ns: now_ns,
            first_ns: 0,
            last_ns: 0,
            visit,
            _held: held,
            permit,
        }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Whether every choice has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.choices_left == 0
    }

    /// Waits for something to say. Returns the failure if there will be no more than that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn first(&self) -> Option<Failure> {
        poll_fn(|cx| {
            self.stream.poll(cx).map(|pending| pending.failure.filter(|_| pending.is_drained()))
        })
        .await
    }

    /// Counts what was rendered, and tells the runner where it waits for the room.
    pub(crate) fn note_sent(&mut self, sent: &Sent) {
        if self.stream.credit.consume(sent.cost_bytes) {
            self.inbox.post(Command::Resume { request: self.request });
        }
        let metrics = &self.core.metrics;
        if 0 < sent.tokens {
            self.tokens += sent.tokens;
            metrics.generation_tokens.add(sent.tokens);
            self.permit.use_tokens(sent.tokens);
            metrics.tokens_per_write.observe(sent.tokens);
            metrics.backlog_bytes.observe(sent.cost_bytes);
            if self.first_ns == 0 {
                self.first_ns = sent.emitted_ns.max(1);
                self.visit.phase = Phase::Decode;
                let from_arrival_ns = self.first_ns.saturating_sub(self.visit.arrived_ns);
                metrics.first_token.observe(from_arrival_ns);
                metrics.prefill.observe(self.first_ns.saturating_sub(self.started_ns));
            } else {
                let gap_ns = sent.emitted_ns.saturating_sub(self.last_ns) / sent.tokens;
                metrics.inter_token.observe_times(gap_ns, sent.tokens);
            }
            self.last_ns = sent.emitted_ns;
        }
        self.choices_left -= sent.choices_ended;
        if let (0, Some(reason)) = (self.choices_left, sent.reason) {
            self.note_success(reason);
        }
    }

    fn note_success(&mut self, reason: FinishReason) {
        let metrics = &self.core.metrics;
        match reason {
            FinishReason::Stop => metrics.finished_stop.add(1),
            FinishReason::Length => metrics.finished_length.add(1),
        }
        let now_ns = self.core.clock.now_ns();
        metrics.end_to_end.observe(now_ns.saturating_sub(self.visit.arrived_ns));
        metrics.request_generation_tokens.observe(self.tokens);
        let decode_ns = self.last_ns.saturating_sub(self.first_ns);
        metrics.decode.observe(decode_ns);
        if 1 < self.tokens {
            metrics.per_token.observe(decode_ns / (self.tokens - 1));
        }
        self.visit.end();
    }

    /// It was ended from outside, and its client was told.
    pub(crate) fn note_failure(&mut self) {
        self.core.metrics.finished_error.add(1);
        self.visit.end();
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.outlet.remove(self.address);
        if !self.has_ended() {
            let gone_ns = self.core.clock.now_ns();
            self.inbox.post(Command::Cancel { request: self.request, gone_ns });
        }
    }
}
