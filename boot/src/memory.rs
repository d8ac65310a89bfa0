//! Free RAM: the memory map less what is in use.
//!
//! The map comes from outside, so it may overlap itself, be out of order or overflow. Whatever it
//! says, a page counts as RAM only if some entry calls it RAM and no entry calls it anything else.

use arch::addr::PhysRange;
use heapless::Vec;
use xen_abi::memory::{MemoryKind, MemoryMapEntry};

/// Ranges that a set holds: more than a memory map has entries.
const FREE_RANGES_MAX: usize = 160;

/// Ranges in address order that share no byte and do not touch.
#[derive(Clone, Default, Debug)]
pub struct RangeSet {
    ranges: Vec<PhysRange, FREE_RANGES_MAX>,
}

impl RangeSet {
    /// All whole pages of RAM in the memory map.
    pub fn ram(map: &[MemoryMapEntry]) -> Self {
        let mut set = Self::default();
        for entry in map.iter().filter(|entry| entry.kind == MemoryKind::Ram) {
            if let Some(range) = PhysRange::from_len(entry.addr, entry.len_bytes) {
                set.add(range.whole_pages_inside());
            }
        }
        for entry in map.iter().filter(|entry| entry.kind != MemoryKind::Ram) {
            let end = entry.addr.saturating_add(entry.len_bytes);
            if let Some(range) = PhysRange::new(entry.addr, end) {
                set.remove(range.whole_pages_around());
            }
        }
        set
    }

    /// The ranges.
    pub fn ranges(&self) -> &[PhysRange] {
        &self.ranges
    }

    /// Whether all of `range` is in one range of the set.
    pub fn contains(&self, range: PhysRange) -> bool {
        self.ranges.iter().any(|have| have.contains_range(range))
    }

    /// Adds `range`. If the set is full the smallest range is left out: memory may be wasted, never
    /// invented.
    pub fn add(&mut self, range: PhysRange) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start(), range.end());
        self.ranges.retain(|have| {
            let touches = have.start() <= end && start <= have.end();
            if touches {
                start = start.min(have.start());
                end = end.max(have.end());
            }
            !touches
        });
        if let Some(joined) = PhysRange::new(start, end) {
            self.insert(joined);
        }
    }

    /// Removes `cut`.
    pub fn remove(&mut self, cut: PhysRange) {
        if cut.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(&have) = self.ranges.get(at) {
            at += 1;
            if !have.overlaps(cut) {
                continue;
            }
            let piece = |start, end| PhysRange::new(start, end).filter(|piece| !piece.is_empty());
            let below = piece(have.start(), cut.start());
            let above = piece(cut.end(), have.end());
            match below.or(above) {
                Some(first) => self.ranges[at - 1] = first,
                None => {
                    at -= 1;
                    self.ranges.remove(at);
                }
            }
            if let (Some(_), Some(above)) = (below, above) {
                self.insert(above);
            }
        }
    }

    /// Puts a range that touches no other in its place.
    fn insert(&mut self, range: PhysRange) {
        if self.ranges.is_full() {
            let smallest = (0..self.ranges.len()).min_by_key(|&i| self.ranges[i].len_bytes());
            match smallest {
                Some(i) if self.ranges[i].len_bytes() < range.len_bytes() => {
                    self.ranges.remove(i);
                }
                _ => return,
            }
        }
        let at = self.ranges.iter().position(|have| range.end() <= have.start());
        // There is room: the set is not full.
        let _ = self.ranges.insert(at.unwrap_or(self.ranges.len()), range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec as StdVec;

    const PAGE: u64 = 4096;

    fn entry(addr: u64, len_bytes: u64, kind: MemoryKind) -> MemoryMapEntry {
        MemoryMapEntry { addr, len_bytes, kind }
    }

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(start, end).unwrap()
    }

    #[test]
    fn the_map_of_a_small_domain() {
        let map = [
            entry(0, 0x20_0000, MemoryKind::Ram),
            entry(0xfc00_0000, 0x1000, MemoryKind::Acpi),
            entry(0xfeff_8000, 0x8000, MemoryKind::Reserved),
        ];
        let mut set = RangeSet::ram(&map);
        assert_eq!(set.ranges(), [range(0, 0x20_0000)]);
        set.remove(range(0, PAGE));
        set.remove(range(0x10_0000, 0x11_0000));
        assert_eq!(set.ranges(), [range(PAGE, 0x10_0000), range(0x11_0000, 0x20_0000)]);
        assert!(set.contains(range(0x11_0000, 0x12_0000)));
        assert!(!set.contains(range(0x10_f000, 0x11_1000)));
    }

    #[test]
    fn what_one_entry_reserves_no_other_makes_ram() {
        let map = [
            entry(0x3000, 0x10, MemoryKind::Reserved),
            entry(0, 0x10_000, MemoryKind::Ram),
            entry(u64::MAX - 10, 100, MemoryKind::Ram),
            entry(0xf000, u64::MAX, MemoryKind::Unusable),
        ];
        assert_eq!(RangeSet::ram(&map).ranges(), [range(0, 0x3000), range(0x4000, 0xf000)]);
    }

    #[test]
    fn a_full_set_keeps_the_largest() {
        let mut set = RangeSet::default();
        for i in 0..FREE_RANGES_MAX as u64 + 10 {
            set.add(range(i * 1000 * PAGE, (i * 1000 + 1 + i) * PAGE));
        }
        assert_eq!(set.ranges().len(), FREE_RANGES_MAX);
        assert_eq!(set.ranges()[0].start(), 10 * 1000 * PAGE);
    }

    #[test]
    fn a_cut_in_a_full_set_leaves_nothing_of_what_it_cuts() {
        let mut set = RangeSet::default();
        for i in 0..FREE_RANGES_MAX as u64 {
            set.add(range(i * 10 * PAGE, (i * 10 + 5) * PAGE));
        }
        // Each range would become two, for which there is no room.
        let cuts =
            (0..FREE_RANGES_MAX as u64).map(|i| range((i * 10 + 1) * PAGE, (i * 10 + 3) * PAGE));
        for cut in cuts.clone() {
            set.remove(cut);
        }
        assert_eq!(set.ranges().len(), FREE_RANGES_MAX);
        assert!(!set.ranges().iter().any(|have| cuts.clone().any(|cut| have.overlaps(cut))));
        assert!(set.ranges().windows(2).all(|pair| pair[0].end() < pair[1].start()));
    }

    fn kind() -> impl Strategy<Value = MemoryKind> {
        prop_oneof![3 => Just(MemoryKind::Ram), 1 => Just(MemoryKind::Reserved)]
    }

    proptest! {
        #[test]
        fn pages_are_those_of_the_model(
            map in proptest::collection::vec((0u64..200, 0u64..50, kind()), 0..20),
            cuts in proptest::collection::vec((0u64..200, 0u64..20), 0..10),
        ) {
            let mut model = BTreeSet::new();
            for (at, pages, _) in map.iter().filter(|entry| entry.2 == MemoryKind::Ram) {
                model.extend(*at..at + pages);
            }
            for (at, pages, _) in map.iter().filter(|entry| entry.2 != MemoryKind::Ram) {
                model.retain(|page| !(*at..at + pages).contains(page));
            }
            for (at, pages) in &cuts {
                model.retain(|page| !(*at..at + pages).contains(page));
            }
            let entries: StdVec<_> =
                map.iter().map(|&(at, n, kind)| entry(at * PAGE, n * PAGE, kind)).collect();
            let mut set = RangeSet::ram(&entries);
            for (at, pages) in cuts {
                set.remove(range(at * PAGE, (at + pages) * PAGE));
            }
            let pages: BTreeSet<u64> =
                set.ranges().iter().flat_map(|r| r.start() / PAGE..r.end() / PAGE).collect();
            prop_assert_eq!(pages, model);
            for pair in set.ranges().windows(2) {
                prop_assert!(pair[0].end() < pair[1].start(), "in order, not touching");
            }
        }

        #[test]
        fn no_map_can_do_harm(
            map in proptest::collection::vec((any::<u64>(), any::<u64>(), kind()), 0..130),
        ) {
            let entries: StdVec<_> =
                map.into_iter().map(|(addr, len, kind)| entry(addr, len, kind)).collect();
            for range in RangeSet::ram(&entries).ranges() {
                prop_assert!(!range.is_empty() && range.start() % PAGE == 0);
            }
        }
    }
}
