//! A limit per key, in bounded memory.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

use crate::sync::Mutex;
use crate::{Burst, Limiter, Rate, Share, ShareError};

/// How many looks at a key, whether it can be forgotten, a new key that finds no room pays for.
const LOOKS_OF_NEW: usize = 64;
/// How many a known key that is asked for pays for.
const LOOKS_OF_KNOWN: usize = 4;
/// How many can be saved up, and be done in one go under the lock: a fraction of a millisecond.
const LOOKS_MAX: usize = 4096;

/// A limiter for each key (a client, an API key, a host), made when first asked for.
///
/// At most `keys_max` keys are remembered. A key that nobody holds a handle of, whose bucket is full again
/// and that is neither paused nor of another rate or burst than at first, can be forgotten without any
/// effect: a new one is just like it. So the bound never lets a client have more than its limit. A new key
/// is refused where none can be forgotten of those that are looked at: each new one pays for 64 looks, each
/// known one that is asked for pays for 4, and up to 4096 are saved up. The next new one has the next keys
/// looked at. So a key that can be forgotten is found after `keys_max / 64` refusals at the latest, and with
/// none where there are no more than 4096 keys and most requests are of known ones.
///
/// # Cost
///
/// A lock and a look-up in a hash map; for a new key when there is no room, a look at up to 4096 others, of
/// which all but 64 were paid for before.
///
/// # Examples
///
/// ```
/// use limiter::{Keyed, KeyedOptions};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = KeyedOptions { rate: "60/m".parse()?, burst: "10".parse()?, keys_max: 10_000 };
/// let clients: Keyed<String> = Keyed::new(options);
/// clients.get("alice")?.try_acquire(10)?;
/// assert!(clients.get("alice")?.try_acquire(1).is_err());
/// assert!(clients.get("bob")?.try_acquire(1).is_ok());
/// # Ok(())
/// # }
/// ```
pub struct Keyed<K> {
    options: KeyedOptions,
    parent: Option<Limiter>,
    keys: Mutex<Keys<K>>,
}

/// What each key of a [`Keyed`] may have, and how many keys are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedOptions {
    /// The rate of each key.
    pub rate: Rate,
    /// The burst of each key.
    pub burst: Burst,
    /// The largest number of keys remembered.
    pub keys_max: usize,
}

/// Why a new key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyedError {
    /// As many keys as may be remembered are there, and all that were looked at are in use, or have been so
    /// lately.
    TooManyKeys {
        /// The largest number of keys remembered.
        keys_max: usize,
    },
    /// The common limit takes no more children.
    Share(ShareError),
}

struct Keys<K> {
    limiters: HashMap<K, Limiter>,
    /// All keys, the one to be looked at next first.
    order: VecDeque<K>,
    /// How many looks are paid for.
    looks: usize,
}

impl<K: Eq + Hash> Keyed<K> {
    /// Returns limits that know nothing of each other.
    pub fn new(options: KeyedOptions) -> Self {
        Self::build(options, None)
    }

    /// Returns limits that share another one, by equal weights.
    pub fn under(parent: Limiter, options: KeyedOptions) -> Self {
        Self::build(options, Some(parent))
    }

    fn build(options: KeyedOptions, parent: Option<Limiter>) -> Self {
        let keys = Keys { limiters: HashMap::new(), order: VecDeque::new(), looks: 0 };
        Self { options, parent, keys: Mutex::new(keys) }
    }

    /// Returns the limiter of a key.
    ///
    /// # Errors
    ///
    /// [`KeyedError`] for a new key when there is no room for it. Keys that are known are always served.
    pub fn get<Q>(&self, key: &Q) -> Result<Limiter, KeyedError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let mut keys = self.keys.lock();
        if let Some(limiter) = keys.limiters.get(key).cloned() {
            keys.pay(LOOKS_OF_KNOWN);
            return Ok(limiter);
        }
        keys.make_room(self.options)?;
        let limiter = self.make()?;
        keys.order.push_back(key.to_owned());
        keys.limiters.insert(key.to_owned(), limiter.clone());
        Ok(limiter)
    }

    /// Returns the number of keys remembered.
    pub fn len(&self) -> usize {
        self.keys.lock().limiters.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn make(&self) -> Result<Limiter, KeyedError> {
        let KeyedOptions { rate, burst, .. } = self.options;
        let Some(parent) = &self.parent else {
            return Ok(Limiter::new(rate, burst));
        };
        let share = Share { ceiling: rate, burst, ..Share::default() };
        parent.child(share).map_err(KeyedError::Share)
    }
}

impl<K: Eq + Hash> Keys<K> {
    fn pay(&mut self, looks: usize) {
        self.looks = (self.looks + looks).min(LOOKS_MAX);
    }

    /// Forgets a key if there are too many for another.
    fn make_room(&mut self, options: KeyedOptions) -> Result<(), KeyedError> {
        let KeyedOptions { rate, burst, keys_max } = options;
        if self.limiters.len() < keys_max {
            return Ok(());
        }
        self.pay(LOOKS_OF_NEW);
        for _ in 0..self.looks.min(self.order.len()) {
            self.looks -= 1;
            let Some(key) = self.order.pop_front() else {
                break;
            };
            let limiter = self.limiters.get(&key);
            if limiter.is_some_and(|limiter| limiter.is_like_new(rate, burst)) {
                self.limiters.remove(&key);
                return Ok(());
            }
            self.order.push_back(key);
        }
        Err(KeyedError::TooManyKeys { keys_max })
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Display for KeyedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyKeys { keys_max } => {
                write!(
                    f,
                    "no room for one more than {keys_max} keys: refuse it, try again, or allow more"
                )
            }
            Self::Share(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyedError {}
