//! When each token is due. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::blob::finalize;
use crate::origin::{duration_of, json_object};
use crate::units::show_duration;

/// When each token of a stream is due, counted from the request: token `k` (from 0) at
/// `ttft + k · interval + jitter(k)`, and `stall` later from token `stall_at` on.
///
/// All deadlines are absolute: a late token does not move those after it.
///
/// As JSON, in a request's member `schedule` or in `PUT /_config` under `tokens`, any of
/// `{"interval":"20ms", "ttft":"100ms"|null, "jitter":"2ms", "stall_at":5|null, "stall":"1s",
/// "cut_at":7|null, "aligned":true, "stamps":false}`. What is not named stays as the source has it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use testkit::Schedule;
///
/// let schedule = Schedule { interval: Duration::from_millis(20), ..Schedule::default() };
/// assert_eq!(Duration::from_millis(60), schedule.due(2, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Between two tokens.
    pub interval: Duration,
    /// From the request to the first token; `None`: one interval.
    pub ttft: Option<Duration>,
    /// The most that a token is late by on purpose, drawn evenly for each. Tokens stay in order.
    pub jitter: Duration,
    /// The first token that waits for the stall.
    pub stall_at: Option<u64>,
    /// How long the stall is.
    pub stall: Duration,
    /// Instead of this token the connection is dropped.
    pub cut_at: Option<u64>,
    /// Whether deadlines are moved to the next multiple of the interval since the source started, so
    /// that all streams of one interval are due together, as a batching engine's are.
    pub aligned: bool,
    /// Whether a comment with the emit time precedes each event: `: t=NANOSECONDS`, since 1970.
    pub stamps: bool,
}

impl Default for Schedule {
    /// Every 20 ms, with stamps.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(20),
            ttft: None,
            jitter: Duration::ZERO,
            stall_at: None,
            stall: Duration::ZERO,
            cut_at: None,
            aligned: false,
            stamps: true,
        }
    }
}

impl Schedule {
    /// Returns when token `k` is due after the request; `seed` draws the jitter.
    #[must_use]
    pub fn due(&self, k: u64, seed: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(k.into());
        let steps = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let stalled = self.stall_at.is_some_and(|stall_at| stall_at <= k);
        let stall = if stalled { self.stall } else { Duration::ZERO };
        let due = self.ttft().saturating_add(steps).saturating_add(stall);
        due.saturating_add(self.jitter_of(k, seed))
    }

    /// Returns the time from the request to the first token.
    #[must_use]
    pub fn ttft(&self) -> Duration {
        self.ttft.unwrap_or(self.interval)
    }

    /// Returns by how much a stream that is asked for `elapsed` after the source's start is moved.
    pub(super) fn shift(&self, elapsed: Duration) -> Duration {
        let interval = self.interval.as_nanos();
        if !self.aligned || interval == 0 {
            return Duration::ZERO;
        }
        let beyond = (elapsed + self.ttft()).as_nanos() % interval;
        Duration::from_nanos(((interval - beyond) % interval) as u64)
    }

    fn jitter_of(&self, k: u64, seed: u64) -> Duration {
        match self.jitter.as_nanos() as u64 {
            0 => Duration::ZERO,
            jitter => Duration::from_nanos(finalize(seed ^ finalize(k)) % jitter),
        }
    }

    /// Changes what the JSON object names.
    ///
    /// # Errors
    ///
    /// The first member that is unknown or has no such value. Members before it may have changed.
    pub fn apply(&mut self, json: &Value) -> Result<(), String> {
        for (name, value) in json.as_object().ok_or("is no JSON object")? {
            self.set(name, value).map_err(|what| format!("`{name}`: {what}"))?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "interval" => self.interval = duration_of(value)?,
            "ttft" if value.is_null() => self.ttft = None,
            "ttft" => self.ttft = Some(duration_of(value)?),
            "jitter" => self.jitter = duration_of(value)?,
            "stall_at" => self.stall_at = number(value)?,
            "stall" => self.stall = duration_of(value)?,
            "cut_at" => self.cut_at = number(value)?,
            "aligned" => self.aligned = flag(value)?,
            "stamps" => self.stamps = flag(value)?,
            _ => return Err("no such member of a schedule".to_owned()),
        }
        Ok(())
    }

    /// Renders it as [`Schedule::apply`] takes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(json_object([
            ("interval", json!(show_duration(self.interval))),
            ("ttft", json!(self.ttft.map(show_duration))),
            ("jitter", json!(show_duration(self.jitter))),
            ("stall_at", json!(self.stall_at)),
            ("stall", json!(show_duration(self.stall))),
            ("cut_at", json!(self.cut_at)),
            ("aligned", json!(self.aligned)),
            ("stamps", json!(self.stamps)),
        ]))
    }
}

fn number(value: &Value) -> Result<Option<u64>, String> {
    if value.is_null() {
        return Ok(None);
    }
    value.as_u64().map(Some).ok_or_else(|| format!("{value} is no number of a token"))
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{value} is neither true nor false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn deadlines_are_absolute() {
        let schedule = Schedule { interval: 10 * MS, ttft: Some(100 * MS), ..Schedule::default() };
        let dues: Vec<_> = (0..3).map(|k| schedule.due(k, 0)).collect();
        assert_eq!(vec![100 * MS, 110 * MS, 120 * MS], dues);
    }

    #[test]
    fn a_stall_delays_all_that_follow() {
        let stalled = Schedule { stall_at: Some(2), stall: 500 * MS, ..Schedule::default() };
        assert_eq!(40 * MS, stalled.due(1, 0));
        assert_eq!(560 * MS, stalled.due(2, 0));
        assert_eq!(580 * MS, stalled.due(3, 0));
    }

    #[test]
    fn jitter_is_bounded_and_repeats() {
        let schedule = Schedule { jitter: 5 * MS, ..Schedule::default() };
        let late = |k, seed| schedule.due(k, seed) - Schedule::default().due(k, seed);
        assert!((0..100).all(|k| late(k, 7) < 5 * MS && late(k, 7) == late(k, 7)));
        assert!((0..100).any(|k| late(k, 7) != late(k, 8)));
    }

    #[test]
    fn aligned_streams_meet() {
        let schedule = Schedule { aligned: true, ttft: Some(7 * MS), ..Schedule::default() };
        for elapsed in [0, 1, 19, 20, 21, 12_345] {
            let due = elapsed * MS + schedule.shift(elapsed * MS) + schedule.due(0, 0);
            assert_eq!(0, due.as_nanos() % schedule.interval.as_nanos(), "{elapsed}");
        }
    }

    #[test]
    fn members_are_checked() {
        let mut schedule = Schedule::default();
        assert!(schedule.apply(&json!({"interval": "8.33us", "stamps": false})).is_ok());
        assert_eq!(Duration::from_nanos(8330), schedule.interval);
        assert_eq!(
            Err("`interval`: 5 has no unit: write \"50ms\"".to_owned()),
            schedule.apply(&json!({"interval": 5}))
        );
        assert!(schedule.apply(&json!({"rhythm": "waltz"})).is_err());
    }
}
