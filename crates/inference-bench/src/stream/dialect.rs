//! The same trace in the words of each tool.
//!
//! Tools mean different things by the same words; here each tool's own formula is applied to our stamps.
//! The stamps stay ours: a tool's clock, and what it misses, are no part of its definitions.

use std::fmt;
use std::str::FromStr;

use super::record::{Event, Kind, RequestRecord};

/// Whose definitions are used.
///
/// | | starts | TTFT ends | ITL | TPOT |
/// |---|---|---|---|---|
/// | `ours` | intended | first event with tokens | gaps by tokens | (last − first) / (n − first's) |
/// | `vllm` | issued | first event with a choice | gaps of events with a choice | (e2e − ttft) / (n − 1) |
/// | `aiperf` | issued | first content | (e2e − ttft) / (n − 1) | – |
/// | `guidellm` | issued | first token | (last − first) / (n − 1) | (last − start) / n |
/// | `genai-perf` | issued | first content | (e2e − ttft) / (n − 1) | – |
/// | `llmperf` | issued | first content | (ttft + gaps) / messages | – |
/// | `mlperf` | intended | first token | – | (last − first) / (n − 1) |
///
/// What `ours` takes as the first event of a TPOT is the first with a stamp of its own.
///
/// Sources: the tools' code as read in November 2026; where they changed since, the formulas here did not.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::Dialect;
///
/// assert_eq!(Ok(Dialect::GenaiPerf), "genai-perf".parse());
/// assert!("wrk".parse::<Dialect>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Dialect {
    /// What the words should mean.
    #[default]
    Ours,
    /// `vllm bench serve`.
    Vllm,
    /// NVIDIA AIPerf.
    Aiperf,
    /// GuideLLM.
    Guidellm,
    /// NVIDIA GenAI-Perf.
    GenaiPerf,
    /// `llmperf` of Ray.
    Llmperf,
    /// MLPerf's load generator.
    Mlperf,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ours,
        Self::Vllm,
        Self::Aiperf,
        Self::Guidellm,
        Self::GenaiPerf,
        Self::Llmperf,
        Self::Mlperf,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Vllm => "vllm",
            Self::Aiperf => "aiperf",
            Self::Guidellm => "guidellm",
            Self::GenaiPerf => "genai-perf",
            Self::Llmperf => "llmperf",
            Self::Mlperf => "mlperf",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|dialect| dialect.name() == text);
        let names = || Self::ALL.map(Self::name).join(", ");
        known.ok_or_else(|| format!("no definitions of `{text}`; there are {}", names()))
    }
}

/// Samples of each latency over many requests, in milliseconds, in no order.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Latencies {
    /// Time to first token, one a request.
    pub ttft_ms: Vec<f64>,
    /// Inter-token latency.
    pub itl_ms: Vec<f64>,
    /// Inter-chunk latency: the gaps between events.
    pub icl_ms: Vec<f64>,
    /// Time per output token, one a request.
    pub tpot_ms: Vec<f64>,
    /// End to end, to the last token, one a request.
    pub e2e_ms: Vec<f64>,
}

impl Latencies {
    /// Takes the samples of all requests that came to their proper end and are no warm-up.
    #[must_use]
    #[expect(single_use_lifetimes, reason = "`impl Trait` in arguments cannot do without")]
    pub fn of<'a>(dialect: Dialect, records: impl IntoIterator<Item = &'a RequestRecord>) -> Self {
        let mut latencies = Self::default();
        for record in records {
            if record.is_ok() && !record.warmup {
                latencies.add(dialect, record);
            }
        }
        latencies
    }

    /// Takes the samples of one request, whatever became of it.
    #[must_use]
    pub(crate) fn of_request(dialect: Dialect, record: &RequestRecord) -> Self {
        let mut latencies = Self::default();
        latencies.add(dialect, record);
        latencies
    }

    fn add(&mut self, dialect: Dialect, record: &RequestRecord) {
        let Some(trace) = Trace::of(record) else { return };
        match dialect {
            Dialect::Ours => self.add_ours(&trace),
            Dialect::Vllm => self.add_vllm(&trace),
            Dialect::Aiperf | Dialect::GenaiPerf => self.add_aiperf(&trace, dialect),
            Dialect::Guidellm => self.add_guidellm(&trace),
            Dialect::Llmperf => self.add_llmperf(&trace),
            Dialect::Mlperf => self.add_mlperf(&trace),
        }
    }

    fn add_ours(&mut self, trace: &Trace<'_>) {
        let Trace { record, first, last, .. } = trace;
        self.ttft_ms.push(ms(record.intended_ns, first.recv_ns));
        self.e2e_ms.push(ms(record.intended_ns, last.recv_ns));
        self.tpot_ms.extend(span(record).map(|(span_ms, tokens)| span_ms / tokens as f64));
        for (gap_ms, tokens) in gaps(record) {
            self.icl_ms.push(gap_ms);
            let each = gap_ms / f64::from(tokens);
            self.itl_ms.extend((0..tokens).map(|_| each));
        }
    }

    fn add_vllm(&mut self, trace: &Trace<'_>) {
        let start = trace.record.issued_ns;
        let mut choices = trace.record.events.iter().filter(|event| event.kind.has_choice());
        let Some(first) = choices.next() else { return };
        let mut last = first.recv_ns;
        for event in choices {
            self.itl_ms.push(ms(last, event.recv_ns));
            last = event.recv_ns;
        }
        self.ttft_ms.push(ms(start, first.recv_ns));
        self.e2e_ms.push(ms(start, last));
        let n = trace.record.output_tokens();
        if 1 < n {
            self.tpot_ms.push(ms(first.recv_ns, last) / (n - 1) as f64);
        }
    }

    fn add_aiperf(&mut self, trace: &Trace<'_>, dialect: Dialect) {
        let Trace { record, first, last, .. } = trace;
        self.ttft_ms.push(ms(record.issued_ns, first.recv_ns));
        self.e2e_ms.push(ms(record.issued_ns, last.recv_ns));
        let n = record.output_tokens();
        if 1 < n {
            self.itl_ms.push(ms(first.recv_ns, last.recv_ns) / (n - 1) as f64);
        }
        for (before, event) in record.token_events().zip(record.token_events().skip(1)) {
            let gap_ms = ms(before.recv_ns, event.recv_ns);
            let tokens = if dialect == Dialect::GenaiPerf { f64::from(event.tokens) } else { 1.0 };
            self.icl_ms.push(gap_ms / tokens);
        }
    }

    fn add_guidellm(&mut self, trace: &Trace<'_>) {
        let Trace { record, first, last, .. } = trace;
        let n = record.output_tokens();
        self.ttft_ms.push(ms(record.issued_ns, first.recv_ns));
        self.e2e_ms.push(ms(record.issued_ns, record.ended_ns));
        if 0 < n {
            self.tpot_ms.push(ms(record.issued_ns, last.recv_ns) / n as f64);
        }
        if 1 < n {
            self.itl_ms.push(ms(first.recv_ns, last.recv_ns) / (n - 1) as f64);
        }
    }

    fn add_llmperf(&mut self, trace: &Trace<'_>) {
        let Trace { record, first, last, .. } = trace;
        let messages = record.events.iter().filter(|event| event.kind != Kind::Done).count();
        self.ttft_ms.push(ms(record.issued_ns, first.recv_ns));
        self.e2e_ms.push(ms(record.issued_ns, record.ended_ns));
        // Its gaps, the time to the first token among them, add up to the time to the last one.
        self.itl_ms.push(ms(record.issued_ns, last.recv_ns) / messages as f64);
    }

    fn add_mlperf(&mut self, trace: &Trace<'_>) {
        let Trace { record, first, last, .. } = trace;
        self.ttft_ms.push(ms(record.intended_ns, first.recv_ns));
        self.e2e_ms.push(ms(record.intended_ns, last.recv_ns));
        let n = record.output_tokens();
        if 1 < n {
            self.tpot_ms.push(ms(first.recv_ns, last.recv_ns) / (n - 1) as f64);
        }
    }
}

/// A request whose stream brought tokens.
struct Trace<'a> {
    record: &'a RequestRecord,
    first: &'a Event,
    last: &'a Event,
}

impl<'a> Trace<'a> {
    fn of(record: &'a RequestRecord) -> Option<Self> {
        let first = record.token_events().next()?;
        let last = record.token_events().next_back()?;
        Some(Self { record, first, last })
    }
}

/// The known gaps between events with tokens, in milliseconds, each with the tokens that ended it. Those
/// at either side of a coalesced event are not known.
pub(crate) fn gaps(record: &RequestRecord) -> impl Iterator<Item = (f64, u16)> {
    let pairs = record.token_events().zip(record.token_events().skip(1));
    let known = |pair: &(&Event, &Event)| !pair.0.coalesced && !pair.1.coalesced;
    let gap = |(before, event): (&Event, &Event)| (ms(before.recv_ns, event.recv_ns), event.tokens);
    pairs.filter(known).map(gap)
}

/// From the first event with tokens whose stamp is its own to the last, in milliseconds, and the tokens
/// that came after that first one; `None` where none did.
pub(crate) fn span(record: &RequestRecord) -> Option<(f64, u64)> {
    let mut alone = record.token_events().skip_while(|event| event.coalesced);
    let first = alone.next()?;
    let last = record.token_events().next_back()?;
    let tokens: u64 = alone.map(|event| u64::from(event.tokens)).sum();
    (0 < tokens).then(|| (ms(first.recv_ns, last.recv_ns), tokens))
}

/// The most that each gap between events with tokens can have been, in milliseconds.
pub(crate) fn gaps_at_most(record: &RequestRecord) -> impl Iterator<Item = f64> {
    let pairs = earliest_ns(record).zip(record.token_events().skip(1));
    pairs.map(|(from_ns, event)| ms(from_ns, event.recv_ns))
}

/// The most that the time per output token can have been, in milliseconds; `None` of one event.
pub(crate) fn tpot_at_most(record: &RequestRecord) -> Option<f64> {
    let Trace { first, last, .. } = Trace::of(record)?;
    let tokens = record.tokens().saturating_sub(first.tokens.into());
    let from_ns = earliest_ns(record).next()?;
    (0 < tokens).then(|| ms(from_ns, last.recv_ns) / tokens as f64)
}

/// When each event with tokens can have come at the earliest: at its stamp, or, where it shared a read
/// with a later one, at the stamp before, which is the sending of the request where there is none.
fn earliest_ns(record: &RequestRecord) -> impl Iterator<Item = u64> {
    let sent_ns = record.sent_ns.unwrap_or(record.issued_ns);
    record.token_events().scan((sent_ns, None), |(before_ns, read_ns), event| {
        // All events of a read have its stamp.
        if *read_ns != Some(event.recv_ns) {
            *before_ns = read_ns.unwrap_or(*before_ns);
            *read_ns = Some(event.recv_ns);
        }
        Some(if event.coalesced { *before_ns } else { event.recv_ns })
    })
}

/// From one instant to another, in milliseconds; negative where clocks disagree.
pub(crate) fn ms(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns as f64 - from_ns as f64) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn event(at_ms: u64, kind: Kind, tokens: u16) -> Event {
        let recv_ns = at_ms * MS;
        Event { recv_ns, emit_ns: None, lag_ns: 0, bytes: 100, tokens, kind, coalesced: false }
    }

    /// A chat: due at 100, issued at 110, sent at 115; role at 150, tokens at 160, 180, 180 (in one
    /// read) and three at 240, finish at 245, end at 250. The server counts 6 tokens.
    fn chat() -> RequestRecord {
        let mut events = vec![
            event(150, Kind::Role, 0),
            event(160, Kind::Content, 1),
            event(180, Kind::Content, 1),
            event(180, Kind::Content, 1),
            event(240, Kind::Content, 3),
            event(245, Kind::Finish, 0),
            event(246, Kind::Usage, 0),
            event(250, Kind::Done, 0),
        ];
        events[2].coalesced = true;
        RequestRecord {
            intended_ns: 100 * MS,
            issued_ns: 110 * MS,
            sent_ns: Some(115 * MS),
            ended_ns: 250 * MS,
            usage_tokens: Some(6),
            events,
            ..RequestRecord::default()
        }
    }

    /// A completion of one token.
    fn one_token() -> RequestRecord {
        RequestRecord {
            intended_ns: 0,
            issued_ns: 0,
            ended_ns: 12 * MS,
            events: vec![event(10, Kind::Content, 1), event(11, Kind::Finish, 0)],
            ..RequestRecord::default()
        }
    }

    struct Golden<'a> {
        ttft: &'a [f64],
        itl: &'a [f64],
        icl: &'a [f64],
        tpot: &'a [f64],
        e2e: &'a [f64],
    }

    #[track_caller]
    fn check(dialect: Dialect, record: &RequestRecord, golden: &Golden<'_>) {
        let latencies = Latencies::of(dialect, [record]);
        assert_eq!(golden.ttft, latencies.ttft_ms, "ttft");
        assert_eq!(golden.itl, latencies.itl_ms, "itl");
        assert_eq!(golden.icl, latencies.icl_ms, "icl");
        assert_eq!(golden.tpot, latencies.tpot_ms, "tpot");
        assert_eq!(golden.e2e, latencies.e2e_ms, "e2e");
    }

    #[test]
    fn ours() {
        let golden = Golden {
            ttft: &[60.0],
            itl: &[20.0, 20.0, 20.0],
            icl: &[60.0],
            tpot: &[16.0],
            e2e: &[140.0],
        };
        check(Dialect::Ours, &chat(), &golden);
        let golden = Golden { ttft: &[10.0], itl: &[], icl: &[], tpot: &[], e2e: &[10.0] };
        check(Dialect::Ours, &one_token(), &golden);
    }

    /// Two reads of three tokens each, half a second apart.
    #[test]
    fn where_events_share_a_read_gaps_have_bounds_and_times_between_known_stamps() {
        let mut events = vec![event(600, Kind::Content, 1); 3];
        events.extend([event(1100, Kind::Content, 1); 3]);
        for k in [0, 1, 3, 4] {
            events[k].coalesced = true;
        }
        let record = RequestRecord { sent_ns: Some(200 * MS), events, ..chat() };
        assert_eq!(0, gaps(&record).count());
        let at_most: Vec<f64> = gaps_at_most(&record).collect();
        assert_eq!(vec![400.0, 400.0, 500.0, 500.0, 500.0], at_most);
        assert_eq!((Some((500.0, 3)), Some(180.0)), (span(&record), tpot_at_most(&record)));
    }

    /// The role counts as the first token, and the finish as a gap.
    #[test]
    fn vllm() {
        let golden = Golden {
            ttft: &[40.0],
            itl: &[10.0, 20.0, 0.0, 60.0, 5.0],
            icl: &[],
            tpot: &[19.0],
            e2e: &[135.0],
        };
        check(Dialect::Vllm, &chat(), &golden);
        let golden = Golden { ttft: &[10.0], itl: &[1.0], icl: &[], tpot: &[], e2e: &[11.0] };
        check(Dialect::Vllm, &one_token(), &golden);
    }

    #[test]
    fn aiperf_and_genai_perf() {
        let mut golden = Golden {
            ttft: &[50.0],
            itl: &[16.0],
            icl: &[20.0, 0.0, 60.0],
            tpot: &[],
            e2e: &[130.0],
        };
        check(Dialect::Aiperf, &chat(), &golden);
        golden.icl = &[20.0, 0.0, 20.0];
        check(Dialect::GenaiPerf, &chat(), &golden);
    }

    #[test]
    fn guidellm() {
        let golden =
            Golden { ttft: &[50.0], itl: &[16.0], icl: &[], tpot: &[130.0 / 6.0], e2e: &[140.0] };
        check(Dialect::Guidellm, &chat(), &golden);
    }

    /// Seven messages without `[DONE]`.
    #[test]
    fn llmperf() {
        let golden =
            Golden { ttft: &[50.0], itl: &[130.0 / 7.0], icl: &[], tpot: &[], e2e: &[140.0] };
        check(Dialect::Llmperf, &chat(), &golden);
    }

    #[test]
    fn mlperf() {
        let golden = Golden { ttft: &[60.0], itl: &[], icl: &[], tpot: &[16.0], e2e: &[140.0] };
        check(Dialect::Mlperf, &chat(), &golden);
    }

    #[test]
    fn what_failed_or_warmed_up_is_no_sample() {
        let failure = super::super::record::Failure::NoDone;
        let outcome = super::super::record::Outcome::Failed { failure, detail: String::new() };
        let failed = RequestRecord { outcome, ..chat() };
        let warmup = RequestRecord { warmup: true, ..chat() };
        for dialect in Dialect::ALL {
            assert_eq!(Latencies::default(), Latencies::of(dialect, [&failed, &warmup]));
            assert_eq!(Ok(dialect), dialect.name().parse());
        }
    }
}
