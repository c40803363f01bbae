//! What the I/O side tells the runner's thread.

use std::sync::Arc;
use std::time::Instant;

use super::{Outlet, Stream};
use crate::arena;
use crate::runner::Sequence;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};

/// One request to start.
#[derive(Debug)]
pub(crate) struct Start {
    /// Names it in the commands that follow.
    pub(crate) request: u64,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) stream: Arc<Stream>,
    /// The stream's place in the outlet.
    pub(crate) address: arena::Id,
    /// One for each choice.
    pub(crate) sequences: Vec<Arc<Sequence>>,
    pub(crate) stops: Arc<[Box<str>]>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Start(Box<Start>),
    /// Its client has gone, at so many nanoseconds since the server's start.
    Cancel {
        request: u64,
        gone_ns: u64,
    },
    /// Its stream has room again.
    Resume {
        request: u64,
    },
}

/// How long to wait for commands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Now,
    At(Instant),
    Forever,
}

#[derive(Debug, Default)]
struct State {
    /// A start and a cancellation for each running request at most, and one resumption.
    commands: Vec<Command>,
    sleeping: bool,
    closed: bool,
}

/// Commands for one runner, and whether it is alive.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    /// When the runner was last called, in nanoseconds since the server's start; 0 when it is not
    /// being called.
    called_ns: AtomicU64,
    abandoned: AtomicBool,
}

impl Inbox {
    pub(crate) fn post(&self, command: Command) {
        let mut state = self.state.lock();
        state.commands.push(command);
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        if sleeping {
            self.wake.notify_one();
        }
    }

    /// No command will follow; the thread may end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Moves what was posted into `commands`; waits until there is something, or for the deadline.
    /// Returns whether the inbox is still open.
    pub(crate) fn take(&self, commands: &mut Vec<Command>, until: Until) -> bool {
        let mut state = self.state.lock();
        loop {
            // What was posted before the end is still obeyed.
            if !state.commands.is_empty() || state.closed {
                break;
            }
            let deadline = match until {
                Until::Now => break,
                Until::At(deadline) => Some(deadline),
                Until::Forever => None,
            };
            state.sleeping = true;
            let timed_out;
            (state, timed_out) = self.wake.wait_until(state, deadline);
            if timed_out {
                break;
            }
        }
        state.sleeping = false;
        commands.append(&mut state.commands);
        !state.closed || !commands.is_empty()
    }

    /// The runner is being called since `now_ns`, or no more (0).
    pub(crate) fn set_called(&self, now_ns: u64) {
        self.called_ns.store(now_ns, Ordering::Relaxed);
    }

    pub(crate) fn called_ns(&self) -> u64 {
        self.called_ns.load(Ordering::Relaxed)
    }

    /// The runner took too long: whatever it still says counts for nothing.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.close();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}
