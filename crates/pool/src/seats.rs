//! Where callers in line sleep, and find what became of them.

use std::task::Waker;

/// How many seats stay when all are free: a crowd that came once does not take its memory for ever.
const FREE_SEATS_MAX: usize = 1024;

/// The name of a seat that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatNumber(u32);

/// What is found in a seat that is taken.
#[derive(Debug)]
pub(crate) enum Found<M> {
    /// Its caller sleeps, and was woken by this. It is dropped where the lock is free.
    Asleep(#[cfg_attr(not(test), expect(dead_code, reason = "only its drop matters"))] Waker),
    /// Its caller has been told this.
    Told(M),
}

/// The seats of all who wait. They are used again, so that to wait allocates nothing.
///
/// A seat is given free by its caller alone, so that what the caller was told is never lost: not even
/// when the caller has given up meanwhile. Wakers go in and out and are never called or dropped in here:
/// to drop the last one of a task may drop all that the task holds, leases too.
#[derive(Debug)]
pub(crate) struct Seats<M, P> {
    seats: Vec<Seat<M, P>>,
    free: Vec<u32>,
}

/// Each part is written by itself, where it stays: to build a seat elsewhere and to copy it takes longer
/// than all else that is done with it.
#[derive(Debug)]
struct Seat<M, P> {
    /// Of a caller who sleeps.
    waker: Option<Waker>,
    /// For a caller who comes for it.
    told: Option<M>,
    /// Where the caller runs; `None` in a seat that is free.
    place: Option<P>,
}

impl<M, P> Default for Seats<M, P> {
    fn default() -> Self {
        Self { seats: Vec::new(), free: Vec::new() }
    }
}

impl<M, P> Seats<M, P> {
    /// Seats a caller.
    #[inline(always)]
    pub(crate) fn take(&mut self, waker: Waker, place: P) -> SeatNumber {
        let number = self.free.pop().unwrap_or_else(|| self.add());
        let seat = &mut self.seats[number as usize];
        seat.waker = Some(waker);
        seat.place = Some(place);
        SeatNumber(number)
    }

    #[cold]
    fn add(&mut self) -> u32 {
        let number = u32::try_from(self.seats.len()).expect("callers are fewer than 2^32");
        self.seats.push(Seat { waker: None, told: None, place: None });
        number
    }

    /// Where the caller in this seat runs.
    pub(crate) fn place(&self, number: SeatNumber) -> &P {
        self.seats[number.0 as usize].place.as_ref().expect("only a seat that is taken has a name")
    }

    /// Leaves a message for a caller who was told nothing yet. Returns what wakes the caller.
    #[inline(always)]
    pub(crate) fn tell(&mut self, number: SeatNumber, message: M) -> Option<Waker> {
        let seat = &mut self.seats[number.0 as usize];
        seat.told = Some(message);
        seat.waker.take()
    }

    /// Gives the seat of a caller free who was told something, or has it woken by `waker` from now on.
    /// Returns what is no longer in the seat.
    #[inline(always)]
    pub(crate) fn look(&mut self, number: SeatNumber, waker: &Waker) -> Option<Found<M>> {
        match &mut self.seats[number.0 as usize].waker {
            Some(own) if own.will_wake(waker) => None,
            Some(own) => Some(Found::Asleep(std::mem::replace(own, waker.clone()))),
            None => self.leave(number),
        }
    }

    /// Gives a seat free and returns what was in it.
    #[inline(always)]
    pub(crate) fn leave(&mut self, number: SeatNumber) -> Option<Found<M>> {
        let seat = &mut self.seats[number.0 as usize];
        seat.place = None;
        let told = seat.told.take().map(Found::Told);
        let found = told.or_else(|| seat.waker.take().map(Found::Asleep));
        self.free.push(number.0);
        if FREE_SEATS_MAX < self.free.len() && self.free.len() == self.seats.len() {
            *self = Self::default();
        }
        found
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
        let seat = seats.take(first.clone(), ());
        assert!(seats.look(seat, &first).is_none());
        let outdated = seats.look(seat, &last);
        assert!(matches!(outdated, Some(Found::Asleep(waker)) if waker.will_wake(&first)));

        let woken = seats.tell(seat, "served");
        assert!(woken.is_some_and(|waker| waker.will_wake(&last)));
        assert!(matches!(seats.look(seat, &last), Some(Found::Told("served"))));
        assert_eq!(seat, seats.take(first, ()), "the seat is free again");
    }

    #[test]
    fn what_was_told_stays_for_who_gives_up() {
        let mut seats = Seats::default();
        let seat = seats.take(waker(), ());
        drop(seats.tell(seat, "served"));
        assert!(matches!(seats.leave(seat), Some(Found::Told("served"))));
    }

    #[test]
    fn a_crowd_leaves_its_memory_behind() {
        let mut seats = Seats::<(), ()>::default();
        let crowd: Vec<_> = (0..=FREE_SEATS_MAX).map(|_| seats.take(waker(), ())).collect();
        for seat in crowd {
            drop(seats.leave(seat));
        }
        assert_eq!((0, 0), (seats.seats.capacity(), seats.free.capacity()));
    }
}
