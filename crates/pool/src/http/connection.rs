//! One HTTP/1.1 connection and the task that drives it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::Extensions;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::Connected;
use tokio::task::JoinHandle;

use super::alarm::Alarm;
use super::origin::Origin;
use super::replay::{Replay, Spare};
use super::watched::Traffic;
use crate::connect::{Poolable, State};

/// A body that is no longer leaves at once; a longer one takes its time.
const BODY_AT_ONCE_BYTES: u64 = 64 << 10;

/// One HTTP/1.1 connection. The pool's users never see it; its key is the [`Origin`].
///
/// It is moved at each step from the pool to the reply's body and back, so all of it is in one place.
pub struct HttpConnection<B>(pub(super) Box<Link<B>>);

/// What a connection consists of.
pub(super) struct Link<B> {
    /// `None` once the driver has ended under a request.
    pub(super) sender: Option<SendRequest<B>>,
    pub(super) driver: Driver,
    pub(super) traffic: Traffic,
    pub(super) address: Address,
    pub(super) connected: Connected,
    /// The request under way if it may be sent again.
    pub(super) spare: Option<Spare<B>>,
    /// While a long body may be under way: the bytes sent when it was last looked at.
    pub(super) upload: Option<u64>,
    /// Rings when the head of a reply or a part of its body takes too long.
    pub(super) alarm: Alarm,
}

/// What becomes of a request.
pub(super) type Outcome<B> = Result<Response<Incoming>, TrySendError<Request<B>>>;
/// The same with the rare case on the heap: the others need not be moved in a place of its size.
pub(super) type BoxedOutcome<B> = Result<Response<Incoming>, Box<TrySendError<Request<B>>>>;

/// How requests over a connection say where they go.
pub(super) struct Address {
    pub(super) host: HeaderValue,
    pub(super) form: TargetForm,
}

/// The form of the request target (RFC 9112, 3.2).
pub(super) enum TargetForm {
    /// To the origin itself, or through a tunnel.
    Origin,
    /// To a proxy that forwards, with its credentials.
    Absolute(Option<HeaderValue>),
}

impl Address {
    /// Writes host and target into a request whose URI is a path and a query, or what was written by an
    /// attempt before.
    fn write<B>(&self, origin: &Origin, request: &mut Request<B>) {
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        let TargetForm::Absolute(authorization) = &self.form else {
            if request.uri().scheme().is_some() {
                let target = take_target(request.uri_mut());
                *request.uri_mut() = Uri::from(target);
            }
            return;
        };
        if let Some(authorization) = authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let target = take_target(request.uri_mut());
        *request.uri_mut() = origin.uri_of(target);
    }
}

fn take_target(uri: &mut Uri) -> PathAndQuery {
    let target = std::mem::take(uri).into_parts().path_and_query;
    target.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

impl<B> HttpConnection<B> {
    /// Adds what the layers below know of the connection.
    pub(super) fn extend(&self, extensions: &mut Extensions) {
        self.0.connected.get_extras(extensions);
    }

    fn is_ready(&self) -> bool {
        self.0.sender.as_ref().is_some_and(SendRequest::is_ready)
    }
}

impl<B: Replay> HttpConnection<B> {
    /// Waits until it is ready for a request, or never will be.
    pub(super) async fn ready(&mut self) {
        if let Some(sender) = &mut self.0.sender {
            // Why it never will be is nobody's concern here.
            drop(sender.ready().await);
        }
    }

    /// Keeps a request if it may be sent again. Before it is [begun](Self::begin): what is added there
    /// need not be kept.
    pub(super) fn keep_spare(&mut self, request: &Request<B>) {
        self.0.spare = Spare::of(request);
    }

    /// Hands a request to `origin` to the driver; what becomes of it is waited for by
    /// [`Self::poll_outcome`]. `now` is the present where it is known.
    pub(super) fn begin(
        &mut self,
        origin: &Origin,
        mut request: Request<B>,
        now: Option<Instant>,
    ) -> impl Future<Output = Outcome<B>> + Send + use<B> {
        let Link { sender, address, alarm, traffic, upload, .. } = &mut *self.0;
        let is_short = request.body().size_hint().upper().is_some_and(|n| n <= BODY_AT_ONCE_BYTES);
        *upload = (!is_short).then(|| traffic.said_bytes());
        alarm.rest_until(now);
        address.write(origin, &mut request);
        let open = sender.as_mut().expect("a connection whose driver has ended is not lent");
        open.try_send_request(request)
    }

    /// Waits for what becomes of the request that was begun; `None` when for longer than `limit` nothing does
    /// and nothing of its body leaves.
    pub(super) fn poll_outcome(
        &mut self,
        begun: Pin<&mut impl Future<Output = Outcome<B>>>,
        limit: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<BoxedOutcome<B>>> {
        let link = &mut *self.0;
        let give_up = || drop(link.sender.take());
        match (poll_begun(begun, &mut link.driver, give_up, cx), limit) {
            (Poll::Ready(outcome), _) => {
                link.alarm.rest();
                Poll::Ready(Some(outcome.map_err(Box::new)))
            }
            (Poll::Pending, Some(limit)) => link.poll_late(limit, cx).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

impl<B> Link<B> {
    /// Ready when for longer than `limit` there was no reply, and nothing of a long body has left.
    fn poll_late(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        // Each turn but the last finds that more was sent.
        loop {
            ready!(self.alarm.poll(limit, cx));
            let said_bytes = self.traffic.said_bytes();
            if self.upload.is_none_or(|before| before == said_bytes) {
                return Poll::Ready(());
            }
            self.upload = Some(said_bytes);
            self.alarm.rest();
        }
    }
}

/// Waits for the answer to what was handed to `driver`.
///
/// hyper hands it over through a channel. If the driver ends in the very instant in which a request is put
/// in, the request may stay there and nobody answers (hyper#4122): so the end of the driver is waited for
/// as well, and then `give_up` ends the channel, by which what is left in it comes back unsent.
fn poll_begun<R>(
    mut begun: Pin<&mut impl Future<Output = R>>,
    driver: &mut Driver,
    give_up: impl FnOnce(),
    cx: &mut Context<'_>,
) -> Poll<R> {
    if let Poll::Ready(answer) = begun.as_mut().poll(cx) {
        return Poll::Ready(answer);
    }
    ready!(driver.poll_ended(cx));
    give_up();
    begun.poll(cx)
}

impl<B: Replay> Poolable for HttpConnection<B> {
    /// Ready for a request: the exchange before is over on both sides, and hyper has looked for the end
    /// of the connection and for unasked bytes since.
    fn state(&mut self) -> State {
        if self.is_ready() { State::Reusable } else { State::Dead }
    }

    /// Says goodbye if nothing is under way (`close_notify`, FIN), else cuts the connection off.
    fn close(self) -> impl Future<Output = ()> + Send {
        let is_ready = self.is_ready();
        let Link { sender, mut driver, .. } = *self.0;
        if !is_ready {
            driver.abort();
        }
        drop(sender);
        async move { poll_fn(|cx| driver.poll_ended(cx)).await }
    }
}

impl<B> fmt::Debug for HttpConnection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection")
            .field("host", &self.0.address.host)
            .field("heard_bytes", &self.0.traffic.heard_bytes())
            .finish_non_exhaustive()
    }
}

/// The task that reads and writes; dropping it ends the connection. `None` once it has ended.
#[derive(Debug)]
pub(super) struct Driver(Option<JoinHandle<()>>);

impl Driver {
    pub(super) fn new(task: JoinHandle<()>) -> Self {
        Self(Some(task))
    }

    fn abort(&self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(task) = &mut self.0 {
            // An error means that it was cut off: then it has ended, too.
            drop(ready!(Pin::new(task).poll(cx)));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// hyper#4122. Premise: the driver has ended, and the only thing that could still answer is the channel.
    #[tokio::test(start_paused = true)]
    async fn a_request_left_in_the_channel_of_an_ended_driver_comes_back() {
        let (channel, mut reply) = oneshot::channel::<()>();
        let mut channel = Some(channel);
        let mut driver = Driver::new(tokio::spawn(async {}));
        let mut give_up = || drop(channel.take());
        let reply = poll_fn(|cx| poll_begun(Pin::new(&mut reply), &mut driver, &mut give_up, cx));
        assert!(timeout(SECOND, reply).await.expect("it comes back").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_came_before_the_end_counts() {
        let (channel, mut reply) = oneshot::channel();
        let mut driver =
            Driver::new(tokio::spawn(async move { channel.send(7).expect("it is waited for") }));
        let reply = poll_fn(|cx| poll_begun(Pin::new(&mut reply), &mut driver, || {}, cx));
        assert_eq!(Ok(7), reply.await);
    }
}
