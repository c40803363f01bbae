//! The error of the instrument: what it measured beside what a source says it sent.

use std::collections::BTreeMap;

use super::dialect::ms;
use super::record::{Outcome, RequestRecord};
use super::spread::Spread;

/// A percentile is untrusted only if its error is above this, in microseconds: below, no user notices.
const ERROR_FLOOR_US: f64 = 50.0;
/// … and above this share of the percentile itself.
const ERROR_SHARE: f64 = 0.05;

/// Events that share a read, in percent, above which the gaps say more of the reader than of the stream.
pub const COALESCED_PCT_MAX: f64 = 1.0;

/// The errors of an instrument, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Errors {
    /// |measured gap − emitted gap| of all gaps that are measured.
    pub gap_us: Spread,
    /// |received − emitted| of each stream's first event with tokens: what the way here and the stamp
    /// add to the time to first token.
    pub first_us: Spread,
    /// How late requests were sent.
    pub send_lag_us: Spread,
    /// Events that shared a read, in percent.
    pub coalesced_pct: Option<f64>,
}

impl Errors {
    /// Compares records with the emit times in them; events without are left out.
    ///
    /// The source reads its clock just before it writes: where it is interrupted between the two, the
    /// interruption is in the error. The errors are upper bounds.
    #[must_use]
    pub fn of(records: &[RequestRecord]) -> Self {
        let mut gaps_us = Vec::new();
        let mut firsts_us = Vec::new();
        let (mut events, mut coalesced) = (0_u64, 0_u64);
        for record in records.iter().filter(|record| tells_truth(record)) {
            let mut before = None;
            for event in record.token_events() {
                events += 1;
                coalesced += u64::from(event.coalesced);
                let Some(emit_ns) = event.emit_ns.filter(|_| !event.coalesced) else {
                    before = None;
                    continue;
                };
                if let Some((recv_before, emit_before)) = before {
                    let error = ms(recv_before, event.recv_ns) - ms(emit_before, emit_ns);
                    gaps_us.push(1e3 * error.abs());
                }
                before = Some((event.recv_ns, emit_ns));
            }
            firsts_us.extend(first_error_us(record));
        }
        let lags = records.iter().filter(|record| tells_truth(record));
        Self {
            gap_us: Spread::of(gaps_us),
            first_us: Spread::of(firsts_us),
            send_lag_us: Spread::of(lags.map(|r| r.send_lag_ns() as f64 / 1e3).collect()),
            coalesced_pct: (0 < events).then(|| 100.0 * coalesced as f64 / events as f64),
        }
    }

    /// The worse of two, by the 99th percentile of the gaps' error: a run is only as good as its worse
    /// end.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let p99 = |errors: &Self| errors.gap_us.rough(0.99).unwrap_or(f64::INFINITY);
        if p99(&self) < p99(&other) { other } else { self }
    }
}

/// A stream that we ended ourselves is as true as one that came to its end.
fn tells_truth(record: &RequestRecord) -> bool {
    matches!(record.outcome, Outcome::Ok | Outcome::Abandoned) && !record.warmup
}

fn first_error_us(record: &RequestRecord) -> Option<f64> {
    let first = record.token_events().next().filter(|event| !event.coalesced)?;
    Some(1e3 * ms(first.emit_ns?, first.recv_ns).abs())
}

/// Quantiles by name, as reports hold them: `{"p50":…, "p90":…, "p99":…, "max":…}`. What there are too
/// few values for is left out.
#[must_use]
pub fn quantiles(spread: &Spread) -> Option<BTreeMap<String, f64>> {
    let named = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let told = named.into_iter().filter_map(|(name, p)| Some((name, spread.percentile(p).ok()?)));
    let all = told.chain(spread.max().map(|max| ("max", max)));
    let map: BTreeMap<String, f64> = all.map(|(name, value)| (name.to_owned(), value)).collect();
    (!map.is_empty()).then_some(map)
}

/// Says why a percentile is not to be trusted, given the instrument's error at the same one; `None` if it
/// is.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::calibrate::distrust;
///
/// assert_eq!(None, distrust(20.0, Some(80.0)));
/// assert!(distrust(1.0, Some(80.0)).is_some());
/// assert_eq!(None, distrust(0.1, Some(40.0)));
/// ```
#[must_use]
pub fn distrust(value_ms: f64, error_us: Option<f64>) -> Option<String> {
    let error_us = error_us?;
    let share = error_us / (1e3 * value_ms);
    (ERROR_FLOOR_US < error_us && ERROR_SHARE < share).then(|| {
        format!(
            "the instrument's own error at this percentile is {error_us:.0} µs, {:.0} % of the value",
            100.0 * share
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::{Event, Kind};
    use super::*;

    /// Events emitted every 20 ms and received so many microseconds later.
    fn record(lags_us: &[u64], coalesced: &[bool]) -> RequestRecord {
        let event = |(k, &lag_us): (usize, &u64)| {
            let emit_ns = 1_000_000_000 + k as u64 * 20_000_000;
            Event {
                recv_ns: emit_ns + lag_us * 1000,
                emit_ns: Some(emit_ns),
                lag_ns: 0,
                bytes: 1,
                tokens: 1,
                kind: Kind::Content,
                coalesced: coalesced.get(k).copied().unwrap_or(false),
            }
        };
        let events = lags_us.iter().enumerate().map(event).collect();
        RequestRecord { events, ..RequestRecord::default() }
    }

    fn rounded(spread: &Spread) -> Vec<i64> {
        spread.sorted().iter().map(|value| value.round() as i64).collect()
    }

    #[test]
    fn the_error_of_a_gap_is_that_of_both_its_ends() {
        let errors = Errors::of(&[record(&[10, 10, 35, 5], &[])]);
        assert_eq!(vec![0, 25, 30], rounded(&errors.gap_us));
        assert_eq!(vec![10], rounded(&errors.first_us));
    }

    #[test]
    fn a_coalesced_event_has_no_gaps() {
        let errors = Errors::of(&[record(&[10, 20_005, 5, 6], &[false, true])]);
        assert_eq!(vec![1], rounded(&errors.gap_us));
        assert_eq!(Some(25.0), errors.coalesced_pct);
    }

    #[test]
    fn the_worse_end_of_a_run_counts() {
        let (good, bad) =
            (Errors::of(&[record(&[1, 2], &[])]), Errors::of(&[record(&[1, 90], &[])]));
        assert_eq!(vec![89], rounded(&good.clone().worse(bad.clone()).gap_us));
        assert_eq!(vec![89], rounded(&bad.worse(good.clone()).gap_us));
        // Nothing was measured: that is worse than anything.
        assert!(good.worse(Errors::default()).gap_us.sorted().is_empty());
    }
}
