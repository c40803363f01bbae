//! Caches that give memory back when it is wanted.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::Mutex;

/// Something that holds memory it could do without: idle buffers, a cache, the free lists of the C heap.
///
/// A [`Budget`](crate::Budget) asks its caches before it refuses or lets wait; a
/// [`Monitor`](crate::Monitor) asks its own when the level rises.
///
/// # Examples
///
/// ```
/// use std::sync::Mutex;
///
/// /// Pages that can be read again.
/// struct Pages(Mutex<Vec<Vec<u8>>>);
///
/// impl memory::Reclaim for Pages {
///     fn reclaim(&self, wanted_bytes: u64) -> u64 {
///         let mut pages = self.0.lock().unwrap();
///         let mut given_bytes = 0;
///         while given_bytes < wanted_bytes {
///             let Some(page) = pages.pop() else { break };
///             given_bytes += page.capacity() as u64;
///         }
///         given_bytes
///     }
/// }
///
/// let pages = Pages(Mutex::new(vec![vec![0; 4096]; 3]));
/// assert_eq!(8192, memory::Reclaim::reclaim(&pages, 5000));
/// ```
pub trait Reclaim: Send + Sync {
    /// Gives back at least `wanted_bytes`, or all it can; returns how many it gave.
    ///
    /// Called from the thread that wants the bytes, with none of this crate's locks held. It must not
    /// wait for that thread.
    fn reclaim(&self, wanted_bytes: u64) -> u64;
}

/// Those who are asked, in the order in which they came; held weakly.
#[derive(Default)]
pub(crate) struct Caches(Mutex<Vec<Weak<dyn Reclaim>>>);

impl Caches {
    /// Adds a cache, and forgets those that are gone: the list is as long as there are live caches.
    pub(crate) fn add(&self, cache: Weak<dyn Reclaim>) {
        let mut caches = self.0.lock();
        caches.retain(|cache| 0 < cache.strong_count());
        caches.push(cache);
    }

    /// Asks one after the other until `wanted_bytes` are given; returns how many were.
    pub(crate) fn reclaim(&self, wanted_bytes: u64) -> u64 {
        self.reclaim_by(wanted_bytes, |cache, wanted_bytes| cache.reclaim(wanted_bytes))
    }

    /// Like [`reclaim`](Self::reclaim), for those who ask a cache in a way of their own.
    pub(crate) fn reclaim_by(
        &self,
        wanted_bytes: u64,
        ask: impl Fn(&dyn Reclaim, u64) -> u64,
    ) -> u64 {
        let live: Vec<Arc<dyn Reclaim>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let mut given_bytes = 0_u64;
        for cache in live {
            if wanted_bytes <= given_bytes {
                break;
            }
            given_bytes = given_bytes.saturating_add(ask(&*cache, wanted_bytes - given_bytes));
        }
        given_bytes
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caches").field(&self.0.lock().len()).finish()
    }
}
