//! A stream from the ground truth beside the load: whether the client keeps up is seen, not assumed.

use std::time::Duration;

use inference_bench::stream::{Drive, Plan, StampSource, Target};

use crate::ground_truth::GroundTruth;

/// Faster than this, the canary would be a load itself: 200 events a second.
const INTERVAL_MIN: Duration = Duration::from_millis(5);
/// Slower than this, it would not be heard in a short run.
const INTERVAL_MAX: Duration = Duration::from_millis(100);
/// More than any run lasts; the source gives no more.
const TOKENS: u32 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(86_400);

/// A source that is ready to sing beside any number of runs.
pub(crate) struct Canary {
    source: GroundTruth,
    stamp: StampSource,
}

impl Canary {
    /// Starts its source. It sings at the interval of the load, so that what would join two events of
    /// the load joins two of its own.
    pub(crate) fn start(interval: Duration, stamp: StampSource) -> Result<Self, String> {
        let interval = Self::interval_for(interval);
        Ok(Self { source: GroundTruth::start(interval, interval)?, stamp })
    }

    /// Between its tokens, beside a load of this interval.
    pub(crate) fn interval_for(load: Duration) -> Duration {
        load.clamp(INTERVAL_MIN, INTERVAL_MAX)
    }

    /// One stream that lasts until it is stopped.
    pub(crate) fn drive(&self) -> Result<Drive, String> {
        let url = self.source.url.as_str();
        let target = Target { tokens: TOKENS, timeout: TIMEOUT, ..Target::new(url) };
        let plan = Plan { stamp: self.stamp, ..Plan::closed(1) };
        Drive::new(&target, plan).map_err(|error| error.to_string())
    }
}
