//! Server-sent events, decoded as bytes arrive.
//!
//! [`Decoder::feed`] takes bytes as they come, split anywhere, and hands out each comment and event the
//! moment its last byte is there. An event that lies within one piece is handed out as a slice of it:
//! nothing is copied or allocated. Strict: bytes that are no UTF-8 and events that do not end are
//! errors, never guesses.
//!
//! # The guarantee
//!
//! The same bytes give the same items, however they are split; at most [`Decoder::event_bytes_max`] are
//! kept between two pieces.
//!
//! Source: WHATWG, "HTML Living Standard", 9.2.5 and 9.2.6 (lines end in CR, LF or CRLF; one leading byte
//! order mark is skipped). Fields that streams of tokens do not use, `id` and `retry`, are skipped.
//!
//! # Examples
//!
//! ```
//! use inference_bench::sse::{Decoder, Item};
//!
//! let mut decoder = Decoder::default();
//! let mut seen = Vec::new();
//! for piece in [&b": t=5\n\nda"[..], b"ta: {\"a\":1}\r", b"\n\r\ndata: [DONE]\n\n"] {
//!     decoder.feed(piece, |item| match item {
//!         Item::Event { data, .. } => seen.push(data.to_owned()),
//!         Item::Comment(text) => seen.push(format!("# {text}")),
//!     })?;
//! }
//! assert_eq!(["# t=5", "{\"a\":1}", "[DONE]"], *seen);
//! assert!(decoder.is_at_border());
//! # Ok::<(), inference_bench::sse::DecodeError>(())
//! ```

use std::fmt;
use std::ops::Range;

/// The longest event by default: 1 MiB, far above any chunk of tokens and far below what would hurt.
const EVENT_BYTES_MAX: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What a stream consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Item<'a> {
    /// A comment, without the colon and one space behind it.
    Comment(&'a str),
    /// An event.
    Event {
        /// Its name; empty where the stream gives none (the standard calls it `message` then).
        name: &'a str,
        /// Its lines of data, with line feeds between them.
        data: &'a str,
    },
}

/// Why a stream cannot be decoded further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// An event, a comment or a line is longer than the limit.
    TooLong {
        /// The limit, in bytes.
        event_bytes_max: usize,
    },
    /// A line is no UTF-8.
    NotUtf8,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { event_bytes_max } => {
                write!(f, "an event is longer than {event_bytes_max} B")
            }
            Self::NotUtf8 => f.write_str("an event holds bytes that are no UTF-8"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes one stream.
///
/// # Examples
///
/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Decoder {
    event_bytes_max: usize,
    /// The beginning of a line whose end is not there yet.
    line: Vec<u8>,
    /// The data of an event whose end is not there yet; valid if `has_data`.
    data: String,
    has_data: bool,
    name: String,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// Nothing but a part of a byte order mark has come yet.
    at_start: bool,
}

impl Default for Decoder {
    /// Takes events of up to 1 MiB.
    fn default() -> Self {
        Self::new(EVENT_BYTES_MAX)
    }
}

impl Decoder {
    /// Returns a decoder that takes events and lines of at most this many bytes.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            data: String::new(),
            has_data: false,
            name: String::new(),
            after_cr: false,
            at_start: true,
        }
    }

    /// The longest event or line that is taken, in bytes.
    #[must_use]
    pub fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    /// Whether the last event is over: the stream may end here. Where it does not hold at the end of a
    /// stream, an event was cut.
    #[must_use]
    pub fn is_at_border(&self) -> bool {
        self.line.is_empty() && !self.has_data && self.name.is_empty()
    }

    /// Decodes the next bytes and hands each item to `each` the moment it is complete.
    ///
    /// Allocates only for an event that is split between two pieces or has several lines of data.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the items before it have been handed out. The decoder is of no use afterwards.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Item<'_>),
    ) -> Result<(), DecodeError> {
        let mut rest = 0;
        // The data of an event of one line so far, all of it within `bytes`.
        let mut whole: Option<Range<usize>> = None;
        if self.after_cr && bytes.first() == Some(&b'\n') {
            rest = 1;
        }
        self.after_cr &= bytes.is_empty();
        while let Some(end) = memchr::memchr2(b'\n', b'\r', &bytes[rest..]).map(|at| rest + at) {
            let line = rest..end;
            rest = self.after_line_end(bytes, end);
            if self.line.is_empty() && !self.at_start {
                self.line_within(bytes, line, &mut whole, &mut each)?;
            } else {
                self.spill(bytes, &mut whole)?;
                self.split_line(&bytes[line], &mut each)?;
            }
        }
        self.spill(bytes, &mut whole)?;
        self.line.extend_from_slice(&bytes[rest..]);
        self.check_length(self.line.len())
    }

    /// Returns where the next line begins, given the place of a CR or LF.
    fn after_line_end(&mut self, bytes: &[u8], end: usize) -> usize {
        match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            (b'\r', None) => {
                self.after_cr = true;
                end + 1
            }
            _ => end + 1,
        }
    }

    /// A line that lies within the piece.
    fn line_within(
        &mut self,
        bytes: &[u8],
        line: Range<usize>,
        whole: &mut Option<Range<usize>>,
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<(), DecodeError> {
        self.check_length(line.len())?;
        let text = &bytes[line.clone()];
        if text.is_empty() {
            return match whole.take() {
                Some(data) => {
                    each(Item::Event { name: &self.name, data: utf8(&bytes[data])? });
                    self.name.clear();
                    Ok(())
                }
                None => {
                    self.blank_line(each);
                    Ok(())
                }
            };
        }
        if let Some(value) = value_of(text, b"data")
            && whole.is_none()
            && !self.has_data
        {
            *whole = Some(line.end - value.len()..line.end);
            return Ok(());
        }
        self.spill(bytes, whole)?;
        self.line(text, each)
    }

    /// A line whose beginning came in an earlier piece, or the first one.
    fn split_line(
        &mut self,
        end: &[u8],
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<(), DecodeError> {
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        self.check_length(line.len())?;
        let mut text = &line[..];
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        if text.is_empty() {
            self.blank_line(each);
        } else {
            self.line(text, each)?;
        }
        line.clear();
        self.line = line;
        Ok(())
    }

    fn line(&mut self, text: &[u8], each: &mut impl FnMut(Item<'_>)) -> Result<(), DecodeError> {
        if let Some(comment) = text.strip_prefix(b":") {
            each(Item::Comment(utf8(comment.strip_prefix(b" ").unwrap_or(comment))?));
        } else if let Some(value) = value_of(text, b"data") {
            self.add_data(value)?;
        } else if let Some(value) = value_of(text, b"event") {
            utf8(value)?.clone_into(&mut self.name);
        } else {
            utf8(text)?;
        }
        Ok(())
    }

    fn blank_line(&mut self, each: &mut impl FnMut(Item<'_>)) {
        if self.has_data {
            each(Item::Event { name: &self.name, data: &self.data });
        }
        self.has_data = false;
        self.data.clear();
        self.name.clear();
    }

    /// Keeps what would be lost with the piece.
    fn spill(&mut self, bytes: &[u8], whole: &mut Option<Range<usize>>) -> Result<(), DecodeError> {
        match whole.take() {
            Some(data) => self.add_data(&bytes[data]),
            None => Ok(()),
        }
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        self.check_length(self.data.len() + value.len())?;
        if self.has_data {
            self.data.push('\n');
        }
        self.data.push_str(utf8(value)?);
        self.has_data = true;
        Ok(())
    }

    fn check_length(&self, bytes: usize) -> Result<(), DecodeError> {
        let event_bytes_max = self.event_bytes_max;
        if event_bytes_max < bytes {
            return Err(DecodeError::TooLong { event_bytes_max });
        }
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}

/// The value of this field, without the one space that may stand before it.
fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(field)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes pieces and tells the items, one a line.
    fn decode(pieces: &[&[u8]], event_bytes_max: usize) -> Result<Vec<String>, DecodeError> {
        let mut decoder = Decoder::new(event_bytes_max);
        let mut items = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |item| items.push(format!("{item:?}")))?;
        }
        items.push(format!("border {}", decoder.is_at_border()));
        Ok(items)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let mut items: Vec<String> = Vec::new();
        for &(name, data) in expected {
            items.push(match name {
                "#" => format!("{:?}", Item::Comment(data)),
                name => format!("{:?}", Item::Event { name, data }),
            });
        }
        let decoded = decode(&[text.as_bytes()], 1 << 20).unwrap();
        assert_eq!(items, decoded[..decoded.len() - 1]);
    }

    #[test]
    fn the_examples_of_the_standard() {
        check(
            "data: YHOO\ndata: +2\ndata: 10\n\n: test stream\n\ndata: first event\nid: 1\n\n\
             data:second event\nid\n\ndata:  third event\n\n",
            &[
                ("", "YHOO\n+2\n10"),
                ("#", "test stream"),
                ("", "first event"),
                ("", "second event"),
                ("", " third event"),
            ],
        );
        check("data\n\ndata\ndata\n\ndata:", &[("", ""), ("", "\n")]);
        check("data:test\n\ndata: test\n\n", &[("", "test"), ("", "test")]);
    }

    #[test]
    fn names_line_ends_and_the_byte_order_mark() {
        check("\u{feff}event: error\r\ndata: a\r\n\r\n", &[("error", "a")]);
        check("event: x\n\ndata: b\r\rdata: c\n\n", &[("", "b"), ("", "c")]);
        check("data\u{feff}: no\n\n", &[]);
        check("database: no\nretry: 5\n\n", &[]);
    }

    #[test]
    fn what_is_no_utf8_is_an_error() {
        assert_eq!(Err(DecodeError::NotUtf8), decode(&[b"data: \xff\n\n"], 100));
        assert_eq!(Err(DecodeError::NotUtf8), decode(&[b": \xc3\n\n"], 100));
        // A character that is split between two reads is whole again.
        assert!(decode(&[b"data: \xc3", b"\xa4\n\n"], 100).is_ok());
    }

    #[test]
    fn endless_lines_and_events_end() {
        let too_long = Err(DecodeError::TooLong { event_bytes_max: 10 });
        assert_eq!(too_long, decode(&[b"data: 123", b"45"], 10));
        assert_eq!(too_long, decode(&[b"data: 12345\n"], 10));
        assert_eq!(too_long, decode(&[b"data: 1234\ndata: 5678\ndata: 90\n"], 10));
        assert!(decode(&[b"data: 1234\n\ndata: 5678\n\n"], 10).is_ok());
    }

    #[test]
    fn an_unfinished_event_is_no_border() {
        let last = |text: &[u8]| decode(&[text], 100).unwrap().pop().unwrap();
        for text in ["data: a\n\n", ": c\n", "", "data: a\r\n\r\n"] {
            assert_eq!("border true", last(text.as_bytes()), "{text:?}");
        }
        for text in ["data: a\n", "data", "event: a\n", "data: a\n\nd"] {
            assert_eq!("border false", last(text.as_bytes()), "{text:?}");
        }
    }

    /// Lines as streams have them, and some that they should not have.
    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "data: ?[a-zä{}\":]{0,6}",
            1 => "event: [a-z]{0,3}",
            2 => ": ?[a-z=0-9]{0,5}",
            1 => "[a-z]{0,5}",
            3 => Just(String::new()),
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        let lines = prop::collection::vec((line, end), 0..12);
        (any::<bool>(), lines).prop_map(|(mark, lines)| {
            let text: String = lines.into_iter().map(|(line, end)| line + end).collect();
            if mark { format!("\u{feff}{text}") } else { text }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Split anywhere, the items are the same; and in the end so is what is left over.
        #[test]
        fn every_split_gives_the_same_items(text in lines(), limit in 4_usize..64, cuts in prop::collection::vec(0_usize..80, 0..6)) {
            let bytes = text.as_bytes();
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            let expected = decode(&bytewise, limit);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(&expected, &decode(&pieces, limit));
            for cut in 0..bytes.len() {
                prop_assert_eq!(&expected, &decode(&[&bytes[..cut], &bytes[cut..]], limit));
            }
        }
    }
}
