//! Which references are free. Knows no table: numbers alone.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use xen_abi::gnttab::{GrantRef, RESERVED_ENTRIES};

/// What a reference is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// Filled by the toolstack: never ours.
    Reserved,
    /// To be had.
    Free,
    /// Granted, or set aside because a peer still uses it.
    Taken,
}

/// The free references of a table that grows.
#[derive(Default)]
pub(super) struct Allocator {
    /// The last one is taken next; has room for all references.
    free: Vec<GrantRef>,
    uses: Vec<Use>,
}

impl Allocator {
    /// References that are free.
    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// References that the table has, the reserved ones among them.
    pub fn len(&self) -> u32 {
        self.uses.len() as u32
    }

    /// Makes room for `count` more references.
    pub fn reserve(&mut self, count: u32) -> Result<(), TryReserveError> {
        self.uses.try_reserve(count as usize)?;
        // Room for every reference to be free at once, so that giving one back never needs memory.
        let all = self.uses.len() + count as usize;
        self.free.try_reserve(all - self.free.len())
    }

    /// Adds the next `count` references, for which there is room. The lowest of them is taken
    /// first. `is_free` says for each whether it can be had; the others are [`Use::Taken`].
    pub fn extend(&mut self, count: u32, mut is_free: impl FnMut(GrantRef) -> bool) {
        let first = self.len();
        for index in first..first + count {
            let reserved = index < RESERVED_ENTRIES;
            self.uses.push(match reserved {
                true => Use::Reserved,
                false if is_free(GrantRef(index)) => Use::Free,
                false => Use::Taken,
            });
        }
        let new = self.uses.iter().enumerate().skip(first as usize).rev();
        let free = new.filter(|(_, used)| **used == Use::Free);
        self.free.extend(free.map(|(index, _)| GrantRef(index as u32)));
    }

    /// Takes a free reference.
    pub fn take(&mut self) -> Option<GrantRef> {
        let grant = self.free.pop()?;
        self.uses[grant.0 as usize] = Use::Taken;
        Some(grant)
    }

    /// Gives a reference back that no peer can use any more.
    pub fn put(&mut self, grant: GrantRef) {
        let used = &mut self.uses[grant.0 as usize];
        assert!(*used == Use::Taken, "{grant} is given back, but is {used:?}");
        *used = Use::Free;
        self.free.push(grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn allocator(count: u32) -> Allocator {
        let mut allocator = Allocator::default();
        allocator.reserve(count).unwrap();
        allocator.extend(count, |_| true);
        allocator
    }

    #[test]
    fn reserved_references_are_never_given() {
        let mut allocator = allocator(20);
        let taken: Vec<u32> =
            std::iter::from_fn(|| allocator.take()).map(|grant| grant.0).collect();
        assert_eq!(taken, (8..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_in_use_already_is_not_given() {
        let mut allocator = Allocator::default();
        allocator.reserve(12).unwrap();
        allocator.extend(12, |grant| grant.0 != 9);
        assert_eq!(allocator.free(), 3);
        assert_eq!(allocator.take(), Some(GrantRef(8)));
        assert_eq!(allocator.take(), Some(GrantRef(10)));
    }

    #[test]
    #[should_panic(expected = "grant 8 is given back, but is Free")]
    fn a_double_free_is_a_bug() {
        let mut allocator = allocator(10);
        let grant = allocator.take().unwrap();
        allocator.put(grant);
        allocator.put(grant);
    }

    #[test]
    #[should_panic(expected = "grant 1 is given back, but is Reserved")]
    fn a_reserved_reference_is_never_freed() {
        allocator(10).put(GrantRef(1));
    }

    proptest! {
        #[test]
        fn no_reference_is_held_twice(steps in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut allocator = allocator(24);
            let mut held = BTreeSet::new();
            for step in steps {
                match (step % 8, held.iter().nth(step as usize % 16).copied()) {
                    (0, _) if allocator.len() < 100 => {
                        allocator.reserve(7).unwrap();
                        allocator.extend(7, |_| true);
                    }
                    (0..4, Some(grant)) => {
                        held.remove(&grant);
                        allocator.put(grant);
                    }
                    _ => {
                        let free = allocator.free();
                        match allocator.take() {
                            Some(grant) => prop_assert!(held.insert(grant)),
                            None => prop_assert_eq!(free, 0),
                        }
                    }
                }
                let all = allocator.free() as usize + held.len() + 8;
                prop_assert_eq!(all, allocator.len() as usize);
            }
        }
    }
}
