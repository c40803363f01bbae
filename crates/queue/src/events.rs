//! What happens in a queue, as it happens.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::arena::Arena;
use crate::job::{Id, Outcome};
use crate::sync::Mutex;

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K> {
    /// The job.
    pub id: Id,
    /// The step.
    pub step: Step<K>,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<K> {
    /// It was queued, under this key.
    Submitted(K),
    /// It was started.
    Started,
    /// It has ended.
    Ended(Outcome),
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update<K> {
    /// Something happened.
    Event(Event<K>),
    /// The subscriber was slow, and so many of the oldest events are lost to it.
    Missed(u64),
}

/// The events of a queue from the subscription on, in the order in which they happened; ends with the
/// queue.
///
/// A slow subscriber holds nothing up: it is told how many events it missed.
#[derive(Debug)]
pub struct Events<K> {
    ring: Arc<Mutex<Ring<K>>>,
    /// The number of the event that comes next.
    next: u64,
    /// Where the ring keeps its waker.
    place: u32,
}

/// The latest events, for all subscribers.
#[derive(Debug)]
struct Ring<K> {
    events: VecDeque<Event<K>>,
    events_max: usize,
    /// The number of the event that will be put in next.
    next: u64,
    closed: bool,
    /// One place per subscriber; it holds a waker while the subscriber waits.
    subscribers: Arena<Option<Waker>>,
}

impl<K> Ring<K> {
    fn new(events_max: usize) -> Self {
        let events_max = events_max.max(1);
        let (events, subscribers) = (VecDeque::new(), Arena::new());
        Self { events, events_max, next: 0, closed: false, subscribers }
    }

    /// Puts an event in, in the place of the oldest if need be, and tells whom to wake.
    fn push(&mut self, event: Event<K>, wakers: &mut Vec<Waker>) {
        if self.events.len() == self.events_max {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.next += 1;
        self.take_wakers(wakers);
    }

    fn take_wakers(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.subscribers.values_mut().filter_map(Option::take));
    }

    /// The number of the oldest event kept.
    fn oldest(&self) -> u64 {
        self.next - self.events.len() as u64
    }
}

/// The queue's side of the ring: tells subscribers of each event, and of the end.
#[derive(Debug)]
pub(crate) struct Teller<K> {
    ring: Arc<Mutex<Ring<K>>>,
}

impl<K> Teller<K> {
    pub(crate) fn new(events_max: usize) -> Self {
        Self { ring: Arc::new(Mutex::new(Ring::new(events_max))) }
    }

    pub(crate) fn subscribe(&self) -> Events<K> {
        let ring = Arc::clone(&self.ring);
        let (next, place) = {
            let mut ring = ring.lock();
            (ring.next, ring.subscribers.insert(None))
        };
        Events { ring, next, place }
    }

    /// Tells an event, which is not even made if nobody listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event<K>, wakers: &mut Vec<Waker>) {
        // Each subscriber holds the ring.
        if 1 < Arc::strong_count(&self.ring) {
            self.ring.lock().push(event(), wakers);
        }
    }
}

impl<K> Drop for Teller<K> {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        let mut ring = self.ring.lock();
        ring.closed = true;
        ring.take_wakers(&mut wakers);
        drop(ring);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<K: Clone> Events<K> {
    /// Waits for the next update; none when the queue is no more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Update<K>> {
        poll_fn(|cx| self.poll_update(cx)).await
    }

    fn poll_update(&mut self, cx: &Context<'_>) -> Poll<Option<Update<K>>> {
        let mut ring = self.ring.lock();
        let missed = ring.oldest().saturating_sub(self.next);
        if 0 < missed {
            self.next += missed;
            return Poll::Ready(Some(Update::Missed(missed)));
        }
        let position = usize::try_from(self.next - ring.oldest()).expect("the ring fits memory");
        if let Some(event) = ring.events.get(position) {
            self.next += 1;
            return Poll::Ready(Some(Update::Event(event.clone())));
        }
        if ring.closed {
            return Poll::Ready(None);
        }
        let old = ring.subscribers.at_mut(self.place).replace(cx.waker().clone());
        // The last waker of a task may drop all that the task holds, such as another subscription.
        drop(ring);
        drop(old);
        Poll::Pending
    }
}

impl<K> Drop for Events<K> {
    fn drop(&mut self) {
        let waker = self.ring.lock().subscribers.remove(self.place);
        drop(waker);
    }
}

impl<K: Clone + Unpin> Stream for Events<K> {
    type Item = Update<K>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update<K>>> {
        self.poll_update(cx)
    }
}
