//! The hand-over alone, for `tests/shuttle.rs`.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{Command, Inbox, Outlet, Piece, PieceKind, Start, Steps, Stream, Until};
use crate::engine::Table;
use crate::metrics::Metrics;
use crate::runner::{Push, Sequence, SequenceId, Token};
use crate::seam::Clock;
use crate::wire::Prompt;

/// What a runner's thread is, without a runner.
#[derive(Debug)]
pub struct Producer {
    inbox: Arc<Inbox>,
    table: Table,
}

/// What an I/O thread is, for one stream.
#[derive(Debug)]
pub struct Consumer {
    inbox: Arc<Inbox>,
    outlet: Arc<Outlet>,
    stream: Arc<Stream>,
}

/// What the producer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tokens that were taken from it.
    pub taken: u64,
    /// How often it found no room.
    pub full: u64,
    /// Sequences that were cancelled.
    pub cancelled: usize,
}

/// Both ends of a stream of so many tokens that holds so many bytes.
#[must_use]
pub fn ends(tokens_max: u64, backlog_bytes_max: u64) -> (Producer, Consumer) {
    let clock = Clock::start();
    let inbox = Arc::new(Inbox::default());
    let outlet = Arc::new(Outlet::default());
    let stream = Arc::new(Stream::new(backlog_bytes_max, 0, 0));
    let address = outlet.add(Arc::clone(&stream));
    let sequence = Sequence {
        model: "test".into(),
        prompt: Prompt::Text(String::new()),
        prompt_tokens: 0,
        tokens_max,
        temperature: 1.0,
        top_p: 1.0,
        seed: None,
    };
    inbox.post(Command::Start(Box::new(Start {
        request: 0,
        outlet: Arc::clone(&outlet),
        stream: Arc::clone(&stream),
        address,
        sequences: vec![Arc::new(sequence)],
        stops: Arc::from([]),
    })));
    let table = Table::new(Arc::new(Metrics::default()), clock);
    (Producer { inbox: Arc::clone(&inbox), table }, Consumer { inbox, outlet, stream })
}

impl Producer {
    /// Produces `0;`, `1;` and so on until the inbox is closed, `burst` of them a step.
    #[must_use]
    pub fn run(mut self, burst: usize) -> Seen {
        let mut seen = Seen::default();
        let mut running: Option<SequenceId> = None;
        let (mut commands, mut until) = (Vec::new(), Until::Now);
        while self.inbox.take(&mut commands, until) {
            let mut paused = matches!(until, Until::Forever);
            for command in commands.drain(..) {
                match command {
                    Command::Start(start) => {
                        running = self.table.start(*start, 0).first().map(|(id, _)| *id);
                        paused = false;
                    }
                    Command::Cancel { request, .. } => {
                        seen.cancelled += self.table.cancel(request).len();
                        running = None;
                    }
                    Command::Resume { request } => {
                        paused &= self.table.resume(request).is_empty();
                    }
                }
            }
            until = match running {
                Some(id) if !paused => self.step(id, burst, &mut seen),
                _ => Until::Forever,
            };
            self.table.publish();
            if self.table.running() == 0 {
                running = None;
            }
        }
        seen
    }

    fn step(&mut self, id: SequenceId, burst: usize, seen: &mut Seen) -> Until {
        for _ in 0..burst {
            let text = format!("{};", seen.taken);
            match self.table.push(id, Token::text(text.as_bytes()), 0) {
                Push::Taken => seen.taken += 1,
                Push::Full => {
                    seen.full += 1;
                    return Until::Forever;
                }
                Push::Ended => {
                    seen.taken += 1;
                    return Until::Forever;
                }
            }
        }
        Until::Now
    }
}

impl Consumer {
    /// Gives steps to the stream, for ever.
    pub async fn deliver(outlet: DeliverEnd) {
        let mut steps = Steps::default();
        poll_fn(|cx| {
            if outlet.0.poll_take(cx, &mut steps).is_ready() {
                outlet.0.deliver(&mut steps);
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// The end that [`deliver`](Self::deliver) takes.
    #[must_use]
    pub fn outlet(&self) -> DeliverEnd {
        DeliverEnd(Arc::clone(&self.outlet))
    }

    /// Reads to the end, or until so many pieces were read; then gives up. Returns the text, and closes
    /// the inbox.
    pub async fn read(self, pieces_max: usize) -> String {
        let mut text = String::new();
        let (mut pieces, mut ended) = (0, false);
        while !ended && pieces < pieces_max {
            let cost_bytes = poll_fn(|cx| {
                let Poll::Ready(mut pending) = self.stream.poll(cx) else { return Poll::Pending };
                let mut cost_bytes = 0;
                while let Some((piece, bytes)) = pending.next() {
                    pieces += 1;
                    cost_bytes += Piece::cost_bytes(bytes.len());
                    text.push_str(std::str::from_utf8(bytes).expect("digits are text"));
                    ended |= matches!(piece.kind, PieceKind::Finish(_));
                }
                pending.settle();
                Poll::Ready(cost_bytes)
            })
            .await;
            if self.stream.credit.consume(cost_bytes) {
                self.inbox.post(Command::Resume { request: 0 });
            }
        }
        if !ended {
            self.inbox.post(Command::Cancel { request: 0, gone_ns: 0 });
        }
        self.inbox.close();
        text
    }
}

/// The outlet, for the task that empties it.
#[derive(Clone, Debug)]
pub struct DeliverEnd(Arc<Outlet>);
