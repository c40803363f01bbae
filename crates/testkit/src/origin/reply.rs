//! Replies: what is said, and how it is sent.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::object::Content;
use super::rules::Rule;
use crate::fault::Framing;

/// What is said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload,
    pub(crate) framing: Framing,
    /// Added to the true Content-Length; not 0 where a fault lies.
    pub(crate) length_error: i64,
    pub(crate) http10: bool,
    /// Whether the connection ends with this reply.
    pub(crate) close: bool,
    pub(crate) delivery: Delivery,
}

/// Bytes of a reply.
#[derive(Debug)]
pub(crate) enum Payload {
    Text(Vec<u8>),
    Part(Part),
}

/// A range of an object, told rightly or not.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) range: Range<u64>,
    /// Every bit is inverted.
    pub(crate) swapped: bool,
    /// The offset in the object of the byte whose lowest bit is flipped.
    pub(crate) flipped: Option<u64>,
    pub(crate) gzip: bool,
}

/// How it is sent.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// Silence before the head; inner `None`: until the client leaves.
    pub(crate) hang: Option<(Option<Duration>, Arc<Rule>)>,
    /// What happens within the body, in the order of the bytes.
    pub(crate) marks: Vec<Mark>,
    /// Bytes per second for the connection.
    pub(crate) cap: Option<u64>,
    /// Rules that slow all bodies down once there are too many.
    pub(crate) collapses: Vec<Arc<Rule>>,
}

/// What happens after so many bytes of the body.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    pub(crate) deed: Deed,
    pub(crate) rule: Arc<Rule>,
}

/// What can happen within a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Deed {
    Close,
    Reset,
    HalfClose,
    Stall(Option<Duration>),
    Trickle(u64),
}

impl Payload {
    /// Returns the number of bytes on the wire, framing not counted.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part(part) if part.gzip => super::gzip::length(part.range.end - part.range.start),
            Self::Part(part) => part.range.end - part.range.start,
        }
    }
}

impl Reply {
    /// Returns a reply of a few words.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        let reply = Self::of(status, Payload::Text((text.into() + "\n").into_bytes()));
        reply.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// Returns a reply in JSON, one line.
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        let reply = Self::of(status, Payload::Text(format!("{value}\n").into_bytes()));
        reply.with("Content-Type", "application/json")
    }

    pub(crate) fn of(status: u16, payload: Payload) -> Self {
        Self {
            status,
            headers: Vec::new(),
            payload,
            framing: Framing::Length,
            length_error: 0,
            http10: false,
            close: false,
            delivery: Delivery::default(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether bytes of a body follow the head of this reply to a GET (RFC 9110, 6.4.1).
    pub(crate) fn has_body(&self) -> bool {
        self.status != 304 && self.status != 204
    }

    /// Renders the head. `date` is the value of Date.
    pub(crate) fn head(&self, date: &str) -> String {
        let version = if self.http10 { "1.0" } else { "1.1" };
        let mut head = format!("HTTP/{version} {} {}\r\n", self.status, reason(self.status));
        let mut line = |name: &str, value: &str| {
            head.extend([name, ": ", value, "\r\n"]);
        };
        line("Date", date);
        for (name, value) in &self.headers {
            line(name, value);
        }
        match self.framing {
            _ if !self.has_body() => {}
            Framing::Length => {
                let length = self.payload.length().saturating_add_signed(self.length_error);
                line("Content-Length", &length.to_string());
            }
            Framing::Chunked => line("Transfer-Encoding", "chunked"),
            Framing::Close => {}
        }
        if self.close {
            line("Connection", "close");
        }
        head + "\r\n"
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_rendered_to_the_letter() {
        let reply = Reply::text(404, "no such object").with("X-A", "b");
        let expected = "HTTP/1.1 404 Not Found\r\nDate: now\r\n\
                        Content-Type: text/plain; charset=utf-8\r\nX-A: b\r\n\
                        Content-Length: 15\r\n\r\n";
        assert_eq!(expected, reply.head("now"));
    }

    #[test]
    fn lengths_can_lie() {
        let reply = Reply { length_error: -5, ..Reply::text(200, "123456789") };
        assert!(reply.head("now").contains("Content-Length: 5\r\n"));
    }

    #[test]
    fn old_versions_and_ends_are_told() {
        let mut reply = Reply::text(200, "x");
        (reply.http10, reply.close, reply.framing) = (true, true, Framing::Close);
        let head = reply.head("now");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.ends_with("Connection: close\r\n\r\n"), "{head}");
        assert!(!head.contains("Content-Length"), "{head}");
    }
}
