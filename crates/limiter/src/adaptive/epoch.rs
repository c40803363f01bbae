//! One measurement of goodput at one limit.

use std::time::Duration;

use super::Sample;
use crate::Moment;

/// Batches that a measurement needs at least, for a standard error that means something.
const BATCHES_MIN: usize = 4;

/// Samples in a batch at least; a quarter of those in flight where that is more.
const BATCH_SAMPLES_MIN: usize = 4;

/// Where so many samples are due and hardly any have come, that is no chance.
const SAMPLES_DUE_MIN: f64 = 16.0;

/// A mean rate and how far it may be off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodput {
    /// Amount per second.
    pub(super) mean: f64,
    /// The standard error of the mean.
    pub(super) error: f64,
    /// How many batches it rests on.
    pub(super) n_batches: usize,
}

/// Goodput by batch means: neighboring samples are not independent, batches of them nearly are.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// Samples that began before say nothing about the present limit.
    began: Moment,
    /// Samples that ended since; the first wave of them began while others still came or went.
    ended: usize,
    /// The end of the last batch; `None` before the first sample that counts.
    batch_began: Option<Moment>,
    batch_amount: f64,
    batch_samples: usize,
    latest: Moment,
    measured: Duration,
    /// What all samples have brought, also those that began before; and how many they are.
    brought: f64,
    samples: usize,
    batches: Vec<Batch>,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    amount: f64,
    seconds: f64,
}

impl Epoch {
    pub(super) fn new(began: Moment) -> Self {
        Self {
            began,
            ended: 0,
            batch_began: None,
            batch_amount: 0.0,
            batch_samples: 0,
            latest: began,
            measured: Duration::ZERO,
            brought: 0.0,
            samples: 0,
            batches: Vec::new(),
        }
    }

    pub(super) fn observe(&mut self, sample: Sample, limit: usize) {
        self.brought += sample.amount as f64;
        self.samples += 1;
        if sample.begun < self.began {
            return;
        }
        self.ended += 1;
        if self.ended < limit {
            return;
        }
        self.latest = self.latest.max(sample.finished);
        let is_saturated = Self::is_saturated(sample, limit);
        let Some(batch_began) = self.batch_began.filter(|_| is_saturated) else {
            // The clock starts with a sample that ends: what it brought was brought before.
            self.start_batch(is_saturated);
            return;
        };
        self.batch_amount += sample.amount as f64;
        self.batch_samples += 1;
        let elapsed = self.latest.saturating_since(batch_began);
        if (limit / 4).max(BATCH_SAMPLES_MIN) <= self.batch_samples && !elapsed.is_zero() {
            self.batches.push(Batch { amount: self.batch_amount, seconds: elapsed.as_secs_f64() });
            self.measured += elapsed;
            self.start_batch(true);
        }
    }

    /// Whether the limit is what held goodput back. Those that ended together with this one may not have been
    /// replaced yet.
    pub(super) fn is_saturated(sample: Sample, limit: usize) -> bool {
        limit <= sample.in_flight + limit.div_ceil(4)
    }

    /// The goodput so far, once there is enough to speak of. (A ratio of sums: a mean of the rates would
    /// count short batches as much as long ones.)
    pub(super) fn goodput(&self, epoch_min: Duration) -> Option<Goodput> {
        let n_batches = self.batches.len();
        if n_batches < BATCHES_MIN || self.measured < epoch_min {
            return None;
        }
        let amount: f64 = self.batches.iter().map(|batch| batch.amount).sum();
        let seconds: f64 = self.batches.iter().map(|batch| batch.seconds).sum();
        let mean = amount / seconds;
        let deviation = |batch: &Batch| (batch.amount - mean * batch.seconds).powi(2);
        let squares: f64 = self.batches.iter().map(deviation).sum();
        let n = n_batches as f64;
        let error = (squares * n / (n - 1.0)).sqrt() / seconds;
        Some(Goodput { mean, error, n_batches })
    }

    /// What everything that has ended since the limit was set brought per second, also what began before;
    /// once at a rate of `usual` more than a few samples should have ended.
    pub(super) fn at_most(&self, usual: f64, now: Moment, epoch_min: Duration) -> Option<f64> {
        let elapsed = now.saturating_since(self.began);
        let due = usual * elapsed.as_secs_f64() * self.samples as f64;
        let is_due = SAMPLES_DUE_MIN * self.brought <= due;
        (epoch_min <= elapsed && is_due).then(|| self.brought / elapsed.as_secs_f64())
    }

    fn start_batch(&mut self, is_saturated: bool) {
        self.batch_began = is_saturated.then_some(self.latest);
        self.batch_amount = 0.0;
        self.batch_samples = 0;
    }
}
