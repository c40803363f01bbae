//! Bytes set aside.

use std::sync::Arc;

use super::{Budget, Refused};

/// Bytes set aside in a [`Budget`]; dropping it gives them back.
///
/// # Examples
///
/// ```
/// use memory::Budget;
///
/// let budget = Budget::new(100);
/// let mut whole = budget.try_reserve(60)?;
/// let part = whole.split(20);
/// whole.shrink(10);
/// assert_eq!((30, 20), (whole.bytes(), part.bytes()));
/// assert_eq!(50, budget.available_bytes());
/// whole.merge(part);
/// assert_eq!(50, whole.bytes());
/// # Ok::<(), memory::Refused>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a reservation gives its bytes back at once"]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    /// The bytes are already taken and counted.
    pub(super) fn new(budget: Budget, bytes: u64) -> Self {
        Self { budget, bytes }
    }

    /// Returns how many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the name in which it was made.
    pub fn consumer(&self) -> &str {
        self.budget.account.name.as_deref().unwrap_or(super::UNNAMED)
    }

    /// Adds `bytes`, at once or not at all.
    ///
    /// There is no waiting form: two who grow while they hold wait for each other forever.
    ///
    /// # Errors
    ///
    /// Those of [`Budget::try_reserve`]; what was held is still held.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), Refused> {
        let more = self.budget.try_reserve(bytes)?;
        self.merge(more);
        Ok(())
    }

    /// Gives `bytes` of it back.
    ///
    /// # Panics
    ///
    /// When it holds fewer.
    pub fn shrink(&mut self, bytes: u64) {
        drop(self.split(bytes));
    }

    /// Takes `bytes` of it out, as a reservation of their own.
    ///
    /// # Panics
    ///
    /// When it holds fewer.
    pub fn split(&mut self, bytes: u64) -> Self {
        let held = self.bytes;
        assert!(bytes <= held, "asked for {bytes} B of a reservation of {held} B");
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }

    /// Puts the bytes of `other` to its own; they count in its own name from now on.
    ///
    /// # Panics
    ///
    /// When `other` is of another budget.
    pub fn merge(&mut self, mut other: Self) {
        let (ours, theirs) = (&self.budget.account, &other.budget.account);
        assert!(Arc::ptr_eq(&ours.shared, &theirs.shared), "merged reservations of two budgets");
        let bytes = std::mem::take(&mut other.bytes);
        if !Arc::ptr_eq(ours, theirs) {
            theirs.count_out(bytes);
            ours.count_in(bytes);
        }
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.account.count_out(self.bytes);
        self.budget.give(self.bytes);
    }
}
