//! Whose turn it is on a connection: one request is answered after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::Connection;
use crate::body::{Body, Cut, Data};

/// A reply on its way. Dropped, its request has been answered: the connection's next one may come.
#[derive(Debug)]
pub(super) struct InTurn {
    body: Body,
    connection: Arc<Connection>,
}

impl InTurn {
    pub(super) fn new(body: Body, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        self.connection.end_turn();
    }
}

impl HttpBody for InTurn {
    type Data = Data;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Cut>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
