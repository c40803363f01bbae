//! One reply as it is heard: a stream of events, or the words of a refusal.

use std::io;
use std::sync::atomic::Ordering;

use hyper::StatusCode;

use super::Shared;
use super::connection::Connection;
use super::framing::{Framing, FramingError};
use super::head::{Head, HeadReader};
use crate::stream::record::{Failure, RequestRecord};
use crate::stream::transcript::{Broken, Stamp, Transcript};

/// How much of a refusal is read for its words.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// A reply, what came of it, and whom to tell.
pub(super) struct Reply<'a> {
    shared: &'a Shared,
    record: &'a mut RequestRecord,
    transcript: &'a mut Transcript,
    reader: HeadReader,
    head: Option<Head>,
    /// What a refusal says.
    words: Vec<u8>,
    /// The connection has ended, or holds what nobody asked for.
    is_spoilt: bool,
}

impl<'a> Reply<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        record: &'a mut RequestRecord,
        transcript: &'a mut Transcript,
    ) -> Self {
        let (reader, words) = (HeadReader::default(), Vec::new());
        Self { shared, record, transcript, reader, head: None, words, is_spoilt: false }
    }

    /// Listens until `enough` holds.
    pub(super) async fn hear(
        &mut self,
        connection: &mut Connection,
        enough: fn(&Self) -> bool,
    ) -> Result<(), Broken> {
        while !enough(self) {
            match connection.read(|bytes, stamp| self.take(bytes, stamp)).await {
                Ok(Some(taken)) => taken?,
                Ok(None) => self.end(None)?,
                Err(error) => self.end(Some(&error))?,
            }
        }
        Ok(())
    }

    /// Whether nothing more of it will come.
    pub(super) fn is_over(&self) -> bool {
        self.is_spoilt || self.head.as_ref().is_some_and(|head| head.framing.is_over())
    }

    /// Whether nothing more of it matters.
    pub(super) fn has_told_all(&self) -> bool {
        self.is_over() || self.transcript.is_done() || REFUSAL_BYTES_MAX <= self.words.len()
    }

    /// Whether its connection can be used for the next request.
    pub(super) fn leaves_connection(&self) -> bool {
        let head = self.head.as_ref();
        !self.is_spoilt && head.is_some_and(|head| head.keeps_open && head.framing.is_over())
    }

    /// What is wrong with a reply that was heard.
    pub(super) fn verdict(&self) -> Result<(), Broken> {
        match &self.head {
            Some(Head { status, .. }) if *status != StatusCode::OK => {
                let words = String::from_utf8_lossy(&self.words);
                let detail = format!("{status}: {}", words.trim());
                Err(Broken { failure: Failure::Status, detail })
            }
            _ => self.transcript.end().map_or(Ok(()), Err),
        }
    }

    fn take(&mut self, mut bytes: &[u8], stamp: Stamp) -> Result<(), Broken> {
        if self.head.is_none() {
            let head = self.reader.next(&mut bytes);
            let Some(head) = head.map_err(|error| no_reply(error.to_string()))? else {
                return Ok(());
            };
            self.begin(head)?;
        }
        let Some(Head { status, framing, .. }) = &mut self.head else { return Ok(()) };
        loop {
            let data = match framing.next(&mut bytes) {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(error) => return self.broken(error),
            };
            if *status != StatusCode::OK {
                let room = REFUSAL_BYTES_MAX.saturating_sub(self.words.len());
                self.words.extend_from_slice(&data[..room.min(data.len())]);
                continue;
            }
            if self.transcript.is_done() {
                continue;
            }
            let tokens = self.transcript.take(data, stamp)?;
            if 0 < tokens {
                self.shared.counters.tokens.fetch_add(tokens, Ordering::Relaxed);
            }
            if self.transcript.is_done() {
                self.record.ended_ns = stamp.recv_ns;
            }
        }
        self.is_spoilt = !bytes.is_empty();
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), Broken> {
        self.record.status = Some(head.status.as_u16());
        let (status, kind) = (head.status, &head.content_type);
        if status == StatusCode::OK && !is_event_stream(kind) {
            let detail = format!("the reply is `{kind}`, not `text/event-stream`");
            return Err(Broken { failure: Failure::NotAStream, detail });
        }
        self.head = Some(head);
        Ok(())
    }

    /// What it means that its end cannot be found: nothing, once it has told all.
    fn broken(&mut self, error: FramingError) -> Result<(), Broken> {
        self.is_spoilt = true;
        if self.transcript.is_done() { Ok(()) } else { Err(cut_off(&error)) }
    }

    /// What it means that the connection ends here.
    fn end(&mut self, error: Option<&io::Error>) -> Result<(), Broken> {
        self.is_spoilt = true;
        let why = error.map_or_else(|| "the server closed it".to_owned(), ToString::to_string);
        match &self.head {
            None => Err(no_reply(format!("the connection ended before a reply: {why}"))),
            // Its words are worth having however far they came.
            Some(head) if head.status != StatusCode::OK => Ok(()),
            Some(head) if error.is_none() && head.framing == Framing::UntilClose => Ok(()),
            Some(_) => Err(cut_off(&format_args!("the connection ended within the body: {why}"))),
        }
    }
}

/// Media types regard no case (RFC 9110, 8.3.1); what follows one tells of its characters.
fn is_event_stream(kind: &str) -> bool {
    let media_type = kind.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}

fn no_reply(detail: String) -> Broken {
    Broken { failure: Failure::Connection, detail }
}

fn cut_off(why: &dyn std::fmt::Display) -> Broken {
    Broken { failure: Failure::CutOff, detail: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_regard_no_case() {
        for kind in ["text/event-stream", "Text/Event-Stream", "text/event-stream ;charset=utf-8"] {
            assert!(is_event_stream(kind), "{kind}");
        }
        for kind in ["", "text/event-streams", "application/json"] {
            assert!(!is_event_stream(kind), "{kind}");
        }
    }
}
