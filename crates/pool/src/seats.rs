//! Where callers in line sleep, and find what became of them.

use std::task::Waker;

/// How many seats stay when all are free: a crowd that came once does not take its memory for ever.
const FREE_SEATS_MAX: usize = 1024;

/// The name of a seat that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatNumber(u32);

/// What is in a seat that is taken.
#[derive(Debug)]
pub(crate) enum Seat<M> {
    /// Its caller sleeps, until woken by this.
    Asleep(Waker),
    /// Its caller has been told this, and will come for it.
    Told(M),
}

/// The seats of all who wait. They are used again, so that to wait allocates nothing.
///
/// A seat is given free by its caller alone, so that what the caller was told is never lost: not even
/// when the caller has given up meanwhile. Wakers go in and out and are never called or dropped in here:
/// to drop the last one of a task may drop all that the task holds, leases too.
#[derive(Debug)]
pub(crate) struct Seats<M> {
    seats: Vec<Option<Seat<M>>>,
    free: Vec<u32>,
}

impl<M> Default for Seats<M> {
    fn default() -> Self {
        Self { seats: Vec::new(), free: Vec::new() }
    }
}

impl<M> Seats<M> {
    /// Seats a caller.
    pub(crate) fn take(&mut self, waker: Waker) -> SeatNumber {
        let seat = Some(Seat::Asleep(waker));
        if let Some(free) = self.free.pop() {
            self.seats[free as usize] = seat;
            return SeatNumber(free);
        }
        let number = u32::try_from(self.seats.len()).expect("callers are fewer than 2^32");
        self.seats.push(seat);
        SeatNumber(number)
    }

    /// Leaves a message for a caller who was told nothing yet. Returns what wakes the caller.
    pub(crate) fn tell(&mut self, number: SeatNumber, message: M) -> Option<Waker> {
        match self.seats[number.0 as usize].replace(Seat::Told(message)) {
            Some(Seat::Asleep(waker)) => Some(waker),
            _ => None,
        }
    }

    /// Gives the seat of a caller free who was told something, or has it woken by `waker` from now on.
    /// Returns what is no longer in the seat.
    pub(crate) fn look(&mut self, number: SeatNumber, waker: &Waker) -> Option<Seat<M>> {
        match &mut self.seats[number.0 as usize] {
            Some(Seat::Asleep(own)) if own.will_wake(waker) => None,
            Some(Seat::Asleep(own)) => Some(Seat::Asleep(std::mem::replace(own, waker.clone()))),
            _ => self.leave(number),
        }
    }

    /// Gives a seat free and returns what was in it.
    pub(crate) fn leave(&mut self, number: SeatNumber) -> Option<Seat<M>> {
        let seat = self.seats[number.0 as usize].take();
        self.free.push(number.0);
        if FREE_SEATS_MAX < self.free.len() && self.free.len() == self.seats.len() {
            *self = Self::default();
        }
        seat
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Sleeper;

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {}
    }

    fn waker() -> Waker {
        Arc::new(Sleeper).into()
    }

    #[test]
    fn who_is_told_is_woken_by_the_last_waker_and_finds_it_once() {
        let mut seats = Seats::default();
        let (first, last) = (waker(), waker());
        let seat = seats.take(first.clone());
        assert!(seats.look(seat, &first).is_none());
        let outdated = seats.look(seat, &last);
        assert!(matches!(outdated, Some(Seat::Asleep(waker)) if waker.will_wake(&first)));

        let woken = seats.tell(seat, "served");
        assert!(woken.is_some_and(|waker| waker.will_wake(&last)));
        assert!(matches!(seats.look(seat, &last), Some(Seat::Told("served"))));
        assert_eq!(seat, seats.take(first), "the seat is free again");
    }

    #[test]
    fn what_was_told_stays_for_who_gives_up() {
        let mut seats = Seats::default();
        let seat = seats.take(waker());
        drop(seats.tell(seat, "served"));
        assert!(matches!(seats.leave(seat), Some(Seat::Told("served"))));
    }

    #[test]
    fn a_crowd_leaves_its_memory_behind() {
        let mut seats = Seats::<()>::default();
        let crowd: Vec<_> = (0..=FREE_SEATS_MAX).map(|_| seats.take(waker())).collect();
        for seat in crowd {
            drop(seats.leave(seat));
        }
        assert_eq!((0, 0), (seats.seats.capacity(), seats.free.capacity()));
    }
}
