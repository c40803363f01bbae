//! A stream in which something goes wrong on purpose.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::time::Sleep;

use super::{Cut, Data, StreamBody};
use crate::fault::Fault;
use crate::wire::ApiError;

/// Takes the events of a stream apart and passes them on one by one.
#[derive(Debug)]
pub(crate) struct FaultyBody {
    stream: Option<StreamBody>,
    /// What is still to go wrong.
    fault: Option<Fault>,
    /// Whole events that are still to be sent.
    events: Bytes,
    /// The second part of an event.
    rest: Bytes,
    /// How many tokens were sent.
    tokens: u64,
    /// Whether each choice has still to repeat its prompt, which is no token.
    repeats: Vec<bool>,
    stall: Option<Pin<Box<Sleep>>>,
    /// Something was sent, which is to leave before what follows.
    yields: bool,
    done: bool,
}

impl FaultyBody {
    pub(crate) fn new(stream: StreamBody, fault: Fault, repeats: Vec<bool>) -> Self {
        Self {
            stream: Some(stream),
            fault: Some(fault),
            events: Bytes::new(),
            rest: Bytes::new(),
            tokens: 0,
            repeats,
            stall: None,
            yields: false,
            done: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Data, Cut>>> {
        loop {
            if let Some(stall) = &mut self.stall {
                ready!(stall.as_mut().poll(cx));
                self.stall = None;
            }
            if std::mem::take(&mut self.yields) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.rest.is_empty() {
                let rest = std::mem::take(&mut self.rest);
                return Poll::Ready(Some(Ok(self.send(rest))));
            }
            while self.events.is_empty() {
                let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
                match ready!(stream.poll_next(cx)) {
                    Some(mut frame) => self.events = frame.copy_to_bytes(frame.remaining()),
                    None => self.stream = None,
                }
            }
            if let Some(data) = self.next_event() {
                return Poll::Ready(Some(data));
            }
        }
    }

    /// The next event, or what is there in its place; none where there is silence first.
    fn next_event(&mut self) -> Option<Result<Data, Cut>> {
        let end = end_of_event(&self.events);
        let event = &self.events[..end];
        let repeats = self.repeats.get_mut(choice_of(event));
        let is_token = is_token(event) && !repeats.is_some_and(std::mem::take);
        let is_due = |token| is_token && token == self.tokens;
        match self.fault {
            Some(Fault::Stall { token, time }) if is_due(token) => {
                self.fault = None;
                self.stall = Some(Box::pin(tokio::time::sleep(time)));
                return None;
            }
            Some(Fault::Cut { token }) if is_due(token) => {
                self.stream = None;
                return Some(Err(Cut));
            }
            Some(Fault::Error { token }) if is_due(token) => {
                let error = ApiError::server("an injected fault");
                let events = self.stream.take().map(|stream| stream.failure(&error));
                self.events = Bytes::new();
                return Some(Ok(self.send(events.unwrap_or_default().into())));
            }
            _ => {}
        }
        self.tokens += u64::from(is_token);
        let mut event = self.events.split_to(end);
        if let Some(Fault::Split { byte }) = self.fault
            && byte < event.len()
        {
            self.rest = event.split_off(byte);
        }
        Some(Ok(self.send(event)))
    }

    fn send(&mut self, bytes: Bytes) -> Data {
        self.yields = true;
        let streams = self.stream.as_ref().is_some_and(|stream| !stream.is_done());
        self.done = !streams && self.events.is_empty() && self.rest.is_empty();
        Data::Bytes(bytes)
    }
}

/// Where the first event ends.
fn end_of_event(events: &[u8]) -> usize {
    let end = events.iter().position(|byte| *byte == b'\n').map_or(events.len(), |at| at + 1);
    // The empty line of server-sent events belongs to it.
    end + usize::from(events.get(end) == Some(&b'\n'))
}

/// Whether an event holds a token: text, and not the end, the role or a comment.
fn is_token(event: &[u8]) -> bool {
    let holds = |words: &[u8]| event.windows(words.len()).any(|window| window == words);
    holds(b"\"finish_reason\":null") && !holds(b"\"role\":\"assistant\"")
}

/// The number of the choice that an event is of.
fn choice_of(event: &[u8]) -> usize {
    let name = b"\"index\":";
    let at = event.windows(name.len()).position(|window| window == name);
    let digits = &event[at.map_or(event.len(), |at| at + name.len())..];
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
