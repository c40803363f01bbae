//! What a server or a link can do wrong, as typed rules and as text.

mod glob;
mod kind;
mod text;

use std::fmt;
use std::ops::RangeInclusive;

pub(crate) use glob::matches;
pub use kind::{Etag, FaultKind, Framing, RetryAfter, WrongRange};
pub use text::FaultError;

/// One rule: what goes wrong, on which paths, on which requests, at which byte.
///
/// As text, on the command line and in `/_stats`:
/// `KIND[=ARG][@GLOB][#N|#N..M|#N..][:at=BYTES]`.
///
/// - `@GLOB` limits it to paths; `*` stands for any characters, `/` included, `?` for one. The leading
///   slash of the path may be left out. Without it, all paths but those of the control routes.
/// - `#N` limits it to the N-th of the requests *on which it can act*, `#N..M` to the N-th to M-th, both
///   included, `#N..` to the N-th and all after it. Counting starts at 1 and again after `POST /_reset`.
///   For `cap`, the numbers are those of *connections* in the order in which they were opened.
/// - `:at=BYTES` says where. For `cut`, `stall`, `trickle`, `rst` and `half-close` after so many bytes of
///   the *reply's body*; the rule acts on longer bodies only. For all other kinds it is an offset in the
///   *object*, and the rule acts only on replies that hold this byte.
///
/// | rule | what happens on the wire | acts on |
/// |---|---|---|
/// | `cut[=length\|chunked\|close]` | FIN after `at` bytes of the body (default: half of it). The body is framed by its whole length (default), by chunks of which the last is missing, or by nothing: HTTP/1.1 with `Connection: close` | bodies |
/// | `stall[=DURATION]` | nothing is sent for so long (default: until the client leaves) after `at` bytes (default: half) | bodies |
/// | `trickle[=RATE]` | the rest of the body at this rate (default 1 KB/s) after `at` bytes (default 0) | bodies |
/// | `rst` | RST instead of FIN after `at` bytes (default: half) | bodies |
/// | `half-close` | FIN after `at` bytes (default: half), but the server goes on reading until the client closes | bodies |
/// | `hang[=DURATION]` | nothing is answered for so long (default: until the client leaves) | all |
/// | `ignore-range` | 200 and the whole object to a request with `Range` | ranges |
/// | `wrong-range[=FORM]` | 206 that is not what was asked for. FORM: `shift` (default; begins a byte late and says so), `lie` (the same bytes, but the header asked for), `zero` (the whole object from 0), `none` (no Content-Range), `equals` (`bytes=A-B/N`), `star` (`bytes A-B/*`), `total` (another N), `short` (the first half, rightly labeled), `416` | ranges |
/// | `wrong-range=unasked` | 206 to a request without `Range` | objects asked for whole |
/// | `swap` | other bytes, same size, same `ETag` | objects |
/// | `etag[=other\|ignore\|weak\|none]` | another `ETag`: `other` (default) obeys If-Match and If-Range with the new one, `ignore` does not look at them, `weak` sends the true one as `W/"…"`, `none` sends none | objects |
/// | `gzip` | 200, the whole object with `Content-Encoding: gzip`, chunked, whatever was accepted | objects |
/// | `short[=N]` | Content-Length is N (default 1000) less than the body, which is sent whole; then FIN | bodies |
/// | `long[=N]` | Content-Length is N (default 1000) more than the body; then FIN | bodies |
/// | `flip` | the lowest bit of the byte at offset `at` of the object is flipped (default: of the middle of what is sent) | bodies of objects |
/// | `status[=CODE]` | this status (default 503) and a short text | all |
/// | `retry-after=VALUE` | 429, or the status of a `status` rule that acts too, with `Retry-After: VALUE` as it is; `date+DURATION` sends that date | all |
/// | `redirect=URL` | 302 to URL; where URL has no path, the request's is appended | all |
/// | `redirect-loop` | 302 to the same path with another query, for ever | all |
/// | `http10[=close]` | an HTTP/1.0 reply, then FIN; `close` leaves Content-Length out | all |
/// | `expire[=DURATION]` | 302 to a signed URL, which answers 403 later than so long (default 10 s) after it was given; only the 403s are counted | all |
/// | `cap[=RATE]` | the connection's bodies together get this rate (default 1 MB/s) | bodies |
/// | `collapse=K[,RATE]` | while more than K bodies are being sent, all of them together get RATE (default 1 MB/s); each body that is slowed down is counted | bodies |
///
/// Rules compose: `swap` with `etag` is an object that was replaced. Of two that cannot both be, the one
/// given first acts. What the table calls a body is that of a reply of status 200 or 206, whatever the method,
/// but not of a HEAD. A stream of tokens is none: what comes before it (`hang`, `status`, `retry-after`,
/// redirects, `expire`) acts on it, all else is its [`Schedule`](crate::Schedule)'s.
///
/// # Examples
///
/// ```
/// use testkit::fault::{Fault, FaultKind, Framing};
///
/// let typed = Fault::new(FaultKind::Cut(Framing::Length)).on("*.bin").requests(1..=3).at(1 << 20);
/// let text: Fault = "cut@*.bin#1..3:at=1MiB".parse()?;
/// assert_eq!(typed.kind(), text.kind());
/// assert_eq!("cut@*.bin#1..3:at=1048576", typed.to_string());
/// # Ok::<(), testkit::fault::FaultError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    glob: Option<String>,
    first: u64,
    last: Option<u64>,
    at: Option<u64>,
    /// As it was written, so that statistics are found under the words of whoever wrote it.
    text: String,
}

impl Fault {
    /// Returns the rule that acts always and everywhere.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        let fault = Self { kind, glob: None, first: 1, last: None, at: None, text: String::new() };
        fault.retold()
    }

    /// Limits the rule to paths that the glob matches.
    #[must_use]
    pub fn on(mut self, glob: impl Into<String>) -> Self {
        self.glob = Some(glob.into());
        self.retold()
    }

    /// Limits the rule to these of the requests on which it can act, counted from 1.
    #[must_use]
    pub fn requests(mut self, numbers: RangeInclusive<u64>) -> Self {
        (self.first, self.last) = (*numbers.start(), Some(*numbers.end()));
        self.retold()
    }

    /// Limits the rule to the request of this number and all after it.
    #[must_use]
    pub fn from_request(mut self, first: u64) -> Self {
        (self.first, self.last) = (first, None);
        self.retold()
    }

    /// Says at which byte; see the table for what is counted.
    #[must_use]
    pub fn at(mut self, bytes: u64) -> Self {
        self.at = Some(bytes);
        self.retold()
    }

    /// Returns what goes wrong.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Returns the byte at which it does, if that was said.
    #[must_use]
    pub fn at_bytes(&self) -> Option<u64> {
        self.at
    }

    pub(crate) fn concerns(&self, path: &str) -> bool {
        self.glob.as_deref().is_none_or(|glob| {
            matches(glob, path) || path.strip_prefix('/').is_some_and(|path| matches(glob, path))
        })
    }

    pub(crate) fn has_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether the `number`-th request, counted from 1, is among those that the rule acts on.
    pub(crate) fn counts_in(&self, number: u64) -> bool {
        self.first <= number && self.last.is_none_or(|last| number <= last)
    }

    fn retold(mut self) -> Self {
        self.text = text::render(&self);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
