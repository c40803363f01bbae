//! Sends a reply, at the pace and with the faults that it carries.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::body::Source;
use super::reply::{Deed, Delivery, Mark, Reply};
use super::rules::{Rule, Within};
use super::shared::Shared;
use super::tempo::Tempo;
use crate::fault::Framing;
use crate::socket;

/// The largest piece that is filled and written at once. Its buffer lives in the second-level cache
/// between the two, and only as long as the body.
const PIECE_BYTES_MAX: u64 = 128 << 10;
/// The longest that goes before and after a piece: a head, or the frame of a chunk.
const FRAME_BYTES_MAX: usize = 32;
/// Bodies up to this size leave in one write with their head.
const SMALL_BYTES: u64 = 16 << 10;
/// How long a half-closed connection is read on.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(600);
/// How long "until the client leaves" lasts at most.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(3600);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next request may come.
    KeepAlive,
    /// All is said: FIN, and the client may take its time.
    Finish,
    /// It is dropped at once.
    Drop,
}

/// Where a reply goes.
pub(super) struct Wire<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) shared: &'a Shared,
    pub(super) tempo: &'a mut Tempo,
    /// The counter of bytes sent for the path.
    pub(super) path: &'a AtomicU64,
}

impl Wire<'_> {
    /// Sends the reply; `bodyless` where it answers a HEAD.
    ///
    /// # Errors
    ///
    /// Those of the socket and of files that are gone: the connection is of no more use.
    pub(super) async fn send(&mut self, reply: Reply, bodyless: bool) -> io::Result<End> {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let head = reply.head(&date).into_bytes();
        let end = if reply.close { End::Finish } else { End::KeepAlive };
        if bodyless || !reply.has_body() {
            socket::write_all(self.stream, &head).await?;
            return Ok(end);
        }
        let length = reply.payload.length();
        let mut body = Body {
            source: Source::new(reply.payload),
            length,
            sent: 0,
            chunked: reply.framing == Framing::Chunked,
            within: reply.delivery.collapses.iter().map(Rule::enter).collect(),
            buffer: Vec::new(),
        };
        self.tempo.begin(&reply.delivery);
        let ended = self.send_body(head, &mut body, &reply.delivery).await?;
        Ok(ended.unwrap_or(end))
    }

    /// Sends head and body and does what the marks say; `Some` if that ended the connection.
    async fn send_body(
        &mut self,
        mut head: Vec<u8>,
        body: &mut Body,
        delivery: &Delivery,
    ) -> io::Result<Option<End>> {
        if SMALL_BYTES < body.length || !delivery.marks.is_empty() {
            socket::write_all(self.stream, &head).await?;
            head.clear();
        }
        let mut marks = delivery.marks.iter().peekable();
        while body.sent < body.length {
            while let Some(mark) = marks.next_if(|mark| mark.at <= body.sent) {
                if let Some(end) = self.perform(mark).await? {
                    return Ok(Some(end));
                }
            }
            let border = marks.peek().map_or(body.length, |mark| mark.at.min(body.length));
            let live = self.shared.live();
            let rates = self.tempo.rates(&live.settings, &body.within);
            let step = Tempo::piece_bytes(rates).min(PIECE_BYTES_MAX);
            let n = (border - body.sent).min(step);
            if !self.permit(n, &body.within).await {
                return Ok(Some(End::Drop));
            }
            let out = body.render(&head, n as usize)?;
            socket::write_all(self.stream, out).await?;
            head.clear();
            body.sent += n;
            self.shared.counters.sent(n, self.path);
            tokio::task::consume_budget().await;
        }
        if body.chunked {
            head.extend(b"0\r\n\r\n");
        }
        socket::write_all(self.stream, &head).await?;
        Ok(None)
    }

    /// Waits until `n` bytes may go; `false` if the client has left meanwhile. That is looked for only where
    /// it matters: under a collapse, which those who have left must not prolong.
    async fn permit(&mut self, n: u64, within: &[Within]) -> bool {
        tokio::select! {
            biased;
            () = self.tempo.permit(n, self.shared, within) => true,
            () = socket::left(self.stream), if !within.is_empty() => false,
        }
    }

    async fn perform(&mut self, mark: &Mark) -> io::Result<Option<End>> {
        mark.rule.count();
        match mark.deed {
            Deed::Close => return Ok(Some(End::Drop)),
            Deed::Reset => {
                socket::reset(self.stream).await;
                return Ok(Some(End::Drop));
            }
            Deed::HalfClose => {
                socket::drain(self.stream, HALF_CLOSED_MAX).await;
                return Ok(Some(End::Drop));
            }
            Deed::Stall(duration) => {
                if !self.silence(duration).await {
                    return Ok(Some(End::Drop));
                }
            }
            Deed::Trickle(rate) => self.tempo.trickle(rate),
        }
        Ok(None)
    }

    /// Says nothing for so long; `false` if the client left meanwhile.
    pub(super) async fn silence(&mut self, duration: Option<Duration>) -> bool {
        let until = Instant::now() + duration.unwrap_or(SILENCE_MAX);
        tokio::select! {
            () = self.tempo.timer.until(until) => duration.is_some(),
            () = socket::left(self.stream) => false,
        }
    }
}

/// A body half-way.
struct Body {
    source: Source,
    length: u64,
    sent: u64,
    chunked: bool,
    within: Vec<Within>,
    buffer: Vec<u8>,
}

impl Body {
    /// Renders the next `n` bytes behind `prefix`, in their frame.
    fn render(&mut self, prefix: &[u8], n: usize) -> io::Result<&[u8]> {
        let needed = prefix.len() + n + FRAME_BYTES_MAX;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        let mut start = put(&mut self.buffer, 0, prefix);
        if self.chunked {
            start = put(&mut self.buffer, start, format!("{n:x}\r\n").as_bytes());
        }
        let mut end = start + n;
        self.source.fill(&mut self.buffer[start..end])?;
        if self.chunked {
            end = put(&mut self.buffer, end, b"\r\n");
        }
        Ok(&self.buffer[..end])
    }
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}
