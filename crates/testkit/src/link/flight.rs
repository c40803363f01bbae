//! Bytes under way on one direction of a link. Pure: `now` is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets that are on their way, and acknowledgments that are on their way back.
///
/// A byte is in flight from when the link takes it from the sender until its acknowledgment is back: one
/// way and back again. With a window `w` and a one-way delay `d`, one direction carries
/// `w / (2 · d)` bytes per second.
#[derive(Debug, Default)]
pub(super) struct Flight {
    packets: VecDeque<Packet>,
    /// When how many bytes are acknowledged.
    credits: VecDeque<(Instant, usize)>,
    bytes: usize,
}

/// Some bytes with the time at which they arrive; none at all mean the end of the direction.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) arrives: Instant,
    pub(super) bytes: Vec<u8>,
}

impl Flight {
    /// Puts bytes on their way.
    pub(super) fn depart(&mut self, bytes: Vec<u8>, arrives: Instant) {
        self.bytes += bytes.len();
        // A latency that was made shorter does not let bytes overtake others.
        let arrives = self.packets.back().map_or(arrives, |last| last.arrives.max(arrives));
        self.packets.push_back(Packet { arrives, bytes });
    }

    /// Takes the packet that has arrived by `now`, if there is one.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Packet> {
        let due = self.packets.front().is_some_and(|packet| packet.arrives <= now);
        if due { self.packets.pop_front() } else { None }
    }

    /// Sends the acknowledgment of bytes that the receiver took at `at` on its way.
    pub(super) fn acknowledge(&mut self, n: usize, at: Instant, latency: Duration) {
        self.credits.push_back((at + latency, n));
    }

    /// Returns how many bytes may depart at `now` under this window.
    pub(super) fn room(&mut self, window: usize, now: Instant) -> usize {
        while let Some(&(back, n)) = self.credits.front()
            && back <= now
        {
            self.credits.pop_front();
            self.bytes -= n;
        }
        window.saturating_sub(self.bytes)
    }

    /// Returns when something happens next by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        let packet = self.packets.front().map(|packet| packet.arrives);
        let credit = self.credits.front().map(|&(back, _)| back);
        packet.into_iter().chain(credit).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_window_comes_back_after_a_round_trip() {
        let (start, mut flight) = (Instant::now(), Flight::default());
        assert_eq!(100, flight.room(100, start));
        flight.depart(vec![0; 100], start + 10 * MS);
        assert_eq!(0, flight.room(100, start + 9 * MS));
        assert!(flight.arrived(start + 9 * MS).is_none());

        let packet = flight.arrived(start + 10 * MS).unwrap();
        flight.acknowledge(packet.bytes.len(), packet.arrives, 10 * MS);
        assert_eq!(Some(start + 20 * MS), flight.next());
        assert_eq!(0, flight.room(100, start + 19 * MS));
        assert_eq!(100, flight.room(100, start + 20 * MS));
    }

    #[test]
    fn a_full_pipe_carries_a_window_per_round_trip() {
        let (start, mut flight) = (Instant::now(), Flight::default());
        let mut arrived = 0;
        for now in (0..1000).map(|i| start + i * MS) {
            let n = flight.room(1000, now).min(300);
            if 0 < n {
                flight.depart(vec![0; n], now + 10 * MS);
            }
            while let Some(packet) = flight.arrived(now) {
                arrived += packet.bytes.len();
                flight.acknowledge(packet.bytes.len(), packet.arrives, 10 * MS);
            }
        }
        assert!((49_000..=50_000).contains(&arrived), "{arrived}");
    }

    #[test]
    fn bytes_do_not_overtake() {
        let (start, mut flight) = (Instant::now(), Flight::default());
        flight.depart(vec![1], start + 10 * MS);
        flight.depart(vec![2], start + MS);
        assert!(flight.arrived(start + MS).is_none());
        assert_eq!(vec![1], flight.arrived(start + 10 * MS).unwrap().bytes);
        let second = flight.arrived(start + 10 * MS).unwrap();
        assert_eq!((vec![2], start + 10 * MS), (second.bytes, second.arrives));
    }
}
