//! The locks and the atomics, which a checker may replace.

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod quick_mutex;

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};

    pub(crate) use parking_lot::Mutex;

    pub(crate) use super::quick_mutex::QuickMutex;
}

#[cfg(feature = "loom")]
mod checked {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::sync::{Mutex as Inner, MutexGuard};

    super::mutex_without_poison!();
}

#[cfg(all(feature = "shuttle", not(feature = "loom")))]
mod checked {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, Ordering};
    use shuttle::sync::{Mutex as Inner, MutexGuard};

    super::mutex_without_poison!();
}

/// The checkers' locks have the interface of the standard library's, ours that of `parking_lot`'s.
#[cfg(any(feature = "loom", feature = "shuttle"))]
macro_rules! mutex_without_poison {
    () => {
        #[derive(Debug)]
        pub(crate) struct Mutex<T>(Inner<T>);

        /// To a checker a lock is a lock, whatever it costs.
        pub(crate) type QuickMutex<T> = Mutex<T>;

        impl<T> Mutex<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(Inner::new(value))
            }

            pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
                self.0.lock().expect("a checked schedule ends when a holder panics")
            }
        }
    };
}
#[cfg(any(feature = "loom", feature = "shuttle"))]
use mutex_without_poison;

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub(crate) use self::checked::*;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use self::real::*;
