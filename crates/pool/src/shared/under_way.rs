//! Connects and closes that are under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};

use super::Shared;
use super::locked::Errands;
use crate::connect::{BoxError, CloseNotice, Key, Poolable};
use crate::error::GetError;
use crate::lease::Item;
use crate::seam::{self, within};
use crate::slots::SlotId;

/// A connect under way. Whatever becomes of it, its place is given free or taken.
pub(super) struct Attempt<K: Key, C: Poolable> {
    pub(super) shared: Arc<Shared<K, C>>,
    pub(super) slot: SlotId,
    is_over: bool,
}

impl<K: Key, C: Poolable> Attempt<K, C> {
    pub(super) fn new(shared: Arc<Shared<K, C>>, slot: SlotId) -> Self {
        Self { shared, slot, is_over: false }
    }

    pub(super) async fn open(&self, key: &K) -> Result<C, GetError> {
        let home: Weak<Shared<K, C>> = self.shared.me.clone();
        let notice = CloseNotice { slot: self.slot, home };
        let limit = self.shared.connect_timeout;
        let opening = self.shared.connector.connect_boxed(key, notice);
        match within(limit, opening).await {
            Some(result) => result.map_err(|error: BoxError| GetError::Connect(error)),
            None => Err(GetError::ConnectTimedOut { after: limit.unwrap_or_default() }),
        }
    }

    pub(super) fn connected(mut self, item: Box<Item<C>>) {
        self.is_over = true;
        let (now, random) = (seam::now(), seam::random());
        self.shared.change(|locked| {
            let fate = locked.slots.connected(self.slot, item, now, random);
            locked.pass_on(fate);
        });
    }

    pub(super) fn renewed(mut self) {
        self.is_over = true;
        let (now, random) = (seam::now(), seam::random());
        self.shared.change(|locked| locked.slots.renewed(self.slot, now, random));
    }

    pub(super) fn failed(mut self, error: GetError) {
        self.fail(error);
    }

    fn fail(&mut self, error: GetError) {
        self.is_over = true;
        let unheard = self.shared.change(|locked| match locked.slots.failed(self.slot) {
            Some(seat) => {
                locked.tell(seat, Err(Box::new(error)));
                None
            }
            None => Some(error),
        });
        drop(unheard);
    }
}

impl<K: Key, C: Poolable> Drop for Attempt<K, C> {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(GetError::ConnectAborted);
        }
    }
}

/// A close under way. Whatever becomes of it, its place is given free.
pub(super) struct Closing<K: Key, C: Poolable> {
    shared: Arc<Shared<K, C>>,
    slot: SlotId,
    is_over: bool,
}

impl<K: Key, C: Poolable> Closing<K, C> {
    pub(super) fn new(shared: Arc<Shared<K, C>>, slot: SlotId) -> Self {
        Self { shared, slot, is_over: false }
    }

    /// Gives the place free and leaves it to the caller to carry out what follows: a long chain of them
    /// is a loop there and no recursion.
    pub(super) fn done(mut self) -> Errands<K, C> {
        self.is_over = true;
        let mut locked = self.shared.locked.lock();
        locked.slots.closed(self.slot);
        locked.errands()
    }
}

impl<K: Key, C: Poolable> Drop for Closing<K, C> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.change(|locked| locked.slots.closed(self.slot));
        }
    }
}

/// Begins to close a connection; returns what is left to wait for.
///
/// A close that panics is over. It goes no further: whoever happens to carry it out has others to close,
/// and is mostly not who used the connection.
pub(super) fn begin_close<C: Poolable>(
    connection: C,
) -> Option<Pin<Box<impl Future<Output = ()> + Send>>> {
    let begin = || {
        let mut closed = Box::pin(connection.close());
        let is_over = closed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        (!is_over).then_some(closed)
    };
    catch_unwind(AssertUnwindSafe(begin)).unwrap_or_default()
}
