//! Objectives of a request, and how many requests meet all of theirs.

use std::fmt;
use std::str::FromStr;

use super::dialect::{Dialect, Latencies, gaps_at_most, tpot_at_most};
use super::record::RequestRecord;
use super::spread::Spread;

/// What a good request keeps, in milliseconds; what is `None` is not asked for.
///
/// Times count from the intended instant: a server that keeps its users waiting at the door keeps them
/// waiting. A gap that is not known, for its events shared a read, counts as the most that it can have
/// been: what is not known to be met is not met.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::Goals;
///
/// let goals: Goals = "ttft=200ms,itl=50ms".parse()?;
/// assert_eq!((Some(200.0), Some(50.0)), (goals.ttft_ms, goals.itl_ms));
/// assert!("ttft=200".parse::<Goals>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goals {
    /// Time to first token.
    pub ttft_ms: Option<f64>,
    /// The gap that 99 % of the request's gaps keep.
    pub itl_ms: Option<f64>,
    /// Time per output token.
    pub tpot_ms: Option<f64>,
    /// Time to the last token.
    pub e2e_ms: Option<f64>,
}

impl Goals {
    /// Whether a request met all of them. One that failed, or was not sent, met none.
    #[must_use]
    pub fn are_met(&self, record: &RequestRecord) -> bool {
        if !record.is_ok() {
            return false;
        }
        let latencies = Latencies::of_request(Dialect::Ours, record);
        let keeps = |goal: Option<f64>, value: Option<f64>| match (goal, value) {
            (Some(goal), Some(value)) => value <= goal,
            // One token has no gaps; no token has no first one, and e2e says so.
            _ => true,
        };
        let gap_p99_ms = || Spread::of(gaps_at_most(record).collect()).rough(0.99);
        let first = |samples: &[f64]| samples.first().copied();
        !latencies.ttft_ms.is_empty()
            && keeps(self.ttft_ms, first(&latencies.ttft_ms))
            && keeps(self.tpot_ms, tpot_at_most(record))
            && keeps(self.e2e_ms, first(&latencies.e2e_ms))
            && (self.itl_ms.is_none() || keeps(self.itl_ms, gap_p99_ms()))
    }
}

impl FromStr for Goals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut goals = Self::default();
        for part in text.split(',') {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is no objective: write ttft=200ms"))?;
            let value = milliseconds(value)
                .ok_or_else(|| format!("`{value}` is no duration: write 200ms or 1.5s"))?;
            let goal = match name.trim() {
                "ttft" => &mut goals.ttft_ms,
                "itl" => &mut goals.itl_ms,
                "tpot" => &mut goals.tpot_ms,
                "e2e" => &mut goals.e2e_ms,
                other => return Err(format!("no objective `{other}`: ttft, itl, tpot, e2e")),
            };
            *goal = Some(value);
        }
        Ok(goals)
    }
}

impl fmt::Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("ttft", self.ttft_ms),
            ("itl", self.itl_ms),
            ("tpot", self.tpot_ms),
            ("e2e", self.e2e_ms),
        ];
        let told = named.into_iter().filter_map(|(name, goal)| Some(format!("{name}={}ms", goal?)));
        f.write_str(&told.collect::<Vec<_>>().join(","))
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) = [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let value: f64 = digits.trim().parse().ok()?;
    (value.is_finite() && 0.0 < value).then_some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Event, Failure, Kind, Outcome};
    use super::*;

    /// Due at 0, tokens at these milliseconds.
    fn record(at_ms: &[u64]) -> RequestRecord {
        let event = |&at_ms: &u64| Event {
            recv_ns: at_ms * 1_000_000,
            emit_ns: None,
            lag_ns: 0,
            bytes: 1,
            tokens: 1,
            kind: Kind::Content,
            coalesced: false,
        };
        RequestRecord { events: at_ms.iter().map(event).collect(), ..RequestRecord::default() }
    }

    #[track_caller]
    fn check(goals: &str, at_ms: &[u64], expected: bool) {
        assert_eq!(expected, goals.parse::<Goals>().unwrap().are_met(&record(at_ms)));
    }

    #[test]
    fn the_objective_itself_is_still_met() {
        check("ttft=200ms", &[200], true);
        check("ttft=199.9ms", &[200], false);
        check("ttft=0.2s,itl=50ms", &[100, 150, 200], true);
        check("itl=50ms", &[100, 150, 201], false);
        check("tpot=50ms", &[100, 110, 200], true);
        check("e2e=150ms", &[100, 151], false);
    }

    #[test]
    fn one_token_has_no_gaps_and_none_is_no_answer() {
        check("itl=1ms,tpot=1ms", &[5], true);
        check("itl=1s", &[], false);
    }

    #[test]
    fn what_came_in_one_read_is_not_known_to_have_met_anything_between() {
        let mut record = record(&[100; 64]);
        record.events[..63].iter_mut().for_each(|event| event.coalesced = true);
        let is_met = |goals: &str| goals.parse::<Goals>().unwrap().are_met(&record);
        assert!(!is_met("itl=50ms") && !is_met("tpot=1ms"));
        // From the sending on, it took no longer than this.
        assert!(is_met("itl=100ms,tpot=1.6ms,ttft=100ms"));
    }

    #[test]
    fn what_failed_met_nothing() {
        let outcome = Outcome::Failed { failure: Failure::CutOff, detail: String::new() };
        let failed = RequestRecord { outcome, ..record(&[1]) };
        assert!(!Goals::default().are_met(&failed));
    }

    #[test]
    fn objectives_are_written_as_they_are_read() {
        for text in ["ttft=200ms", "ttft=1.5ms,e2e=3000ms", ""] {
            let goals: Goals =
                if text.is_empty() { Goals::default() } else { text.parse().unwrap() };
            assert_eq!(text, goals.to_string());
        }
        for text in ["", "ttft", "ttft=", "ttft=5", "fps=5ms", "ttft=-1ms", "ttft=nans"] {
            assert!(text.parse::<Goals>().is_err(), "{text}");
        }
    }
}
