//! The lock, the condition and the atomics, which a checker may replace.

#[cfg(not(feature = "shuttle"))]
mod real {
    use std::time::Instant;

    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    pub(crate) use parking_lot::{Mutex, MutexGuard};

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Waits to be notified, until `deadline` at most; returns whether it came to that.
        pub(crate) fn wait_until<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            deadline: Option<Instant>,
        ) -> (MutexGuard<'a, T>, bool) {
            let timed_out = match deadline {
                Some(deadline) => self.0.wait_until(&mut guard, deadline).timed_out(),
                None => {
                    self.0.wait(&mut guard);
                    false
                }
            };
            (guard, timed_out)
        }
    }
}

#[cfg(feature = "shuttle")]
mod checked {
    use std::time::Instant;

    pub(crate) use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    const WHOLE: &str = "a checked schedule ends when a holder panics";

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect(WHOLE)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Checked schedules have no clock: whoever waits for a deadline as well waits for the
        /// notice alone.
        pub(crate) fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Option<Instant>,
        ) -> (MutexGuard<'a, T>, bool) {
            (self.0.wait(guard).expect(WHOLE), false)
        }
    }
}

#[cfg(feature = "shuttle")]
pub(crate) use self::checked::*;
#[cfg(not(feature = "shuttle"))]
pub(crate) use self::real::*;
