//! The heads of requests and replies. Pure.

use std::fmt;

use httparse::{Header, Status};
use hyper::StatusCode;
use pool::http::Origin;

use super::framing::Framing;

/// The longest head of a reply, with all that are sent ahead of it: a good deal more than servers send.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Fields that a head may have: as many as hyper takes.
const FIELDS_MAX: usize = 100;

/// The head of a request for a stream, but for its length; `key` is what `Authorization` says.
pub(super) fn request_head(origin: &Origin, path: &str, key: Option<&str>) -> String {
    let host = origin.authority();
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\n"
    );
    if let Some(key) = key {
        head += &format!("authorization: {key}\r\n");
    }
    head
}

/// A whole request.
pub(super) fn request(head: &str, body: &str) -> String {
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// What is known of a reply before its body.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// What its `Content-Type` says; empty without one.
    pub(super) content_type: String,
    pub(super) framing: Framing,
    /// Whether the connection stays after the body.
    pub(super) keeps_open: bool,
}

/// Why something is no head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadError {
    /// No HTTP/1.
    Malformed(httparse::Error),
    /// It does not end.
    Endless,
    /// Lengths that are none, or that contradict each other.
    Length,
    /// Chunks, which HTTP/1.0 does not know.
    Chunks,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the reply is no HTTP/1: {error}"),
            Self::Endless => write!(f, "the head of the reply is above {HEAD_BYTES_MAX} B"),
            Self::Length => f.write_str("the reply has no valid `Content-Length`"),
            Self::Chunks => f.write_str("the reply is in chunks, which HTTP/1.0 does not know"),
        }
    }
}

/// Reads the head of one reply.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// The beginning of a head whose end is not there yet.
    begun: Vec<u8>,
    /// Bytes of all heads so far.
    bytes: usize,
}

impl HeadReader {
    /// Takes the head off the front of `bytes`; `None` when more of them are needed. Replies that are
    /// only sent ahead (1xx) are passed over.
    ///
    /// Copies nothing of a head that lies within one piece.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, HeadError> {
        // Each turn but the last takes a whole head off, and all of them together are limited.
        while !bytes.is_empty() {
            let Some((head, n)) = self.one(bytes)? else { return Ok(None) };
            *bytes = &bytes[n..];
            if head.status == StatusCode::SWITCHING_PROTOCOLS || !head.status.is_informational() {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// The next head, and how many of `bytes` belong to it.
    fn one(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
        let before = self.begun.len();
        let parsed = if before == 0 {
            parse(bytes)?
        } else {
            self.begun.extend_from_slice(bytes);
            // Only a line feed can end a head: what comes byte by byte is not parsed for each of them.
            if bytes.contains(&b'\n') { parse(&self.begun)? } else { None }
        };
        let Some((head, end)) = parsed else {
            if before == 0 {
                self.begun.extend_from_slice(bytes);
            }
            return self.count(bytes.len()).map(|()| None);
        };
        self.begun = Vec::new();
        self.count(end - before)?;
        Ok(Some((head, end - before)))
    }

    fn count(&mut self, bytes: usize) -> Result<(), HeadError> {
        self.bytes += bytes;
        if HEAD_BYTES_MAX < self.bytes { Err(HeadError::Endless) } else { Ok(()) }
    }
}

/// The head at the front, and its length.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut fields);
    match reply.parse(bytes).map_err(HeadError::Malformed)? {
        Status::Partial => Ok(None),
        Status::Complete(end) => Ok(Some((head_of(&reply)?, end))),
    }
}

fn head_of(reply: &httparse::Response<'_, '_>) -> Result<Head, HeadError> {
    let status = reply.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(HeadError::Malformed(httparse::Error::Status))?;
    let is_http_1_1 = reply.version == Some(1);
    let framing = framing(status, reply.headers, is_http_1_1)?;
    let content_type = values(reply.headers, "content-type").next().unwrap_or_default();
    let says = |what: &str| {
        let words = values(reply.headers, "connection").flat_map(|value| value.split(','));
        words.into_iter().any(|word| word.trim().eq_ignore_ascii_case(what))
    };
    let has_both = has(reply.headers, "transfer-encoding") && has(reply.headers, "content-length");
    let keeps_open = !says("close")
        && (is_http_1_1 || says("keep-alive"))
        // Whoever sends both may mean either (RFC 9112, 6.3).
        && !has_both
        && framing != Framing::UntilClose;
    Ok(Head { status, content_type: content_type.to_owned(), framing, keeps_open })
}

/// RFC 9112, 6.3, for a reply to a POST.
fn framing(
    status: StatusCode,
    fields: &[Header<'_>],
    is_http_1_1: bool,
) -> Result<Framing, HeadError> {
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if has_none || status.is_informational() {
        return Ok(Framing::Length(0));
    }
    if has(fields, "transfer-encoding") {
        if !is_http_1_1 {
            return Err(HeadError::Chunks);
        }
        let last = values(fields, "transfer-encoding").last().unwrap_or_default();
        let last = last.rsplit(',').next().unwrap_or_default().trim();
        let is_chunked = last.eq_ignore_ascii_case("chunked");
        return Ok(if is_chunked { Framing::chunked() } else { Framing::UntilClose });
    }
    if !has(fields, "content-length") {
        return Ok(Framing::UntilClose);
    }
    let lengths = values(fields, "content-length").flat_map(|value| value.split(','));
    let mut lengths = lengths.map(|length| digits(length.trim()));
    let length = lengths.next().flatten().ok_or(HeadError::Length)?;
    // Lengths that are repeated may be an error of a proxy; lengths that differ are an attack.
    if lengths.any(|other| other != Some(length)) {
        return Err(HeadError::Length);
    }
    Ok(Framing::Length(length))
}

/// A number without a sign, which `parse` alone would take.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn has(fields: &[Header<'_>], name: &str) -> bool {
    fields.iter().any(|field| field.name.eq_ignore_ascii_case(name))
}

/// The values of this field; what is no text is an empty one.
fn values<'a>(fields: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a str> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| std::str::from_utf8(field.value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(Head, String)>, HeadError> {
        let mut bytes = text.as_bytes();
        let head = HeadReader::default().next(&mut bytes)?;
        Ok(head.map(|head| (head, String::from_utf8(bytes.to_vec()).unwrap())))
    }

    #[track_caller]
    fn check(fields: &str, framing: Framing, keeps_open: bool) {
        let (head, left) = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\nrest")).unwrap().unwrap();
        assert_eq!((framing, keeps_open, "rest"), (head.framing, head.keeps_open, &*left));
    }

    #[test]
    fn bodies_end_as_the_standard_says() {
        check("content-length: 5\r\n", Framing::Length(5), true);
        check("Content-Length: 5, 5\r\ncontent-length:5\r\n", Framing::Length(5), true);
        check("transfer-encoding: chunked\r\n", Framing::chunked(), true);
        check("Transfer-Encoding: gzip, Chunked\r\n", Framing::chunked(), true);
        check("transfer-encoding: chunked, gzip\r\n", Framing::UntilClose, false);
        check("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Framing::chunked(), false);
        check("", Framing::UntilClose, false);
        check("content-length: 5\r\nconnection: x, Close\r\n", Framing::Length(5), false);
        check(
            "content-length: 5\r\nconnection: close\r\nconnection: keep-alive\r\n",
            Framing::Length(5),
            false,
        );
    }

    #[test]
    fn http_1_0_keeps_only_what_it_says() {
        let of = |fields: &str| {
            let text = format!("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n{fields}\r\n");
            read(&text).map(|read| read.unwrap().0.keeps_open)
        };
        assert_eq!(Ok(false), of(""));
        assert_eq!(Ok(true), of("connection: Keep-Alive\r\n"));
        assert_eq!(Err(HeadError::Chunks), of("transfer-encoding: chunked\r\n"));
    }

    #[test]
    fn lengths_that_are_none_are_errors() {
        let of = |value: &str| read(&format!("HTTP/1.1 200 OK\r\ncontent-length: {value}\r\n\r\n"));
        for value in
            ["", "+5", "-5", "5, 6", "5,", "five", "18446744073709551616", "5\r\ncontent-length: 6"]
        {
            assert_eq!(Err(HeadError::Length), of(value), "{value}");
        }
    }

    #[test]
    fn replies_without_a_body_have_none() {
        for status in [101, 204, 304] {
            let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 5\r\n\r\n");
            let (head, _) = read(&text).unwrap().unwrap();
            assert_eq!((status, Framing::Length(0)), (head.status.as_u16(), head.framing));
        }
    }

    #[test]
    fn a_head_split_at_every_byte_is_the_same() {
        let ahead = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 4\r\n\r\n";
        let whole = format!("{ahead}{head}rest");
        let expected = Head {
            status: StatusCode::OK,
            content_type: "text/event-stream".to_owned(),
            framing: Framing::Length(4),
            keeps_open: true,
        };
        for size in 1..=whole.len() {
            let mut reader = HeadReader::default();
            let mut found = None;
            let mut left = Vec::new();
            for mut piece in whole.as_bytes().chunks(size) {
                if found.is_none() {
                    found = reader.next(&mut piece).unwrap();
                }
                if found.is_some() {
                    left.extend_from_slice(piece);
                }
            }
            assert_eq!((Some(&expected), &b"rest"[..]), (found.as_ref(), &*left), "by {size}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_an_error() {
        let endless = |piece: &str| {
            let mut reader = HeadReader::default();
            let pieces = std::iter::repeat_n(piece, HEAD_BYTES_MAX / piece.len() + 2);
            pieces.map(|piece| reader.next(&mut piece.as_bytes())).find_map(Result::err)
        };
        assert_eq!(Some(HeadError::Endless), endless("\r\n"));
        assert_eq!(Some(HeadError::Endless), endless("HTTP/1.1 100 Continue\r\n\r\n"));
        let mut reader = HeadReader::default();
        let mut long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_BYTES_MAX)).into_bytes();
        assert_eq!(Err(HeadError::Endless), reader.next(&mut &*long));
        long.clear();
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(Err(HeadError::Malformed(httparse::Error::TooManyHeaders)), read(&many));
    }

    #[test]
    fn what_is_no_head_is_an_error() {
        for text in [
            "what?\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
        ] {
            assert!(matches!(read(text), Err(HeadError::Malformed(_))), "{text}");
        }
        assert_eq!(Ok(None), read("HTTP/1.1 200 O"));
    }

    #[test]
    fn a_request_says_where_it_goes_and_how_long_it_is() {
        let origin = Origin::of(&"http://[::1]:8000/v1".parse().unwrap()).unwrap();
        let head = request_head(&origin, "/v1/completions", Some("Bearer k"));
        let expected = "POST /v1/completions HTTP/1.1\r\nhost: [::1]:8000\r\n\
            content-type: application/json\r\naccept: text/event-stream\r\n\
            authorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(expected, request(&head, "{}"));
    }
}
