//! Bytes to wait for: a limit, a line, and reservations that give back when dropped.

mod gate;
mod ledger;
mod refused;
mod reservation;
mod reserve;

use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Waker;

use self::gate::Gate;
use self::ledger::Ledger;
use crate::reclaim::{Caches, Reclaim};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

pub use self::refused::{Consumer, Refused};
pub use self::reservation::Reservation;
pub use self::reserve::Reserve;

/// The name of what is reserved without one.
const UNNAMED: &str = "unnamed";

/// A number of bytes that many share; a cheap handle on it, in one consumer's name.
///
/// It counts and makes wait; it allocates nothing and sees nothing that is not reserved.
///
/// **Bounds.** `Σ reserved ≤ limit` at every instant; after the limit was cut below what is reserved,
/// nothing is granted until enough has come back. Limits above `i64::MAX` bytes count as `i64::MAX`.
///
/// **Order.** Strictly first come, first served: a small request does not overtake a large one that
/// waits, whatever is free, and [`try_reserve`](Self::try_reserve) overtakes nobody either.
///
/// **Cost.** Without a line, two atomic operations to take and two to give back, and one more each for a
/// name; no lock, no allocation. A refusal costs three times as much, for it names the largest.
///
/// # Examples
///
/// ```
/// use memory::Budget;
///
/// let budget = Budget::new(1000);
/// let parts = budget.named("parts");
///
/// let part = parts.try_reserve(700)?;
/// let refused = budget.try_reserve(400).unwrap_err();
/// assert_eq!(
///     "memory budget exhausted: 400 B asked for, 300 B of 1000 B left; largest: parts 700 B",
///     refused.to_string(),
/// );
///
/// drop(part);
/// assert_eq!(1000, budget.available_bytes());
/// # Ok::<(), memory::Refused>(())
/// ```
#[derive(Clone)]
pub struct Budget {
    account: Arc<Account>,
}

/// What one consumer holds.
struct Account {
    /// `None` for the one that holds what no other does; to count it would be to count twice.
    name: Option<Arc<str>>,
    /// A count for reports; it guards no memory.
    reserved_bytes: AtomicU64,
    shared: Arc<Shared>,
}

struct Shared {
    gate: Gate,
    ledger: Mutex<Ledger<Waker>>,
    accounts: Mutex<Vec<Weak<Account>>>,
    caches: Caches,
}

impl Budget {
    /// Returns a budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        let limit_bytes = countable(limit_bytes);
        let ledger = Ledger::new(limit_bytes);
        let shared = Arc::new(Shared {
            gate: Gate::open(ledger.free_bytes()),
            ledger: Mutex::new(ledger),
            accounts: Mutex::new(Vec::new()),
            caches: Caches::default(),
        });
        Self { account: Arc::new(Account::new(None, shared)) }
    }

    /// Returns a handle on the same budget that reserves in the name of `name`.
    ///
    /// Two handles of one name count together. The number of names is the caller's to bound: each costs a
    /// refusal some nanoseconds as long as a handle or a reservation of it lives.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let mut accounts = self.shared().accounts.lock();
        let has_name = |account: &Arc<Account>| account.name.as_deref() == Some(name);
        if let Some(account) = accounts.iter().filter_map(Weak::upgrade).find(has_name) {
            return Self { account };
        }
        let account = Account::new(Some(name.into()), Arc::clone(&self.account.shared));
        let account = Arc::new(account);
        accounts.retain(|account| 0 < account.strong_count());
        accounts.push(Arc::downgrade(&account));
        Self { account }
    }

    /// Reserves `bytes` at once.
    ///
    /// # Errors
    ///
    /// [`Refused`] when fewer are free, even after the [caches](Self::add_cache) gave back what they
    /// could, or when others wait. Nothing is then taken.
    pub fn try_reserve(&self, bytes: u64) -> Result<Reservation, Refused> {
        if self.take(bytes) {
            return Ok(self.granted(bytes));
        }
        let asked_caches = bytes <= self.limit_bytes() && 0 < self.reclaim_for(bytes);
        if asked_caches && self.take(bytes) {
            return Ok(self.granted(bytes));
        }
        Err(self.refused(bytes))
    }

    /// Reserves `bytes`, in the order of arrival: the place in the line is taken at the first poll.
    ///
    /// # Errors
    ///
    /// [`Refused`] at once when `bytes` are more than the limit, and as soon as the limit is cut below
    /// them: no wait would ever be long enough.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no bytes and gives up the place in the line.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use memory::Budget;
    ///
    /// let budget = Budget::new(10);
    /// let first = budget.reserve(10).await?;
    /// let second = budget.reserve(1);
    /// drop(first);
    /// assert_eq!(1, second.await?.bytes());
    /// # Ok::<(), memory::Refused>(())
    /// # }).unwrap();
    /// ```
    pub fn reserve(&self, bytes: u64) -> Reserve {
        Reserve::new(self.clone(), bytes)
    }

    /// Reserves `bytes` and blocks the thread meanwhile; otherwise like [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// Those of [`reserve`](Self::reserve).
    pub fn reserve_blocking(&self, bytes: u64) -> Result<Reservation, Refused> {
        crate::block::block_on(self.reserve(bytes))
    }

    /// Moves the limit. Those who wait are served or, if they now ask for too much, refused. What is
    /// reserved above a limit that was cut, the [caches](Self::add_cache) are asked to give back.
    pub fn set_limit(&self, limit_bytes: u64) {
        let limit_bytes = countable(limit_bytes);
        let refused = self.shared().with_ledger(|ledger| ledger.set_limit(limit_bytes));
        refused.into_iter().for_each(Waker::wake);
        self.reclaim_for(0);
    }

    /// Has `cache` asked for bytes before anybody is refused or made to wait. Held weakly.
    pub fn add_cache(&self, cache: &Arc<impl Reclaim + 'static>) {
        let cache: Weak<dyn Reclaim> = Arc::downgrade(cache) as Weak<dyn Reclaim>;
        self.shared().caches.add(cache);
    }

    /// Returns the limit in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.shared().ledger.lock().limit_bytes()
    }

    /// Returns the free bytes; 0 after a cut below what is reserved.
    pub fn available_bytes(&self) -> u64 {
        self.stats().available_bytes
    }

    /// Returns the bytes reserved in the name of this handle; without a name, what no name holds.
    pub fn reserved_bytes(&self) -> u64 {
        match self.account.name {
            Some(_) => self.account.reserved_bytes.load(Relaxed),
            None => self.unnamed_bytes(&self.named_consumers()),
        }
    }

    /// Returns whether somebody waits, or more is reserved than a limit that was cut: what is held
    /// without need should go back now.
    pub fn is_contended(&self) -> bool {
        let maybe = self.shared().gate.free_bytes().is_none_or(|free_bytes| free_bytes < 0);
        maybe && {
            let stats = self.stats();
            0 < stats.waiting || stats.limit_bytes < stats.reserved_bytes
        }
    }

    /// Returns the state of the whole budget, whatever this handle's name.
    pub fn stats(&self) -> BudgetStats {
        let ledger = self.shared().ledger.lock();
        let limit_bytes = ledger.limit_bytes();
        // With the lock in our hand the gate is open, or shut because somebody waits.
        let free_bytes = self.shared().gate.free_bytes().unwrap_or(ledger.free_bytes());
        BudgetStats {
            limit_bytes,
            reserved_bytes: limit_bytes.saturating_add_signed(-free_bytes),
            available_bytes: u64::try_from(free_bytes).unwrap_or(0),
            waiting: ledger.waiting(),
        }
    }

    /// Returns the `consumers_max` consumers that hold most, largest first, none that holds nothing.
    pub fn top(&self, consumers_max: usize) -> Vec<Consumer> {
        let mut consumers = self.named_consumers();
        let reserved_bytes = self.unnamed_bytes(&consumers);
        consumers.push(Consumer { name: UNNAMED.into(), reserved_bytes });
        consumers.retain(|consumer| 0 < consumer.reserved_bytes);
        consumers.sort_by(|a, b| {
            b.reserved_bytes.cmp(&a.reserved_bytes).then_with(|| a.name.cmp(&b.name))
        });
        consumers.truncate(consumers_max);
        consumers
    }

    fn shared(&self) -> &Shared {
        &self.account.shared
    }

    fn named_consumers(&self) -> Vec<Consumer> {
        let accounts = self.shared().accounts.lock();
        accounts.iter().filter_map(|account| account.upgrade()?.consumer()).collect()
    }

    /// What is reserved and in no name; of counts that move it may miss what is just on its way.
    fn unnamed_bytes(&self, named: &[Consumer]) -> u64 {
        let named_bytes: u64 = named.iter().map(|consumer| consumer.reserved_bytes).sum();
        self.stats().reserved_bytes.saturating_sub(named_bytes)
    }

    /// Takes free bytes that nobody waits for. No bytes at all are always free.
    fn take(&self, bytes: u64) -> bool {
        let Ok(bytes) = i64::try_from(bytes) else { return false };
        bytes == 0 || self.shared().gate.try_take(bytes) || self.shared().take_slowly(bytes)
    }

    /// Has the caches give back `bytes`, and before them what is reserved above the limit; returns how
    /// many they gave.
    fn reclaim_for(&self, bytes: u64) -> u64 {
        let BudgetStats { limit_bytes, reserved_bytes, .. } = self.stats();
        let above_bytes = reserved_bytes.saturating_sub(limit_bytes);
        self.shared().caches.reclaim(bytes.saturating_add(above_bytes))
    }

    fn give(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).expect("no more were granted than a limit allows");
        if bytes != 0 && !self.shared().gate.try_give(bytes) {
            self.shared().give_slowly(bytes);
        }
    }

    /// The value for bytes that are already taken.
    fn granted(&self, bytes: u64) -> Reservation {
        self.account.count_in(bytes);
        Reservation::new(self.clone(), bytes)
    }

    fn refused(&self, requested_bytes: u64) -> Refused {
        let BudgetStats { limit_bytes, available_bytes, waiting, .. } = self.stats();
        let largest = self.top(Refused::LARGEST_MAX);
        Refused { requested_bytes, available_bytes, limit_bytes, waiting, largest }
    }
}

impl Account {
    fn new(name: Option<Arc<str>>, shared: Arc<Shared>) -> Self {
        Self { name, reserved_bytes: AtomicU64::new(0), shared }
    }

    fn consumer(&self) -> Option<Consumer> {
        let reserved_bytes = self.reserved_bytes.load(Relaxed);
        Some(Consumer { name: self.name.clone()?, reserved_bytes })
    }

    fn count_in(&self, bytes: u64) {
        if self.name.is_some() {
            self.reserved_bytes.fetch_add(bytes, Relaxed);
        }
    }

    fn count_out(&self, bytes: u64) {
        if self.name.is_some() {
            self.reserved_bytes.fetch_sub(bytes, Relaxed);
        }
    }
}

impl Shared {
    #[cold]
    fn take_slowly(&self, bytes: i64) -> bool {
        self.with_ledger(|ledger| ledger.try_take(bytes))
    }

    #[cold]
    fn give_slowly(&self, bytes: i64) {
        self.with_ledger(|ledger| ledger.give(bytes));
    }

    /// Works on the ledger, then serves the line. The gate is shut meanwhile, and stays shut as long as
    /// somebody waits.
    fn with_ledger<R>(&self, work: impl FnOnce(&mut Ledger<Waker>) -> R) -> R {
        let mut ledger = self.ledger.lock();
        if ledger.waiting() == 0 {
            ledger.set_free_bytes(self.gate.shut());
        }
        let result = work(&mut ledger);
        let granted = ledger.settle();
        if ledger.waiting() == 0 {
            self.gate.reopen(ledger.free_bytes());
        }
        drop(ledger);
        granted.into_iter().for_each(Waker::wake);
        result
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("name", &self.account.name.as_deref().unwrap_or(UNNAMED))
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// The state of a [`Budget`] at one instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BudgetStats {
    /// The limit.
    pub limit_bytes: u64,
    /// Reserved by all; above the limit only after a cut.
    pub reserved_bytes: u64,
    /// Free; 0 after a cut below what is reserved.
    pub available_bytes: u64,
    /// Requests in the line.
    pub waiting: usize,
}

/// Free bytes are counted with a sign, so that a cut can leave them below zero.
fn countable(limit_bytes: u64) -> u64 {
    limit_bytes.min(i64::MAX as u64)
}
