//! Bodies of replies.

mod faulty;
mod frame;
mod relay;
mod reply;
mod stream;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Frame as HttpFrame, SizeHint};

pub(crate) use self::faulty::FaultyBody;
pub(crate) use self::frame::{Frame, FramePool};
pub(crate) use self::relay::RelayBody;
use self::reply::take_piece;
pub(crate) use self::reply::{ReplyBody, Running};
pub(crate) use self::stream::StreamBody;

/// A connection is closed in the middle of a reply, on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply was cut by an injected fault")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The body of a reply.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Reply(Box<ReplyBody>),
    Stream(Box<StreamBody>),
    Relay(Box<RelayBody>),
    Faulty(Box<FaultyBody>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }
}

/// A piece of a body.
#[derive(Debug)]
pub(crate) enum Data {
    Bytes(Bytes),
    Frame(Frame),
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::Frame(frame) => frame.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::Frame(frame) => frame.chunk(),
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Bytes(data) => data.advance(bytes),
            Self::Frame(frame) => frame.advance(bytes),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Data;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Data>, Cut>>> {
        let data = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Data::Bytes(take_piece(bytes))))),
            Self::Reply(reply) => Poll::Ready(reply.next().map(|bytes| Ok(Data::Bytes(bytes)))),
            Self::Stream(stream) => {
                stream.poll_next(cx).map(|frame| frame.map(|frame| Ok(Data::Frame(frame))))
            }
            Self::Relay(relay) => {
                relay.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Data::Bytes(bytes))))
            }
            Self::Faulty(faulty) => faulty.poll_next(cx),
        };
        data.map(|data| data.map(|data| data.map(HttpFrame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Reply(reply) => reply.is_done(),
            Self::Stream(stream) => stream.is_done(),
            Self::Relay(relay) => relay.is_done(),
            Self::Faulty(faulty) => faulty.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Reply(reply) => SizeHint::with_exact(reply.left_bytes()),
            Self::Stream(_) | Self::Relay(_) | Self::Faulty(_) => SizeHint::default(),
        }
    }
}
