//! Looks after everything now and then: one timer for all connections and streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::accept::Local;
use super::{Core, Source};
use crate::handover::Failure;
use crate::seam::{nanoseconds, timer_now};

/// The longest and the shortest time between two looks.
const PERIOD_MAX: Duration = Duration::from_millis(250);
const PERIOD_MIN: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Keeper {
    local: Arc<Local>,
    period: Duration,
    /// The runner whose streams were looked after last.
    epoch: u64,
}

impl Keeper {
    pub(super) fn new(local: &Arc<Local>) -> Self {
        let options = &local.core.options;
        let shortest = options.stall_timeout.min(options.keep_alive).min(options.runner_timeout);
        let period = (shortest / 4).clamp(PERIOD_MIN, PERIOD_MAX);
        Self { local: Arc::clone(local), period, epoch: epoch_of(&local.core) }
    }

    pub(super) async fn keep(mut self) {
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let due = ticks.tick().await;
            let lag = timer_now().saturating_duration_since(due);
            self.local.core.metrics.loop_lag.observe(nanoseconds(lag));
            self.look();
        }
    }

    fn look(&mut self) {
        let core = &self.local.core;
        let now_ns = core.clock.now_ns();
        let before = |timeout| now_ns.saturating_sub(nanoseconds(timeout));
        let stalled_since_ns = before(core.options.stall_timeout);
        for connection in self.local.connections.lock().iter() {
            if connection.is_stalled(stalled_since_ns) && connection.cut() {
                core.metrics.stalled.add(1);
            }
        }
        core.admission.tick(core.metrics.generation_tokens.get());
        if let Source::Runner(engine) = &core.source {
            engine.replace_stuck(before(core.options.runner_timeout));
        }
        let epoch = epoch_of(core);
        let silent_since_ns = before(core.options.keep_alive);
        for stream in self.local.outlet.streams().iter() {
            if self.epoch < epoch && stream.epoch < epoch {
                stream.fail(Failure::Stuck);
            }
            stream.remind(silent_since_ns, now_ns);
        }
        self.epoch = epoch;
    }
}

/// The number of the present runner.
fn epoch_of(core: &Core) -> u64 {
    match &core.source {
        Source::Runner(engine) => engine.epoch(),
        Source::Relay(_) => 0,
    }
}
