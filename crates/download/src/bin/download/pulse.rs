//! How fast a run is, from one look at it to the next, and when a line about it is due.

use std::time::{Duration, Instant};

use crate::voice::Voice;

/// Without a terminal a line is written this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Looks at a run now and then.
pub(crate) struct Pulse {
    /// The bytes that were here at the last look, and when that was.
    last: (u64, Instant),
    line_at: Instant,
}

impl Pulse {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self { last: (0, now), line_at: now + LINE_EVERY }
    }

    /// Looks at the bytes that are here; returns bytes per second since the last look.
    pub(crate) fn beat(&mut self, done_bytes: u64) -> u64 {
        let now = Instant::now();
        let (before, at) = std::mem::replace(&mut self.last, (done_bytes, now));
        let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
        (done_bytes.saturating_sub(before) as f64 / seconds) as u64
    }

    /// Says how far the run is, where there are no bars and a line is due: of so many bytes, if that is known,
    /// and of its items.
    pub(crate) fn line(&mut self, voice: &Voice, total_bytes: u64, items: &str, bytes_per_s: u64) {
        let (done_bytes, now) = self.last;
        if voice.has_bars() || now < self.line_at {
            return;
        }
        self.line_at = now + LINE_EVERY;
        let [done, total, rate] =
            [done_bytes, total_bytes, bytes_per_s].map(|bytes| bytes as f64 / 1e6);
        let of = if total_bytes == 0 { String::new() } else { format!(" of {total:.1}") };
        voice.say(&format!("{done:.1}{of} MB, {items}, {rate:.1} MB/s"));
    }
}
