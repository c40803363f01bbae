//! The door for `tests/shuttle.rs`: visitors that come and go.

use std::sync::Arc;

use super::{Admission, Entry, Permit};
use crate::keys::Keys;
use crate::options::Options;
use crate::seam::Clock;
use crate::sync::{AtomicU64, Ordering};
use crate::tenants::Tenants;

/// Visitors of two keys at one door.
#[derive(Clone, Debug)]
pub struct Visitors {
    door: Arc<Admission>,
    tenants: Arc<Tenants>,
    running: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Visitors {
    /// A door through which so many may run and so many may wait, of each key.
    ///
    /// # Panics
    ///
    /// Never: the keys are well written.
    #[must_use]
    pub fn new(running_max: usize, queued_max: usize) -> Self {
        let keys: Keys = "a:1\nb:2 weight=2".parse().expect("two keys");
        // Half of the room is the keys' own.
        let queued_max = 4 * queued_max;
        let options = Options { keys: Some(keys), running_max, queued_max, ..Options::default() };
        let tenants = Tenants::new(options.keys.as_ref());
        let door = Arc::new(Admission::new(&options, &tenants, Clock::start()));
        let (running, most) = (Arc::default(), Arc::default());
        Self { door, tenants: Arc::new(tenants), running, most }
    }

    /// Comes, waits unless told to give up, runs and goes. Returns whether it ran.
    ///
    /// # Panics
    ///
    /// When it is refused, which nobody here is.
    #[must_use]
    pub fn visit(&self, key: usize, gives_up: bool) -> bool {
        let tenant = &self.tenants.all()[key];
        let charge = tenant.reserve(10).expect("its rate has no limit");
        let entry = Entry { charge, class: 0, prompt_tokens: 0, tokens_max: 10 };
        let (permit, mut answer) = self.door.enter(entry).expect("there is room");
        if gives_up {
            let ran = answer.try_recv().is_ok();
            drop(permit);
            return ran;
        }
        shuttle::future::block_on(answer).expect("the place has its answer").expect("no refusal");
        self.run(permit);
        true
    }

    fn run(&self, mut permit: Permit) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        shuttle::thread::yield_now();
        permit.use_tokens(3);
        self.running.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
    }

    /// The most that ran at once.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    /// How many run, and how many wait.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.door.counts()
    }
}
