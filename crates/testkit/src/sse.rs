//! A strict reader of server-sent events, for tests of servers.

use std::error::Error;
use std::fmt;

/// The longest block in bytes: far above any event of a token stream.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// One block of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum SseFrame {
    /// A comment, without its colon and one space after it.
    Comment(String),
    /// The JSON of one event.
    Data(serde_json::Value),
    /// `data: [DONE]`.
    Done,
}

/// What is wrong with a stream, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseError {
    /// Offset in bytes from the start of the stream: of the byte that breaks the rule, or of the line
    /// or block that does as a whole.
    pub offset: u64,
    /// The rule that is broken.
    pub rule: &'static str,
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of the stream: {}", self.offset, self.rule)
    }
}

impl Error for SseError {}

/// Reads a stream as the least forgiving of OpenAI's clients do.
///
/// It accepts blocks of exactly `data: JSON\n\n`, `: COMMENT\n\n` and, as the last, `data: [DONE]\n\n`.
/// It refuses carriage returns, byte order marks, `event:`, `id:` and `retry:`, data of several lines,
/// a comment and data in one block, empty blocks, what is no UTF-8 or no JSON, and anything after
/// `[DONE]`: the WHATWG standard allows most of these, and each breaks some client.
///
/// # Examples
///
/// ```
/// use testkit::{SseFrame, SseReader};
///
/// let mut reader = SseReader::new();
/// assert!(reader.push(b": t=1\n\ndata: {\"a\"")?.len() == 1);
/// assert_eq!(vec![SseFrame::Data(serde_json::json!({"a": 1}))], reader.push(b":1}\n\n")?);
///
/// let error = reader.push(b"data:{}\n\n").unwrap_err();
/// assert_eq!("byte 22 of the stream: a line begins neither with `data: ` nor `: `", error.to_string());
/// # Ok::<(), testkit::SseError>(())
/// ```
#[derive(Debug, Default)]
pub struct SseReader {
    /// The bytes of a block whose end has not come.
    block: Vec<u8>,
    /// Offset of the first of them.
    offset: u64,
    done: bool,
}

impl SseReader {
    /// Returns a reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the bytes that follow, cut anywhere, and returns the blocks that end within them.
    ///
    /// # Errors
    ///
    /// The first rule that is broken. The reader is of no more use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseFrame>, SseError> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let at = self.offset + self.block.len() as u64;
            if self.done {
                return Err(SseError { offset: at, rule: "nothing may follow `[DONE]`" });
            }
            if byte == b'\r' {
                return Err(SseError {
                    offset: at,
                    rule: "a carriage return; lines end by \\n alone",
                });
            }
            if BLOCK_BYTES_MAX <= self.block.len() {
                return Err(SseError { offset: self.offset, rule: "a block is longer than 1 MiB" });
            }
            self.block.push(byte);
            if self.block == b"\n" {
                return Err(SseError { offset: at, rule: "an empty block" });
            }
            if self.block.ends_with(b"\n\n") {
                frames.push(self.take_block()?);
            }
        }
        Ok(frames)
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// When it ends within a block or without `[DONE]`.
    pub fn finish(self) -> Result<(), SseError> {
        let offset = self.offset + self.block.len() as u64;
        match (self.block.is_empty(), self.done) {
            (false, _) => Err(SseError { offset, rule: "the stream ends within a block" }),
            (true, false) => Err(SseError { offset, rule: "the stream ends without `[DONE]`" }),
            (true, true) => Ok(()),
        }
    }

    fn take_block(&mut self) -> Result<SseFrame, SseError> {
        let offset = self.offset;
        let frame = read_block(&self.block[..self.block.len() - 2])
            .map_err(|(at, rule)| SseError { offset: offset + at as u64, rule })?;
        self.offset += self.block.len() as u64;
        self.block.clear();
        self.done = frame == SseFrame::Done;
        Ok(frame)
    }
}

/// Reads one block without its two line ends; an error holds the offset within it.
fn read_block(block: &[u8]) -> Result<SseFrame, (usize, &'static str)> {
    let text = str::from_utf8(block).map_err(|error| (error.valid_up_to(), "no UTF-8"))?;
    if let Some(end) = text.find('\n') {
        return Err((end + 1, "a block of several lines"));
    }
    if let Some(comment) = text.strip_prefix(": ") {
        return Ok(SseFrame::Comment(comment.to_owned()));
    }
    match text.strip_prefix("data: ") {
        None => Err((0, "a line begins neither with `data: ` nor `: `")),
        Some("[DONE]") => Ok(SseFrame::Done),
        Some(json) => {
            let parsed = serde_json::from_str(json);
            parsed.map(SseFrame::Data).map_err(|error| {
                ("data: ".len() + error.column().saturating_sub(1), "the data is no JSON")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_refused(stream: &[u8], offset: u64, rule: &str) {
        let mut reader = SseReader::new();
        let result = reader.push(stream).and_then(|_| reader.finish());
        let error = result.expect_err("the stream breaks a rule");
        assert_eq!(offset, error.offset, "{error}");
        assert!(error.rule.contains(rule), "{error}");
    }

    const GOOD: &[u8] = b": t=1\n\ndata: {\"x\":\"\xc3\xa4\"}\n\n: keep-alive\n\ndata: [DONE]\n\n";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn frames_do_not_depend_on_where_reads_end(cuts in prop::collection::vec(1_usize..9, 60)) {
            let mut reader = SseReader::new();
            let (mut frames, mut rest) = (Vec::new(), GOOD);
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                frames.extend(reader.push(piece).unwrap());
                rest = later;
            }
            frames.extend(reader.push(rest).unwrap());
            let expected = vec![
                SseFrame::Comment("t=1".to_owned()),
                SseFrame::Data(json!({"x": "ä"})),
                SseFrame::Comment("keep-alive".to_owned()),
                SseFrame::Done,
            ];
            prop_assert_eq!(expected, frames);
            prop_assert!(reader.finish().is_ok());
        }
    }

    #[test]
    fn frames_that_break_clients_are_refused_where_they_do() {
        check_refused(b"data: {}\r\n\r\n", 8, "carriage return");
        check_refused(b"data:{}\n\n", 0, "neither");
        check_refused(b"event: error\ndata: {}\n\n", 13, "several lines");
        check_refused(b"id: 1\n\n", 0, "neither");
        check_refused(b"retry: 1\n\n", 0, "neither");
        check_refused(b"\xef\xbb\xbfdata: {}\n\n", 0, "neither");
        check_refused(b": x\ndata: {}\n\n", 4, "several lines");
        check_refused(b"data: {\ndata: }\n\n", 8, "several lines");
        check_refused(b"data: {}\n\n\n", 10, "empty block");
        check_refused(b"data: {}\n\ndata: {\"a\":}\n\n", 21, "no JSON");
        check_refused(b"data: \"\xff\"\n\n", 7, "UTF-8");
    }

    #[test]
    fn ends_that_lose_tokens_are_refused() {
        check_refused(b"data: {}\n\n", 10, "without `[DONE]`");
        check_refused(b"data: [DONE]\n", 13, "within a block");
        check_refused(b"data: [DONE]\n\ndata: {}\n\n", 14, "nothing may follow");
        check_refused(&[b'x'; BLOCK_BYTES_MAX + 1], 0, "longer than");
    }
}
