//! One measurement of goodput at one limit.

use std::time::Duration;

use super::Sample;
use crate::Moment;

/// Batches that a measurement needs at least, for a standard error that means something.
const BATCHES_MIN: usize = 4;

/// Batches after which a measurement ends, however noisy.
const BATCHES_MAX: usize = 48;

/// Samples in a batch at least.
const BATCH_SAMPLES_MIN: usize = 4;

/// The standard error, as a share of the mean, at which a measurement is good enough: a third of the
/// least difference that the search tells apart.
const ERROR_MAX: f64 = 0.01;

/// Goodput by batch means: each batch holds as many samples as are in flight, so that those which began
/// together count together.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// Samples that began before say nothing about the present limit.
    began: Moment,
    /// The end of the last batch; `None` before the first sample that counts.
    batch_began: Option<Moment>,
    batch_amount: f64,
    batch_samples: usize,
    latest: Moment,
    measured: Duration,
    rates: Vec<f64>,
}

impl Epoch {
    pub(super) fn new(began: Moment) -> Self {
        Self {
            began,
            batch_began: None,
            batch_amount: 0.0,
            batch_samples: 0,
            latest: began,
            measured: Duration::ZERO,
            rates: Vec::new(),
        }
    }

    pub(super) fn observe(&mut self, sample: Sample, limit: usize) {
        if sample.begun < self.began {
            return;
        }
        self.latest = self.latest.max(sample.finished);
        // Those that ended together with this one may not have been replaced yet.
        let is_saturated = limit <= sample.in_flight + limit.div_ceil(4);
        let Some(batch_began) = self.batch_began.filter(|_| is_saturated) else {
            // The clock starts with a sample that ends: what it brought was brought before.
            self.start_batch(is_saturated);
            return;
        };
        self.batch_amount += sample.amount as f64;
        self.batch_samples += 1;
        let elapsed = self.latest.saturating_since(batch_began);
        if limit.max(BATCH_SAMPLES_MIN) <= self.batch_samples && !elapsed.is_zero() {
            self.rates.push(self.batch_amount / elapsed.as_secs_f64());
            self.measured += elapsed;
            self.start_batch(true);
        }
    }

    /// The mean goodput per second, once it is known well enough.
    pub(super) fn goodput(&self, epoch_min: Duration) -> Option<f64> {
        let n_batches = self.rates.len();
        if n_batches < BATCHES_MIN || self.measured < epoch_min {
            return None;
        }
        let mean = self.rates.iter().sum::<f64>() / n_batches as f64;
        let squares: f64 = self.rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        let error = (squares / (n_batches * (n_batches - 1)) as f64).sqrt();
        (error <= ERROR_MAX * mean || BATCHES_MAX <= n_batches).then_some(mean)
    }

    fn start_batch(&mut self, is_saturated: bool) {
        self.batch_began = is_saturated.then_some(self.latest);
        self.batch_amount = 0.0;
        self.batch_samples = 0;
    }
}
