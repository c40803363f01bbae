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
/// **Cost.** Without a line, two atomic operations to take and two to give back, no lock, no allocation.
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
    name: Arc<str>,
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
        Self::of_account(&shared, UNNAMED)
    }

    /// Returns a handle on the same budget that reserves in the name of `name`.
    ///
    /// Two handles of one name count together.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self::of_account(&self.account.shared, name)
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
        let asked_caches = bytes <= self.limit_bytes() && 0 < self.shared().caches.reclaim(bytes);
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

    /// Moves the limit. Those who wait are served or, if they now ask for too much, refused.
    pub fn set_limit(&self, limit_bytes: u64) {
        let limit_bytes = countable(limit_bytes);
        let refused = self.shared().with_ledger(|ledger| ledger.set_limit(limit_bytes));
        refused.into_iter().for_each(Waker::wake);
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

    /// Returns the bytes reserved in the name of this handle.
    pub fn reserved_bytes(&self) -> u64 {
        self.account.reserved_bytes.load(Relaxed)
    }

    /// Returns whether somebody waits: what is held without need should go back now.
    pub fn is_contended(&self) -> bool {
        let maybe = self.shared().gate.free_bytes().is_none();
        maybe && 0 < self.shared().ledger.lock().waiting()
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
        let mut consumers: Vec<_> =
            self.accounts().iter().map(|account| account.consumer()).collect();
        consumers.retain(|consumer| 0 < consumer.reserved_bytes);
        consumers.sort_by(|a, b| {
            b.reserved_bytes.cmp(&a.reserved_bytes).then_with(|| a.name.cmp(&b.name))
        });
        consumers.truncate(consumers_max);
        consumers
    }

    /// The live account of that name, or a new one.
    fn of_account(shared: &Arc<Shared>, name: &str) -> Self {
        let mut accounts = shared.accounts.lock();
        let mut live = accounts.iter().filter_map(Weak::upgrade);
        if let Some(account) = live.find(|account| &*account.name == name) {
            return Self { account };
        }
        drop(live);
        let reserved_bytes = AtomicU64::new(0);
        let shared = Arc::clone(shared);
        let account = Arc::new(Account { name: name.into(), reserved_bytes, shared });
        accounts.retain(|account| 0 < account.strong_count());
        accounts.push(Arc::downgrade(&account));
        Self { account }
    }

    fn shared(&self) -> &Shared {
        &self.account.shared
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.shared().accounts.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Takes free bytes that nobody waits for. No bytes at all are always free.
    fn take(&self, bytes: u64) -> bool {
        let Ok(bytes) = i64::try_from(bytes) else { return false };
        bytes == 0
            || self.shared().gate.try_take(bytes)
            || self.shared().with_ledger(|ledger| ledger.try_take(bytes))
    }

    fn give(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).expect("no more were granted than a limit allows");
        if bytes == 0 || self.shared().gate.try_give(bytes) {
            return;
        }
        self.shared().with_ledger(|ledger| ledger.give(bytes));
    }

    /// The value for bytes that are already taken.
    fn granted(&self, bytes: u64) -> Reservation {
        self.account.reserved_bytes.fetch_add(bytes, Relaxed);
        Reservation::new(self.clone(), bytes)
    }

    fn refused(&self, requested_bytes: u64) -> Refused {
        let BudgetStats { limit_bytes, available_bytes, waiting, .. } = self.stats();
        let largest = self.top(Refused::LARGEST_MAX);
        Refused { requested_bytes, available_bytes, limit_bytes, waiting, largest }
    }
}

impl Account {
    fn consumer(&self) -> Consumer {
        let reserved_bytes = self.reserved_bytes.load(Relaxed);
        Consumer { name: Arc::clone(&self.name), reserved_bytes }
    }
}

impl Shared {
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
            .field("name", &self.account.name)
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
