//! The figures of a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::dialect::{Dialect, Latencies, gaps, ms, span};
use super::goals::Goals;
use super::record::{Outcome, RequestRecord};
use super::spread::Spread;

/// What became of the plan: `planned` is always the sum of `sent` and `not_sent`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Requests {
    /// Arrivals that fell due, without the warm-up.
    pub planned: u64,
    /// Those that were sent: `ok`, `failed` and `abandoned` together.
    pub sent: u64,
    /// Streams that came to their proper end.
    pub ok: u64,
    /// Streams that did not.
    pub failed: u64,
    /// Arrivals that could not be sent; the records say why.
    pub not_sent: u64,
    /// Streams that the end of the run cut short.
    pub abandoned: u64,
}

/// What became of the tokens of streams that came to their proper end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tokens {
    /// Asked for.
    pub requested: u64,
    /// Received.
    pub received: u64,
    /// Numbered tokens that never came. Of a stream that brought nothing, all: where other streams number
    /// theirs, or where none brought anything.
    pub lost: u64,
    /// Numbered tokens that came again.
    pub duplicated: u64,
    /// Numbered tokens that came after a later one.
    pub reordered: u64,
}

/// The figures of the founding suite, by its names.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::StreamingMetrics;
///
/// let metrics = StreamingMetrics { mean_receive_interval_ms: Some(20.58), ..Default::default() };
/// let overhead_ms = metrics.calculate_overhead_ms(20.0).expect("there were intervals");
/// assert!((overhead_ms - 0.58).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StreamingMetrics {
    /// Tokens that came.
    pub received_token_count: u64,
    /// From the first request to the last token.
    pub total_streaming_time_ms: f64,
    /// Between tokens: the time from each stream's first event with tokens to its last, over the tokens
    /// that came after the first event; all streams together. An event that shared a read with a later one
    /// has no stamp of its own, and is no first one. `None` where no stream had two.
    pub mean_receive_interval_ms: Option<f64>,
    /// Tokens over the total time.
    pub throughput_tokens_per_second: f64,
}

impl StreamingMetrics {
    /// Takes the figures of all streams that came to their proper end and are no warm-up.
    #[must_use]
    #[expect(single_use_lifetimes, reason = "`impl Trait` in arguments cannot do without")]
    pub fn of<'a>(records: impl IntoIterator<Item = &'a RequestRecord>) -> Self {
        let mut received_token_count = 0;
        let (mut begin_ns, mut end_ns) = (u64::MAX, 0);
        let (mut between_ms, mut intervals) = (0.0, 0);
        for record in records.into_iter().filter(|record| record.is_ok() && !record.warmup) {
            let mut events = record.token_events();
            let Some(first) = events.next() else { continue };
            let last = events.next_back().unwrap_or(first);
            received_token_count += record.tokens();
            begin_ns = begin_ns.min(record.sent_ns.unwrap_or(record.issued_ns));
            end_ns = end_ns.max(last.recv_ns);
            let (span_ms, after_first) = span(record).unwrap_or_default();
            between_ms += span_ms;
            intervals += after_first;
        }
        let total_ms = ms(begin_ns.min(end_ns), end_ns);
        let per_second = 1e3 * received_token_count as f64 / total_ms;
        Self {
            received_token_count,
            total_streaming_time_ms: total_ms,
            mean_receive_interval_ms: (0 < intervals).then(|| between_ms / intervals as f64),
            throughput_tokens_per_second: if 0.0 < total_ms { per_second } else { 0.0 },
        }
    }

    /// What the server adds to each token: the mean interval less the interval at which they are made.
    #[must_use]
    pub fn calculate_overhead_ms(&self, expected_interval_ms: f64) -> Option<f64> {
        Some(self.mean_receive_interval_ms? - expected_interval_ms)
    }
}

/// All figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Whose definitions the latencies follow.
    pub dialect: Dialect,
    /// What became of the plan.
    pub requests: Requests,
    /// What became of the tokens.
    pub tokens: Tokens,
    /// The founding suite's figures.
    pub streaming: StreamingMetrics,
    /// Time to first token, in milliseconds.
    pub ttft: Spread,
    /// The same from the sent instant instead of the intended one.
    pub ttft_from_sent: Spread,
    /// Inter-token latency.
    pub itl: Spread,
    /// Inter-chunk latency.
    pub icl: Spread,
    /// Time per output token.
    pub tpot: Spread,
    /// End-to-end latency.
    pub e2e: Spread,
    /// How late requests were sent, in microseconds.
    pub send_lag_us: Spread,
    /// Events with tokens that shared a read with a later one, in percent.
    pub coalesced_pct: Option<f64>,
    /// Gaps between events with tokens that are not known for that, in percent; `None` without gaps.
    pub unknown_gaps_pct: Option<f64>,
    /// Failures by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that met all objectives, of those planned.
    pub goodput: Option<(u64, u64)>,
}

impl Figures {
    /// Takes the figures of a run.
    #[must_use]
    pub fn of(records: &[RequestRecord], dialect: Dialect, goals: Option<&Goals>) -> Self {
        let counted: Vec<&RequestRecord> = records.iter().filter(|r| !r.warmup).collect();
        let latencies = Latencies::of(dialect, counted.iter().copied());
        let sent = |r: &&&RequestRecord| !matches!(r.outcome, Outcome::NotSent { .. });
        let lags = counted.iter().filter(sent).map(|r| r.send_lag_ns() as f64 / 1e3);
        Self {
            dialect,
            requests: requests(&counted),
            tokens: tokens(&counted),
            streaming: StreamingMetrics::of(counted.iter().copied()),
            ttft: Spread::of(latencies.ttft_ms),
            ttft_from_sent: Spread::of(counted.iter().filter_map(|r| ttft_from_sent(r)).collect()),
            itl: Spread::of(latencies.itl_ms),
            icl: Spread::of(latencies.icl_ms),
            tpot: Spread::of(latencies.tpot_ms),
            e2e: Spread::of(latencies.e2e_ms),
            send_lag_us: Spread::of(lags.collect()),
            coalesced_pct: coalesced_pct(&counted),
            unknown_gaps_pct: unknown_gaps_pct(&counted),
            errors: errors(&counted),
            goodput: goals.map(|goals| {
                let good = counted.iter().filter(|record| goals.are_met(record)).count();
                (good as u64, counted.len() as u64)
            }),
        }
    }

    /// The share of sent requests that came to their proper end, in percent; `None` where none was sent.
    /// Those that the end of the run cut short count neither way.
    #[must_use]
    pub fn success_pct(&self) -> Option<f64> {
        let Requests { ok, failed, not_sent, .. } = self.requests;
        let n = ok + failed + not_sent;
        (0 < n).then(|| 100.0 * ok as f64 / n as f64)
    }

    /// Requests a second that came to their proper end, over the founding figures' total time; `None`
    /// where none did.
    #[must_use]
    pub fn requests_per_s(&self) -> Option<f64> {
        self.per_s(self.requests.ok)
    }

    /// The goodput: requests a second that met all objectives, over the same time.
    #[must_use]
    pub fn goodput_per_s(&self) -> Option<f64> {
        self.per_s(self.goodput?.0)
    }

    fn per_s(&self, requests: u64) -> Option<f64> {
        let total_s = self.streaming.total_streaming_time_ms / 1e3;
        (0.0 < total_s).then(|| requests as f64 / total_s)
    }

    /// The share of planned requests that met all objectives, in percent.
    #[must_use]
    pub fn goodput_pct(&self) -> Option<f64> {
        let (good, n) = self.goodput.filter(|&(_, n)| 0 < n)?;
        Some(100.0 * good as f64 / n as f64)
    }
}

fn requests(records: &[&RequestRecord]) -> Requests {
    let mut requests = Requests { planned: records.len() as u64, ..Requests::default() };
    for record in records {
        match record.outcome {
            Outcome::Ok => requests.ok += 1,
            Outcome::Failed { .. } => requests.failed += 1,
            Outcome::NotSent { .. } => requests.not_sent += 1,
            Outcome::Abandoned => requests.abandoned += 1,
        }
    }
    requests.sent = requests.ok + requests.failed + requests.abandoned;
    requests
}

fn tokens(records: &[&RequestRecord]) -> Tokens {
    let mut tokens = Tokens::default();
    let ended = || records.iter().filter(|record| record.is_ok());
    // Without numbers, a stream may have ended before its first token for a good reason; not every stream.
    let is_told = ended().any(|record| record.sequence.is_some());
    let empty_is_lost = is_told || ended().all(|record| record.tokens() == 0);
    for record in ended() {
        let (asked, received) = (u64::from(record.tokens_asked), record.tokens());
        tokens.requested += asked;
        tokens.received += received;
        if empty_is_lost && received == 0 {
            tokens.lost += asked;
        } else if let Some(sequence) = record.sequence {
            let came = sequence.numbered - sequence.duplicated;
            // Between those that came, and at the end.
            tokens.lost += asked.max(came + sequence.missing) - came;
            tokens.duplicated += sequence.duplicated;
            tokens.reordered += sequence.reordered;
        }
    }
    tokens
}

fn ttft_from_sent(record: &RequestRecord) -> Option<f64> {
    let first = record.token_events().next().filter(|_| record.is_ok())?;
    Some(ms(record.sent_ns.unwrap_or(record.issued_ns), first.recv_ns))
}

fn coalesced_pct(records: &[&RequestRecord]) -> Option<f64> {
    let events = || records.iter().flat_map(|record| record.token_events());
    let n = events().count();
    let coalesced = events().filter(|event| event.coalesced).count();
    (0 < n).then(|| 100.0 * coalesced as f64 / n as f64)
}

fn unknown_gaps_pct(records: &[&RequestRecord]) -> Option<f64> {
    let ended = || records.iter().filter(|record| record.is_ok());
    let n: usize = ended().map(|record| record.token_events().count().saturating_sub(1)).sum();
    let known: usize = ended().map(|record| gaps(record).count()).sum();
    (0 < n).then(|| 100.0 * (n - known) as f64 / n as f64)
}

fn errors(records: &[&RequestRecord]) -> BTreeMap<&'static str, u64> {
    let mut errors = BTreeMap::new();
    for record in records {
        if let Outcome::Failed { failure, .. } = &record.outcome {
            *errors.entry(failure.word()).or_default() += 1;
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::super::record::{Event, Failure, Kind, NotSent, Sequence};
    use super::*;

    /// Tokens every 20 ms from 100 ms on.
    fn stream(tokens: u64) -> RequestRecord {
        let event = |k: u64| Event {
            recv_ns: 100_000_000 + k * 20_000_000,
            emit_ns: None,
            lag_ns: 0,
            bytes: 10,
            tokens: 1,
            kind: Kind::Content,
            coalesced: false,
        };
        let sequence = Sequence { numbered: tokens, ..Sequence::default() };
        RequestRecord {
            tokens_asked: tokens as u32,
            sequence: Some(sequence),
            events: (0..tokens).map(event).collect(),
            ..RequestRecord::default()
        }
    }

    fn figures(records: &[RequestRecord]) -> Figures {
        Figures::of(records, Dialect::Ours, Some(&"ttft=150ms".parse().unwrap()))
    }

    #[test]
    fn the_founding_figures() {
        let metrics = StreamingMetrics::of([&stream(2048)]);
        assert_eq!(2048, metrics.received_token_count);
        assert_eq!(Some(20.0), metrics.mean_receive_interval_ms);
        assert_eq!(Some(0.0), metrics.calculate_overhead_ms(20.0));
        assert!((metrics.total_streaming_time_ms - 41_040.0).abs() < 1e-6);
        assert!((metrics.throughput_tokens_per_second - 49.9025).abs() < 1e-4);
        let one = StreamingMetrics::of([&stream(1)]);
        assert_eq!((1, None), (one.received_token_count, one.calculate_overhead_ms(20.0)));
        assert_eq!(StreamingMetrics::default(), StreamingMetrics::of([]));
    }

    #[test]
    fn a_stream_in_one_read_has_no_interval_of_0() {
        let mut record = stream(64);
        let at_ns = record.events[63].recv_ns;
        for event in &mut record.events[..63] {
            (event.recv_ns, event.coalesced) = (at_ns, true);
        }
        assert_eq!(None, StreamingMetrics::of([&record]).calculate_overhead_ms(20.0));
        assert_eq!(0, figures(&[record]).tpot.n());
    }

    #[test]
    fn planned_is_sent_and_not_sent() {
        let failed = |failure| Outcome::Failed { failure, detail: String::new() };
        let mut records = vec![stream(3), stream(3), stream(3), stream(3), stream(3), stream(3)];
        records[1].outcome = failed(Failure::NoDone);
        records[2].outcome = failed(Failure::NoDone);
        records[3].outcome = Outcome::NotSent { reason: NotSent::TooManyInFlight };
        records[4].outcome = Outcome::Abandoned;
        records[5].warmup = true;
        let figures = figures(&records);
        let Requests { planned, sent, ok, failed, not_sent, abandoned } = figures.requests;
        assert_eq!((5, 4, 1, 2, 1, 1), (planned, sent, ok, failed, not_sent, abandoned));
        assert_eq!(BTreeMap::from([("no_done", 2)]), figures.errors);
        assert_eq!(Some(25.0), figures.success_pct());
        assert_eq!((Some((1, 5)), Some(20.0)), (figures.goodput, figures.goodput_pct()));
        assert_eq!((3, 3), (figures.tokens.requested, figures.tokens.received));
        assert_eq!(1, figures.ttft.n());
    }

    /// All sent at 0, the last token at 151 ms, when the first of 150 ms is late.
    #[test]
    fn requests_and_goodput_are_told_by_the_second() {
        let mut late = stream(1);
        late.events[0].recv_ns = 151_000_000;
        let (all, empty) = (figures(&[stream(3), late, stream(3)]), figures(&[]));
        let per_s = |n: f64| Some(n / (0.001 * all.streaming.total_streaming_time_ms));
        assert_eq!(151.0, all.streaming.total_streaming_time_ms);
        assert_eq!((per_s(3.0), per_s(2.0)), (all.requests_per_s(), all.goodput_per_s()));
        assert_eq!((None, None), (empty.requests_per_s(), empty.goodput_per_s()));
    }

    #[test]
    fn lost_tokens_are_counted_between_and_at_the_end() {
        let mut short = stream(10);
        short.tokens_asked = 12;
        let mut hole = stream(10);
        hole.sequence = Some(Sequence { numbered: 10, missing: 2, duplicated: 1, reordered: 1 });
        let tokens = figures(&[short, hole]).tokens;
        assert_eq!((22, 20), (tokens.requested, tokens.received));
        assert_eq!((4, 1, 1), (tokens.lost, tokens.duplicated, tokens.reordered));
    }

    #[test]
    fn a_stream_that_brought_nothing_lost_all() {
        let empty = RequestRecord { events: Vec::new(), sequence: None, ..stream(10) };
        assert_eq!(10, figures(&[stream(10), empty.clone()]).tokens.lost);
        assert_eq!(20, figures(&[empty.clone(), empty.clone()]).tokens.lost);
        // Where tokens have no numbers, one model may have had nothing to say.
        let unnumbered = RequestRecord { sequence: None, ..stream(10) };
        assert_eq!(0, figures(&[unnumbered, empty]).tokens.lost);
    }

    #[test]
    fn coalesced_events_have_a_share() {
        let mut record = stream(4);
        record.events[1].coalesced = true;
        let figures = figures(&[record]);
        assert_eq!(Some(25.0), figures.coalesced_pct);
        // At either side of it.
        assert_eq!(Some(200.0 / 3.0), figures.unknown_gaps_pct);
        assert_eq!(1, figures.icl.n());
    }
}
