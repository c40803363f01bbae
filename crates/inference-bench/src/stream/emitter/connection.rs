//! One connection of the emitter.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::EpollFlags;

use super::fault::{Fault, Misdeed};
use super::wire::{Events, Order, Parsed, endless, error_event, framed, parse, refusal};

/// A request may be this long.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// A client that leaves more than this unread is cut.
const UNREAD_BYTES_MAX: usize = 1 << 20;

/// A connection and the stream on it.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    stream: Option<Stream>,
    interest: EpollFlags,
}

#[derive(Debug)]
struct Stream {
    generation: u64,
    order: Order,
    events: Events,
    emitted: u32,
    fault: Option<Fault>,
}

/// What a stream does next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It has another token.
    Token,
    /// It is over.
    End,
    /// There is no such stream any more.
    Nothing,
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            request: Vec::new(),
            unsent: Vec::new(),
            stream: None,
            interest: EpollFlags::EPOLLIN,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What to wait for, if that changed.
    pub(super) fn new_interest(&mut self) -> Option<EpollFlags> {
        let mut interest = EpollFlags::EPOLLIN;
        interest.set(EpollFlags::EPOLLOUT, !self.unsent.is_empty());
        (std::mem::replace(&mut self.interest, interest) != interest).then_some(interest)
    }

    /// Reads what is there, and returns an order if one is complete and none is being served.
    pub(super) fn order(&mut self) -> io::Result<Option<Order>> {
        let mut piece = [0; 4096];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.request.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if REQUEST_BYTES_MAX < self.request.len() {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        while self.stream.is_none() {
            match parse(&self.request) {
                Parsed::Partial => break,
                Parsed::Order(order, end) => {
                    self.request.drain(..end);
                    return Ok(Some(order));
                }
                Parsed::Other(answer, end) => {
                    self.request.drain(..end);
                    self.send(answer)?;
                }
            }
        }
        Ok(None)
    }

    /// Answers an order with the head of its reply; `false` if it is refused, and has no stream.
    pub(super) fn begin(
        &mut self,
        order: Order,
        generation: u64,
        fault: Option<Fault>,
    ) -> io::Result<bool> {
        if let Some(Misdeed::Status(status)) = fault.map(|fault| fault.what) {
            return self.send(&refusal(status)).map(|()| false);
        }
        let events = Events::new(&order, generation);
        self.send(events.head())?;
        self.stream = Some(Stream { generation, order, events, emitted: 0, fault });
        Ok(true)
    }

    /// Writes the next token, stamped with this time since 1970.
    pub(super) fn emit(
        &mut self,
        generation: u64,
        stamp: i64,
        out: &mut Vec<u8>,
    ) -> io::Result<Next> {
        let Some(stream) = self.stream.as_mut().filter(|s| s.generation == generation) else {
            return Ok(Next::Nothing);
        };
        out.clear();
        if let Some(fault) = stream.fault.filter(|fault| fault.after_tokens <= stream.emitted) {
            return self.misbehave(fault.what, stamp, out);
        }
        stream.events.token(stream.emitted, stamp, out);
        stream.emitted += 1;
        let is_over = stream.order.tokens <= stream.emitted;
        if is_over {
            stream.events.end(out);
            self.stream = None;
        }
        self.send(out)?;
        Ok(if is_over { Next::End } else { Next::Token })
    }

    /// Does what it was told to do wrong.
    fn misbehave(&mut self, what: Misdeed, stamp: i64, out: &mut Vec<u8>) -> io::Result<Next> {
        let Some(stream) = &self.stream else { return Ok(Next::Nothing) };
        match what {
            Misdeed::Hang | Misdeed::Status(_) => return Ok(Next::Nothing),
            Misdeed::Cut => {
                stream.events.token(stream.emitted, stamp, out);
                self.send(&out[..out.len() / 2])?;
                return Err(ErrorKind::ConnectionAborted.into());
            }
            Misdeed::Endless => {
                endless(out);
                return self.send(out).map(|()| Next::Token);
            }
            Misdeed::Broken => framed("data: {]\n\n", out),
            Misdeed::Error => error_event(out),
            Misdeed::NoDone => {}
        }
        framed("", out);
        self.stream = None;
        self.send(out).map(|()| Next::End)
    }

    /// Writes what the socket did not take before.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.unsent.is_empty() && !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(rest);
        if UNREAD_BYTES_MAX < self.unsent.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
