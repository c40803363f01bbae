//! `inference-bench` as the client of the suite `stream`: kernel stamps, and every token by its number.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use inference_bench::stream::{Dialect, Drive, Figures, Plan, RequestRecord, Target};

/// A stream that takes longer than this is not waited for.
const TIMEOUT: Duration = Duration::from_secs(90);

/// What the instrument heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The figures of all streams together.
    pub figures: Figures,
    records: Vec<RequestRecord>,
}

/// Reads so many streams of so many tokens to their end, on this thread.
///
/// # Errors
///
/// What the system says, or why nothing can be sent.
pub fn listen(address: SocketAddr, streams: usize, tokens: u32) -> io::Result<Heard> {
    let target = Target { tokens, timeout: TIMEOUT, ..Target::new(format!("http://{address}")) };
    let drive = Drive::new(&target, Plan::closed(streams)).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = runtime.block_on(drive.work(0))?;
    Ok(Heard { figures: Figures::of(&records, Dialect::Ours, None), records })
}

impl Heard {
    /// Tokens that were lost, doubled or out of order, and all tokens of streams that failed.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        let of_failed = self.records.iter().filter(|record| !record.is_ok());
        let tokens = self.figures.tokens;
        let unheard: u64 = of_failed.map(|record| u64::from(record.tokens_asked)).sum();
        // Streams without numbers have no sequence to be lost from.
        let unnumbered = tokens.requested.saturating_sub(tokens.received);
        tokens.lost.max(unnumbered) + tokens.duplicated + tokens.reordered + unheard
    }

    /// The mean gap of the slowest stream, less this interval, in milliseconds.
    #[must_use]
    pub fn overhead_ms(&self, interval_ms: f64) -> f64 {
        let of = |record| {
            let streaming = inference_bench::stream::StreamingMetrics::of([record]);
            streaming.calculate_overhead_ms(interval_ms).unwrap_or(f64::NAN)
        };
        self.records.iter().map(of).fold(f64::MIN, f64::max)
    }

    /// Figures to stand beside a case's own, in milliseconds and percent.
    #[must_use]
    pub fn beside(&self) -> BTreeMap<String, f64> {
        let Figures { itl, ttft, coalesced_pct, .. } = &self.figures;
        let named = [
            ("instrument_ttft_p50_ms", ttft.rough(0.5)),
            ("instrument_itl_p50_ms", itl.rough(0.5)),
            ("instrument_itl_p99_ms", itl.rough(0.99)),
            ("instrument_itl_max_ms", itl.max()),
            ("instrument_coalesced_pct", *coalesced_pct),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}
