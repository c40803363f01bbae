//! Values under small numbers that stay theirs, and are used again later.

/// Holds values under indices; a removed value's index goes to a later one.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Option<T>>,
    /// Indices of empty slots, used again last in, first out: what was touched last is in the cache.
    free: Vec<u32>,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// The index that the next value will get.
    pub(crate) fn next_index(&self) -> u32 {
        let end = || u32::try_from(self.slots.len()).expect("four billion jobs do not fit memory");
        self.free.last().copied().unwrap_or_else(end)
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let index = self.next_index();
        if self.free.pop().is_some() {
            self.slots[index as usize] = Some(value);
        } else {
            self.slots.push(Some(value));
        }
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let value = self.slots[index as usize].take().expect("the caller knows that it is there");
        self.free.push(index);
        value
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// The value that the caller knows to be there.
    pub(crate) fn at(&self, index: u32) -> &T {
        self.get(index).expect("the caller knows that it is there")
    }

    /// The value that the caller knows to be there.
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the caller knows that it is there")
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().flatten()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_used_again_once_it_is_free() {
        let mut arena = Arena::new();
        let (a, b) = (arena.insert('a'), arena.insert('b'));
        assert_eq!('a', arena.remove(a));
        assert_eq!(None, arena.get(a));
        assert_eq!(a, arena.next_index());
        assert_eq!(a, arena.insert('c'));
        assert_eq!(vec![(a, &'c'), (b, &'b')], arena.iter().collect::<Vec<_>>());
    }
}
