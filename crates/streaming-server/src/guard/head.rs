//! One head of a request: whether everybody reads it the same way.

use hyper::StatusCode;

/// The longest head, in bytes: as nginx has it by default (`large_client_header_buffers`).
pub(crate) const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most fields of a head; hyper would refuse more as well.
const FIELDS_MAX: usize = 100;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Longer than [`HEAD_BYTES_MAX`], or of more fields than there may be.
    TooLong,
    /// CR without LF, or LF without CR.
    LineEnd,
    RequestLine,
    Version,
    /// `CONNECT`: there is nobody to connect to.
    Connect,
    Target,
    Field,
    /// A line that continues the one before.
    Folded,
    NoHost,
    TwoHosts,
    Host,
    /// The target names another host than `Host`.
    OtherHost,
    Length,
    /// Both a length and a coding.
    LengthAndCoding,
    Coding,
    UnknownCoding,
}

impl Fault {
    /// Its status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What to tell whoever sent it.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooLong => "the head of the request has more than 32 KiB or 100 fields",
            Self::LineEnd => "a line of the head does not end with CR LF",
            Self::RequestLine => "the first line is no METHOD TARGET VERSION",
            Self::Version => "HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::Connect => "nothing is connected to from here",
            Self::Target => "the target is no path of visible ASCII characters",
            Self::Field => "a field of the head is no NAME: VALUE",
            Self::Folded => "a field of the head is continued on another line",
            Self::NoHost => "there is no Host",
            Self::TwoHosts => "there is more than one Host",
            Self::Host => "the Host is no name with or without a port",
            Self::OtherHost => "the target and Host name different hosts",
            Self::Length => "there must be one Content-Length, of digits alone",
            Self::LengthAndCoding => "there is both a Content-Length and a Transfer-Encoding",
            Self::Coding => "there must be one Transfer-Encoding, chunked, of HTTP/1.1",
            Self::UnknownCoding => "of transfer codings, chunked alone is known",
        }
    }
}

/// Where the head ends, if it does; looked for from `from` on.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Result<Option<usize>, Fault> {
    // The end may have begun before; and two bytes may have been dropped since.
    let from = from.saturating_sub(5);
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'\n' if bytes[..at].last() != Some(&b'\r') => return Err(Fault::LineEnd),
            b'\n' if bytes[..=at].ends_with(b"\r\n\r\n") => return Ok(Some(at + 1)),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(Fault::LineEnd);
            }
            0 => return Err(Fault::Field),
            _ => {}
        }
    }
    Ok(None)
}

/// Checks a whole head, its empty line included.
pub(super) fn check(head: &[u8]) -> Result<Framing, Fault> {
    let lines = head.split(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (target, is_new) = request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        seen.fields += 1;
        if FIELDS_MAX < seen.fields {
            return Err(Fault::TooLong);
        }
        seen.field(line)?;
    }
    seen.check_host(target, is_new)?;
    seen.framing(is_new)
}

/// Returns the target, and whether the version is 1.1.
fn request_line(line: &[u8]) -> Result<(&[u8], bool), Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault::RequestLine);
    };
    if !is_token(method) {
        return Err(Fault::RequestLine);
    }
    let is_new = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Fault::Version);
        }
        _ => return Err(Fault::RequestLine),
    };
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    // None of these stands in a URI (RFC 3986, 2); hyper would refuse some of them without a word.
    let is_visible = target.iter().all(|byte| byte.is_ascii_graphic() && !b"#<>`\"".contains(byte));
    let is_whole = target == b"*" && method == b"OPTIONS";
    let has_form = target.starts_with(b"/") || authority(target).is_some() || is_whole;
    if is_visible && has_form { Ok((target, is_new)) } else { Err(Fault::Target) }
}

/// The host of a target that is a whole URI.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// What the fields of a head say.
#[derive(Default)]
struct Seen<'a> {
    fields: usize,
    hosts: usize,
    host: &'a [u8],
    lengths: usize,
    length: &'a [u8],
    codings: usize,
    coding: &'a [u8],
}

impl<'a> Seen<'a> {
    fn field(&mut self, line: &'a [u8]) -> Result<(), Fault> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Fault::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Field)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        let is_text = |byte: &u8| *byte == b'\t' || (b' ' <= *byte && *byte != 0x7f);
        if !is_token(name) || !value.iter().all(is_text) {
            return Err(Fault::Field);
        }
        let (count, kept) = if name.eq_ignore_ascii_case(b"host") {
            (&mut self.hosts, &mut self.host)
        } else if name.eq_ignore_ascii_case(b"content-length") {
            (&mut self.lengths, &mut self.length)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            (&mut self.codings, &mut self.coding)
        } else {
            return Ok(());
        };
        *count += 1;
        *kept = value;
        Ok(())
    }

    /// RFC 9112, 3.2: one in HTTP/1.1, at most one in HTTP/1.0, and a valid one.
    fn check_host(&self, target: &[u8], is_new: bool) -> Result<(), Fault> {
        match self.hosts {
            0 if is_new => return Err(Fault::NoHost),
            0 => {}
            1 if is_host(self.host) => {}
            1 => return Err(Fault::Host),
            _ => return Err(Fault::TwoHosts),
        }
        match authority(target) {
            Some(named) if !is_host(named) => Err(Fault::Target),
            Some(named) if self.hosts == 1 && !named.eq_ignore_ascii_case(self.host) => {
                Err(Fault::OtherHost)
            }
            _ => Ok(()),
        }
    }

    /// RFC 9112, 6: a length or a coding, said once and plainly.
    fn framing(&self, is_new: bool) -> Result<Framing, Fault> {
        match (self.lengths, self.codings) {
            (0, 0) => Ok(Framing::Length(0)),
            (1, 0) => length(self.length).map(Framing::Length).ok_or(Fault::Length),
            (0, 1) if is_new && self.coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Framing::Chunked)
            }
            (0, 1) if is_new && is_token(self.coding) => Err(Fault::UnknownCoding),
            (0, _) => Err(Fault::Coding),
            (_, 0) => Err(Fault::Length),
            _ => Err(Fault::LengthAndCoding),
        }
    }
}

/// Digits alone, and no zero that others may take for an octal's.
fn length(value: &[u8]) -> Option<u64> {
    let is_plain = value == b"0" || !value.starts_with(b"0");
    if !is_plain || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // No digits at all are no number.
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| b" \t".contains(byte);
    let from = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !is_blank(byte)).map_or(from, |last| last + 1);
    &value[from..to]
}

/// RFC 9110, 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_char = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_char)
}

/// A name, an address or an address in brackets, with or without a port (RFC 3986, 3.2.2), and no user.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = if value.starts_with(b"[") {
        let Some(end) = value.iter().position(|byte| *byte == b']') else { return false };
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        if end == 1 || !value[1..end].iter().all(is_address) {
            return false;
        }
        (&b"v6"[..], &value[end + 1..])
    } else {
        value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len()))
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && name.iter().all(is_name) && is_port
}
