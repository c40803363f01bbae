//! The paired sampler: everybody who answers a question is measured in the same minute, in turn.

use std::hint::black_box;
use std::time::{Duration, Instant};

use inference_bench::stats::{Interval, PairedRatio, Random, interval, median, paired_ratio};

use crate::{Body, Run};

/// How long one sample of one subject takes. Long against the clock's 20 ns, short against the slices in
/// which a shared machine changes its mood.
const SAMPLE: Duration = Duration::from_micros(500);
/// A body that is slower than a sample is still run this often in one.
const ITERATIONS_MIN: u64 = 1;
/// More iterations than this in one sample mean that the body does nothing.
const ITERATIONS_MAX: u64 = 1 << 32;
/// How often so many iterations have to fill a sample before they are taken to. Once would be enough if
/// machines did not pause: one that did left a single iteration, in which 175 ns took 4 µs.
const TRIES: usize = 3;

/// The samples of one subject, in nanoseconds per iteration, in the order of the rounds.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Who answered.
    pub subject: &'static str,
    /// One value a round.
    pub nanos: Vec<f64>,
}

impl Samples {
    /// The median, in nanoseconds per iteration.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.nanos)
    }

    /// Covers the true median with 95 % confidence; `None` below six rounds.
    #[must_use]
    pub fn interval(&self) -> Option<Interval> {
        let mut sorted = self.nanos.clone();
        sorted.sort_by(f64::total_cmp);
        interval(&sorted, 0.5, 0.95)
    }

    /// How many nanoseconds more than the other's this one takes, round by round.
    #[must_use]
    pub fn above(&self, other: &Self) -> Self {
        let differences = self.nanos.iter().zip(&other.nanos).map(|(ours, theirs)| ours - theirs);
        Self { subject: self.subject, nanos: differences.collect() }
    }

    /// How many times the other's time this one takes, round by round.
    #[must_use]
    pub fn times(&self, other: &Self, seed: u64) -> Option<PairedRatio> {
        let pairs = other.nanos.iter().copied().zip(self.nanos.iter().copied());
        paired_ratio(&pairs.collect::<Vec<_>>(), seed)
    }
}

struct Subject {
    name: &'static str,
    run: Run,
    iterations: u64,
    nanos: Vec<f64>,
}

/// Measures bodies of one case in rounds; within a round the order is drawn.
#[must_use]
pub fn sample(bodies: &[Body], rounds: usize, seed: u64) -> Vec<Samples> {
    let mut random = Random::new(seed);
    let mut subjects: Vec<Subject> = bodies.iter().map(prepare).collect();
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    for _ in 0..rounds {
        shuffle(&mut order, &mut random);
        for &index in &order {
            subjects[index].take();
        }
    }
    subjects
        .into_iter()
        .map(|subject| Samples { subject: subject.name, nanos: subject.nanos })
        .collect()
}

/// Builds a body's state and finds how many iterations fill a sample; that also warms it up.
fn prepare(body: &Body) -> Subject {
    let mut run = (body.prepare)();
    let mut iterations = ITERATIONS_MIN;
    loop {
        let mut tries = (0..TRIES).map(|_| time(&mut run, iterations));
        let short = tries.find(|took| *took < SAMPLE / 2).filter(|_| iterations < ITERATIONS_MAX);
        let Some(took) = short else { break };
        let wanted = SAMPLE.as_nanos() as u64 / (took.as_nanos() as u64 / iterations).max(1);
        // Early estimates are of cold code: approach the goal in steps.
        iterations = wanted.clamp(iterations.saturating_mul(2), iterations.saturating_mul(8));
    }
    Subject { name: body.subject, run, iterations, nanos: Vec::new() }
}

impl Subject {
    fn take(&mut self) {
        let took = time(&mut self.run, self.iterations);
        self.nanos.push(took.as_nanos() as f64 / self.iterations as f64);
    }
}

fn time(run: &mut Run, iterations: u64) -> Duration {
    let start = Instant::now();
    black_box(&mut *run)(black_box(iterations));
    start.elapsed()
}

/// Fisher and Yates.
fn shuffle(order: &mut [usize], random: &mut Random) {
    for end in (1..order.len()).rev() {
        order.swap(end, random.below(end as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Run {
        Box::new(|iterations| {
            black_box(iterations);
        })
    }

    fn pause() -> Run {
        Box::new(|iterations| {
            for k in 0..iterations * 100 {
                black_box(k);
            }
        })
    }

    const BODIES: [Body; 2] = [
        Body { case: "case", subject: "nothing", prepare: nothing },
        Body { case: "case", subject: "pause", prepare: pause },
    ];

    #[test]
    fn a_pause_is_not_taken_for_the_length_of_an_iteration() {
        let with_pauses = || -> Run {
            let mut calls = 0;
            Box::new(move |iterations| {
                calls += 1;
                let start = Instant::now();
                while calls % 3 == 1 && start.elapsed() < SAMPLE {}
                black_box(iterations);
            })
        };
        let subject = prepare(&Body { case: "case", subject: "pauses", prepare: with_pauses });
        assert!(1000 < subject.iterations, "{}", subject.iterations);
    }

    #[test]
    fn each_subject_is_measured_in_each_round() {
        let samples = sample(&BODIES, 7, 1);
        assert_eq!(["nothing", "pause"], [samples[0].subject, samples[1].subject]);
        assert!(samples.iter().all(|samples| samples.nanos.len() == 7));
        let ratio = samples[1].times(&samples[0], 1).expect("seven rounds");
        assert!(10.0 < ratio.median, "a hundred times the work is more than ten times: {ratio:?}");
    }

    #[test]
    fn a_shuffle_keeps_all_and_draws_every_order() {
        let mut random = Random::new(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut order = vec![0, 1, 2];
            shuffle(&mut order, &mut random);
            seen.insert(order);
        }
        assert_eq!(6, seen.len());
    }
}
