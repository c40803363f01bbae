//! What is learnt of origins while a downloader lives: how many connections serve best, and how long to
//! leave one alone.

mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use limiter::{AdaptiveLimit, AdaptiveOptions};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::gate::{Gate, Next};
use crate::history::{History, Learnt};
use crate::retry::Quota;
use crate::seam;

/// Origins that are remembered; when there are more, those that nobody uses are forgotten.
const SITES_MAX: usize = 1024;
/// Connections to begin with: as many as browsers open to one server, which servers therefore bear.
const CONNECTIONS_START: usize = 6;
/// The same where answers come from afar, and it is their windows that hold connections back: as many files as
/// the hubs' own client fetches at once (`max_workers` of `huggingface_hub`).
const CONNECTIONS_FAR: usize = 8;
/// How long one number of connections is tried at least, before another; and so many round trips, within a
/// bound.
const TRY_MIN: Duration = Duration::from_millis(75);
const TRY_ROUND_TRIPS: u32 = 2;
const TRY_MIN_MAX: Duration = Duration::from_secs(1);
/// A request waits for a site that asks to be left alone again and again this often, then it is sent.
const HOLDS_MAX: usize = 16;

/// One origin.
#[derive(Debug)]
pub(crate) struct Site {
    /// Who may fetch from it at once.
    pub(crate) connections: AdaptiveLimit,
    /// Bytes per second that a file got at best.
    best_rate: AtomicU64,
    /// The number of connections to begin with is what an earlier run has learnt.
    is_learnt: bool,
    /// Whether its first question has been asked.
    is_asked: AtomicBool,
    gate: Mutex<Gate>,
    /// A question was answered, or given up.
    answer_came: Notify,
}

/// The right to ask a site one question, until that is answered or given up.
#[must_use = "dropped before the answer, the question counts as given up"]
pub(crate) struct Question<'a> {
    site: &'a Site,
    is_answered: bool,
}

impl Question<'_> {
    /// Takes note of the answer: of the quota that it tells, and for how long it wants the site left alone.
    pub(crate) fn answered(mut self, quota: Option<Quota>, pause: Option<Duration>) {
        self.is_answered = true;
        let (now, mut gate) = (seam::now(), self.site.gate.lock());
        gate.answered(quota, now);
        if let Some(pause) = pause {
            gate.leave_alone(pause, now);
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.site.gate.lock().given_up();
        }
        self.site.answer_came.notify_waiters();
    }
}

impl Site {
    fn new(connections_max: usize, learnt: Option<Learnt>) -> Self {
        let limit_max = connections_max.max(1);
        let limit_start = learnt.map_or(CONNECTIONS_START, |learnt| learnt.connections);
        let limit_start = limit_start.clamp(1, limit_max);
        let options = AdaptiveOptions {
            limit_max,
            limit_start,
            epoch_min: TRY_MIN,
            ..AdaptiveOptions::default()
        };
        let connections = AdaptiveLimit::new(options).expect("1 ≤ start ≤ max");
        Self {
            connections,
            best_rate: AtomicU64::new(0),
            is_learnt: learnt.is_some(),
            is_asked: AtomicBool::new(false),
            gate: Mutex::default(),
            answer_came: Notify::new(),
        }
    }

    /// Asks; returns whether nothing was asked before.
    pub(crate) fn ask_first(&self) -> bool {
        !self.is_asked.swap(true, Ordering::Relaxed)
    }

    /// Takes note that it is far away; returns how many connections will be wanted beside the first.
    pub(crate) fn found_far(&self) -> usize {
        if !self.is_learnt {
            self.connections.restart(CONNECTIONS_FAR);
        }
        self.connections.limit() - 1
    }

    /// Takes note of what a file has got, in bytes per second.
    pub(crate) fn served(&self, bytes_per_s: u64) {
        self.best_rate.fetch_max(bytes_per_s, Ordering::Relaxed);
    }

    /// Takes note of how long its answers take.
    pub(crate) fn answered(&self, round_trip: Duration) {
        let try_min = (TRY_ROUND_TRIPS * round_trip).clamp(TRY_MIN, TRY_MIN_MAX);
        self.connections.set_epoch_min(try_min);
    }

    /// How long it wants to be left alone from now on.
    pub(crate) fn left_alone(&self) -> Duration {
        self.gate.lock().left_alone(seam::now())
    }

    /// Waits until it may be asked; the first of those who wait calls `tell` with how long.
    pub(crate) async fn turn(&self, tell: impl Fn(Duration)) -> Question<'_> {
        let mut holds = 0;
        loop {
            // Before looking, so that no answer is missed in between.
            let answer = self.answer_came.notified();
            let (now, next) = self.next();
            match next {
                Next::Ask => return Question { site: self, is_answered: false },
                Next::Answers => answer.await,
                Next::Hold { .. } if HOLDS_MAX <= holds => {
                    self.gate.lock().ask();
                    return Question { site: self, is_answered: false };
                }
                Next::Hold { until, is_news } => {
                    holds += 1;
                    if is_news {
                        tell(until - now);
                    }
                    tokio::time::sleep_until(until).await;
                }
            }
        }
    }

    fn next(&self) -> (Instant, Next) {
        let now = seam::now();
        (now, self.gate.lock().next(now))
    }
}

/// Those who receive from an origin now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) in_flight: usize,
    /// How many serve best.
    pub(crate) limit: usize,
    /// For how many there is memory.
    pub(crate) bearable: usize,
    /// Answers take their time.
    pub(crate) is_far: bool,
    /// Goodput has collapsed, and is not known to be back.
    pub(crate) is_recovering: bool,
}

impl Crowd {
    /// Whether there are too many to wait until one has brought its part. From afar so much is on its way, and
    /// lost with a connection, that only a collapse is worth that.
    pub(crate) fn is_too_large(self) -> bool {
        let Self { in_flight, limit, bearable, is_far, is_recovering } = self;
        let may_wait = is_far && !is_recovering;
        bearable < in_flight || (!may_wait && limit < in_flight)
    }
}

/// All origins, by scheme, host and port.
#[derive(Debug)]
pub(crate) struct Sites {
    connections_max: usize,
    history: History,
    sites: Mutex<BTreeMap<String, Arc<Site>>>,
}

impl Sites {
    pub(crate) fn new(connections_max: usize, history: &History) -> Self {
        Self { connections_max, history: history.clone(), sites: Mutex::default() }
    }

    /// What was learnt of those where the search has come to an end.
    pub(crate) fn learnt(&self) -> History {
        let since_1970 = seam::date().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut history = History::default();
        for (origin, site) in &*self.sites.lock() {
            let bytes_per_s = site.best_rate.load(Ordering::Relaxed);
            if let Some(connections) = site.connections.settled().filter(|_| 0 < bytes_per_s) {
                let learnt_s = since_1970.as_secs();
                history.learn(origin, Learnt { connections, bytes_per_s, learnt_s });
            }
        }
        history
    }

    pub(crate) fn of(&self, origin: &str) -> Arc<Site> {
        let mut sites = self.sites.lock();
        if let Some(site) = sites.get(origin) {
            return Arc::clone(site);
        }
        if SITES_MAX <= sites.len() {
            sites.retain(|_, site| 1 < Arc::strong_count(site));
        }
        let site = Arc::new(Site::new(self.connections_max, self.history.of(origin)));
        sites.insert(origin.to_owned(), Arc::clone(&site));
        site
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RETRY_AFTER_MAX;

    #[tokio::test(start_paused = true)]
    async fn a_site_is_left_alone_as_long_as_it_asks_but_not_for_ever() {
        let sites = Sites::new(8, &History::default());
        let (start, told) = (seam::now(), Mutex::new(Vec::new()));
        let site = sites.of("http://a");
        let ask = async || site.turn(|wait| told.lock().push(wait)).await;
        let question = ask().await;
        assert_eq!(start, seam::now());
        question.answered(None, Some(Duration::from_secs(7)));
        sites.of("http://b").turn(|_| {}).await.answered(None, None);
        assert_eq!(start, seam::now(), "another origin does not wait");
        let (first, second) = (ask().await, ask().await);
        assert_eq!(Duration::from_secs(7), seam::now() - start);
        first.answered(None, Some(Duration::MAX));
        second.answered(None, Some(Duration::from_secs(2)));
        ask().await.answered(None, None);
        assert_eq!(Duration::from_secs(7) + RETRY_AFTER_MAX, seam::now() - start);
        assert_eq!(vec![Duration::from_secs(7), RETRY_AFTER_MAX], *told.lock());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_answers_of_others_goes_on_when_they_have_come() {
        let sites = Sites::new(8, &History::default());
        let site = sites.of("http://a");
        let (first, second) = (site.turn(|_| {}).await, site.turn(|_| {}).await);
        let one_left = Quota { remaining: 1, resets_in: Duration::from_secs(60) };
        first.answered(Some(one_left), None);
        let third = async { site.turn(|_| {}).await.answered(None, None) };
        let answer = async { second.answered(Some(one_left), None) };
        tokio::join!(third, answer);
        assert_eq!(Duration::ZERO, site.left_alone());
    }

    #[test]
    fn surplus_connections_go_at_once_but_from_afar_they_bring_their_parts() {
        let fit =
            Crowd { in_flight: 6, limit: 6, bearable: 6, is_far: false, is_recovering: false };
        assert!(!fit.is_too_large());
        let surplus = Crowd { limit: 5, ..fit };
        assert!(surplus.is_too_large());
        assert!(!Crowd { is_far: true, ..surplus }.is_too_large());
        assert!(Crowd { is_far: true, is_recovering: true, ..surplus }.is_too_large());
        assert!(Crowd { is_far: true, bearable: 5, ..fit }.is_too_large(), "memory is short");
    }

    #[tokio::test]
    async fn a_site_begins_where_the_last_run_has_ended() {
        let mut history = History::default();
        for (origin, connections) in [("http://a", 3), ("http://b", 99), ("http://c", 0)] {
            history.learn(origin, Learnt { connections, bytes_per_s: 1, learnt_s: 1 });
        }
        let sites = Sites::new(8, &history);
        let begin = |origin: &str| sites.of(origin).connections.limit();
        assert_eq!([3, 8, 1, 6], ["http://a", "http://b", "http://c", "http://d"].map(begin));
        assert!(sites.learnt().is_empty(), "nothing is learnt yet");
    }

    #[tokio::test]
    async fn a_site_far_away_is_begun_with_more_unless_it_is_known() {
        let mut history = History::default();
        history.learn("http://known", Learnt { connections: 3, bytes_per_s: 1, learnt_s: 1 });
        let sites = Sites::new(20, &history);
        for (origin, connections) in [("http://known", 3), ("http://new", CONNECTIONS_FAR)] {
            let site = sites.of(origin);
            assert!(site.ask_first() && !site.ask_first(), "once");
            assert_eq!(connections - 1, site.found_far(), "beside the first");
            assert_eq!(connections, site.connections.limit());
        }
    }

    #[tokio::test]
    async fn origins_nobody_uses_are_forgotten() {
        let sites = Sites::new(8, &History::default());
        let kept = sites.of("http://kept");
        for k in 0..3 * SITES_MAX {
            sites.of(&format!("http://{k}"));
        }
        assert!(sites.sites.lock().len() <= SITES_MAX + 1);
        assert!(Arc::ptr_eq(&kept, &sites.of("http://kept")));
    }
}
