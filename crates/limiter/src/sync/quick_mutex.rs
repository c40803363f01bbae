//! A lock for decisions that take a few nanoseconds.

use std::hint::spin_loop;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// How often the head of the line looks at once, and how often having let other threads run: several
/// decisions' time, and then some, because the holder may need this very processor.
const SPINS_MAX: u32 = 100;
const YIELDS_MAX: u32 = 10;
const NAPS_BEGIN: u32 = SPINS_MAX + YIELDS_MAX;

/// How long it sleeps between two looks from then on: about what waking a thread takes.
const NAP: Duration = Duration::from_micros(50);

/// A mutex that takes one atomic read-modify-write where nobody waits: it is left with a plain store.
///
/// A lock that sleepers wait for cannot be left so, because whoever leaves it has to ask whether there
/// are any. Here they sleep in a line beside it, of which only the head looks at the lock itself. It
/// spins for some hundred nanoseconds, and a microsecond or two later begins to sleep: a holder that is
/// preempted costs others time, but no processor.
///
/// # Fairness and order
///
/// Nobody passes those who are in line; their order is `parking_lot`'s, nearly first come first served.
#[derive(Debug)]
pub(crate) struct QuickMutex<T> {
    value: SpinMutex<T>,
    /// Held by its head.
    line: Mutex<()>,
}

/// What the head of the line does between two looks.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    Spin,
    Yield,
    Nap,
}

impl<T> QuickMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: SpinMutex::new(value), line: Mutex::new(()) }
    }

    /// Waits until nobody else holds the lock. Not reentrant.
    #[inline]
    pub(crate) fn lock(&self) -> SpinMutexGuard<'_, T> {
        self.lock_at_once().unwrap_or_else(|| self.lock_in_turn())
    }

    /// Takes the lock if it is free and nobody is in line.
    #[inline]
    fn lock_at_once(&self) -> Option<SpinMutexGuard<'_, T>> {
        if self.line.is_locked() { None } else { self.value.try_lock() }
    }

    #[cold]
    fn lock_in_turn(&self) -> SpinMutexGuard<'_, T> {
        let _head = self.line.lock();
        let mut looks = 0_u32;
        // Ends when the holder leaves, as newcomers are in line; without end it only ever naps.
        loop {
            if let Some(guard) = self.value.try_lock() {
                return guard;
            }
            Pause::after(looks).take();
            looks = looks.saturating_add(1);
        }
    }
}

impl Pause {
    fn after(looks: u32) -> Self {
        match looks {
            0..SPINS_MAX => Self::Spin,
            SPINS_MAX..NAPS_BEGIN => Self::Yield,
            NAPS_BEGIN.. => Self::Nap,
        }
    }

    fn take(self) {
        match self {
            Self::Spin => spin_loop(),
            Self::Yield => thread::yield_now(),
            Self::Nap => thread::sleep(NAP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_passes_those_in_line() {
        let lock = QuickMutex::new(());
        let head = lock.line.lock();
        assert!(lock.lock_at_once().is_none());
        drop(head);
        let holder = lock.lock_at_once();
        assert!(holder.is_some());
        assert!(lock.lock_at_once().is_none());
        drop(holder);
        assert!(lock.lock_at_once().is_some());
    }

    /// The head stays in line until it has the lock, else two would look at once; and out of it then.
    #[test]
    fn the_head_keeps_others_in_line_until_it_has_the_lock() {
        let lock = QuickMutex::new(false);
        let mut holder = lock.lock();
        thread::scope(|scope| {
            let head = scope.spawn(|| *lock.lock());
            let mut looks = std::iter::repeat_with(|| {
                thread::yield_now();
                lock.line.is_locked()
            });
            assert!(looks.by_ref().take(1_000_000).any(|is_locked| is_locked), "it never queued");
            assert!(looks.take(10_000).all(|is_locked| is_locked), "it left too early");
            *holder = true;
            drop(holder);
            assert!(head.join().expect("it only looks"));
        });
        assert!(lock.lock_at_once().is_some());
    }

    /// Each thread adds in two steps, which another in between would undo.
    #[test]
    fn one_at_a_time() {
        const TIMES: u64 = 20_000;
        let lock = QuickMutex::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..TIMES {
                        let mut count = lock.lock();
                        let before = *count;
                        spin_loop();
                        *count = before + 1;
                    }
                });
            }
        });
        assert_eq!(4 * TIMES, *lock.lock());
    }

    #[test]
    fn no_wait_spins_without_end() {
        assert_eq!(Pause::Spin, Pause::after(0));
        assert_eq!(Pause::Yield, Pause::after(SPINS_MAX));
        assert_eq!(Pause::Nap, Pause::after(SPINS_MAX + YIELDS_MAX));
        assert_eq!(Pause::Nap, Pause::after(u32::MAX));
    }
}
