//! Where events end, and which is the last: all that a relay reads of a stream.

use std::collections::VecDeque;

use bytes::Bytes;

/// What is kept of a line: enough to know it.
const LINE_BYTES: usize = 16;
/// An event that is longer is none.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// A stream without end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Follows a stream of events, which may come in any pieces.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Whether an event is a line; else it ends with an empty one.
    lines: bool,
    /// The present line's first bytes, and its length without line ends.
    line: [u8; LINE_BYTES],
    line_bytes: usize,
    /// Whether the present event has data, and whether it is the last.
    has_data: bool,
    is_done: bool,
    /// Events with data that ended.
    events: u64,
    done: bool,
    /// What came of an event that has not ended.
    tail: Vec<Bytes>,
    tail_bytes: usize,
}

impl Frames {
    /// Server-sent events, or lines of JSON.
    pub(crate) fn new(lines: bool) -> Self {
        Self {
            lines,
            line: [0; LINE_BYTES],
            line_bytes: 0,
            has_data: false,
            is_done: false,
            events: 0,
            done: false,
            tail: Vec::new(),
            tail_bytes: 0,
        }
    }

    /// Reads a piece and writes the bytes up to the last end of an event, as they came; the rest waits.
    pub(crate) fn read(
        &mut self,
        mut piece: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), TooLong> {
        if let Some(end) = self.last_end(&piece) {
            let rest = piece.split_off(end);
            out.extend(self.tail.drain(..));
            self.tail_bytes = 0;
            out.push_back(std::mem::replace(&mut piece, rest));
        }
        self.tail_bytes += piece.len();
        if !piece.is_empty() {
            self.tail.push(piece);
        }
        if EVENT_BYTES_MAX < self.tail_bytes { Err(TooLong) } else { Ok(()) }
    }

    /// How many events with data ended since this was asked last.
    pub(crate) fn take_events(&mut self) -> u64 {
        std::mem::take(&mut self.events)
    }

    /// Whether `[DONE]` has come: nobody reads what follows.
    pub(crate) fn is_over(&self) -> bool {
        self.done
    }

    /// Whether the stream came to its end: by `[DONE]`, or, where there are lines, after a whole one.
    pub(crate) fn is_whole(&self) -> bool {
        self.tail.is_empty() && (self.done || self.lines)
    }

    /// Where the last event of a piece ends.
    fn last_end(&mut self, piece: &[u8]) -> Option<usize> {
        let (mut at, mut end) = (0, None);
        while let Some(length) = piece[at..].iter().position(|byte| *byte == b'\n') {
            self.grow_line(&piece[at..at + length]);
            at += length + 1;
            if self.end_line() {
                end = Some(at);
            }
        }
        self.grow_line(&piece[at..]);
        end
    }

    fn grow_line(&mut self, bytes: &[u8]) {
        let bytes = if bytes.last() == Some(&b'\r') { &bytes[..bytes.len() - 1] } else { bytes };
        if let Some(room) = self.line.get_mut(self.line_bytes..) {
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
        }
        self.line_bytes += bytes.len();
    }

    /// Whether an event ends with this line.
    fn end_line(&mut self) -> bool {
        let line = &self.line[..self.line_bytes.min(LINE_BYTES)];
        let is_empty = self.line_bytes == 0;
        if self.lines {
            self.events += u64::from(!is_empty);
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let word = data.strip_prefix(b" ").unwrap_or(data);
            self.is_done |= word == b"[DONE]";
            self.has_data |= word != b"[DONE]";
        }
        self.line_bytes = 0;
        if is_empty && !self.lines {
            self.events += u64::from(std::mem::take(&mut self.has_data));
            self.done |= std::mem::take(&mut self.is_done);
        }
        is_empty || self.lines
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is handed on of a stream that comes in pieces, its events and whether it is whole.
    fn relay(lines: bool, pieces: &[&[u8]]) -> (Vec<u8>, u64, bool) {
        let mut frames = Frames::new(lines);
        let mut out = VecDeque::new();
        for piece in pieces {
            frames.read(Bytes::copy_from_slice(piece), &mut out).unwrap();
        }
        (Vec::from(out).concat(), frames.take_events(), frames.is_whole())
    }

    const STREAM: &[u8] =
        b": hi\n\ndata: {\"a\":1}\n\ndata: {\"b\":\r2}\r\n\r\nevent: x\ndata:{}\n\ndata: [DONE]\n\n";

    #[test]
    fn what_is_whole_is_handed_on_as_it_came() {
        assert_eq!((STREAM.to_vec(), 3, true), relay(false, &[STREAM]));
        let lines = b"{\"a\":1}\n{\"b\":2}\n";
        assert_eq!((lines.to_vec(), 2, true), relay(true, &[lines]));
    }

    #[test]
    fn what_has_not_ended_waits() {
        let (out, events, whole) = relay(false, &[b"data: 1\n\ndata: 2", b"\n"]);
        assert_eq!((&b"data: 1\n\n"[..], 1, false), (&out[..], events, whole));
        let (out, _, whole) = relay(false, &[b"data: 1\n\ndata: 2\n\n"]);
        assert_eq!((18, false), (out.len(), whole));
        let mut frames = Frames::new(false);
        let large = Bytes::from(vec![b'x'; EVENT_BYTES_MAX]);
        assert_eq!(Ok(()), frames.read(large, &mut VecDeque::new()));
        assert_eq!(Err(TooLong), frames.read(Bytes::from_static(b"y"), &mut VecDeque::new()));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut at = cuts;
            at.extend([0, STREAM.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|pair| &STREAM[pair[0]..pair[1]]).collect();
            prop_assert_eq!((STREAM.to_vec(), 3, true), relay(false, &pieces));
        }
    }
}
