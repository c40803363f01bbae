//! How many at once is best: a controller that climbs on goodput.

mod epoch;
mod search;

use std::fmt;
use std::time::Duration;

use self::epoch::Epoch;
use self::search::Search;
use crate::Moment;

/// Finds the concurrency of the best goodput, and stays there.
///
/// Pure: it is told what has finished and when, and says how many should be in flight. It measures the
/// goodput (the amount finished in good order per second) at one limit after the other, climbs while
/// that pays, narrows the knee down, and settles on the least concurrency within 5 % of the best
/// goodput it has seen. Once settled it looks one step up and one step down now and then, ever more
/// rarely, so it never strays from the knee by more than a step, and comes down to it step by step where
/// noise has made it settle above; a change of capacity makes it search again.
///
/// Where more concurrency makes goodput collapse, it sees so within the shortest measurement, remembers at
/// how many and stays below that for long; after a second collapse it earns for a while before it risks a
/// third. Where goodput has collapsed and stays so, it halves the limit until goodput is back, and climbs
/// again from there, by single steps.
///
/// A step is a 16th of the limit, at least 1. A measurement lasts until its standard error tells the
/// possible answers apart.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::{AdaptiveConcurrency, AdaptiveOptions, Moment, Sample};
///
/// let mut controller = AdaptiveConcurrency::new(AdaptiveOptions::default(), Moment::ZERO)?;
/// let begun = Moment::ZERO;
/// let finished = begun.saturating_add(Duration::from_millis(20));
/// let in_flight = controller.limit();
/// controller.observe(Sample { begun, finished, amount: 65_536, in_flight });
/// assert_eq!(in_flight, controller.limit(), "one sample decides nothing");
/// # Ok::<(), limiter::AdaptiveError>(())
/// ```
///
/// # Source
///
/// Ours: a bracketing search for the maximum of a unimodal function under noise, on batch means. Gradient controllers, such as Netflix's concurrency
/// limits, follow latency, which says nothing where the far side merely shares out its bandwidth.
#[derive(Clone, Debug)]
pub struct AdaptiveConcurrency {
    options: AdaptiveOptions,
    search: Search,
    epoch: Epoch,
    /// Something finished, or nothing was in flight.
    progress: Moment,
}

/// Bounds and patience of an [`AdaptiveConcurrency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveOptions {
    /// The least limit, at least 1.
    pub limit_min: usize,
    /// The greatest limit.
    pub limit_max: usize,
    /// The limit to begin with.
    pub limit_start: usize,
    /// The least time to measure at one limit. Long enough for the far side to get into its stride; it
    /// is lengthened on its own where goodput is noisy.
    pub epoch_min: Duration,
    /// When nothing finishes for so long, goodput is taken for 0 and the limit is lowered.
    pub stall_timeout: Duration,
}

/// One request, or one piece of a long one, that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it began.
    pub begun: Moment,
    /// When it ended, in good order or not.
    pub finished: Moment,
    /// What it has brought, in bytes or requests; 0 when it failed.
    pub amount: u64,
    /// How many were in flight or waiting to be just before it ended, itself included. Below three
    /// quarters of the limit the limit was not what held goodput back, and the sample says nothing.
    pub in_flight: usize,
}

/// Options that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveError {
    options: AdaptiveOptions,
}

impl Default for AdaptiveOptions {
    /// From 1 to 64, beginning with 4; at least 250 ms a measurement (several round trips of any link),
    /// and 15 s without progress for a stall.
    fn default() -> Self {
        Self {
            limit_min: 1,
            limit_max: 64,
            limit_start: 4,
            epoch_min: Duration::from_millis(250),
            stall_timeout: Duration::from_secs(15),
        }
    }
}

impl AdaptiveConcurrency {
    /// Returns a controller that begins to measure at `now`.
    ///
    /// # Errors
    ///
    /// [`AdaptiveError`] unless `1 <= limit_min <= limit_start <= limit_max` and both times are more
    /// than 0.
    pub fn new(options: AdaptiveOptions, now: Moment) -> Result<Self, AdaptiveError> {
        let AdaptiveOptions { limit_min, limit_max, limit_start, .. } = options;
        let ascends = 1 <= limit_min && limit_min <= limit_start && limit_start <= limit_max;
        if !ascends || options.epoch_min.is_zero() || options.stall_timeout.is_zero() {
            return Err(AdaptiveError { options });
        }
        let search = Search::new(limit_min, limit_max, limit_start);
        Ok(Self { options, search, epoch: Epoch::new(now), progress: now })
    }

    /// Returns how many should be in flight.
    pub fn limit(&self) -> usize {
        self.search.limit()
    }

    /// Returns the limit it has settled on; `None` while it searches.
    pub fn settled(&self) -> Option<usize> {
        self.search.settled()
    }

    /// Returns whether goodput has collapsed and is not known to be back. Those in flight above the limit prolong
    /// the collapse then, and are better given up than waited for.
    pub fn is_recovering(&self) -> bool {
        self.search.is_recovering()
    }

    /// Learns that something has come which says nothing about the limit, because something else held it back or
    /// more are in flight: the measurement under way is void, and begins anew.
    pub fn void(&mut self, now: Moment) {
        self.progress = self.progress.max(now);
        self.epoch = Epoch::new(now);
    }

    /// Learns from what has ended. Samples must come in the order in which they ended; one that ended
    /// before the last counts as ended with it.
    pub fn observe(&mut self, sample: Sample) {
        self.progress = self.progress.max(sample.finished);
        let limit = self.limit();
        self.epoch.observe(sample, limit);
        if let Some(goodput) = self.collapsed(sample) {
            return self.decide(goodput, sample.finished);
        }
        let epoch_min = self.options.epoch_min;
        let sooner = self.epoch.goodput(epoch_min / 2);
        let sooner = sooner.filter(|goodput| self.search.is_sure_gain(goodput));
        let goodput = sooner.or_else(|| self.epoch.goodput(epoch_min));
        if let Some(goodput) = goodput.filter(|goodput| self.search.is_clear(goodput)) {
            self.decide(goodput.mean, sample.finished);
        }
    }

    /// Learns what a lower limit has brought per second until now; it begins to measure now. Where the limit to
    /// begin with brings far more, goodput has not collapsed yet, and limits at which each would have to bring
    /// more than here need not be tried.
    pub fn already_brought(&mut self, limit: usize, goodput: f64, now: Moment) {
        if self.search.already_brought(limit, goodput) {
            self.void(now);
        }
    }

    /// Begins to search anew at a limit within the bounds: where something has turned out of which the limit to
    /// begin with knew nothing. It settles on a limit that is enough then, and does not search for the least that
    /// is: a search downwards costs most where such things turn out, far away.
    pub fn restart(&mut self, limit: usize, now: Moment) {
        let AdaptiveOptions { limit_min, limit_max, .. } = self.options;
        let limit = limit.clamp(limit_min, limit_max);
        self.search = Search::new(limit_min, limit_max, limit).generous();
        self.epoch = Epoch::new(now);
    }

    /// Changes the least time to measure at one limit, from now on: where the far side turns out to be far,
    /// some round trips. 0 counts as a nanosecond.
    pub fn set_epoch_min(&mut self, epoch_min: Duration) {
        self.options.epoch_min = epoch_min.max(Duration::from_nanos(1));
    }

    /// The goodput, where a raised limit has so obviously made it collapse that to measure it well would only
    /// prolong the collapse.
    fn collapsed(&self, sample: Sample) -> Option<f64> {
        let (usual, floor) = self.search.collapse_floor()?;
        let is_saturated = Epoch::is_saturated(sample, self.limit());
        let at_most = self.epoch.at_most(usual, sample.finished, self.options.epoch_min)?;
        (is_saturated && at_most < floor).then_some(at_most)
    }

    /// Learns that time has passed; to be called now and then, at least once per stall time-out.
    pub fn tick(&mut self, now: Moment, in_flight: usize) {
        if in_flight == 0 {
            self.progress = self.progress.max(now);
        }
        if self.options.stall_timeout <= now.saturating_since(self.progress) {
            self.progress = now;
            self.decide(0.0, now);
        }
    }

    fn decide(&mut self, goodput: f64, now: Moment) {
        self.search.measured(goodput);
        self.epoch = Epoch::new(now);
    }
}

impl fmt::Display for AdaptiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdaptiveOptions { limit_min, limit_max, limit_start, .. } = self.options;
        write!(
            f,
            "limits of {limit_min} (least), {limit_start} (start), {limit_max} (greatest) must be at \
             least 1 and in this order, and the times above 0"
        )
    }
}

impl std::error::Error for AdaptiveError {}
