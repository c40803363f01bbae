//! What all connections of an origin share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::object::Shelf;
use super::plan::Answer;
use super::request::Request;
use super::rules::Rule;
use super::settings::Settings;
use super::stats::Counters;
use crate::blob::{SplitMix, finalize};
use crate::link::Carrier;
use crate::pace::Pace;
use crate::tokens::Emitter;

/// Answers some of the paths. The first of an origin's handlers that knows a path wins; the objects
/// come after all of them. A model hub is one of these.
pub(crate) trait Handler: std::fmt::Debug + Send + Sync {
    fn answer(&self, request: &Request) -> Option<Answer>;
}

/// State of an origin.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) handlers: Vec<Box<dyn Handler>>,
    pub(crate) shelf: Shelf,
    pub(crate) counters: Counters,
    /// For the bandwidth of all bodies together.
    pub(crate) pace: Mutex<Pace>,
    pub(crate) started: Instant,
    /// Signs URLs.
    pub(crate) key: u64,
    /// Serves the token routes, if they are wanted.
    pub(crate) emitter: Option<Emitter>,
    /// Where connections are carried to, if this is a link.
    pub(crate) link: Option<(SocketAddr, Carrier)>,
    live: watch::Sender<Arc<Live>>,
    random: Mutex<SplitMix>,
    /// Connections that have asked for an object.
    connections: AtomicU64,
}

/// Settings at work.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<Arc<Rule>>,
}

impl Shared {
    pub(crate) fn new(shelf: Shelf, seed: u64, settings: Settings) -> Self {
        let now = Instant::now();
        let shared = Self {
            handlers: Vec::new(),
            shelf,
            counters: Counters::default(),
            pace: Mutex::new(Pace::new(now)),
            started: now,
            key: finalize(seed),
            emitter: None,
            link: None,
            live: watch::Sender::default(),
            random: Mutex::new(SplitMix(seed)),
            connections: AtomicU64::new(0),
        };
        shared.configure(settings);
        shared
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    /// Returns what tells of changes of the settings.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Live>> {
        self.live.subscribe()
    }

    /// Puts new settings to work. Rules that stay keep their counters.
    pub(crate) fn configure(&self, settings: Settings) {
        self.update(|live| *live = settings);
    }

    /// Changes the settings; two changes at once are made one after the other.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        let mut result = None;
        self.live.send_modify(|live| {
            let mut settings = live.settings.clone();
            result = Some(change(&mut settings));
            let rules = self.rules_for(&settings, &live.rules);
            *self.pace.lock() = Pace::new(Instant::now());
            if let Some((_, carrier)) = &self.link {
                carrier.configure((&settings).into());
            }
            *live = Arc::new(Live { settings, rules });
        });
        result.expect("send_modify calls its argument")
    }

    fn rules_for(&self, settings: &Settings, old: &[Arc<Rule>]) -> Vec<Arc<Rule>> {
        let mut old: Vec<_> = old.iter().collect();
        let rule =
            |fault: &crate::fault::Fault| match old.iter().position(|rule| rule.fault == *fault) {
                Some(index) => Arc::clone(old.swap_remove(index)),
                None => {
                    let done = self.counters.of_rule(&fault.to_string());
                    Arc::new(Rule::new(fault.clone(), done))
                }
            };
        settings.faults.iter().map(rule).collect()
    }

    /// Zeroes all counters.
    pub(crate) fn reset(&self) {
        let live = self.live();
        let texts: Vec<_> = live.rules.iter().map(|rule| rule.fault.to_string()).collect();
        live.rules.iter().for_each(|rule| rule.restart());
        self.counters.reset(&texts);
        self.connections.store(0, Ordering::Relaxed);
        if let Some(emitter) = &self.emitter {
            emitter.reset();
        }
        if let Some((_, carrier)) = &self.link {
            carrier.reset_stats();
        }
    }

    /// Numbers a connection, from 1.
    pub(crate) fn number_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Draws whether the next request fails.
    pub(crate) fn draws_error(&self, rate: f64) -> bool {
        0.0 < rate && self.random.lock().unit() < rate
    }

    /// Finds what a path stands for.
    pub(crate) fn answer(&self, request: &Request) -> Option<Answer> {
        let handled = self.handlers.iter().find_map(|handler| handler.answer(request));
        handled.or_else(|| Some(Answer::Object(self.shelf.find(&request.path)?, Vec::new())))
    }
}
