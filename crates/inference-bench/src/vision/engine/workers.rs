//! Who works on an inference: all threads together while it is alone, one thread each while there are several.
//!
//! To share one picture costs: what is not split leaves threads idle, and each operator waits for its
//! slowest part. Where there are enough pictures for all, nothing need be shared: on two cores, two
//! callers of `YOLO11n` get a sixth more pictures a second this way.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rten::ThreadPool;

/// Threads of an engine. At most as many inferences run at once as there are threads; others wait.
pub(super) struct Workers {
    /// For an inference that is alone; `None` where there is one thread only.
    together: Option<Arc<ThreadPool>>,
    threads: usize,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    running: usize,
    /// Threads for one inference each, of which nobody makes use now.
    idle: Vec<Arc<ThreadPool>>,
}

impl Workers {
    /// So many threads, at least one.
    pub(super) fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let pool = |threads| Arc::new(ThreadPool::with_num_threads(threads));
        let idle = (0..threads).map(|_| pool(1)).collect();
        Self {
            together: (threads > 1).then(|| pool(threads)),
            threads,
            state: Mutex::new(State { running: 0, idle }),
            ended: Condvar::new(),
        }
    }

    /// Waits until there are threads for one more inference.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut state = self.state.lock();
        loop {
            if let Some(turn) = self.take(&mut state) {
                return turn;
            }
            self.ended.wait(&mut state);
        }
    }

    /// Threads for one more inference, unless as many run as there are threads.
    fn take(&self, state: &mut State) -> Option<Turn<'_>> {
        if state.running == self.threads {
            return None;
        }
        let lone = self.together.clone().filter(|_| state.running == 0);
        let is_alone = lone.is_some();
        let pool = lone.or_else(|| state.idle.pop()).expect("fewer run than there are threads");
        state.running += 1;
        Some(Turn { workers: self, pool, is_alone })
    }
}

/// The threads of one inference, given back on drop.
pub(super) struct Turn<'a> {
    workers: &'a Workers,
    pool: Arc<ThreadPool>,
    is_alone: bool,
}

impl Turn<'_> {
    pub(super) fn pool(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.pool)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.workers.state.lock();
        state.running -= 1;
        if !self.is_alone {
            state.idle.push(Arc::clone(&self.pool));
        }
        drop(state);
        self.workers.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_inference_has_all_threads() {
        let workers = Workers::new(3);
        for _ in 0..2 {
            assert!(workers.turn().is_alone);
        }
    }

    #[test]
    fn several_have_a_thread_each_and_all_are_given_back() {
        let workers = Workers::new(3);
        let first = workers.turn();
        let others = [workers.turn(), workers.turn()];
        assert!(first.is_alone && others.iter().all(|turn| !turn.is_alone));
        drop(first);
        assert!(!workers.turn().is_alone);
        drop(others);
        assert_eq!(3, workers.state.lock().idle.len());
        assert!(workers.turn().is_alone);
    }

    #[test]
    fn no_more_run_than_there_are_threads() {
        for threads in [1, 2] {
            let workers = Workers::new(threads);
            let mut turns: Vec<_> = (0..threads).map(|_| workers.turn()).collect();
            assert!(workers.take(&mut workers.state.lock()).is_none());
            turns.pop();
            // Not within the assertion: there the turn would end while the lock is still held.
            let turn = workers.take(&mut workers.state.lock());
            assert!(turn.is_some());
        }
    }

    #[test]
    fn who_waits_is_served_when_one_ends() {
        let workers = Workers::new(1);
        let first = workers.turn();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(workers.turn()));
            drop(first);
            second.join().unwrap();
        });
    }
}
