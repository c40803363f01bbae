//! Connections that do as they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pool::{CloseNotice, Connect, GetError, Lease, Options, Pool, Poolable, State};
use tokio::sync::Mutex;

/// A connection whose ends are in the hands of the test.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Counts from 1.
    pub(crate) number: usize,
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) notice: Option<CloseNotice>,
    pub(crate) panics: bool,
    close_takes: Duration,
    close_panics: bool,
}

impl Poolable for Wire {
    fn state(&mut self) -> State {
        assert!(!self.panics, "asked for its state");
        if self.dead.load(Ordering::SeqCst) { State::Dead } else { State::Reusable }
    }

    async fn close(self) {
        if !self.close_takes.is_zero() {
            tokio::time::sleep(self.close_takes).await;
        }
        assert!(!self.close_panics, "closed");
    }
}

/// What the next connects do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) takes: Duration,
    pub(crate) close_takes: Duration,
    pub(crate) close_panics: bool,
    pub(crate) fails: bool,
    pub(crate) panics: bool,
}

/// Opens [`Wire`]s by plan.
#[derive(Clone, Default)]
pub(crate) struct Exchange {
    pub(crate) plan: Arc<Mutex<Plan>>,
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) opened: Arc<AtomicUsize>,
}

impl Exchange {
    pub(crate) fn pool(&self, options: Options) -> Pool<&'static str, Wire> {
        Pool::new(self.clone(), options)
    }

    pub(crate) async fn set(&self, plan: Plan) {
        *self.plan.lock().await = plan;
    }
}

impl Connect<&'static str> for Exchange {
    type Connection = Wire;
    type Error = std::io::Error;

    async fn connect(&self, _: &&'static str, notice: CloseNotice) -> std::io::Result<Wire> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan.lock().await.clone();
        if !plan.takes.is_zero() {
            tokio::time::sleep(plan.takes).await;
        }
        assert!(!plan.panics, "a connector that panics");
        if plan.fails {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let dead = Arc::default();
        let Plan { close_takes, close_panics, .. } = plan;
        let notice = Some(notice);
        Ok(Wire { number, dead, notice, panics: false, close_takes, close_panics })
    }
}

/// Options for `total` connections without any time limit.
pub(crate) fn caps(total: usize, per_key: usize) -> Options {
    Options {
        connections_max: total,
        connections_per_key_max: per_key,
        idle_timeout: None,
        ..Options::default()
    }
}

/// Longer than anything takes here; in virtual time it is over at once.
const FOREVER: Duration = Duration::from_secs(100_000);

/// Gets a connection, or fails where [`Pool::get`] would wait for ever.
pub(crate) async fn get(
    pool: &Pool<&'static str, Wire>,
    key: &'static str,
) -> Result<Lease<Wire>, GetError> {
    pool.get_timeout(&key, FOREVER).await
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
