//! Carries connections to a target and counts them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::LinkSettings;
use super::pump::{Broken, Pump};
use crate::fault::Fault;
use crate::pace::Pace;
use crate::socket;

/// What a link has carried since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Connections accepted.
    pub opened: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes delivered from clients to the target.
    pub up_bytes: u64,
    /// Bytes delivered from the target to clients.
    pub down_bytes: u64,
    /// How often each rule acted, by its text.
    pub faults: BTreeMap<String, u64>,
}

impl LinkStats {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "opened": self.opened, "open": self.open, "up_bytes": self.up_bytes,
            "down_bytes": self.down_bytes, "faults": self.faults,
        })
    }
}

/// What all connections of a link share.
#[derive(Debug)]
pub(crate) struct Carrier {
    settings: watch::Sender<Arc<LinkSettings>>,
    /// Tells all connections to reset, by a new number.
    resets: watch::Sender<u64>,
    opened: AtomicU64,
    open: AtomicU64,
    pub(super) up: Lane,
    pub(super) down: Lane,
    faults: Mutex<BTreeMap<String, u64>>,
}

/// One direction of all connections.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) pace: Mutex<Pace>,
    pub(super) bytes: AtomicU64,
}

impl Lane {
    fn new() -> Self {
        Self { pace: Mutex::new(Pace::new(Instant::now())), bytes: AtomicU64::new(0) }
    }
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a Carrier);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Carrier {
    pub(crate) fn new(settings: LinkSettings) -> Self {
        Self {
            settings: watch::Sender::new(Arc::new(settings)),
            resets: watch::Sender::new(0),
            opened: AtomicU64::new(0),
            open: AtomicU64::new(0),
            up: Lane::new(),
            down: Lane::new(),
            faults: Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> Arc<LinkSettings> {
        Arc::clone(&self.settings.borrow())
    }

    pub(super) fn changes(&self) -> watch::Receiver<Arc<LinkSettings>> {
        self.settings.subscribe()
    }

    pub(crate) fn configure(&self, settings: LinkSettings) {
        let now = Instant::now();
        for lane in [&self.up, &self.down] {
            *lane.pace.lock() = Pace::new(now);
        }
        self.settings.send_replace(Arc::new(settings));
    }

    pub(super) fn reset_open(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    pub(super) fn count(&self, fault: &Fault) {
        *self.faults.lock().entry(fault.to_string()).or_default() += 1;
    }

    pub(crate) fn stats(&self) -> LinkStats {
        LinkStats {
            opened: self.opened.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            up_bytes: self.up.bytes.load(Ordering::Relaxed),
            down_bytes: self.down.bytes.load(Ordering::Relaxed),
            faults: self.faults.lock().clone(),
        }
    }

    /// Zeroes all counters; connections that are open stay so.
    pub(crate) fn reset_stats(&self) {
        for counter in [&self.opened, &self.up.bytes, &self.down.bytes] {
            counter.store(0, Ordering::Relaxed);
        }
        self.faults.lock().clear();
    }

    /// Carries a connection to its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes both ends.
    pub(crate) async fn carry(&self, client: &TcpStream, target: SocketAddr) {
        let accepted = Instant::now();
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        let _open = Open(self);
        let mut resets = self.resets.subscribe();
        let Ok(server) = TcpStream::connect(target).await else {
            // As if the target itself had refused.
            let _ = client.set_zero_linger();
            return;
        };
        // Small pieces must leave at once; where that cannot be had, they leave later.
        let _ = server.set_nodelay(true);
        let up = Pump::up(self, client, &server, number, accepted);
        let down = Pump::down(self, &server, client, number, accepted);
        let broken = tokio::select! {
            result = async { tokio::try_join!(up.run(), down.run()) } => result.err(),
            _ = resets.changed() => Some(Broken::Reset),
        };
        match broken {
            Some(Broken::Reset) => {
                socket::reset(client).await;
                let _ = server.set_zero_linger();
            }
            Some(Broken::Failed) => {
                // One end was reset or has vanished: the other learns it as it would without us.
                let _ = client.set_zero_linger();
                let _ = server.set_zero_linger();
            }
            Some(Broken::Cut) | None => {}
        }
    }
}
