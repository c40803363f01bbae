//! When the next piece of a body may go: all limits of rate together.

use std::time::Instant;

use tokio::sync::futures::Notified;

use super::reply::Delivery;
use super::rules::Within;
use super::settings::Settings;
use super::shared::Shared;
use crate::fault::FaultKind;
use crate::pace::{Pace, piece_bytes};
use crate::timer::Timer;

/// The clocks of one connection. What it may send is what each of them lets pass.
#[derive(Debug)]
pub(super) struct Tempo {
    pub(super) timer: Timer,
    /// For the connection's bandwidth.
    own: Pace,
    /// For `cap`: its rate, and a schedule that goes on from body to body.
    cap: Option<u64>,
    cap_pace: Pace,
    /// For `trickle`, until the end of the body.
    trickle: Option<u64>,
    trickle_pace: Pace,
}

impl Tempo {
    pub(super) fn new(now: Instant) -> Self {
        let pace = Pace::new(now);
        Self {
            timer: Timer::default(),
            own: pace,
            cap: None,
            cap_pace: pace,
            trickle: None,
            trickle_pace: pace,
        }
    }

    /// Starts with a body.
    pub(super) fn begin(&mut self, delivery: &Delivery) {
        self.cap = delivery.cap;
        self.trickle = None;
    }

    /// Slows the rest of the body down.
    pub(super) fn trickle(&mut self, rate: u64) {
        self.trickle = Some(rate);
        self.trickle_pace = Pace::new(Instant::now());
    }

    /// Returns the rates that hold now, in bytes per second.
    pub(super) fn rates(
        &self,
        settings: &Settings,
        within: &[Within],
    ) -> impl Iterator<Item = u64> + use<> {
        let collapsed = within.iter().filter_map(collapsed_rate).min();
        let rates =
            [settings.bandwidth, settings.connection_bandwidth, self.cap, self.trickle, collapsed];
        rates.into_iter().flatten()
    }

    /// Returns how many bytes may go at once under these rates.
    pub(super) fn piece_bytes(rates: impl Iterator<Item = u64>) -> u64 {
        rates.min().map_or(u64::MAX, piece_bytes)
    }

    /// Waits until `bytes` may go. When the settings change meanwhile, or a collapse ends, they are waited
    /// for anew, under what holds then.
    ///
    /// # Cancel safety
    ///
    /// The time that was reserved for the bytes passes without them.
    pub(super) async fn permit(&mut self, bytes: u64, shared: &Shared, within: &[Within]) {
        let mut changes = shared.changes();
        loop {
            changes.mark_unchanged();
            // Before the rates are looked at, so that no end is missed.
            let relief = within.first().map(|within| within.rule.relief.notified());
            let due = self.reserve(bytes, shared, within);
            if due <= Instant::now() {
                return;
            }
            tokio::select! {
                () = self.timer.until(due) => return,
                () = noticed(relief) => {}
                _ = changes.changed() => {}
            }
            let now = Instant::now();
            (self.own, self.cap_pace, self.trickle_pace) =
                (Pace::new(now), Pace::new(now), Pace::new(now));
        }
    }

    /// Reserves the time for `bytes` on every schedule and returns the latest start.
    fn reserve(&mut self, bytes: u64, shared: &Shared, within: &[Within]) -> Instant {
        let now = Instant::now();
        let live = shared.live();
        let mut due = now;
        let mut take = |rate: Option<u64>, pace: &mut Pace| {
            if let Some(rate) = rate {
                due = due.max(pace.take(bytes, rate, now));
            }
        };
        take(live.settings.connection_bandwidth, &mut self.own);
        take(self.cap, &mut self.cap_pace);
        take(self.trickle, &mut self.trickle_pace);
        for within in within {
            let rate = collapsed_rate(within);
            if rate.is_some() {
                within.count();
            }
            take(rate, &mut within.rule.pace.lock());
        }
        if live.settings.bandwidth.is_some() {
            take(live.settings.bandwidth, &mut shared.pace.lock());
        }
        due
    }
}

async fn noticed(relief: Option<Notified<'_>>) {
    match relief {
        Some(relief) => relief.await,
        None => std::future::pending().await,
    }
}

/// The rate that all bodies under a `collapse` share, if there are too many of them.
fn collapsed_rate(within: &Within) -> Option<u64> {
    match within.rule.fault.kind() {
        FaultKind::Collapse { bodies, rate } if *bodies < within.rule.bodies() => Some(*rate),
        _ => None,
    }
}
