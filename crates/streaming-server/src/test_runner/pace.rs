//! When each token of a sequence is due.

use std::time::Duration;

use crate::seam::nanoseconds;

/// Whether sequences keep step with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Each counts from its own start.
    #[default]
    Own,
    /// All tokens fall on multiples of the interval, as those of an engine that computes one token for
    /// every sequence at once.
    Aligned,
}

/// What a [`TestRunner`](crate::TestRunner) keeps to.
///
/// Token `i` of a sequence is due at `start + ttft + prefill · prompt_tokens + i · interval`, give or
/// take up to `jitter`; each interval is longer by `batch_slope` for each other sequence that runs.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use streaming_server::TestOptions;
///
/// // A model that takes 30 ms for a step alone, and 1 ms more for each sequence beside.
/// let options = TestOptions {
///     interval: Duration::from_millis(30),
///     batch_slope: Duration::from_millis(1),
///     ..TestOptions::default()
/// };
/// assert_eq!(None, options.ttft);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TestOptions {
    /// Between two tokens; zero is as fast as they leave. 20 ms unless set.
    pub interval: Duration,
    /// From the start to the first token; the interval unless set.
    pub ttft: Option<Duration>,
    /// The most that a token is early or late on purpose, evenly drawn. Tokens keep their order. Zero
    /// unless set.
    pub jitter: Duration,
    /// What each token of the prompt adds to the first token's delay. Zero unless set.
    pub prefill: Duration,
    /// What each other running sequence adds to an interval. Zero unless set.
    pub batch_slope: Duration,
    /// What the jitter is drawn from.
    pub seed: u64,
    /// Whether sequences keep step with each other.
    pub pace: Pace,
}

impl Default for TestOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(20),
            ttft: None,
            jitter: Duration::ZERO,
            prefill: Duration::ZERO,
            batch_slope: Duration::ZERO,
            seed: 0,
            pace: Pace::Own,
        }
    }
}

/// The instants of one sequence, in nanoseconds since the runner's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Where the next token would stand without jitter.
    ideal_ns: u64,
    due_ns: u64,
    random: Random,
}

impl Schedule {
    pub(super) fn start(
        options: &TestOptions,
        prompt_tokens: u64,
        number: u64,
        now_ns: u64,
    ) -> Self {
        let interval_ns = nanoseconds(options.interval);
        let ttft_ns = nanoseconds(options.ttft.unwrap_or(options.interval));
        let prefill_ns = nanoseconds(options.prefill).saturating_mul(prompt_tokens);
        let ideal_ns = now_ns.saturating_add(ttft_ns).saturating_add(prefill_ns);
        let ideal_ns = match options.pace {
            Pace::Aligned if 0 < interval_ns => ideal_ns.next_multiple_of(interval_ns),
            _ => ideal_ns,
        };
        let random = Random(options.seed.wrapping_add(number.wrapping_mul(GOLDEN)));
        let mut schedule = Self { ideal_ns, due_ns: now_ns, random };
        schedule.jitter(options);
        schedule
    }

    /// When the next token is due.
    pub(super) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// The next token was said, with so many sequences running.
    pub(super) fn advance(&mut self, options: &TestOptions, batch: u64, now_ns: u64) {
        let interval_ns = nanoseconds(options.interval);
        if interval_ns == 0 {
            // There is no schedule to catch up with.
            (self.ideal_ns, self.due_ns) = (now_ns, now_ns);
            return;
        }
        let slope_ns = nanoseconds(options.batch_slope).saturating_mul(batch.saturating_sub(1));
        self.ideal_ns = self.ideal_ns.saturating_add(interval_ns).saturating_add(slope_ns);
        self.jitter(options);
    }

    fn jitter(&mut self, options: &TestOptions) {
        let jitter_ns = nanoseconds(options.jitter);
        if jitter_ns == 0 {
            self.due_ns = self.ideal_ns;
            return;
        }
        let drawn = self.random.next() % (2 * jitter_ns + 1);
        self.due_ns = self.due_ns.max((self.ideal_ns + drawn).saturating_sub(jitter_ns));
    }
}

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn instants(options: &TestOptions, prompt_tokens: u64, batch: u64, n: usize) -> Vec<u64> {
        let mut schedule = Schedule::start(options, prompt_tokens, 0, 0);
        let next = |_| {
            let due_ns = schedule.due_ns();
            schedule.advance(options, batch, due_ns);
            due_ns
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn tokens_fall_on_multiples_of_the_interval() {
        assert_eq!(vec![20 * MS, 40 * MS, 60 * MS], instants(&TestOptions::default(), 5, 9, 3));
        let fast = TestOptions { interval: Duration::from_nanos(8330), ..TestOptions::default() };
        assert_eq!(Some(&(8330 * 2048)), instants(&fast, 1, 1, 2048).last());
    }

    #[test]
    fn prompts_delay_the_first_and_company_all_others() {
        let options = TestOptions {
            ttft: Some(Duration::from_millis(5)),
            prefill: Duration::from_millis(2),
            batch_slope: Duration::from_millis(1),
            ..TestOptions::default()
        };
        assert_eq!(vec![11 * MS, 34 * MS, 57 * MS], instants(&options, 3, 4, 3));
    }

    #[test]
    fn aligned_sequences_meet() {
        let options = TestOptions { pace: Pace::Aligned, ..TestOptions::default() };
        let schedules = [1, 7, 19].map(|ms| Schedule::start(&options, 1, 0, ms * MS));
        assert_eq!([40 * MS; 3], schedules.map(|schedule| schedule.due_ns()));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_itself_and_keeps_the_order(seed: u64, jitter_ms in 1_u64..50) {
            let jitter = Duration::from_millis(jitter_ms);
            let options = TestOptions { jitter, seed, ..TestOptions::default() };
            let plain = instants(&TestOptions::default(), 1, 1, 50);
            let drawn = instants(&options, 1, 1, 50);
            prop_assert_eq!(&drawn, &instants(&options, 1, 1, 50));
            for (ideal_ns, due_ns) in plain.iter().zip(&drawn) {
                prop_assert!(ideal_ns.abs_diff(*due_ns) <= jitter_ms * MS);
            }
            prop_assert!(drawn.is_sorted());
        }
    }
}
