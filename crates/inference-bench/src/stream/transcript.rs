//! From bytes with stamps to the record of a stream. Pure.

use super::chunk::{Chunk, ChunkError};
use super::record::{Event, Failure, Kind, Sequence};
use super::sequence::Numbers;
use crate::sse::{DecodeError, Decoder, Item};

/// Events of one stream that are kept; a stream with more fails. It is 24 MiB of them.
const EVENTS_MAX: usize = 1 << 20;
/// What an emit stamp looks like, after the colon of its comment.
const EMIT_STAMP: &str = "t=";

/// When a read brought its bytes, in nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// Its number among the reads of the connection.
    pub(crate) read: u64,
    /// When its last byte arrived.
    pub(crate) recv_ns: u64,
    /// When we had it.
    pub(crate) user_ns: u64,
    /// What is to be taken from an emit stamp (since 1970) to have it on our clock.
    pub(crate) since_1970_ns: i64,
}

/// Why a stream is at its end before it should be.
#[derive(Debug, PartialEq)]
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    pub(crate) detail: String,
}

/// A stream as it is read.
#[derive(Debug)]
pub(crate) struct Transcript {
    decoder: Decoder,
    log: Log,
}

/// What the events add up to.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    numbers: Numbers,
    /// The stamp of the next event.
    emit_ns: Option<u64>,
    /// The last event with tokens and the read that brought it.
    last: Option<(usize, u64)>,
    usage_tokens: Option<u64>,
    is_done: bool,
}

impl Transcript {
    /// Starts one for about this many tokens.
    pub(crate) fn new(tokens: u32) -> Self {
        const ROOM_MAX: usize = 1 << 12;
        // The role, the finish, the usage and the end come on top.
        let events = Vec::with_capacity(ROOM_MAX.min(tokens as usize + 4));
        Self { decoder: Decoder::default(), log: Log { events, ..Log::default() } }
    }

    /// Takes the next bytes of the body and returns how many tokens they brought.
    pub(crate) fn take(&mut self, bytes: &[u8], stamp: Stamp) -> Result<u64, Broken> {
        let mut broken = None;
        let mut tokens = 0;
        let log = &mut self.log;
        let decoded = self.decoder.feed(bytes, |item| {
            if broken.is_none() && !log.is_done {
                match log.item(item, stamp) {
                    Ok(n) => tokens += u64::from(n),
                    Err(error) => broken = Some(error),
                }
            }
        });
        match (broken, decoded) {
            (Some(broken), _) => Err(broken),
            (None, Ok(())) => Ok(tokens),
            (None, Err(error)) => {
                let failure = match error {
                    DecodeError::TooLong { .. } => Failure::TooLong,
                    DecodeError::NotUtf8 => Failure::BrokenStream,
                };
                Err(Broken { failure, detail: error.to_string() })
            }
        }
    }

    /// Whether `[DONE]` has come.
    #[cfg(feature = "stream")]
    pub(crate) fn is_done(&self) -> bool {
        self.log.is_done
    }

    /// What is wrong with a stream that ends here; `None` if nothing is.
    pub(crate) fn end(&self) -> Option<Broken> {
        if self.log.is_done {
            return None;
        }
        let n = self.log.events.len();
        let (failure, what) = if self.decoder.is_at_border() {
            (Failure::NoDone, "without [DONE]")
        } else {
            (Failure::CutOff, "within an event")
        };
        Some(Broken { failure, detail: format!("the stream ended {what} after {n} events") })
    }

    /// The events, how numbered tokens came, and the server's count of tokens.
    pub(crate) fn into_parts(mut self) -> (Vec<Event>, Option<Sequence>, Option<u64>) {
        self.log.events.shrink_to_fit();
        (self.log.events, self.log.numbers.sequence(), self.log.usage_tokens)
    }
}

impl Log {
    fn item(&mut self, item: Item<'_>, stamp: Stamp) -> Result<u16, Broken> {
        match item {
            Item::Comment(text) => {
                let since_1970_ns = text.strip_prefix(EMIT_STAMP).and_then(|ns| ns.parse().ok());
                let on_our_clock = |ns: i64| ns.saturating_sub(stamp.since_1970_ns);
                let emit_ns = since_1970_ns.map(on_our_clock).and_then(|ns| ns.try_into().ok());
                self.emit_ns = emit_ns.or(self.emit_ns);
                Ok(0)
            }
            Item::Event { name, data } => self.event(name, data, stamp),
        }
    }

    fn event(&mut self, name: &str, data: &str, stamp: Stamp) -> Result<u16, Broken> {
        let chunk = Chunk::read(name, data).map_err(|error| match error {
            ChunkError::NotAChunk(detail) => Broken { failure: Failure::BrokenStream, detail },
            ChunkError::Error(detail) => Broken { failure: Failure::ErrorEvent, detail },
        })?;
        if EVENTS_MAX <= self.events.len() {
            let detail = format!("the stream has more than {EVENTS_MAX} events");
            return Err(Broken { failure: Failure::TooMany, detail });
        }
        let tokens = self.tokens_of(&chunk);
        self.is_done = chunk.kind == Kind::Done;
        if chunk.kind.has_tokens() {
            self.numbers.take(&chunk.text);
            self.coalesce(stamp.read);
        }
        let lag_ns = stamp.user_ns.saturating_sub(stamp.recv_ns);
        self.events.push(Event {
            recv_ns: stamp.recv_ns,
            emit_ns: self.emit_ns.take(),
            lag_ns: u32::try_from(lag_ns).unwrap_or(u32::MAX),
            bytes: u32::try_from(data.len()).unwrap_or(u32::MAX),
            tokens,
            kind: chunk.kind,
            coalesced: false,
        });
        Ok(tokens)
    }

    /// The tokens of an event: by the count that comes along, else by its log probabilities, else one. A
    /// count that does not grow beside a text is none.
    fn tokens_of(&mut self, chunk: &Chunk<'_>) -> u16 {
        let before = self.usage_tokens.unwrap_or(0);
        self.usage_tokens = chunk.completion_tokens.or(self.usage_tokens);
        if !chunk.kind.has_tokens() {
            return 0;
        }
        let by_usage = chunk.completion_tokens.map(|now| now.saturating_sub(before));
        let by_usage = by_usage.and_then(|tokens| u16::try_from(tokens).ok()).filter(|&n| 0 < n);
        by_usage.or(chunk.tokens).unwrap_or(1)
    }

    /// Marks the event before if the same read brought both.
    fn coalesce(&mut self, read: u64) {
        if let Some((index, _)) = self.last.filter(|&(_, last_read)| last_read == read) {
            self.events[index].coalesced = true;
        }
        self.last = Some((self.events.len(), read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": t=1000000005000\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n\
        : keep-alive\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"token_0\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"token_1ä\"}}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

    fn stamp(read: u64) -> Stamp {
        let recv_ns = 1000 * read;
        Stamp { read, recv_ns, user_ns: recv_ns + 7, since_1970_ns: 1_000_000_000_000 }
    }

    fn read(pieces: &[&[u8]]) -> Transcript {
        let mut transcript = Transcript::new(2);
        for (read, piece) in (1..).zip(pieces) {
            transcript.take(piece, stamp(read)).unwrap();
        }
        transcript
    }

    #[test]
    fn events_of_one_read_are_marked_and_the_last_has_the_stamp() {
        let (events, _, usage) = read(&[STREAM.as_bytes()]).into_parts();
        let seen: Vec<_> = events.iter().map(|e| (e.kind, e.tokens, e.coalesced)).collect();
        let expected = [
            (Kind::Role, 0, false),
            (Kind::Content, 1, true),
            (Kind::Content, 1, false),
            (Kind::Finish, 0, false),
            (Kind::Usage, 0, false),
            (Kind::Done, 0, false),
        ];
        assert_eq!(expected, *seen);
        assert_eq!((Some(2), Some(5000), None), (usage, events[0].emit_ns, events[1].emit_ns));
        assert_eq!((1000, 7), (events[2].recv_ns, events[2].lag_ns));
    }

    /// Whatever a read ends within, each event is there once, with the stamp of the read that ended it.
    #[test]
    fn a_stream_split_at_every_byte_is_the_same() {
        for cut in 0..=STREAM.len() {
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let transcript = read(&[first, second]);
            assert_eq!(None, transcript.end());
            let (events, _, usage) = transcript.into_parts();
            let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
            assert_eq!(6, kinds.len(), "{cut}: {kinds:?}");
            assert_eq!(Some(2), usage);
            assert!(events.is_sorted_by_key(|event| event.recv_ns));
            let first_read = if end_of("token_0") <= cut { 1000 } else { 2000 };
            assert_eq!(first_read, events[1].recv_ns, "{cut}");
            assert_eq!(events[2].recv_ns == first_read, events[1].coalesced, "{cut}");
        }
    }

    /// Where the blank line after this text is complete.
    fn end_of(text: &str) -> usize {
        let at = STREAM.find(text).unwrap();
        at + STREAM[at..].find("\n\n").unwrap() + 2
    }

    #[test]
    fn numbered_tokens_are_followed() {
        let event = |k: u32| format!("data: {{\"choices\":[{{\"text\":\"token_{k}\"}}]}}\n\n");
        let text: String = [0, 1, 3, 2].map(event).concat();
        let (_, sequence, _) = read(&[text.as_bytes()]).into_parts();
        let expected = Sequence { numbered: 4, reordered: 1, ..Sequence::default() };
        assert_eq!(Some(expected), sequence);
    }

    #[test]
    fn counts_that_come_along_say_how_many_tokens_an_event_has() {
        let event = |n: u32| {
            format!(
                "data: {{\"choices\":[{{\"text\":\"x\"}}],\"usage\":{{\"completion_tokens\":{n}}}}}\n\n"
            )
        };
        let text: String = [1, 4, 5].map(event).concat();
        let (events, _, usage) = read(&[text.as_bytes()]).into_parts();
        assert_eq!(vec![1, 3, 1], events.iter().map(|e| e.tokens).collect::<Vec<_>>());
        assert_eq!(Some(5), usage);
    }

    #[test]
    fn a_count_that_does_not_grow_takes_no_token_away() {
        let event =
            "data: {\"choices\":[{\"text\":\"x\"}],\"usage\":{\"completion_tokens\":0}}\n\n";
        let (events, ..) = read(&[event.repeat(3).as_bytes()]).into_parts();
        assert_eq!(vec![1, 1, 1], events.iter().map(|e| e.tokens).collect::<Vec<_>>());
    }

    #[track_caller]
    fn check_broken(text: &str, expected: Failure) {
        let mut transcript = Transcript::new(1);
        let taken = transcript.take(text.as_bytes(), stamp(1));
        let broken = taken.err().or_else(|| transcript.end());
        assert_eq!(Some(expected), broken.map(|broken| broken.failure), "{text}");
    }

    #[test]
    fn each_way_to_break_has_its_name() {
        check_broken("", Failure::NoDone);
        check_broken("data: {\"choices\":[]}\n\n", Failure::NoDone);
        check_broken("data: {\"choices\":[]}\n", Failure::CutOff);
        check_broken("data: {\"choi\n\n", Failure::BrokenStream);
        check_broken(
            "data: {\"error\":{\"message\":\"down\"}}\n\ndata: [DONE]\n\n",
            Failure::ErrorEvent,
        );
        check_broken(&"data: x".repeat(1 << 18), Failure::TooLong);
    }
}
