//! A slab: values with small numbers that are used again. Values never move, so growing costs no
//! more than a chunk.
//!
//! ```text
//!   chunks ─▶ [ used | free ─┐ | used ]  [ free ◀┘ | … ]
//!                 the free ones are a list: the last freed is used first
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The number that no entry has.
pub const NONE: u32 = u32::MAX;

/// Entries in a chunk.
const CHUNK: usize = 32;

enum Entry<T> {
    Used(T),
    /// Unused; the number of the next unused one.
    Free(u32),
}

/// The slab.
pub struct Slab<T> {
    chunks: Vec<Box<[Entry<T>]>>,
    /// The first unused entry.
    free: u32,
}

impl<T> Slab<T> {
    /// A slab that is empty and has taken no memory.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE }
    }

    /// The number that the next value will have.
    pub fn vacant(&mut self) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        self.free
    }

    /// Puts a value in; its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let index = self.vacant();
        if let Some(entry) = self.entry(index)
            && let Entry::Free(next) = core::mem::replace(entry, Entry::Used(value))
        {
            self.free = next;
        }
        index
    }

    /// A value.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.entry(index) {
            Some(Entry::Used(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes a value out; its number is free from now on.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let entry = self.entry(index)?;
        match core::mem::replace(entry, Entry::Free(free)) {
            Entry::Used(value) => {
                self.free = index;
                Some(value)
            }
            unused => {
                *entry = unused;
                None
            }
        }
    }

    /// All values, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).filter_map(|entry| match entry {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        })
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Adds a chunk. Its entries are used in the order of their numbers.
    #[cold]
    fn grow(&mut self) {
        let start = (self.chunks.len() * CHUNK) as u32;
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.resize_with(CHUNK, || Entry::Free(NONE));
        for (next, entry) in (start + 1..).zip(&mut chunk[..CHUNK - 1]) {
            *entry = Entry::Free(next);
        }
        self.chunks.push(chunk.into_boxed_slice());
        self.free = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_used_again_the_last_freed_first() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..3).map(|value| slab.insert(value)).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!((slab.remove(0), slab.remove(1), slab.remove(1)), (Some(0), Some(1), None));
        assert_eq!((slab.insert(7), slab.insert(8), slab.insert(9)), (1, 0, 3));
        assert_eq!(slab.iter().copied().collect::<Vec<_>>(), [8, 7, 2, 9]);
        assert_eq!(slab.get_mut(NONE), None);
        assert_eq!(slab.remove(NONE), None);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((any::<bool>(), any::<u32>()), 0..500)) {
            let (mut slab, mut model) = (Slab::new(), BTreeMap::new());
            for (insert, value) in steps {
                if insert {
                    let vacant = slab.vacant();
                    let index = slab.insert(value);
                    prop_assert_eq!(index, vacant);
                    prop_assert_eq!(model.insert(index, value), None);
                } else {
                    let index = value % 100;
                    prop_assert_eq!(slab.remove(index), model.remove(&index));
                }
                prop_assert_eq!(slab.iter().count(), model.len());
            }
            for (index, value) in &mut model {
                prop_assert_eq!(slab.get_mut(*index), Some(value));
            }
        }
    }
}
