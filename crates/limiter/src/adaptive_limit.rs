//! A concurrency limit that adapts itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::seam::Clock;
use crate::sync::Mutex;
use crate::{
    AdaptiveConcurrency, AdaptiveError, AdaptiveOptions, ConcurrencyLimit, ConcurrencyPermit,
    Moment, Sample,
};

/// A [`ConcurrencyLimit`] that an [`AdaptiveConcurrency`] resizes, by what its permits report. A clone is
/// another handle of the same limit.
///
/// # Fairness and order
///
/// First come, first served.
///
/// # Examples
///
/// ```
/// use limiter::{AdaptiveLimit, AdaptiveOptions};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), limiter::AdaptiveError> {
/// let limit = AdaptiveLimit::new(AdaptiveOptions::default())?;
/// let permit = limit.acquire().await;
/// let fetched_bytes = 65_536;
/// permit.succeed(fetched_bytes);
/// assert_eq!(4, limit.limit());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AdaptiveLimit {
    permits: ConcurrencyLimit,
    controller: Arc<Mutex<AdaptiveConcurrency>>,
    clock: Clock,
}

/// The right to be one of those in flight, and the duty to tell what came of it.
///
/// Dropping it without a word gives it back and teaches nothing: the request was given up.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back at once"]
pub struct AdaptivePermit {
    limit: AdaptiveLimit,
    /// Given back after the controller has learned.
    _permit: ConcurrencyPermit,
    begun: Moment,
}

impl AdaptiveLimit {
    /// Returns a limit that begins with `limit_start`.
    ///
    /// # Errors
    ///
    /// [`AdaptiveError`] when the options contradict each other.
    pub fn new(options: AdaptiveOptions) -> Result<Self, AdaptiveError> {
        let clock = Clock::new();
        let controller = AdaptiveConcurrency::new(options, clock.now())?;
        let permits = ConcurrencyLimit::new(controller.limit());
        Ok(Self { permits, controller: Arc::new(Mutex::new(controller)), clock })
    }

    /// Waits for a permit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the line and nothing else.
    pub async fn acquire(&self) -> AdaptivePermit {
        self.tick();
        let permit = self.permits.acquire().await;
        self.permit(permit)
    }

    /// Returns a permit if one is free and nobody waits.
    pub fn try_acquire(&self) -> Option<AdaptivePermit> {
        self.tick();
        self.permits.try_acquire().map(|permit| self.permit(permit))
    }

    /// Returns how many may be in flight now.
    pub fn limit(&self) -> usize {
        self.permits.limit()
    }

    /// Returns how many are in flight.
    pub fn in_flight(&self) -> usize {
        self.permits.in_flight()
    }

    /// Returns the limit that it has settled on; `None` while it searches.
    pub fn settled(&self) -> Option<usize> {
        self.controller.lock().settled()
    }

    /// Begins to search anew at a limit within the bounds; see [`AdaptiveConcurrency::restart`].
    pub fn restart(&self, limit: usize) {
        self.learn(|controller, now| controller.restart(limit, now));
    }

    /// Learns what a lower limit has brought per second until now; see [`AdaptiveConcurrency::already_brought`].
    pub fn already_brought(&self, limit: usize, goodput: f64) {
        self.learn(|controller, now| controller.already_brought(limit, goodput, now));
    }

    /// Returns whether goodput has collapsed and is not known to be back; see
    /// [`AdaptiveConcurrency::is_recovering`].
    pub fn is_recovering(&self) -> bool {
        self.controller.lock().is_recovering()
    }

    /// Changes the least time to measure at one limit, from now on; see
    /// [`AdaptiveConcurrency::set_epoch_min`].
    pub fn set_epoch_min(&self, epoch_min: Duration) {
        self.controller.lock().set_epoch_min(epoch_min);
    }

    /// Lets the limit see that time has passed. Acquiring does it too; call it now and then where all
    /// tasks may be stuck in requests that never end.
    pub fn tick(&self) {
        let in_flight = self.permits.in_flight();
        self.learn(|controller, now| controller.tick(now, in_flight));
    }

    fn permit(&self, permit: ConcurrencyPermit) -> AdaptivePermit {
        AdaptivePermit { limit: self.clone(), _permit: permit, begun: self.clock.now() }
    }

    fn learn(&self, lesson: impl FnOnce(&mut AdaptiveConcurrency, Moment)) {
        let now = self.clock.now();
        let mut controller = self.controller.lock();
        let before = controller.limit();
        lesson(&mut controller, now);
        let after = controller.limit();
        // Under the lock, so that the last to decide is the last to resize.
        if before != after {
            self.permits.resize(after);
        }
    }
}

impl AdaptivePermit {
    /// Reports what the request has brought, in bytes or requests, and gives the permit back.
    pub fn succeed(self, amount: u64) {
        self.report(amount);
    }

    /// Reports that the request has failed (it has brought nothing), and gives the permit back.
    pub fn fail(self) {
        self.report(0);
    }

    /// Reports what a long request has brought since it began or last reported, and goes on.
    pub fn progress(&mut self, amount: u64) {
        self.report(amount);
        self.begun = self.limit.clock.now();
    }

    /// Reports that what came since it began or last reported was held back by something else than the limit,
    /// such as a limit of rate, and goes on: the measurement under way is void.
    pub fn held_back(&mut self) {
        self.limit.learn(AdaptiveConcurrency::void);
        self.begun = self.limit.clock.now();
    }

    fn report(&self, amount: u64) {
        let permits = &self.limit.permits;
        let (out, begun) = (permits.in_flight(), self.begun);
        let in_flight = out + permits.waiting();
        self.limit.learn(|controller, finished| {
            // Under a collapse too many are no excuse: the limit is right if goodput is back although they are.
            if controller.limit() < out && !controller.is_recovering() {
                return controller.void(finished);
            }
            controller.observe(Sample { begun, finished, amount, in_flight });
        });
    }
}

impl fmt::Debug for AdaptiveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit").field("permits", &self.permits).finish_non_exhaustive()
    }
}
