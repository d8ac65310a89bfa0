//! Where in a slab something is, by its hash.

use hashbrown::HashTable;

/// Numbers of slab entries, found by hash.
#[derive(Default)]
pub struct Index(HashTable<(u64, u32)>);

impl Index {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry with this hash that `is_it`.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let found = self.0.find(hash, |&(known, number)| known == hash && is_it(number));
        found.map(|&(_, number)| number)
    }

    /// Adds an entry.
    pub fn insert(&mut self, hash: u64, number: u32) {
        self.0.insert_unique(hash, (hash, number), |&(hash, _)| hash);
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&mut self, hash: u64, number: u32) -> bool {
        match self.0.find_entry(hash, |&(_, found)| found == number) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// The numbers of all entries.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|&(_, number)| number)
    }
}
