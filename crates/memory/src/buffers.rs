//! Equal buffers, used again and again, each charged to a budget.

mod buffer;
mod pages;

use std::fmt;
use std::sync::Arc;

use self::pages::Pages;
use crate::budget::{Budget, Refused, Reservation};
use crate::reclaim::Reclaim;
use crate::sync::Mutex;

pub use self::buffer::Buffer;

/// A pool of page-aligned buffers of one size.
///
/// A buffer is filled, [frozen](Buffer::freeze) into [`Bytes`](bytes::Bytes), cloned and sliced at will,
/// and comes back when the last of these is dropped: what it holds of the budget travels with it.
///
/// **Bounds.** Every buffer, idle ones too, is charged to the budget, so `buffers · buffer_bytes` never
/// exceeds its limit. Idle buffers are nobody's loss: they are freed before any request on the same
/// budget is refused or made to wait, and those above `idle_max` or a limit that is cut at once.
///
/// **Cost.** A buffer from the pool: one lock. A fresh one: pages from the kernel, touched for the first
/// time by whoever fills them (about 20 µs per MiB on a 2-core AMD EPYC virtual machine, 2026-11-22),
/// which is why they are kept.
///
/// # Examples
///
/// ```
/// use memory::{Budget, BufferPool};
///
/// let budget = Budget::new(1 << 20);
/// let pool = BufferPool::new(&budget, 1 << 18, 4);
///
/// let mut buffer = pool.try_get()?;
/// assert_eq!(5, buffer.extend(b"token"));
/// let bytes = buffer.freeze();
/// let tail = bytes.slice(2..);
/// drop(bytes);
/// assert_eq!(&tail[..], b"ken");
///
/// drop(tail);
/// assert_eq!(1, pool.idle());
/// let all = budget.try_reserve(1 << 20)?;
/// assert_eq!(0, pool.idle());
/// # Ok::<(), memory::Refused>(())
/// ```
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    budget: Budget,
    buffer_bytes: usize,
    idle_max: usize,
    /// The last one back goes out first: its pages are the warmest.
    idle: Mutex<Vec<Charged>>,
}

/// Pages with the bytes they cost.
#[derive(Debug)]
struct Charged {
    pages: Pages,
    reservation: Reservation,
}

impl BufferPool {
    /// Returns a pool of buffers of `buffer_bytes`, rounded up to whole pages, that keeps at most
    /// `idle_max` of them idle.
    ///
    /// # Panics
    ///
    /// When `buffer_bytes` is 0 or above `isize::MAX`.
    pub fn new(budget: &Budget, buffer_bytes: usize, idle_max: usize) -> Self {
        let buffer_bytes = Pages::round_up(buffer_bytes);
        let idle = Mutex::new(Vec::new());
        let shared = Arc::new(Shared { budget: budget.clone(), buffer_bytes, idle_max, idle });
        budget.add_cache(&shared);
        Self { shared }
    }

    /// Returns an empty buffer, in the order in which the budget serves.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the budget's limit is below one buffer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing and gives up the place in the budget's line.
    pub async fn get(&self) -> Result<Buffer, Refused> {
        match self.idle_buffer() {
            Some(buffer) => Ok(buffer),
            None => Ok(self.fresh(self.shared.budget.reserve(self.bytes()).await?)),
        }
    }

    /// Returns an empty buffer at once.
    ///
    /// # Errors
    ///
    /// [`Refused`] when none is idle and the budget has no room for another.
    pub fn try_get(&self) -> Result<Buffer, Refused> {
        match self.idle_buffer() {
            Some(buffer) => Ok(buffer),
            None => Ok(self.fresh(self.shared.budget.try_reserve(self.bytes())?)),
        }
    }

    /// Returns an empty buffer and blocks the thread until there is one.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn get_blocking(&self) -> Result<Buffer, Refused> {
        crate::block::block_on(self.get())
    }

    /// Returns the capacity of each buffer in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.shared.buffer_bytes
    }

    /// Returns how many buffers lie idle.
    pub fn idle(&self) -> usize {
        self.shared.idle.lock().len()
    }

    /// Frees idle buffers of at least `wanted_bytes`, or all; returns how many bytes that were.
    pub fn trim(&self, wanted_bytes: u64) -> u64 {
        self.shared.reclaim(wanted_bytes)
    }

    /// The pool as something that a [`Monitor`](crate::Monitor) can ask for memory.
    pub fn as_cache(&self) -> Arc<impl Reclaim + 'static> {
        Arc::clone(&self.shared)
    }

    fn idle_buffer(&self) -> Option<Buffer> {
        // An idle buffer is already paid for, yet a line on the budget comes first, and a cut limit too.
        if self.shared.budget.is_contended() {
            return None;
        }
        let charged = self.shared.idle.lock().pop()?;
        Some(Buffer::new(charged, Arc::clone(&self.shared)))
    }

    fn fresh(&self, reservation: Reservation) -> Buffer {
        let pages = Pages::zeroed(self.shared.buffer_bytes);
        Buffer::new(Charged { pages, reservation }, Arc::clone(&self.shared))
    }

    fn bytes(&self) -> u64 {
        self.shared.buffer_bytes as u64
    }
}

impl Shared {
    /// Takes a buffer back. What is too much, wanted by others, or above a limit that was cut is freed.
    fn put_back(&self, charged: Charged) {
        let mut idle = self.idle.lock();
        let too_many = if idle.len() < self.idle_max {
            idle.push(charged);
            None
        } else {
            Some(charged)
        };
        drop(idle);
        drop(too_many);
        // In this order: who joined the line before looking into the pool is seen here.
        if self.budget.is_contended() {
            self.reclaim(self.buffer_bytes as u64);
        }
    }
}

impl Reclaim for Shared {
    fn reclaim(&self, wanted_bytes: u64) -> u64 {
        let buffers = wanted_bytes.div_ceil(self.buffer_bytes as u64);
        let buffers = usize::try_from(buffers).unwrap_or(usize::MAX);
        let mut idle = self.idle.lock();
        let kept = idle.len().saturating_sub(buffers);
        let freed = idle.split_off(kept);
        drop(idle);
        // Outside of the lock: each gives back to the budget, which may wake somebody.
        freed.into_iter().map(|charged| charged.reservation.bytes()).sum()
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("buffer_bytes", &self.shared.buffer_bytes)
            .field("idle", &self.idle())
            .field("idle_max", &self.shared.idle_max)
            .finish_non_exhaustive()
    }
}
