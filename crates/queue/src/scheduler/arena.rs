//! Values under small numbers that stay theirs, and are used again later.

/// Holds values under indices; a removed value's index goes to a later one.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Vec<Option<T>>,
    /// Indices of empty slots, used again last in, first out: what was touched last is in the cache.
    free: Vec<u32>,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// The index that the next value will get.
    pub(super) fn next_index(&self) -> u32 {
        let end = || u32::try_from(self.slots.len()).expect("four billion jobs do not fit memory");
        self.free.last().copied().unwrap_or_else(end)
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let index = self.next_index();
        if self.free.pop().is_some() {
            self.slots[index as usize] = Some(value);
        } else {
            self.slots.push(Some(value));
        }
        index
    }

    pub(super) fn remove(&mut self, index: u32) -> T {
        let value = self.slots[index as usize].take().expect("the caller knows that it is there");
        self.free.push(index);
        value
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// The value that the caller knows to be there.
    pub(super) fn at(&self, index: u32) -> &T {
        self.get(index).expect("the caller knows that it is there")
    }

    /// The value that the caller knows to be there.
    pub(super) fn at_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the caller knows that it is there")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
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
