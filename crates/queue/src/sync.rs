//! The lock of this crate, which the feature `shuttle` replaces by the checker's.

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::Mutex;

#[cfg(feature = "shuttle")]
pub(crate) use self::checked::Mutex;

#[cfg(feature = "shuttle")]
mod checked {
    use shuttle::sync::{Mutex as Checked, MutexGuard};

    /// The checker's mutex with the interface of ours: no poison.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(Checked<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Checked::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no holder panics")
        }
    }
}
