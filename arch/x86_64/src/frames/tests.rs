//! The frame allocator against a model: the set of free pages.

use super::*;
use crate::addr::PhysRange;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

const PAGE: u64 = 4096;

/// Memory that holds extents and nothing else.
#[derive(Default)]
struct Memory(BTreeMap<u64, Extent>);

impl FrameMemory for Memory {
    fn extent(&self, addr: u64) -> Extent {
        self.0[&addr]
    }
    fn set_extent(&mut self, addr: u64, extent: Extent) {
        assert_eq!(addr % PAGE, 0);
        self.0.insert(addr, extent);
    }
}

fn pages(first: u64, end: u64) -> PhysRange {
    PhysRange::new(first * PAGE, end * PAGE).unwrap()
}

fn allocator(policy: Policy, free: &[(u64, u64)]) -> FrameAllocator<Memory> {
    let mut allocator = FrameAllocator::new(Memory::default(), policy);
    for &(first, end) in free {
        allocator.free(pages(first, end)).unwrap();
    }
    allocator
}

fn extents(allocator: &FrameAllocator<Memory>) -> Vec<(u64, u64)> {
    allocator.extents().map(|range| (range.start() / PAGE, range.end() / PAGE)).collect()
}

#[test]
fn each_policy_takes_its_extent() {
    let free = [(10, 20), (30, 33), (40, 60)];
    let first_of = |policy| allocator(policy, &free).allocate(3, 1);
    assert_eq!(first_of(Policy::FirstFit), Some(pages(10, 13)));
    assert_eq!(first_of(Policy::BestFit), Some(pages(30, 33)));
    let mut next = allocator(Policy::NextFit, &free);
    let taken: Vec<_> = (0..5).map(|_| next.allocate(4, 1).unwrap().start() / PAGE).collect();
    assert_eq!(taken, [10, 14, 40, 44, 48]);
    next.free(pages(10, 14)).unwrap();
    assert_eq!(next.allocate(9, 1), None, "nothing is that long");
    assert_eq!(next.allocate(8, 1), Some(pages(52, 60)));
    assert_eq!(next.allocate(4, 1), Some(pages(10, 14)), "around the end");
}

#[test]
fn alignment_leaves_the_rest_free() {
    let mut allocator = allocator(Policy::FirstFit, &[(5, 40)]);
    assert_eq!(allocator.allocate(4, 16), Some(pages(16, 20)));
    assert_eq!(extents(&allocator), [(5, 16), (20, 40)]);
    assert_eq!(allocator.allocate(4, 3), None, "not a power of two");
    assert_eq!(allocator.allocate(0, 1), None);
    assert_eq!(allocator.allocate(u64::MAX, 1), None);
    assert_eq!(allocator.allocate(1, 1 << 63), None);
}

#[test]
fn what_is_free_cannot_be_freed() {
    let mut allocator = allocator(Policy::FirstFit, &[(10, 20)]);
    for (first, end) in [(9, 11), (10, 20), (12, 13), (19, 21), (5, 30)] {
        let range = pages(first, end);
        assert_eq!(allocator.free(range), Err(FrameError::AlreadyFree(range)));
    }
    let odd = PhysRange::new(1, 2 * PAGE).unwrap();
    assert_eq!(allocator.free(odd), Err(FrameError::NotPages(odd)));
    assert_eq!(allocator.free(pages(0, 1)), Err(FrameError::NotPages(pages(0, 1))));
    assert_eq!(allocator.free_bytes(), 10 * PAGE);
}

#[test]
fn neighbours_are_joined() {
    let mut allocator = allocator(Policy::FirstFit, &[(10, 11), (14, 15), (12, 13)]);
    allocator.free(pages(11, 12)).unwrap();
    assert_eq!(extents(&allocator), [(10, 13), (14, 15)]);
    allocator.free(pages(13, 14)).unwrap();
    assert_eq!(extents(&allocator), [(10, 15)]);
    assert_eq!(allocator.largest_free_bytes(), 5 * PAGE);
}

#[test]
fn the_highest_frames_can_be_given_away() {
    let mut allocator = allocator(Policy::FirstFit, &[(10, 12), (20, 25)]);
    assert_eq!(allocator.take_highest(2), Some(pages(23, 25)));
    assert_eq!(allocator.take_highest(9), Some(pages(20, 23)));
    assert_eq!(allocator.take_highest(9), Some(pages(10, 12)));
    assert_eq!(allocator.take_highest(9), None);
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::FirstFit), Just(Policy::NextFit), Just(Policy::BestFit)]
}

proptest! {
    #[test]
    fn any_sequence_agrees_with_the_model(
        policy in policy(),
        steps in proptest::collection::vec((0u8..4, 1u64..20, 0u32..5), 1..80),
    ) {
        let mut allocator = allocator(policy, &[(1, 60), (100, 200)]);
        let mut free: BTreeSet<u64> = (1..60).chain(100..200).collect();
        let mut taken = vec![];
        for (what, frames, align) in steps {
            let got = match what {
                0 | 1 => allocator.allocate(frames, 1 << align),
                2 => allocator.take_highest(frames),
                _ => {
                    if !taken.is_empty() {
                        let range: PhysRange = taken.swap_remove(frames as usize % taken.len());
                        allocator.free(range).unwrap();
                        free.extend(range.start() / PAGE..range.end() / PAGE);
                    }
                    None
                }
            };
            if let Some(range) = got {
                if what < 2 {
                    prop_assert_eq!(range.len_bytes(), frames * PAGE);
                    prop_assert_eq!(range.start() % (PAGE << align), 0);
                }
                for page in range.start() / PAGE..range.end() / PAGE {
                    prop_assert!(free.remove(&page), "page {} was not free", page);
                }
                taken.push(range);
            } else if what < 2 {
                let fits = |start: u64| (start..start + frames).all(|page| free.contains(&page));
                let aligned = |page: u64| page.is_multiple_of(1 << align);
                prop_assert!(!(1..200).any(|page| aligned(page) && fits(page)));
            }
            let listed: BTreeSet<u64> =
                extents(&allocator).into_iter().flat_map(|(first, end)| first..end).collect();
            prop_assert_eq!(&listed, &free);
            prop_assert_eq!(allocator.free_bytes(), free.len() as u64 * PAGE);
            for pair in extents(&allocator).windows(2) {
                prop_assert!(pair[0].1 < pair[1].0, "in order, joined");
            }
        }
    }
}
