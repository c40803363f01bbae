//! One connection: what is known about it from outside.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;

use hyper::server::conn::http1;
use hyper::service::HttpService;

use super::socket::Socket;
use super::turn::InTurn;
use crate::guard::Fault;
use crate::metrics::Metrics;
use crate::seam::Clock;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// No write waits, or no token is on its way.
const NEVER: u64 = 0;

/// What others know about a connection, and ask of it.
#[derive(Debug)]
pub(crate) struct Connection {
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Since when the kernel takes nothing more; [`NEVER`] when it does.
    blocked_ns: AtomicU64,
    /// When the oldest token was produced that is on its way to the kernel, or [`NEVER`].
    emitted_ns: AtomicU64,
    cut: AtomicBool,
    draining: AtomicBool,
    /// How many requests have come.
    requests: AtomicU64,
    /// How many of them have been answered, up to the last bytes.
    answered: AtomicU64,
    /// What is wrong with the request of this number, the last one.
    refused: Mutex<Option<(u64, Fault)>>,
    /// Wakes the connection's task.
    waker: Mutex<Option<Waker>>,
}

impl Connection {
    pub(crate) fn new(clock: Clock, metrics: &Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics: Arc::clone(metrics),
            blocked_ns: AtomicU64::new(NEVER),
            emitted_ns: AtomicU64::new(NEVER),
            cut: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: Mutex::new(None),
            waker: Mutex::new(None),
        }
    }

    /// Tokens that were produced then are about to be written.
    pub(crate) fn note_emitted(&self, emitted_ns: u64) {
        if self.emitted_ns.load(Ordering::Relaxed) == NEVER {
            self.emitted_ns.store(emitted_ns, Ordering::Relaxed);
        }
    }

    /// Whether its client has read nothing since before `since_ns` though something waits.
    pub(super) fn is_stalled(&self, since_ns: u64) -> bool {
        let blocked_ns = self.blocked_ns.load(Ordering::Relaxed);
        blocked_ns != NEVER && blocked_ns < since_ns
    }

    /// Closes it at its task's next turn. Returns whether that is news.
    pub(super) fn cut(&self) -> bool {
        let news = !self.cut.swap(true, Ordering::Relaxed);
        self.wake();
        news
    }

    /// Lets it end after the present request.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// The request of this number, counted from 1, is not to be served.
    pub(super) fn refuse(&self, number: u64, fault: Fault) {
        *self.refused.lock() = Some((number, fault));
    }

    /// Counts a request; returns what is wrong with it, if that is known.
    pub(super) fn next_request(&self) -> Option<Fault> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.refused.lock().filter(|refused| refused.0 == number).map(|refused| refused.1)
    }

    /// Whether so many requests have been answered: the next one may come.
    pub(super) fn has_answered(&self, requests: u64) -> bool {
        requests <= self.answered.load(Ordering::Relaxed)
    }

    /// A request was answered. hyper reads the next one as soon as the last bytes of it are written: from
    /// then on there is a time-out for its head.
    pub(super) fn end_turn(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Drives a connection to its end. Its task must do nothing else: the first waker stands for all.
    pub(super) async fn drive<S>(&self, connection: http1::Connection<Socket, S>)
    where
        S: HttpService<hyper::body::Incoming, ResBody = InTurn>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut connection = pin!(connection);
        let (mut is_known, mut is_told) = (false, false);
        poll_fn(|cx| {
            if !is_known {
                is_known = true;
                *self.waker.lock() = Some(cx.waker().clone());
            }
            if !is_told && self.draining.load(Ordering::Relaxed) {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            // Clients that break off are no error of ours; what broke off is counted elsewhere.
            connection.as_mut().poll(cx).map(drop)
        })
        .await;
    }

    /// Whether it is to be closed.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(super) fn on_written(&self) {
        if self.blocked_ns.load(Ordering::Relaxed) != NEVER {
            self.blocked_ns.store(NEVER, Ordering::Relaxed);
        }
        let emitted_ns = self.emitted_ns.load(Ordering::Relaxed);
        if emitted_ns != NEVER {
            self.emitted_ns.store(NEVER, Ordering::Relaxed);
            let taken_ns = self.clock.now_ns().saturating_sub(emitted_ns);
            self.metrics.emit_to_write.observe(taken_ns);
        }
    }

    pub(super) fn on_blocked(&self) {
        if self.blocked_ns.load(Ordering::Relaxed) == NEVER {
            self.blocked_ns.store(self.clock.now_ns().max(1), Ordering::Relaxed);
        }
    }
}
