//! The runner against the table that a server calls it with, in virtual time.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::engine::Table;
use crate::handover::{Outlet, Piece, PieceKind, Start, Steps, Stream};
use crate::metrics::Metrics;
use crate::seam::Clock;
use crate::wire::Prompt;

const MS: Duration = Duration::from_millis(1);

/// A runner, one stream, and the time.
struct World {
    runner: TestRunner,
    table: Table,
    outlet: Arc<Outlet>,
    stream: Arc<Stream>,
    clock: Clock,
    now: Instant,
}

impl World {
    fn new(options: TestOptions, tokens_max: u64, choices: usize, backlog_bytes: u64) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        let outlet = Arc::new(Outlet::default());
        let stream = Arc::new(Stream::new(backlog_bytes, 0, 0));
        let mut table = Table::new(Arc::new(Metrics::default()), clock);
        let sequence = Arc::new(Sequence {
            model: "test".into(),
            prompt: Prompt::Text(String::new()),
            prompt_tokens: 0,
            tokens_max,
            temperature: 1.0,
            top_p: 1.0,
            seed: None,
        });
        let start = Start {
            request: 0,
            address: outlet.add(Arc::clone(&stream)),
            outlet: Arc::clone(&outlet),
            stream: Arc::clone(&stream),
            sequences: vec![sequence; choices],
            stops: Arc::from([]),
        };
        let mut runner = TestRunner::new(options);
        for (id, sequence) in table.start(start, 0) {
            runner.start(id, &sequence, now);
        }
        Self { runner, table, outlet, stream, clock, now }
    }

    fn step(&mut self) -> Next {
        let now_ns = self.clock.ns(self.now);
        let next = self.runner.step(&mut Step::new(&mut self.table, self.now, now_ns));
        self.table.publish();
        let mut steps = Steps::default();
        let mut cx = Context::from_waker(Waker::noop());
        if self.outlet.poll_take(&mut cx, &mut steps).is_ready() {
            self.outlet.deliver(&mut steps);
        }
        next
    }

    /// Steps whenever the runner wants to, until it is idle.
    fn run(&mut self) {
        loop {
            match self.step() {
                Next::Idle => return,
                Next::Now => {}
                Next::At(instant) => self.now = instant,
            }
        }
    }

    /// What came, and when it was due.
    fn read(&mut self) -> Vec<(Piece, String)> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(mut pending) = self.stream.poll(&mut cx) else { return Vec::new() };
        let mut pieces = Vec::new();
        while let Some((piece, text)) = pending.next() {
            pieces.push((piece, String::from_utf8(text.to_vec()).unwrap()));
        }
        pending.settle();
        drop(pending);
        let cost = pieces.iter().map(|(_, text)| Piece::cost_bytes(text.len())).sum();
        if self.stream.credit.consume(cost) {
            for id in self.table.resume(0) {
                self.runner.resume(id);
            }
        }
        pieces
    }
}

#[test]
fn exactly_so_many_tokens_each_at_its_instant() {
    let mut world = World::new(TestOptions::default(), 100, 1, u64::MAX);
    let (start, start_ns) = (world.now, world.clock.ns(world.now));
    world.run();
    let pieces = world.read();
    let (last, tokens) = pieces.split_last().unwrap();
    assert_eq!(PieceKind::Finish(crate::FinishReason::Length), last.0.kind);
    assert_eq!(100, tokens.len());
    for (number, (piece, text)) in tokens.iter().enumerate() {
        assert_eq!(&format!("token_{number}"), text);
        assert_eq!(start_ns + 20_000_000 * (number as u64 + 1), piece.due_ns);
    }
    assert_eq!(start + 20 * MS * 100, world.now);
}

#[test]
fn a_late_step_catches_up_and_nothing_shifts() {
    let mut world = World::new(TestOptions::default(), 10, 1, u64::MAX);
    let start = world.now;
    world.now = start + 101 * MS;
    assert_eq!(Next::At(start + 120 * MS), world.step());
    assert_eq!(5, world.read().len());
}

#[test]
fn fast_tokens_share_steps() {
    let interval = Duration::from_nanos(8330);
    let options = TestOptions { interval, ..TestOptions::default() };
    let mut world = World::new(options, 1000, 1, u64::MAX);
    let mut steps = 0;
    while let Next::At(instant) = world.step() {
        assert!(TICK <= instant - world.now);
        world.now = instant;
        steps += 1;
    }
    assert!(steps < 100, "{steps}");
    assert_eq!(1001, world.read().len());
}

#[test]
fn whoever_does_not_read_pauses_and_loses_nothing() {
    let options = TestOptions { interval: Duration::ZERO, ..TestOptions::default() };
    let mut world = World::new(options, 500, 3, 1000);
    let mut pieces = Vec::new();
    loop {
        world.run();
        let read = world.read();
        if read.is_empty() {
            break;
        }
        let bytes: u64 = read.iter().map(|(_, text)| Piece::cost_bytes(text.len())).sum();
        assert!(bytes < 1000 + 3 * 100, "{bytes}");
        pieces.extend(read);
    }
    for choice in 0..3 {
        let of_choice =
            pieces.iter().filter(|(piece, text)| piece.choice == choice && !text.is_empty());
        let texts: Vec<_> = of_choice.map(|(_, text)| text.clone()).collect();
        assert_eq!((0..500).map(|token| format!("token_{token}")).collect::<Vec<_>>(), texts);
    }
}

#[test]
fn whoever_does_not_pause_is_not_resumed() {
    let mut world = World::new(TestOptions::default(), 10, 3, 1);
    assert!(world.table.resume(0).is_empty());
    world.now += 40 * MS;
    world.step();
    // The first token filled the stream: the second of that sequence and the others found no room.
    assert_eq!(3, world.table.resume(0).len());
    assert!(world.table.resume(0).is_empty());
}

#[test]
fn cancelled_sequences_say_nothing_more() {
    let mut world = World::new(TestOptions::default(), 10, 2, u64::MAX);
    for id in world.table.cancel(0) {
        world.runner.cancel(id);
    }
    world.now += 500 * MS;
    assert_eq!((Next::Idle, 0), (world.step(), world.read().len()));
}
