//! Where the clock is read and tasks are started: the caller's runtime, or the checker's.

pub(crate) use self::imp::{Runtime, yield_now};

#[cfg(not(feature = "shuttle"))]
mod imp {
    use std::future::{Future, pending, poll_fn};
    use std::pin::pin;
    use std::time::Duration;

    use tokio::runtime::Handle;
    use tokio::time::{Instant, sleep_until};

    pub(crate) use tokio::task::yield_now;

    /// The runtime on which a queue was made, with a clock that starts then.
    #[derive(Clone, Debug)]
    pub(crate) struct Runtime {
        handle: Handle,
        origin: Instant,
    }

    impl Runtime {
        /// The current runtime; panics outside of one, and in one that does not keep time.
        pub(crate) fn current() -> Self {
            // Better now than when the first job is cancelled.
            drop(sleep_until(Instant::now()));
            Self { handle: Handle::current(), origin: Instant::now() }
        }

        pub(crate) fn now(&self) -> Duration {
            self.origin.elapsed()
        }

        /// For ever, if the clock does not reach that far.
        pub(crate) fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send + use<> {
            let at = self.origin.checked_add(at);
            async move {
                let Some(at) = at else { return pending().await };
                // A timer ends with its runtime, and who waits may have moved to another one.
                let (mut home, mut timer) = (None, pin!(None));
                poll_fn(|cx| {
                    let here = Handle::current().id();
                    if home.replace(here) != Some(here) {
                        timer.set(Some(sleep_until(at)));
                    }
                    timer.as_mut().as_pin_mut().expect("it is set at the first poll").poll(cx)
                })
                .await;
            }
        }

        /// Starts a task that nobody waits for; its end shows in the queue.
        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(self.handle.spawn(task));
        }
    }
}

#[cfg(feature = "shuttle")]
mod imp {
    use std::future::Future;
    use std::sync::Arc;
    use std::time::Duration;

    use shuttle::sync::atomic::{AtomicU64, Ordering};

    pub(crate) use shuttle::future::yield_now;

    /// The checker's tasks, and a clock that stands until somebody sleeps: any sleep may be over at
    /// any moment, which is as bad as time can be.
    #[derive(Clone, Debug)]
    pub(crate) struct Runtime {
        now_ns: Arc<AtomicU64>,
    }

    impl Runtime {
        pub(crate) fn current() -> Self {
            Self { now_ns: Arc::new(AtomicU64::new(0)) }
        }

        pub(crate) fn now(&self) -> Duration {
            Duration::from_nanos(self.now_ns.load(Ordering::SeqCst))
        }

        pub(crate) fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send + use<> {
            let now_ns = Arc::clone(&self.now_ns);
            async move {
                yield_now().await;
                let at_ns = u64::try_from(at.as_nanos()).expect("tests are shorter than 584 years");
                now_ns.fetch_max(at_ns, Ordering::SeqCst);
            }
        }

        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(shuttle::future::spawn(task));
        }
    }
}
