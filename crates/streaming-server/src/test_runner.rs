//! A runner that keeps an exact schedule instead of computing.

mod calendar;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::calendar::Calendar;
use self::pace::Schedule;
pub use self::pace::{Pace, TestOptions};
use crate::arena::{Arena, Id};
use crate::render::push_decimal;
use crate::runner::{Next, Push, Runner, Sequence, SequenceId, Step, Token};
use crate::seam::nanoseconds;

/// It wakes no more often than this: faster tokens leave several at a time. A core that never rests is
/// taken away by the kernel for milliseconds, which costs more than this.
const TICK: Duration = Duration::from_micros(100);
/// So many tokens of one sequence in a row, where it is behind: then others have their turn.
const TURN_TOKENS: u32 = 64;
/// So many tokens in one step: then they are handed over, and the runner listens.
const STEP_TOKENS: u32 = 8192;

/// Each token is the only one there could be.
const CERTAIN: Option<f32> = Some(0.0);

/// What each token's text begins with.
const TEXT: &[u8] = b"token_";

#[derive(Debug)]
struct Running {
    id: SequenceId,
    schedule: Schedule,
    /// How many tokens it has said.
    said: u64,
}

/// Says `token_0`, `token_1` and so on, each at its instant, exactly `max_tokens` of them.
///
/// Instants are absolute: a token that is late makes none of those that follow late. How late each is
/// is recorded (`runner_lateness_seconds`). Tokens of a sequence whose client does not read wait, and
/// are said as fast as the client reads until the schedule is met again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use streaming_server::{Options, Server, TestOptions, TestRunner};
///
/// let tokens = TestOptions { interval: Duration::from_millis(20), ..TestOptions::default() };
/// let server = Server::start(Options::default(), move || TestRunner::new(tokens))?;
/// # Ok::<(), streaming_server::StartError>(())
/// ```
#[derive(Debug)]
pub struct TestRunner {
    options: TestOptions,
    /// What nanoseconds are counted from: the first call.
    start: Option<Instant>,
    sequences: Arena<Running>,
    by_id: HashMap<SequenceId, Id>,
    due: Calendar,
    /// How many sequences came so far.
    drawn: u64,
    text: Vec<u8>,
}

impl TestRunner {
    /// A runner without sequences.
    #[must_use]
    pub fn new(options: TestOptions) -> Self {
        Self {
            options,
            start: None,
            sequences: Arena::default(),
            by_id: HashMap::new(),
            due: Calendar::default(),
            drawn: 0,
            text: TEXT.to_vec(),
        }
    }

    fn ns(&mut self, now: Instant) -> u64 {
        let start = *self.start.get_or_insert(now);
        nanoseconds(now.saturating_duration_since(start))
    }

    /// Says what is due for one sequence, its turn at most. Returns how many tokens that were.
    fn say(&mut self, key: Id, step: &mut Step<'_>, now_ns: u64) -> u32 {
        let start = self.start.expect("the step's clock was read");
        let batch = self.sequences.len() as u64;
        let Some(running) = self.sequences.get_mut(key) else { return 0 };
        for said in 0..TURN_TOKENS {
            let due_ns = running.schedule.due_ns();
            if now_ns < due_ns {
                self.due.push(due_ns, key);
                return said;
            }
            self.text.truncate(TEXT.len());
            push_decimal(&mut self.text, running.said);
            let due = Some(start + Duration::from_nanos(due_ns));
            match step.push(running.id, Token { text: &self.text, logprob: CERTAIN, due }) {
                Push::Taken => {
                    running.said += 1;
                    running.schedule.advance(&self.options, batch, now_ns);
                }
                // It is put into the calendar again when it is resumed.
                Push::Full => return said,
                Push::Ended => {
                    self.by_id.remove(&running.id);
                    self.sequences.remove(key);
                    return said + 1;
                }
            }
        }
        self.due.push(running.schedule.due_ns(), key);
        TURN_TOKENS
    }
}

impl Runner for TestRunner {
    fn start(&mut self, id: SequenceId, sequence: &Arc<Sequence>, now: Instant) {
        let now_ns = self.ns(now);
        let schedule = Schedule::start(&self.options, sequence.prompt_tokens, self.drawn, now_ns);
        self.drawn += 1;
        let due_ns = schedule.due_ns();
        let key = self.sequences.insert(Running { id, schedule, said: 0 });
        self.by_id.insert(id, key);
        self.due.push(due_ns, key);
    }

    fn cancel(&mut self, id: SequenceId) {
        // Its entry in the calendar finds nobody.
        if let Some(key) = self.by_id.remove(&id) {
            self.sequences.remove(key);
        }
    }

    fn resume(&mut self, id: SequenceId) {
        if let Some(key) = self.by_id.get(&id)
            && let Some(running) = self.sequences.get(*key)
        {
            self.due.push(running.schedule.due_ns(), *key);
        }
    }

    fn step(&mut self, step: &mut Step<'_>) -> Next {
        let now_ns = self.ns(step.now());
        let mut said = 0;
        while let Some(key) = self.due.pop_until(now_ns) {
            said += self.say(key, step, now_ns);
            if STEP_TOKENS <= said {
                return Next::Now;
            }
        }
        match self.due.first_ns() {
            None => Next::Idle,
            Some(due_ns) => {
                let start = self.start.expect("the step's clock was read");
                Next::At((start + Duration::from_nanos(due_ns)).max(step.now() + TICK))
            }
        }
    }
}

#[cfg(test)]
mod tests;
