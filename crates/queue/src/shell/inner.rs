//! Transitions: change the state, then do what follows.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::effects::Effects;
use super::options::{Options, Shutdown};
use super::state::State;
use super::timer::keep_time;
use super::worker::{Start, Worker};
use crate::job::{Finish, Id};
use crate::rules::Rules;
use crate::seam::Runtime;
use crate::sync::Mutex;

/// What the handles of a queue, its workers and its timer share.
pub(super) struct Inner<K> {
    pub(super) state: Mutex<State<K>>,
    pub(super) runtime: Runtime,
    pub(super) stop_grace: Duration,
}

impl<K: Clone + Eq + Hash + Send + 'static> Inner<K> {
    /// Changes the state, and does what follows: one lock, and nothing of others called within it.
    pub(super) fn transition<R>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State<K>, Duration, &mut Effects) -> R,
    ) -> R {
        let mut effects = Effects::default();
        let result = self.change(change, &mut effects);
        self.spawn(&mut effects);
        result
    }

    /// Ends a running job; returns the one that the worker is to run in its place.
    pub(super) fn finish(
        self: &Arc<Self>,
        id: Id,
        finish: Finish,
        effects: &mut Effects,
    ) -> Option<Start> {
        self.change(|state, _, effects| state.finish(id, finish, effects), effects);
        let next = effects.starts.pop();
        self.spawn(effects);
        next
    }

    fn change<R>(
        &self,
        change: impl FnOnce(&mut State<K>, Duration, &mut Effects) -> R,
        effects: &mut Effects,
    ) -> R {
        let now = self.runtime.now();
        let result = {
            let mut state = self.state.lock();
            // The timer may be late, and what was queued for too long must not start now.
            state.expire(now, effects);
            let result = change(&mut state, now, effects);
            state.follow_up(now, effects);
            result
        };
        effects.tell();
        result
    }

    fn spawn(self: &Arc<Self>, effects: &mut Effects) {
        for start in effects.starts.drain(..) {
            Worker::spawn(self, start);
        }
        if std::mem::take(&mut effects.starts_timer) {
            self.runtime.spawn(keep_time(Arc::downgrade(self)));
        }
    }
}

impl<K: Clone + Eq + Hash> Inner<K> {
    pub(super) fn new(rules: Rules, options: Options<K>) -> Self {
        let (runtime, stop_grace) = (Runtime::current(), options.stop_grace);
        Self { state: Mutex::new(State::new(rules, options)), runtime, stop_grace }
    }

    /// Ends a job whose task was dropped, and with it the queue: the runtime is gone, and starting
    /// the next job would only lose that too.
    pub(super) fn lost(&self, id: Id) {
        let mut effects = Effects::default();
        {
            let mut state = self.state.lock();
            state.shut_down(Shutdown::Drain, &mut effects);
            state.lose(id, &mut effects);
            state.follow_up(Duration::ZERO, &mut effects);
        }
        effects.tell();
    }
}
