//! The thread that calls a runner, and what follows when the runner fails.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Step, Table};
use crate::handover::{Command, Failure, Inbox, Until};
use crate::metrics::Metrics;
use crate::runner::{Next, Runner};
use crate::seam::{self, Clock};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// Makes a runner on its thread.
pub(crate) type Factory = Arc<dyn Fn() -> Box<dyn Runner> + Send + Sync>;

/// The present runner's inbox, and the number of its start.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) epoch: u64,
}

/// A runner's thread, which is replaced when it hangs.
pub(crate) struct Engine {
    factory: Factory,
    current: Mutex<Current>,
    /// [`Current::epoch`], to be read without the lock.
    epoch: AtomicU64,
    state: Arc<State>,
}

/// What every thread of an engine shares.
#[derive(Debug)]
struct State {
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Whether there is a runner.
    ready: AtomicBool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts a thread that makes a runner and calls it.
    pub(crate) fn start(
        factory: Factory,
        clock: Clock,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let state = State { clock, metrics: Arc::clone(metrics), ready: AtomicBool::new(false) };
        let state = Arc::new(state);
        let inbox = start_thread(&factory, &state)?;
        let current = Mutex::new(Current { inbox, epoch: 0 });
        Ok(Self { factory, current, epoch: AtomicU64::new(0), state })
    }

    pub(crate) fn current(&self) -> Current {
        self.current.lock().clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether there is a runner.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.ready.load(Ordering::Relaxed)
    }

    /// Replaces the runner if it has been in one call since before `since_ns`.
    pub(crate) fn replace_stuck(&self, since_ns: u64) {
        let mut current = self.current.lock();
        let called_ns = current.inbox.called_ns();
        if called_ns == 0 || since_ns <= called_ns {
            return;
        }
        // Without a thread for another one it is better to wait on.
        let Ok(inbox) = start_thread(&self.factory, &self.state) else { return };
        current.inbox.abandon();
        *current = Current { inbox, epoch: current.epoch + 1 };
        self.state.metrics.runner_restarts.add(1);
        self.epoch.store(current.epoch, Ordering::Release);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.current.lock().inbox.close();
    }
}

fn start_thread(factory: &Factory, state: &Arc<State>) -> io::Result<Arc<Inbox>> {
    let inbox = Arc::new(Inbox::default());
    let thread = Thread {
        factory: Arc::clone(factory),
        state: Arc::clone(state),
        inbox: Arc::clone(&inbox),
        table: Table::new(Arc::clone(&state.metrics), state.clock),
    };
    seam::spawn_thread("runner", move || thread.run())?;
    Ok(inbox)
}

struct Thread {
    factory: Factory,
    state: Arc<State>,
    inbox: Arc<Inbox>,
    table: Table,
}

impl Thread {
    fn run(mut self) {
        seam::set_finest_timers();
        let mut commands = Vec::new();
        while !self.inbox.is_abandoned() {
            let factory = Arc::clone(&self.factory);
            let failure = match catch_unwind(AssertUnwindSafe(|| factory())) {
                Ok(mut runner) => {
                    self.state.ready.store(true, Ordering::Relaxed);
                    let served = AssertUnwindSafe(|| self.serve(&mut *runner, &mut commands));
                    match catch_unwind(served) {
                        Ok(()) => break,
                        Err(panic) => drop_quietly((runner, panic)),
                    }
                    Failure::Panicked
                }
                Err(panic) => {
                    drop_quietly(panic);
                    // It is tried again when somebody asks for tokens.
                    if !self.inbox.take(&mut commands, Until::Forever) {
                        break;
                    }
                    Failure::Absent
                }
            };
            self.fail(failure, &mut commands);
        }
    }

    /// Calls the runner for as long as there is anybody to tell it something.
    fn serve(&mut self, runner: &mut dyn Runner, commands: &mut Vec<Command>) {
        let mut until = Until::Now;
        while self.inbox.take(commands, until) {
            let now = self.state.clock.now();
            let now_ns = self.state.clock.ns(now);
            self.inbox.set_called(now_ns.max(1));
            for command in commands.drain(..) {
                self.obey(runner, command, now_ns);
            }
            let next = runner.step(&mut Step::new(&mut self.table, now, now_ns));
            self.inbox.set_called(0);
            if self.inbox.is_abandoned() {
                return;
            }
            self.table.publish();
            until = match next {
                Next::Now => Until::Now,
                Next::At(instant) => Until::At(instant),
                Next::Idle => Until::Forever,
            };
        }
    }

    fn obey(&mut self, runner: &mut dyn Runner, command: Command, now_ns: u64) {
        match command {
            Command::Start(start) => {
                let now = self.state.clock.now();
                for (id, sequence) in self.table.start(*start, now_ns) {
                    runner.start(id, &sequence, now);
                }
            }
            Command::Cancel { request, gone_ns } => {
                let cancelled = self.table.cancel(request);
                if !cancelled.is_empty() {
                    self.state.metrics.cancel_latency.observe(now_ns.saturating_sub(gone_ns));
                }
                for id in cancelled {
                    runner.cancel(id);
                }
            }
            Command::Resume { request } => {
                for id in self.table.resume(request) {
                    runner.resume(id);
                }
            }
        }
    }

    /// Tells everybody whose sequences were lost, those included that were about to start.
    fn fail(&mut self, failure: Failure, commands: &mut Vec<Command>) {
        self.state.ready.store(false, Ordering::Relaxed);
        self.state.metrics.runner_restarts.add(1);
        self.inbox.set_called(0);
        let now_ns = self.state.clock.now_ns();
        self.inbox.take(commands, Until::Now);
        for command in commands.drain(..) {
            if let Command::Start(start) = command {
                self.table.start(*start, now_ns);
            }
        }
        // What the failed step produced before it failed was never said.
        self.table.discard();
        self.table.fail(failure, now_ns);
        self.table.publish();
    }
}

/// What a panic left may panic again when it is dropped: that is no reason to end the thread.
fn drop_quietly(left: impl Sized) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
}
