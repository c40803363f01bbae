//! Where the body of a reply ends. Pure.
//!
//! Source: RFC 9112, 6.3 (which framing holds) and 7.1 (chunks). Chunks are read as hyper reads them: no
//! bare line feeds, no size that overflows, nothing endless.

use std::fmt;

/// What a chunk's size line may have, and all trailers together: as much as hyper takes.
const LINES_BYTES_MAX: usize = 16 << 10;

/// How the end of a body is told.
#[derive(Debug, PartialEq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, of which the last is empty.
    Chunked(Chunks),
    /// It goes on until the connection ends.
    UntilClose,
}

/// Why the body cannot be told from what is around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FramingError {
    /// No chunk as the standard has it.
    Malformed,
    /// A size of more than 64 bits.
    TooLarge,
    /// A size line, or the trailers, that do not end.
    Endless,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the body is not made of chunks, as its head says"),
            Self::TooLarge => f.write_str("a chunk has a size of more than 64 bits"),
            Self::Endless => {
                write!(f, "a chunk's size line or the trailers are above {LINES_BYTES_MAX} B")
            }
        }
    }
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { step: Step::Start, left: 0, line_bytes: 0 })
    }

    /// Whether the body has come to its end. One that goes on until the connection ends never has.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.step == Step::Over,
            Self::UntilClose => false,
        }
    }

    /// Takes the next piece of the body off the front of `bytes`; `None` when that is over or more of
    /// them are needed. What is left after its end is not of the body.
    ///
    /// # Errors
    ///
    /// [`FramingError`]; nothing can be said of what follows.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, FramingError> {
        match self {
            Self::Length(left) => Ok(split_off(bytes, left)),
            Self::Chunked(chunks) => chunks.next(bytes),
            Self::UntilClose => {
                let mut endless = u64::MAX;
                Ok(split_off(bytes, &mut endless))
            }
        }
    }
}

/// Takes at most `left` off the front, and off `left`; `None` if that is nothing.
fn split_off<'a>(bytes: &mut &'a [u8], left: &mut u64) -> Option<&'a [u8]> {
    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (piece, rest) = bytes.split_at(n);
    *bytes = rest;
    *left -= n as u64;
    (0 < n).then_some(piece)
}

/// A body in chunks, and how far it is.
#[derive(Debug, PartialEq)]
pub(super) struct Chunks {
    step: Step,
    /// The size of this chunk, as far as it is read; then, what is left of it.
    left: u64,
    /// Bytes of this size line, or of the trailers.
    line_bytes: usize,
}

/// What the next byte is, or comes after.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The first digit of a size.
    Start,
    /// A further one, or what ends the size.
    Size,
    /// Space behind the size.
    Space,
    /// An extension, which nobody uses.
    Extension,
    /// The line feed that ends the size line.
    SizeEnd,
    Data,
    /// The two bytes behind the data.
    DataReturn,
    DataFeed,
    /// A trailer's first byte, or the first of the two that end everything.
    Last,
    LastFeed,
    Trailer,
    TrailerFeed,
    Over,
}

impl Chunks {
    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, FramingError> {
        while self.step != Step::Over {
            if self.step == Step::Data {
                let piece = split_off(bytes, &mut self.left);
                if self.left == 0 {
                    self.step = Step::DataReturn;
                }
                return Ok(piece);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            self.line_bytes += 1;
            if LINES_BYTES_MAX < self.line_bytes {
                return Err(FramingError::Endless);
            }
            self.step = self.after(byte)?;
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8) -> Result<Step, FramingError> {
        Ok(match (self.step, byte) {
            (Step::Start | Step::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?;
                Step::Size
            }
            (Step::Size | Step::Space, b' ' | b'\t') => Step::Space,
            (Step::Size | Step::Space, b';') => Step::Extension,
            (Step::Size | Step::Space | Step::Extension, b'\r') => Step::SizeEnd,
            // Others may take a bare line feed for the end, and read another body than we would.
            (Step::Extension, byte) if byte != b'\n' => Step::Extension,
            (Step::SizeEnd, b'\n') => {
                self.line_bytes = 0;
                if self.left == 0 { Step::Last } else { Step::Data }
            }
            (Step::DataReturn, b'\r') => Step::DataFeed,
            (Step::DataFeed, b'\n') => {
                self.line_bytes = 0;
                Step::Start
            }
            (Step::Last, b'\r') => Step::LastFeed,
            (Step::LastFeed, b'\n') => Step::Over,
            (Step::Trailer, b'\r') => Step::TrailerFeed,
            (Step::TrailerFeed, b'\n') => Step::Last,
            (Step::Last | Step::Trailer, _) => Step::Trailer,
            _ => return Err(FramingError::Malformed),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<(), FramingError> {
        let digit = char::from(byte).to_digit(16).expect("only digits come here");
        let larger = self.left.checked_mul(16).ok_or(FramingError::TooLarge)?;
        self.left = larger + u64::from(digit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body in these pieces, what is left behind it, and whether it is over.
    fn read(
        mut framing: Framing,
        pieces: &[&[u8]],
    ) -> (Vec<u8>, Vec<u8>, Result<bool, FramingError>) {
        let (mut body, mut left) = (Vec::new(), Vec::new());
        for mut bytes in pieces.iter().copied() {
            loop {
                match framing.next(&mut bytes) {
                    Ok(Some(piece)) => body.extend_from_slice(piece),
                    Ok(None) => break,
                    Err(error) => return (body, left, Err(error)),
                }
            }
            left.extend_from_slice(bytes);
        }
        (body, left, Ok(framing.is_over()))
    }

    #[track_caller]
    fn check(text: &str, body: &str, outcome: Result<bool, FramingError>) {
        let whole = text.as_bytes();
        let expected = (body.as_bytes().to_vec(), outcome);
        // In one piece, split at every byte, and byte by byte.
        for at in 0..=whole.len() {
            let (body, _, outcome) = read(Framing::chunked(), &[&whole[..at], &whole[at..]]);
            assert_eq!(expected, (body, outcome), "split at {at}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let (body, _, outcome) = read(Framing::chunked(), &bytes);
        assert_eq!(expected, (body, outcome));
    }

    #[test]
    fn chunks_split_anywhere_are_the_same_body() {
        check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", Ok(true));
        check("A;name=\"a;b\"\r\n0123456789\r\n00\r\n\r\n", "0123456789", Ok(true));
        check("a \t\r\n0123456789\r\n0\r\nx: y\r\nz:\r\n\r\n", "0123456789", Ok(true));
        check("5\r\nhel", "hel", Ok(false));
        check("0\r\n\r", "", Ok(false));
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for text in
            ["\r\n", "x\r\n", "5\nhello", "5;a\nhello", "5 5\r\n", " 5\r\n", "-1\r\n", "0x5\r\n"]
        {
            check(text, "", Err(FramingError::Malformed));
        }
        check("2\r\nhello", "he", Err(FramingError::Malformed));
        check("2\r\nhe\n", "he", Err(FramingError::Malformed));
        check("0\r\n\rx", "", Err(FramingError::Malformed));
        check("0\r\na: b\rx", "", Err(FramingError::Malformed));
    }

    #[test]
    fn sizes_have_an_end() {
        check("10000000000000000\r\n", "", Err(FramingError::TooLarge));
        check("ffffffffffffffff\r\nx", "x", Ok(false));
        let endless = |text: &str| format!("{text}{}", "a".repeat(LINES_BYTES_MAX + 1));
        let zeros = "0".repeat(LINES_BYTES_MAX + 1);
        let feeds = format!("0\r\n{}", "a: b\r\n".repeat(LINES_BYTES_MAX / 6 + 1));
        for text in [zeros, endless("5;"), endless("0\r\n"), feeds] {
            let (_, _, outcome) = read(Framing::chunked(), &[text.as_bytes()]);
            assert_eq!(Err(FramingError::Endless), outcome);
        }
        // The lines of many chunks together may be longer.
        let many =
            format!("1;{}\r\nx\r\n", "a".repeat(LINES_BYTES_MAX / 2)).repeat(4) + "0\r\n\r\n";
        check_end(&many, "xxxx");
    }

    fn check_end(text: &str, expected: &str) {
        let (body, _, outcome) = read(Framing::chunked(), &[text.as_bytes()]);
        assert_eq!((expected.as_bytes().to_vec(), Ok(true)), (body, outcome));
    }

    #[test]
    fn what_comes_after_the_end_is_not_of_the_body() {
        let (body, left, over) = read(Framing::chunked(), &[b"1\r\nx\r\n0\r\n\r\nHTTP", b"/1.1"]);
        assert_eq!((&b"x"[..], &b"HTTP/1.1"[..], Ok(true)), (&*body, &*left, over));
        let (body, left, over) = read(Framing::Length(3), &[b"ab", b"cd", b"e"]);
        assert_eq!((&b"abc"[..], &b"de"[..], Ok(true)), (&*body, &*left, over));
        let (body, left, over) = read(Framing::UntilClose, &[b"ab", b"cd"]);
        assert_eq!((&b"abcd"[..], &b""[..], Ok(false)), (&*body, &*left, over));
        assert!(Framing::Length(0).is_over());
    }

    /// The same reply as hyper's client reads it: its data, and whether it came to its end.
    fn by_hyper(body: &[u8]) -> (Vec<u8>, bool) {
        use http_body_util::{BodyExt, Empty};
        use hyper::body::Bytes;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let reply = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", body].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let _ = far.read(&mut [0; 512]).await;
                let _ = far.write_all(&reply).await;
            });
            let io = hyper_util::rt::TokioIo::new(near);
            let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(driver);
            let request = hyper::Request::get("/").body(Empty::<Bytes>::new()).unwrap();
            let mut incoming = sender.send_request(request).await.unwrap().into_body();
            let mut data = Vec::new();
            while let Some(frame) = incoming.frame().await {
                match frame.map(hyper::body::Frame::into_data) {
                    Ok(Ok(bytes)) => data.extend_from_slice(&bytes),
                    Ok(Err(_)) => {}
                    Err(_) => return (data, false),
                }
            }
            (data, true)
        })
    }

    prop_compose! {
        fn chunk()(
            data in prop::collection::vec(any::<u8>(), 1..40),
            zeros in 0_usize..3,
            space in "[ \t]{0,2}",
            extension in prop::option::of("[a-z=\"]{0,8}"),
        ) -> Vec<u8> {
            let extension = extension.map(|text| format!(";{text}")).unwrap_or_default();
            let size = format!("{}{:x}{space}{extension}\r\n", "0".repeat(zeros), data.len());
            [size.as_bytes(), &data, b"\r\n"].concat()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Chunks, at most one byte of which is changed: the same data, and an end where hyper sees one.
        /// hyper reads trailers for their sense, too, and refuses some that we pass over.
        #[test]
        fn bodies_are_read_as_hyper_reads_them(
            chunks in prop::collection::vec(chunk(), 0..5),
            trailers in prop::sample::select(vec!["", "a: b\r\n", "a: b\r\nc: d\r\n"]),
            changed in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            splits in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut whole = chunks.concat();
            whole.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            let is_changed = changed.is_some();
            if let Some((index, byte)) = changed {
                let at = index.index(whole.len());
                whole[at] = byte;
            }
            let mut cuts: Vec<usize> = splits.iter().map(|index| index.index(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            let (body, left, outcome) = read(Framing::chunked(), &pieces);
            let (expected, is_over) = by_hyper(&whole);
            prop_assert_eq!(expected, body);
            prop_assert!(!is_over || outcome == Ok(true), "{outcome:?}");
            prop_assert!(is_changed || is_over && left.is_empty());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(Framing::chunked(), &[&bytes]);
        }
    }
}
