//! Statistics that say how much they know.
//!
//! Nothing here assumes a distribution: latencies have tails, machines have moods. Quantiles are order
//! statistics, their intervals come from the binomial distribution, ratios from resampling pairs. A
//! quantile that the sample cannot carry is an error that names the number of samples it needs.

mod binomial;
mod bootstrap;
mod early_stopping;
mod quantile;
mod random;
mod shares;
mod slope;

pub use bootstrap::{Interval, PairedRatio, paired_ratio};
pub use early_stopping::{EarlyStop, TooFew, samples_min};
pub use quantile::{interval, median, quantile};
pub use random::Random;
pub use shares::share_interval;
pub use slope::{Slope, slope};
