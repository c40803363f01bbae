//! Requests as they come off the wire. Pure: bytes in, request or refusal out.

/// The largest head in bytes; above it, 431.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// The largest number of header lines; above it, 431.
const HEADERS_MAX: usize = 100;
/// The largest body of a request in bytes; above it, 413.
pub(crate) const BODY_BYTES_MAX: u64 = 1 << 20;

/// One request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As sent, without the query.
    pub(crate) path: String,
    /// Behind the question mark, or empty.
    pub(crate) query: String,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    /// The digit behind `HTTP/1.`.
    pub(crate) minor_version: u8,
    pub(crate) body: Vec<u8>,
}

/// Why a request is not served: a status from 400 to 499, and what to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) what: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, what: &'static str) -> Self {
        Self { status, what }
    }
}

impl Request {
    /// Reads a head from the start of `bytes` and returns it with its length; `None` if more bytes are
    /// needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
            Ok(_) => return Err(Refusal::new(431, "the head is longer than 64 KiB")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::new(431, "more than 100 header lines"));
            }
            Err(_) => return Err(Refusal::new(400, "malformed request line or header")),
        };
        let request = Self::from_parsed(&parsed);
        request.check()?;
        Ok(Some((request, length)))
    }

    fn from_parsed(parsed: &httparse::Request<'_, '_>) -> Self {
        let target = without_authority(parsed.path.unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |header: &httparse::Header<'_>| {
            let value = String::from_utf8_lossy(header.value).trim().to_owned();
            (header.name.to_ascii_lowercase(), value)
        };
        Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: parsed.headers.iter().map(header).collect(),
            minor_version: parsed.version.unwrap_or_default(),
            body: Vec::new(),
        }
    }

    /// What RFC 9112 demands beyond syntax (3.2, 6.3).
    fn check(&self) -> Result<(), Refusal> {
        let count = |name| self.headers.iter().filter(|(header, _)| header == name).count();
        if !self.path.starts_with('/') && self.path != "*" {
            return Err(Refusal::new(400, "the target is no path"));
        }
        if 1 < count("host") || (count("host") == 0 && 1 <= self.minor_version) {
            return Err(Refusal::new(400, "a request needs exactly one Host"));
        }
        if 1 < count("content-length") {
            return Err(Refusal::new(400, "several Content-Length"));
        }
        if 0 < count("transfer-encoding") {
            return Err(Refusal::new(411, "request bodies need a Content-Length"));
        }
        self.body_length().map(drop)
    }

    /// Returns the length of the body that follows the head.
    pub(crate) fn body_length(&self) -> Result<u64, Refusal> {
        let Some(text) = self.header("content-length") else {
            return Ok(0);
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse::<u64>().ok().filter(|_| digits);
        let length = length.ok_or(Refusal::new(400, "Content-Length is no number"))?;
        if BODY_BYTES_MAX < length {
            return Err(Refusal::new(413, "the body is larger than 1 MiB"));
        }
        Ok(length)
    }

    /// Returns the first value of a header, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether the client wants to send another request on this connection (RFC 9112, 9.3).
    pub(crate) fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        let says = |option: &str| connection.split(',').any(|part| part.trim() == option);
        if self.minor_version == 0 { says("keep-alive") } else { !says("close") }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Takes scheme and authority off an absolute target (RFC 9112, 3.2.2).
fn without_authority(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

/// Decodes `%41`; `None` where two digits do not follow or the bytes are no UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = str::from_utf8(&digits).ok().filter(|_| digits[0] != b'+')?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a path for a URL: everything but the unreserved characters (RFC 3986, 2.3) and `/`.
pub(crate) fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    encoded
}

const HEX: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(Request, usize)>, Refusal> {
        Request::parse(text.as_bytes())
    }

    #[track_caller]
    fn check_refused(text: &str, expected: u16) {
        assert_eq!(Err(expected), parse(text).map_err(|refusal| refusal.status), "{text:.60}");
    }

    #[test]
    fn a_request_is_taken_apart() {
        let text = "GET /a%20b?x=1&y=2 HTTP/1.1\r\nHost: h\r\nRange:  bytes=0-1 \r\n\r\nrest";
        let (request, length) = parse(text).unwrap().unwrap();
        assert_eq!(("GET", "/a%20b"), (request.method.as_str(), request.path.as_str()));
        assert_eq!((Some("1"), None), (request.parameter("x"), request.parameter("z")));
        assert_eq!(Some("bytes=0-1"), request.header("range"));
        assert_eq!("rest", &text[length..]);
    }

    #[test]
    fn every_beginning_of_a_head_waits_for_more() {
        let text = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(Ok(None), parse(&text[..end]), "{end}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        check_refused("GET\r\n\r\n", 400);
        check_refused("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400);
        check_refused("GET /a HTTP/7.7\r\nHost: h\r\n\r\n", 400);
        check_refused("GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400);
        check_refused("\u{1}\u{2}\u{3} / HTTP/1.1\r\n\r\n", 400);
        check_refused("GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400);
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        check_refused("GET /a HTTP/1.1\r\n\r\n", 400);
        check_refused("GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400);
        let post = |headers: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
        check_refused(&post("Content-Length: 1\r\nContent-Length: 1"), 400);
        check_refused(&post("Content-Length: +5"), 400);
        check_refused(&post("Content-Length: 0x5"), 400);
        check_refused(&post("Content-Length: 99999999999999999999999"), 400);
        check_refused(&post("Content-Length: 5\r\nTransfer-Encoding: chunked"), 411);
    }

    #[test]
    fn huge_heads_and_bodies_are_refused() {
        let long = format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        check_refused(&long, 431);
        let many = format!("GET /a HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX));
        check_refused(&many, 431);
        check_refused("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413);
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        let keeps = |head: &str| parse(head).unwrap().unwrap().0.keeps_alive();
        assert!(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn absolute_targets_lose_their_authority() {
        assert_eq!("/a?b", without_authority("http://h:1/a?b"));
        assert_eq!("/", without_authority("http://h"));
        assert_eq!("/a://b", without_authority("/a://b"));
    }

    #[test]
    fn percent_signs_are_decoded_or_refused() {
        assert_eq!(Some("a b/ä".to_owned()), percent_decoded("a%20b%2f%C3%a4"));
        for bad in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(None, percent_decoded(bad), "{bad}");
        }
    }
}
