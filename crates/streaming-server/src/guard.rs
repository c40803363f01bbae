//! What is looked at before hyper sees it: heads of requests and the framing of their bodies.
//!
//! A request that two servers may read differently is a way past the first of them (RFC 9112, 11.2).
//! hyper reads several of those as it thinks best: no or two `Host`s, lines that end without CR, lengths
//! beside codings. Here they are refused, and the connection ends with the answer. What is let through,
//! hyper and everybody else read the same way.
//!
//! The [`Guard`] is pure: bytes in, bytes out. A head is kept until it is whole; of a body nothing is
//! kept.

mod chunks;
mod head;

use self::chunks::{Chunks, Progress};
pub(crate) use self::head::{Fault, HEAD_BYTES_MAX};
use self::head::{Framing, check, head_end};

/// What hyper is given in the place of a head that is refused: the answer to it is ours.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Where a connection stands between its bytes.
#[derive(Debug)]
enum Place {
    /// In a head, or before one.
    Head,
    /// So many bytes of a body are left.
    Body(u64),
    Chunks(Chunks),
    /// Nothing that follows means anything.
    Over,
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// A head was refused: the last one that was handed on stands for it.
    Refused(Fault),
    /// A body is framed wrongly; the connection has nothing more to say.
    Broken,
}

/// Looks at what a connection receives, in order.
#[derive(Debug)]
pub(crate) struct Guard {
    place: Place,
    /// A head that is not whole.
    head: Vec<u8>,
    /// Whether an empty line was dropped before it.
    skipped: bool,
    /// How many heads were handed on.
    heads: u64,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self { place: Place::Head, head: Vec::new(), skipped: false, heads: 0 }
    }

    /// Reads bytes up to the end of a request and writes what is to be handed on. Returns how many it read:
    /// the rest is the next request's.
    pub(crate) fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Verdict) {
        let mut read = 0;
        while read < bytes.len() {
            match self.read_some(&bytes[read..], out) {
                Ok(taken) => read += taken,
                Err(verdict) => {
                    self.place = Place::Over;
                    return (bytes.len(), verdict);
                }
            }
            if !self.is_within() {
                break;
            }
        }
        (read, Verdict::Fine)
    }

    /// Reads what belongs together of bytes; returns how many that were.
    fn read_some(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Verdict> {
        let taken = match &mut self.place {
            Place::Over => return Ok(bytes.len()),
            Place::Head => {
                return self.read_head(bytes, out).map_err(|fault| {
                    self.heads += 1;
                    out.extend_from_slice(STAND_IN);
                    Verdict::Refused(fault)
                });
            }
            Place::Body(left) => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= n as u64;
                if *left == 0 {
                    self.place = Place::Head;
                }
                n
            }
            Place::Chunks(chunks) => match chunks.read(bytes) {
                Progress::Within => bytes.len(),
                Progress::End(n) => {
                    self.place = Place::Head;
                    n
                }
                Progress::Wrong(n) => {
                    out.extend_from_slice(&bytes[..n]);
                    return Err(Verdict::Broken);
                }
            },
        };
        out.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// How many heads were handed on.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a request was begun and is not whole.
    pub(crate) fn is_within(&self) -> bool {
        !(matches!(self.place, Place::Head) && self.head.is_empty())
    }

    /// Takes what belongs to the head; hands it on when it is whole. Returns how much that was.
    fn read_head(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let before = self.head.len();
        let taken = bytes.len().min(HEAD_BYTES_MAX + 1 - before);
        self.head.extend_from_slice(&bytes[..taken]);
        if !self.skipped && self.head.starts_with(b"\r\n") {
            // An empty line before a request is left over from the one before (RFC 9112, 2.2).
            self.head.drain(..2);
            self.skipped = true;
        }
        let Some(end) = head_end(&self.head, before)? else {
            if HEAD_BYTES_MAX < self.head.len() {
                return Err(Fault::TooLong);
            }
            return Ok(taken);
        };
        let head = &self.head[..end];
        let framing = check(head)?;
        out.extend_from_slice(head);
        let rest = self.head.len() - end;
        self.heads += 1;
        self.skipped = false;
        self.place = match framing {
            Framing::Length(0) => Place::Head,
            Framing::Length(length) => Place::Body(length),
            Framing::Chunked => Place::Chunks(Chunks::new()),
        };
        // A connection that waits holds nothing.
        self.head = Vec::new();
        Ok(taken - rest)
    }
}

#[cfg(test)]
mod tests;
