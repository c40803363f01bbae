//! The locks and atomics of this crate, so that a checker can put its own in their place.
//!
//! `Arc` is always the standard library's: nothing here depends on when a last handle is dropped.

#![cfg_attr(
    not(feature = "files"),
    expect(dead_code, unused_imports, reason = "some are needed by some features only")
)]

#[cfg(all(feature = "loom", not(feature = "shuttle")))]
pub(crate) use loom::{sync::atomic, thread};
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{sync::atomic, thread};
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use std::{sync::atomic, thread};

pub(crate) use imp::{Condvar, Mutex, MutexGuard};

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod imp {
    pub(crate) use parking_lot::{Mutex, MutexGuard};

    /// A condition variable that hands its guard through, as the checkers' do.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(any(feature = "loom", feature = "shuttle"))]
mod imp {
    #[cfg(not(feature = "shuttle"))]
    use loom::sync;
    #[cfg(feature = "shuttle")]
    use shuttle::sync;

    const POISON: &str = "a checker ends the run at the first panic";

    pub(crate) use sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect(POISON)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).expect(POISON)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
