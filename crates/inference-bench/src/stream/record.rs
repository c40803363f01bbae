//! What is kept of each request, and how it is written down.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an event of a stream brought.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The role, before any text: no token.
    Role,
    /// Text of the answer.
    Content,
    /// Text of the reasoning before the answer.
    Reasoning,
    /// A part of a call of a tool.
    Tool,
    /// Why the stream ends: no token.
    Finish,
    /// Counts of tokens, without a choice.
    Usage,
    /// `[DONE]`.
    Done,
    /// Something else that is valid.
    Other,
}

impl Kind {
    /// Whether such events bring tokens.
    #[must_use]
    pub fn has_tokens(self) -> bool {
        matches!(self, Self::Content | Self::Reasoning | Self::Tool)
    }

    /// Whether such events have a choice in them.
    #[must_use]
    pub fn has_choice(self) -> bool {
        self.has_tokens() || matches!(self, Self::Role | Self::Finish)
    }
}

/// One event of a stream, as it came. Times are nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "EventRow", into = "EventRow")]
pub struct Event {
    /// When its last byte arrived: by the kernel's clock, or by ours where the run says so.
    pub recv_ns: u64,
    /// When it was emitted, where the source tells: its own clock, from the same start.
    pub emit_ns: Option<u64>,
    /// How long after its arrival we had it, at most 4.29 s.
    pub lag_ns: u32,
    /// Bytes of its data.
    pub bytes: u32,
    /// Tokens in it.
    pub tokens: u16,
    /// What it brought.
    pub kind: Kind,
    /// Another event with tokens came in the same read after it. The stamp is that one's: this one
    /// arrived between the stamp before and its own, and the gaps at either side of it are not known.
    pub coalesced: bool,
}

/// An event in a file: a row, for a key at each of a million values would be most of it.
type EventRow = (u64, Option<u64>, u32, u32, u16, Kind, bool);

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        let (recv_ns, emit_ns, lag_ns, bytes, tokens, kind, coalesced) = row;
        Self { recv_ns, emit_ns, lag_ns, bytes, tokens, kind, coalesced }
    }
}

impl From<Event> for EventRow {
    fn from(event: Event) -> Self {
        let Event { recv_ns, emit_ns, lag_ns, bytes, tokens, kind, coalesced } = event;
        (recv_ns, emit_ns, lag_ns, bytes, tokens, kind, coalesced)
    }
}

/// In which way a request failed. Failed requests are counted by kind and never averaged in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection failed, or what came was no HTTP.
    Connection,
    /// Another status than 200.
    Status,
    /// A reply that is no stream of events.
    NotAStream,
    /// The stream is no sequence of events as the standard has them, or an event holds no JSON.
    BrokenStream,
    /// An event was longer than the limit.
    TooLong,
    /// The server sent an error instead of the next token.
    ErrorEvent,
    /// The body ended before its end.
    CutOff,
    /// The stream ended without `[DONE]`.
    NoDone,
    /// More events than the limit.
    TooMany,
    /// It took longer than the time-out.
    TimedOut,
}

impl Failure {
    /// The word in reports: that of the JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Connection => "connection",
            Self::Status => "status",
            Self::NotAStream => "not_a_stream",
            Self::BrokenStream => "broken_stream",
            Self::TooLong => "too_long",
            Self::ErrorEvent => "error_event",
            Self::CutOff => "cut_off",
            Self::NoDone => "no_done",
            Self::TooMany => "too_many",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why an arrival was not sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotSent {
    /// As many requests as allowed were in flight.
    TooManyInFlight,
    /// The run was interrupted before it was due.
    Interrupted,
}

/// What became of an arrival.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The stream came to its proper end.
    #[default]
    Ok,
    /// It did not.
    Failed {
        /// In which way.
        failure: Failure,
        /// In words, at most 300 characters of them.
        detail: String,
    },
    /// It was planned and not sent.
    NotSent {
        /// Why.
        reason: NotSent,
    },
    /// The run ended while it was under way: neither a success nor a failure of the server.
    Abandoned,
}

/// How the tokens of a stream that numbers them came: `token_0`, `token_1`, ….
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sequence {
    /// Numbers that came.
    pub numbered: u64,
    /// Numbers below the highest that never came.
    pub missing: u64,
    /// Numbers that came again.
    pub duplicated: u64,
    /// Numbers that came after a higher one, for the first time.
    pub reordered: u64,
}

/// One planned request, with all that came of it. Times are nanoseconds from the start of the run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RequestRecord {
    /// Its number in the plan.
    pub number: u64,
    /// When it was due. In a closed loop, when its turn came.
    pub intended_ns: u64,
    /// When it was handed to the HTTP client.
    pub issued_ns: u64,
    /// When its first byte was written to the connection.
    pub sent_ns: Option<u64>,
    /// When it was over.
    pub ended_ns: u64,
    /// Whether it is from the warm-up and counts for nothing.
    pub warmup: bool,
    /// Whether its connection had been used before.
    pub reused: bool,
    /// Tokens that were asked for.
    pub tokens_asked: u32,
    /// The tokens of the answer by the server's count, where it tells.
    pub usage_tokens: Option<u64>,
    /// The HTTP status, if there was a reply.
    pub status: Option<u16>,
    /// How numbered tokens came, where tokens are numbered.
    pub sequence: Option<Sequence>,
    /// What became of it.
    pub outcome: Outcome,
    /// What came.
    pub events: Vec<Event>,
}

impl RequestRecord {
    /// Whether the stream came to its proper end.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// The events that brought tokens.
    pub fn token_events(&self) -> impl DoubleEndedIterator<Item = &Event> + Clone {
        self.events.iter().filter(|event| event.kind.has_tokens() && 0 < event.tokens)
    }

    /// How many tokens came, by the events.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.token_events().map(|event| u64::from(event.tokens)).sum()
    }

    /// The tokens of the answer: by the server's count, unless that is 0, else by the events.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.usage_tokens.filter(|&tokens| 0 < tokens).unwrap_or_else(|| self.tokens())
    }

    /// How late it was sent. Connecting is not the client's time: over a new connection this ends where
    /// connecting begins.
    #[must_use]
    pub fn send_lag_ns(&self) -> u64 {
        let sent_ns = self.sent_ns.filter(|_| self.reused).unwrap_or(self.issued_ns);
        sent_ns.saturating_sub(self.intended_ns)
    }

    /// The line of `records.ndjson`.
    ///
    /// # Panics
    ///
    /// Never: all keys are strings.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("keys are strings")
    }

    /// Reads a line of `records.ndjson`.
    ///
    /// # Errors
    ///
    /// What the reader stumbled on.
    pub fn from_line(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Role), Just(Kind::Content), Just(Kind::Done), Just(Kind::Other)]
    }

    prop_compose! {
        fn events()(
            recv_ns: u64, emit_ns: Option<u64>, lag_ns: u32, bytes: u32, tokens: u16,
            kind in kinds(), coalesced: bool,
        ) -> Event {
            Event { recv_ns, emit_ns, lag_ns, bytes, tokens, kind, coalesced }
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Ok),
            Just(Outcome::Abandoned),
            Just(Outcome::NotSent { reason: NotSent::Interrupted }),
            ".{0,20}".prop_map(|detail| Outcome::Failed { failure: Failure::CutOff, detail }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn nothing_is_lost_in_a_line(
            number: u64, sent_ns: Option<u64>, usage_tokens: Option<u64>, outcome in outcomes(),
            events in prop::collection::vec(events(), 0..9),
        ) {
            let record =
                RequestRecord { number, sent_ns, usage_tokens, outcome, events, ..Default::default() };
            let line = record.to_line();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(Ok(record), RequestRecord::from_line(&line));
        }
    }

    #[test]
    fn connecting_is_no_lag_of_ours() {
        let mut record = RequestRecord {
            intended_ns: 100,
            issued_ns: 107,
            sent_ns: Some(5000),
            ..RequestRecord::default()
        };
        assert_eq!(7, record.send_lag_ns());
        record.reused = true;
        assert_eq!(4900, record.send_lag_ns());
    }

    #[test]
    fn words_are_those_of_the_json() {
        for failure in [Failure::NotAStream, Failure::NoDone, Failure::TimedOut, Failure::CutOff] {
            assert_eq!(format!("\"{failure}\""), serde_json::to_string(&failure).unwrap());
        }
    }
}
