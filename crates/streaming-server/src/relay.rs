//! Passes requests on to upstreams, and their replies back, byte for byte.
//!
//! Whoever has least to do is asked next. As long as no byte of a reply has come, a request that fails
//! is sent to another one; from then on a failure is told by an error event. Of a stream nothing is read
//! but where its events end.

mod ask;
mod breaker;
mod forward;
mod frames;
mod upstream;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use pool::http::{Client, ClientOptions};

pub(crate) use self::ask::{Begun, Incoming, REPLY_BYTES_MAX, Whole};
pub(crate) use self::forward::Forward;
pub(crate) use self::frames::Frames;
pub(crate) use self::upstream::{Load, Upstream};
use crate::metrics::{Counter, Text};
use crate::options::{Options, RelayOptions};
use crate::seam::Clock;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// How long a connection to an upstream may take to open: two retransmissions of a lost SYN (RFC 6298).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Upstreams, and the connections to them.
#[derive(Debug)]
pub(crate) struct Relay {
    upstreams: Vec<Arc<Upstream>>,
    /// For streams and questions: silence is a failure.
    client: Client<Full<Bytes>>,
    /// For replies that are generated as a whole: nothing is heard of them until they are there.
    patient: Client<Full<Bytes>>,
    clock: Clock,
    /// Counts picks, so that upstreams with equally much to do take turns.
    turn: AtomicU64,
    is_watched: AtomicBool,
    health_interval: Duration,
    /// Requests that were sent again.
    retries: Counter,
}

impl Relay {
    /// A relay to these upstreams.
    ///
    /// # Errors
    ///
    /// Which of them is no upstream, and why.
    pub(crate) fn new(
        options: &Options,
        relay: &RelayOptions,
        clock: Clock,
    ) -> Result<Self, String> {
        let upstreams = relay.upstreams.iter().map(|url| Upstream::at(url).map(Arc::new));
        let upstreams = upstreams.collect::<Result<Vec<_>, String>>()?;
        if upstreams.is_empty() {
            return Err("there is no upstream; name at least one".to_owned());
        }
        let silence_max = options.runner_timeout;
        let [client, patient] =
            clients(options, [silence_max, relay.reply_timeout.max(silence_max)])?;
        Ok(Self {
            upstreams,
            client,
            patient,
            clock,
            turn: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            health_interval: relay.health_interval,
            retries: Counter::default(),
        })
    }

    /// Whether at least one upstream has answered and none of its last answers was wrong.
    pub(crate) fn is_ready(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.is_well())
    }

    /// Its figures.
    pub(crate) fn write(&self, text: &mut Text) {
        type Figure = fn(&Upstream) -> u64;
        text.plain("upstream_retries_total", "counter", "Requests sent again", self.retries.get());
        let figures: [(&str, &str, &str, Figure); 5] = [
            ("upstream_up", "gauge", "Whether it is well", |one| u64::from(one.is_well())),
            ("upstream_in_flight", "gauge", "Requests it serves", Upstream::load),
            ("upstream_requests_total", "counter", "Requests sent to it", |one| one.asked.get()),
            ("upstream_refused_total", "counter", "429 and 503 of it", |one| one.refused.get()),
            ("upstream_failures_total", "counter", "Failures of it", |one| one.failed.get()),
        ];
        for (name, kind, help, figure) in figures {
            text.head(name, kind, help);
            for (at, upstream) in self.upstreams.iter().enumerate() {
                text.value(name, &format!("upstream=\"{}\"", self.name(at)), figure(upstream));
            }
        }
    }

    /// What metrics call an upstream: host and port, and `#2` for the second of these. Not its path, which
    /// may hold what nobody should read.
    fn name(&self, at: usize) -> String {
        let authority = self.upstreams[at].authority();
        let before = self.upstreams[..at].iter().filter(|one| one.authority() == authority).count();
        if before == 0 { authority.to_owned() } else { format!("{authority}#{}", before + 1) }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }

    /// Who is asked next: of those that were not tried the one with least to do, in turn where several
    /// have as little; one that was tried, where there is no other.
    fn pick(&self, tried: &[usize]) -> Option<(usize, Load)> {
        let now = self.now();
        // A request takes one turn, however many are tried for it.
        let step = u64::from(tried.is_empty());
        let turn = self.turn.fetch_add(step, Ordering::Relaxed) as usize;
        let n = self.upstreams.len();
        let in_turn = (0..n).map(|at| (turn.wrapping_add(at)) % n);
        let open = in_turn.filter(|at| self.upstreams[*at].admits(now));
        let rank = |at: &usize| {
            let upstream = &self.upstreams[*at];
            (tried.contains(at), upstream.is_down(), upstream.load())
        };
        let at = open.min_by_key(rank)?;
        Some((at, Load::begin(&self.upstreams[at], now)))
    }
}

/// Clients with the same limits and roots of trust, each with its own patience.
fn clients(
    options: &Options,
    silences_max: [Duration; 2],
) -> Result<[Client<Full<Bytes>>; 2], String> {
    let connections_max = options.running_max.saturating_add(16);
    let defaults = ClientOptions::default();
    let pool = pool::Options {
        connections_max,
        connections_per_key_max: connections_max,
        connect_timeout: Some(CONNECT_TIMEOUT),
        ..defaults.pool.clone()
    };
    let shared = ClientOptions { pool, ..defaults };
    #[cfg(feature = "tls")]
    let shared = {
        let tls = pool::http::Tls::new();
        ClientOptions { tls: Some(tls.map_err(|error| error.to_string())?), ..shared }
    };
    Ok(silences_max.map(|silence_max| {
        let timeout = Some(silence_max);
        Client::new(ClientOptions {
            head_timeout: timeout,
            body_timeout: timeout,
            ..shared.clone()
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(urls: &[&str]) -> Relay {
        let upstreams = urls.iter().map(|url| (*url).to_owned()).collect();
        let options = RelayOptions { upstreams, ..RelayOptions::default() };
        Relay::new(&Options::default(), &options, Clock::start()).unwrap()
    }

    #[test]
    fn whoever_has_least_to_do_is_asked_and_equals_take_turns() {
        let relay = relay(&["http://a", "http://b", "http://c"]);
        let mut loads: Vec<_> = (0..6).map(|_| relay.pick(&[]).unwrap()).collect();
        let mut asked: Vec<_> = loads.iter().map(|(at, _)| *at).collect();
        asked.sort_unstable();
        assert_eq!([0, 0, 1, 1, 2, 2], asked[..]);
        loads.retain(|(at, _)| *at != 1);
        let next: Vec<_> = (0..2).map(|_| relay.pick(&[]).unwrap()).collect();
        assert!(next.iter().all(|(at, _)| *at == 1));
    }

    #[test]
    fn one_that_was_tried_is_asked_again_only_where_there_is_no_other() {
        let relay = relay(&["http://a", "http://b"]);
        assert!((0..5).all(|_| relay.pick(&[0]).unwrap().0 == 1));
        assert!(relay.pick(&[0, 1]).is_some());
    }

    #[test]
    fn one_that_fails_again_and_again_is_left_alone() {
        let relay = relay(&["http://a", "http://b"]);
        for _ in 0..5 {
            relay.upstreams[0].fail(relay.now());
        }
        assert!((0..5).all(|_| relay.pick(&[]).unwrap().0 == 1));
        for _ in 0..5 {
            relay.upstreams[1].fail(relay.now());
        }
        assert!(relay.pick(&[]).is_none());
    }

    #[test]
    fn after_a_trial_that_is_refused_or_given_up_the_next_request_is_sent() {
        let at = Duration::from_secs;
        for is_refused in [true, false] {
            let upstream = Arc::new(Upstream::at("http://a").unwrap());
            (0..5).for_each(|_| upstream.fail(at(0)));
            let trial = Load::begin(&upstream, at(1));
            assert!(!upstream.admits(at(2)));
            if is_refused {
                upstream.refuse();
            }
            drop(trial);
            assert!(upstream.admits(at(2)));
        }
    }

    #[test]
    fn upstreams_have_names_of_their_own() {
        let relay = relay(&["http://a/p", "http://b", "http://a/q", "http://a/p"]);
        let names: Vec<_> = (0..4).map(|at| relay.name(at)).collect();
        assert_eq!(["a", "b", "a#2", "a#3"], names[..]);
    }

    #[test]
    fn what_is_no_upstream_is_told() {
        for url in ["", "a", "ftp://a", "http://u:p@a", "http://a?x=y", "http://a b"] {
            let told = Upstream::at(url).unwrap_err();
            assert!(!told.contains("u:p"), "{told}");
        }
        let of = |url, path| Upstream::at(url).unwrap().uri(&path).to_string();
        let path = hyper::http::uri::PathAndQuery::from_static("/v1/models?x");
        assert_eq!("http://a:1/v1/models?x", of("http://a:1/", path.clone()));
        assert_eq!("http://a/p/v1/models?x", of("http://a/p/v1/", path));
    }
}
