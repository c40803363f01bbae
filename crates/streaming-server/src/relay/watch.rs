//! Asks upstreams how they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::http::uri::PathAndQuery;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Relay, Upstream};
use crate::sync::Ordering;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const PATH: PathAndQuery = PathAndQuery::from_static("/health");

impl Relay {
    /// Begins to ask, unless that was done before. It ends with the set.
    pub(crate) fn watch(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        if self.is_watched.swap(true, Ordering::Relaxed) {
            return;
        }
        for upstream in &self.upstreams {
            tasks.spawn(Arc::clone(self).watch_one(Arc::clone(upstream)));
        }
    }

    /// Asks one upstream now and then, for ever. Whatever it says that is no error of its own will do:
    /// not everybody has `/health`.
    async fn watch_one(self: Arc<Self>, upstream: Arc<Upstream>) {
        let mut ticks = interval(self.health_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut request = Request::new(Full::new(Bytes::new()));
            *request.uri_mut() = upstream.uri(&PATH);
            let greeted = timeout(ANSWER_TIMEOUT, self.greet(request)).await;
            upstream.note_health(greeted.unwrap_or(false));
        }
    }
}
