//! One direction of one connection.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::LinkSettings;
use super::carrier::{Carrier, Lane};
use super::flight::{Flight, Packet};
use crate::fault::{Fault, FaultKind};
use crate::pace::{Pace, piece_bytes};
use crate::socket;
use crate::timer::Timer;

/// The most that is read at once, in bytes.
const PACKET_BYTES_MAX: usize = 64 << 10;
/// The most that is in flight without a window, in bytes.
const FLIGHT_BYTES_MAX: u64 = 64 << 20;
/// How far ahead of its rate a sender is read: the link's own queue.
const QUEUE_MAX: Duration = Duration::from_millis(5);
/// How long a stall without a duration lasts at most.
const STALL_MAX: Duration = Duration::from_secs(3600);

/// Why a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Cut,
    Reset,
    Failed,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

pub(super) struct Pump<'a> {
    carrier: &'a Carrier,
    lane: &'a Lane,
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// Number of the connection, from 1.
    number: u64,
    /// Whether faults act here: on what comes from the target.
    faulty: bool,
    /// Nothing arrives before: the connection's own round trip, and the way there.
    accepted: Instant,
    flight: Flight,
    pace: Pace,
    timer: Timer,
    delivered: u64,
    /// Rules that have acted.
    done: Vec<Fault>,
    /// Bytes per second since a `trickle`.
    trickle: Option<u64>,
    /// Our direction is closed while the other goes on.
    finished: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn up(
        carrier: &'a Carrier,
        from: &'a TcpStream,
        to: &'a TcpStream,
        number: u64,
        accepted: Instant,
    ) -> Self {
        Self {
            carrier,
            lane: &carrier.up,
            from,
            to,
            number,
            faulty: false,
            accepted,
            flight: Flight::default(),
            pace: Pace::new(accepted),
            timer: Timer::default(),
            delivered: 0,
            done: Vec::new(),
            trickle: None,
            finished: false,
        }
    }

    pub(super) fn down(
        carrier: &'a Carrier,
        from: &'a TcpStream,
        to: &'a TcpStream,
        number: u64,
        accepted: Instant,
    ) -> Self {
        Self { lane: &carrier.down, faulty: true, ..Self::up(carrier, from, to, number, accepted) }
    }

    /// Carries bytes until the sender has closed and all have been delivered.
    pub(super) async fn run(mut self) -> Result<(), Broken> {
        let mut changes = self.carrier.changes();
        let mut ended = false;
        loop {
            changes.mark_unchanged();
            let settings = self.carrier.settings();
            if settings.paused {
                // An error would mean that the link is gone, and we with it.
                let _ = changes.changed().await;
                continue;
            }
            let now = Instant::now();
            if let Some(packet) = self.flight.arrived(now) {
                if packet.bytes.is_empty() {
                    return self.finish();
                }
                self.deliver(packet, &settings).await?;
                continue;
            }
            let room = self.room(&settings, now);
            let reads = !ended && 0 < room && self.free_at(&settings) <= now + QUEUE_MAX;
            let next = self.next(&settings, ended);
            tokio::select! {
                biased;
                ready = self.from.readable(), if reads => {
                    ready?;
                    ended = self.read(room, &settings)?;
                }
                () = self.timer.until(next.unwrap_or(now)), if next.is_some() => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Passes the end on; after a half-close it has been.
    fn finish(&self) -> Result<(), Broken> {
        if self.finished {
            return Ok(());
        }
        socket::finish(self.to).map_err(Broken::from)
    }

    fn room(&mut self, settings: &LinkSettings, now: Instant) -> usize {
        let window = settings.window.unwrap_or(FLIGHT_BYTES_MAX).min(FLIGHT_BYTES_MAX);
        let piece = self.rates(settings).min().map_or(u64::MAX, piece_bytes);
        let room = self.flight.room(window as usize, now);
        room.min(PACKET_BYTES_MAX).min(piece.try_into().unwrap_or(usize::MAX))
    }

    /// Returns when something happens that nobody else tells of.
    fn next(&self, settings: &LinkSettings, ended: bool) -> Option<Instant> {
        let limited = !ended && self.rates(settings).next().is_some();
        let reads = limited.then(|| self.free_at(settings)).filter(|&at| Instant::now() < at);
        let reads = reads.map(|at| at.checked_sub(QUEUE_MAX).unwrap_or(at));
        reads.into_iter().chain(self.flight.next()).min()
    }

    fn free_at(&self, settings: &LinkSettings) -> Instant {
        if settings.bandwidth.is_none() {
            return self.pace.free_at();
        }
        self.pace.free_at().max(self.lane.pace.lock().free_at())
    }

    /// The rates that hold for this connection, in bytes per second.
    fn rates(&self, settings: &LinkSettings) -> impl Iterator<Item = u64> + use<> {
        let rates = [settings.bandwidth, self.own_rate(settings)];
        rates.into_iter().flatten()
    }

    fn own_rate(&self, settings: &LinkSettings) -> Option<u64> {
        let cap = |fault: &Fault| match fault.kind() {
            FaultKind::Cap(rate) if fault.counts_in(self.number) => Some(*rate),
            _ => None,
        };
        let caps = settings.faults.iter().filter(|_| self.faulty).filter_map(cap);
        caps.chain(settings.connection_bandwidth).chain(self.trickle).min()
    }

    /// Counts each cap once for the connection: it acts from the first bytes on.
    fn count_caps(&mut self, settings: &LinkSettings) {
        let is_new = |fault: &&Fault| {
            self.faulty
                && matches!(fault.kind(), FaultKind::Cap(_))
                && fault.counts_in(self.number)
                && !self.done.contains(fault)
        };
        let new: Vec<_> = settings.faults.iter().filter(is_new).cloned().collect();
        new.iter().for_each(|fault| self.carrier.count(fault));
        self.done.extend(new);
    }

    /// Reads at most `room` bytes and puts them on their way; `true` at the sender's end.
    fn read(&mut self, room: usize, settings: &LinkSettings) -> Result<bool, Broken> {
        let mut bytes = vec![0; room];
        match self.from.try_read(&mut bytes) {
            Ok(n) => bytes.truncate(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let ended = bytes.is_empty();
        self.count_caps(settings);
        let arrives = self.arrival(bytes.len() as u64, settings);
        self.flight.depart(bytes, arrives);
        Ok(ended)
    }

    /// When bytes that depart now arrive: once all before them have left, and one way later. The first
    /// wait for the handshake, which is answered here and so would cost nothing otherwise.
    fn arrival(&mut self, bytes: u64, settings: &LinkSettings) -> Instant {
        let now = Instant::now();
        let handshake = self.accepted + 2 * settings.latency;
        let mut departs = if self.faulty { now } else { now.max(handshake) };
        if let Some(rate) = self.own_rate(settings) {
            departs = departs.max(self.pace.take(bytes, rate, now));
        }
        if let Some(rate) = settings.bandwidth {
            departs = departs.max(self.lane.pace.lock().take(bytes, rate, now));
        }
        departs + settings.latency
    }

    /// Writes a packet, broken where the rules say so.
    async fn deliver(&mut self, packet: Packet, settings: &LinkSettings) -> Result<(), Broken> {
        let mut rest = packet.bytes.as_slice();
        while !rest.is_empty() {
            let fault = self.next_fault(settings);
            let at = fault.as_ref().map_or(u64::MAX, |fault| fault.at_bytes().unwrap_or(0));
            let n = usize::try_from(at.saturating_sub(self.delivered)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(n.min(rest.len()));
            self.write(now).await?;
            rest = later;
            if let Some(fault) = fault.filter(|_| !rest.is_empty()) {
                self.done.push(fault.clone());
                self.carrier.count(&fault);
                self.perform(&fault).await?;
            }
        }
        // A receiver that takes bytes at once is acknowledged from the instant at which they were due:
        // that the timer was late is our fault, not the link's.
        let late = Instant::now().saturating_duration_since(packet.arrives);
        let at = if late < Duration::from_millis(1) { packet.arrives } else { Instant::now() };
        self.flight.acknowledge(packet.bytes.len(), at, settings.latency);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if !self.finished {
            socket::write_all(self.to, bytes).await?;
        }
        self.delivered += bytes.len() as u64;
        self.lane.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the rule that acts next: the first by bytes that has not acted. One without `at` acts at
    /// once; one whose byte has passed before the rule was given does not.
    fn next_fault(&self, settings: &LinkSettings) -> Option<Fault> {
        let due = |fault: &&Fault| {
            self.faulty
                && !matches!(fault.kind(), FaultKind::Cap(_))
                && fault.counts_in(self.number)
                && self.delivered <= fault.at_bytes().unwrap_or(self.delivered)
                && !self.done.contains(fault)
        };
        settings.faults.iter().filter(due).min_by_key(|fault| fault.at_bytes()).cloned()
    }

    async fn perform(&mut self, fault: &Fault) -> Result<(), Broken> {
        match fault.kind() {
            FaultKind::Cut(_) => return Err(Broken::Cut),
            FaultKind::Rst => return Err(Broken::Reset),
            FaultKind::HalfClose => {
                socket::finish(self.to)?;
                self.finished = true;
            }
            FaultKind::Stall(duration) => {
                let until = Instant::now() + duration.unwrap_or(STALL_MAX);
                tokio::select! {
                    () = self.timer.until(until) => {}
                    () = socket::left(self.to) => return Err(Broken::Cut),
                }
            }
            FaultKind::Trickle(rate) => {
                self.trickle = Some(*rate);
                self.pace = Pace::new(Instant::now());
            }
            _ => {}
        }
        Ok(())
    }
}
