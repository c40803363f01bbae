//! A table whose places are used again and whose names are not.

/// The name of a place and of the use it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    index: u32,
    /// Counts the uses of the place: a name outlives what it named without naming what follows.
    generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by name, in constant time. As large as it ever was.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Puts a value in and names it.
    pub(crate) fn insert(&mut self, value: T) -> Id {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return Id { index, generation: place.generation };
        }
        let index = u32::try_from(self.places.len()).expect("admission allows far fewer");
        self.places.push(Place { generation: 0, value: Some(value) });
        Id { index, generation: 0 }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let place = self.places.get(id.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        place.value.as_mut().filter(|_| place.generation == id.generation)
    }

    /// Takes a value out; its name names nothing from then on.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let value = place.value.take()?;
        // Wraps after four thousand million uses of one place: no name lives that long.
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_name_what_follows() {
        let mut arena = Arena::default();
        let first = arena.insert('a');
        assert_eq!(Some('a'), arena.remove(first));
        let second = arena.insert('b');
        assert_eq!((None, Some(&'b')), (arena.get(first), arena.get(second)));
        assert_eq!((None, None), (arena.remove(first), arena.get_mut(first)));
        assert_eq!(1, arena.len());
    }
}
