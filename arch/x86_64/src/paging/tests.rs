//! The page tables against a model: a map from page number to leaf.

use super::*;
use crate::addr::{PAGE_1G_BYTES, PAGE_2M_BYTES, PAGE_BYTES, PhysAddr, PhysRange};
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;
use x86_64::structures::paging::PageTable;

/// Table frames in a vector; frame `n` has the address `n` pages above a base.
struct Arena {
    tables: Vec<Box<PageTable>>,
    limit: usize,
}

const BASE: u64 = 0x7000_0000;

impl Arena {
    fn index(at: PhysAddr) -> usize {
        ((at.as_u64() - BASE) / PAGE_BYTES) as usize
    }
}

impl TableMemory for Arena {
    fn allocate(&mut self) -> Option<PhysAddr> {
        if self.tables.len() == self.limit {
            return None;
        }
        self.tables.push(Box::new(PageTable::new()));
        Some(PhysAddr::new(BASE + (self.tables.len() as u64 - 1) * PAGE_BYTES))
    }
    fn table(&self, at: PhysAddr) -> &PageTable {
        &self.tables[Self::index(at)]
    }
    fn table_mut(&mut self, at: PhysAddr) -> &mut PageTable {
        &mut self.tables[Self::index(at)]
    }
}

fn space(pages_1g: bool) -> AddressSpace<Arena> {
    AddressSpace::new(Arena { tables: vec![], limit: 10_000 }, pages_1g).unwrap()
}

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start, end).unwrap()
}

const DATA: Leaf = Leaf::Page(Permission::Data);
const TEXT: Leaf = Leaf::Page(Permission::Text);

#[test]
fn the_largest_page_that_fits_is_taken() {
    for (pages_1g, tables) in [(true, 2), (false, 2 + 4)] {
        let mut space = space(pages_1g);
        space.map(range(0, 4 * PAGE_1G_BYTES), DATA).unwrap();
        assert_eq!(space.memory_mut().tables.len(), tables);
    }
}

#[test]
fn a_guard_splits_a_large_page_and_keeps_the_rest() {
    let mut space = space(true);
    space.map(range(0, PAGE_1G_BYTES), DATA).unwrap();
    let guard = 5 * PAGE_2M_BYTES + 7 * PAGE_BYTES;
    space.map(range(guard, guard + PAGE_BYTES), Leaf::Hole(Hole::HeapGuard)).unwrap();
    assert_eq!(space.look_up(guard), Err(Hole::HeapGuard));
    assert_eq!(space.look_up(guard - 1), Ok(Permission::Data.access()));
    assert_eq!(space.look_up(guard + PAGE_BYTES), Ok(Permission::Data.access()));
    let mut runs = vec![];
    space.runs(|run| runs.push(run.range));
    assert_eq!(runs, [range(0, guard), range(guard + PAGE_BYTES, PAGE_1G_BYTES)]);
}

#[test]
fn a_hole_over_many_pages_keeps_its_reason() {
    let mut space = space(false);
    space.map(range(0, PAGE_1G_BYTES), Leaf::Hole(Hole::Returned)).unwrap();
    space.map(range(PAGE_BYTES, 2 * PAGE_BYTES), TEXT).unwrap();
    assert_eq!(space.look_up(0), Err(Hole::Returned));
    assert_eq!(space.look_up(PAGE_BYTES), Ok(Permission::Text.access()));
    assert_eq!(space.look_up(PAGE_1G_BYTES - 1), Err(Hole::Returned));
    assert_eq!(space.look_up(PAGE_1G_BYTES), Err(Hole::Unmapped));
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let mut space = space(true);
    assert!(matches!(space.map(range(1, PAGE_BYTES), DATA), Err(MapError::Unaligned(_))));
    assert!(matches!(space.map(range(0, PAGE_BYTES + 1), DATA), Err(MapError::Unaligned(_))));
    let high = range(1 << 46, (1 << 47) + PAGE_BYTES);
    assert_eq!(space.map(high, DATA), Err(MapError::TooHigh(high)));
    assert_eq!(space.look_up(u64::MAX), Err(Hole::Unmapped));
    let arena = Arena { tables: vec![], limit: 2 };
    let mut small = AddressSpace::new(arena, true).unwrap();
    assert_eq!(small.map(range(0, PAGE_BYTES), DATA), Err(MapError::OutOfFrames));
}

fn leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        Just(Leaf::Page(Permission::Text)),
        Just(Leaf::Page(Permission::Rodata)),
        Just(Leaf::Page(Permission::Data)),
        Just(Leaf::Hole(Hole::Unmapped)),
        Just(Leaf::Hole(Hole::StackGuard)),
    ]
}

/// Pages counted from one that lies shortly before the first GiB, so that ranges cross it.
fn pages() -> impl Strategy<Value = (u64, u64)> {
    let first = PAGE_1G_BYTES / PAGE_BYTES - 1500;
    (0u64..3000, 1u64..1500).prop_map(move |(at, n)| (first + at, first + at + n))
}

proptest! {
    #[test]
    fn any_sequence_of_mappings_agrees_with_the_model(
        steps in proptest::collection::vec((pages(), leaf()), 1..12),
        pages_1g: bool,
    ) {
        let mut space = space(pages_1g);
        let mut model = BTreeMap::new();
        for ((first, end), leaf) in steps {
            space.map(range(first * PAGE_BYTES, end * PAGE_BYTES), leaf).unwrap();
            for page in first..end {
                model.insert(page, leaf);
            }
        }
        let first = PAGE_1G_BYTES / PAGE_BYTES - 1501;
        for page in first..first + 4600 {
            let expected = match model.get(&page) {
                Some(Leaf::Page(permission)) => Ok(permission.access()),
                Some(Leaf::Hole(hole)) => Err(*hole),
                None => Err(Hole::Unmapped),
            };
            prop_assert_eq!(space.look_up(page * PAGE_BYTES), expected, "page {:#x}", page);
        }
        let mut mapped = 0;
        space.runs(|run| {
            assert!(!(run.access.write && run.access.execute));
            mapped += run.range.len_bytes() / PAGE_BYTES;
        });
        let expected = model.values().filter(|leaf| matches!(leaf, Leaf::Page(_))).count();
        prop_assert_eq!(mapped, expected as u64);
    }
}
