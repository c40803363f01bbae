//! The kinds of faults and their forms.

use std::time::Duration;

/// What goes wrong. The table at [`Fault`](super::Fault) says what each does on the wire.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection is closed within a body that is framed like this.
    Cut(Framing),
    /// Nothing is sent for so long; `None`: until the client leaves.
    Stall(Option<Duration>),
    /// The body continues at so many bytes per second.
    Trickle(u64),
    /// The connection is reset within the body.
    Rst,
    /// Our direction alone is closed within the body.
    HalfClose,
    /// No answer for so long; `None`: until the client leaves.
    Hang(Option<Duration>),
    /// The whole object instead of the range.
    IgnoreRange,
    /// Another range than the one asked for, or wrongly labeled.
    WrongRange(WrongRange),
    /// Other bytes under the same `ETag`.
    Swap,
    /// Another `ETag`.
    Etag(Etag),
    /// The object in gzip's format although nobody asked.
    Gzip,
    /// Content-Length is so many bytes too small.
    Short(u64),
    /// Content-Length is so many bytes too large.
    Long(u64),
    /// One bit is flipped.
    Flip,
    /// This status instead of the answer, 200 to 599.
    Status(u16),
    /// 429 with this value of Retry-After.
    RetryAfter(RetryAfter),
    /// 302 to this URL.
    Redirect(String),
    /// 302 to the same path again and again.
    RedirectLoop,
    /// An HTTP/1.0 reply; [`Framing::Close`] leaves Content-Length out.
    Http10(Framing),
    /// Signed URLs that are refused later than so long after they were given.
    Expire(Duration),
    /// So many bytes per second for each connection.
    Cap(u64),
    /// While more than `bodies` are being sent, all together get `rate` bytes per second.
    Collapse {
        /// How many bodies at once are still well served.
        bodies: u64,
        /// Bytes per second for all of them above it.
        rate: u64,
    },
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By Content-Length.
    #[default]
    Length,
    /// By chunks (RFC 9112, 7.1).
    Chunked,
    /// By the end of the connection.
    Close,
}

/// How a 206 is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrongRange {
    /// Begins one byte later than asked, and says so.
    #[default]
    Shift,
    /// Begins one byte later than asked, under the header that was asked for.
    Lie,
    /// The whole object from 0, and says so.
    Zero,
    /// The right bytes without Content-Range.
    None,
    /// The right bytes as `bytes=A-B/N`.
    Equals,
    /// The right bytes as `bytes A-B/*`.
    Star,
    /// The right bytes with another total size.
    Total,
    /// The first half of what was asked for, and says so: legal, yet often not expected.
    Short,
    /// 416 although the range lies within the object.
    Unsatisfiable,
    /// 206 to a request without Range.
    Unasked,
}

/// How an `ETag` is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Etag {
    /// Another one, obeyed in If-Match, If-None-Match and If-Range.
    #[default]
    Other,
    /// Another one, and the conditions are not looked at.
    Ignore,
    /// The true one, marked as weak.
    Weak,
    /// None at all.
    None,
}

/// The value of Retry-After (RFC 9110, 10.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// This text as it is: seconds, a date, or nonsense.
    Text(String),
    /// The date that is so long after the reply.
    DateIn(Duration),
}
