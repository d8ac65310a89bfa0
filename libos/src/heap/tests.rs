//! Every kind of damage is found, and nothing else is.

use super::*;
use core::alloc::Layout;
use core::ptr::NonNull;
use proptest::prelude::*;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;
use talc::source::Manual;

/// A heap in a piece of host memory.
struct Arena {
    heap: CheckedHeap<Manual>,
    _memory: Box<[u64]>,
}

fn arena(len_bytes: usize) -> Arena {
    let mut memory = vec![0u64; len_bytes / 8].into_boxed_slice();
    let mut heap = CheckedHeap::new(Manual);
    heap.set_key(0x1234_5678_9abc_def1);
    // SAFETY: the memory lives as long as the heap and is used by nothing else.
    unsafe { heap.claim(memory.as_mut_ptr().cast(), len_bytes) };
    Arena { heap, _memory: memory }
}

fn layout(len: usize, align: usize) -> Layout {
    Layout::from_size_align(len, align).unwrap()
}

impl Arena {
    fn allocate(&mut self, layout: Layout) -> NonNull<u8> {
        NonNull::new(self.heap.allocate(layout).unwrap()).expect("memory")
    }

    fn free(&mut self, block: NonNull<u8>, layout: Layout) -> Result<(), FaultKind> {
        // SAFETY: the tests use no block after this but to show that it is found.
        unsafe { self.heap.deallocate(block, layout).map_err(|fault| fault.kind) }
    }

    /// Writes one byte at an offset from a block.
    fn poke(&mut self, block: NonNull<u8>, offset: isize) {
        // SAFETY: the arena reaches that far on both sides.
        unsafe {
            let at = block.as_ptr().offset(offset);
            at.write(at.read() ^ 0x40);
        }
    }
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    for len in [1, 7, 8, 24, 100, 5000] {
        let l = layout(len, 8);
        let mut a = arena(1 << 16);
        let around = [a.allocate(l), a.allocate(l)];
        let block = a.allocate(l);
        let after = a.allocate(l);

        a.poke(block, len as isize);
        assert_eq!(a.free(block, l), Err(FaultKind::Overflow), "one byte past {len}");
        assert_eq!(a.heap.check_all().map_err(|f| f.kind), Err(FaultKind::Overflow));
        a.poke(block, len as isize);
        for before in 1..=32 {
            a.poke(block, -before);
            assert!(
                matches!(a.free(block, l), Err(FaultKind::Underflow)),
                "{before} bytes before {len}"
            );
            a.poke(block, -before);
        }
        assert_eq!(a.heap.check_all(), Ok(()));

        let wrong = FaultKind::WrongLayout { said_bytes: len + 1, said_align: 8 };
        assert_eq!(a.free(block, layout(len + 1, 8)), Err(wrong));
        let wrong = FaultKind::WrongLayout { said_bytes: len, said_align: 16 };
        assert_eq!(a.free(block, layout(len, 16)), Err(wrong));

        assert_eq!(a.free(block, l), Ok(()));
        assert_eq!(a.free(block, l), Err(FaultKind::DoubleFree));
        for block in [around[0], around[1], after] {
            assert_eq!(a.free(block, l), Ok(()));
        }
        assert_eq!(a.heap.check_all(), Ok(()));
    }
}

#[test]
fn what_is_no_block_is_never_freed() {
    let mut a = arena(1 << 16);
    let l = layout(256, 16);
    let blocks = [a.allocate(l), a.allocate(l), a.allocate(l)];
    for offset in [16, 64, 128] {
        // SAFETY: inside the block.
        let inside = unsafe { blocks[1].add(offset) };
        // SAFETY: the block is ours to fill.
        unsafe { blocks[1].write_bytes(0, 256) };
        assert_eq!(a.free(inside, l), Err(FaultKind::WildFree));
    }
    // SAFETY: inside the block.
    let odd = unsafe { blocks[1].add(1) };
    assert_eq!(a.free(odd, l), Err(FaultKind::WildFree));
    let mut elsewhere = [0u64; 64];
    let elsewhere = NonNull::new(elsewhere[32..].as_mut_ptr().cast()).unwrap();
    assert_eq!(a.free(elsewhere, l), Err(FaultKind::WildFree));
}

#[test]
fn freed_memory_is_poisoned_and_watched() {
    let mut a = arena(1 << 16);
    let l = layout(48, 8);
    let block = a.allocate(l);
    a.free(block, l).unwrap();
    // SAFETY: in quarantine, so it is still there.
    let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), 48) };
    assert!(bytes.iter().all(|&byte| byte == POISON));
    a.poke(block, 17);
    let expected = Err(FaultKind::WriteAfterFree { offset_bytes: 17 });
    assert_eq!(a.heap.check_all().map_err(|fault| fault.kind), expected);
    let mut found = Ok(());
    for _ in 0..64 {
        let next = a.allocate(l);
        found = a.free(next, l);
    }
    assert_eq!(found, expected, "at the latest when it leaves the quarantine");
}

#[test]
fn a_write_after_free_is_found_at_each_byte() {
    let mut a = arena(1 << 16);
    for len in [1, 8, 13, 51] {
        let l = layout(len, 1);
        let block = a.allocate(l);
        a.free(block, l).unwrap();
        for offset_bytes in 0..len {
            a.poke(block, offset_bytes as isize);
            let found = a.heap.check_all().map_err(|fault| fault.kind);
            assert_eq!(found, Err(FaultKind::WriteAfterFree { offset_bytes }));
            a.poke(block, offset_bytes as isize);
        }
        assert_eq!(a.heap.check_all(), Ok(()));
    }
}

#[test]
fn a_double_free_is_told_from_a_wild_one_without_quarantine_too() {
    let mut a = arena(1 << 16);
    a.heap.set_quarantine(false);
    let l = layout(48, 8);
    let keep = [a.allocate(l), a.allocate(l), a.allocate(l)];
    a.free(keep[1], l).unwrap();
    assert_eq!(a.free(keep[1], l), Err(FaultKind::DoubleFree));
}

#[test]
fn memory_that_is_out_is_null_and_comes_back() {
    let mut a = arena(1 << 16);
    assert!(a.heap.allocate(layout(1 << 20, 8)).unwrap().is_null());
    assert!(a.heap.allocate(layout(isize::MAX as usize - 64, 8)).unwrap().is_null());
    let l = layout(1000, 8);
    let mut blocks = vec![];
    while let Some(block) = NonNull::new(a.heap.allocate(l).unwrap()) {
        blocks.push(block);
    }
    assert!(blocks.len() > 50, "{} blocks of 1000 in 64 KiB", blocks.len());
    assert!(a.heap.largest_available_bytes() < 1100);
    for block in blocks.drain(..) {
        a.free(block, l).unwrap();
    }
    // The quarantine gives way when memory is short.
    let large = a.allocate(layout(60_000, 8));
    a.free(large, layout(60_000, 8)).unwrap();
    assert!(a.heap.largest_available_bytes() > 60_000);
}

#[test]
fn counters_count() {
    let mut a = arena(1 << 16);
    let l = layout(100, 8);
    let blocks = [a.allocate(l), a.allocate(l)];
    a.free(blocks[0], l).unwrap();
    let counters = a.heap.counters();
    assert_eq!((counters.live_blocks, counters.live_bytes, counters.peak_bytes), (1, 100, 200));
    assert_eq!((counters.allocations, counters.frees), (2, 1));
    assert!(counters.claimed_bytes > 60_000 && counters.available_bytes < counters.claimed_bytes);
}

#[test]
fn another_key_seals_all_and_forgives_nothing() {
    let mut a = arena(1 << 16);
    let l = layout(100, 8);
    let blocks = [a.allocate(l), a.allocate(l), a.allocate(l)];
    a.free(blocks[1], l).unwrap();
    a.heap.rekey(0x0bad_cafe_0bad_cafe).unwrap();
    assert_eq!(a.heap.check_all(), Ok(()));
    let fresh = a.allocate(l);
    a.poke(blocks[0], 100);
    assert_eq!(a.heap.rekey(7).map_err(|fault| fault.kind), Err(FaultKind::Overflow));
    a.poke(blocks[0], 100);
    for block in [blocks[0], blocks[2], fresh] {
        assert_eq!(a.free(block, l), Ok(()));
    }
}

/// One step of a random program.
#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate { len: usize, align_log2: u32 },
    Free { which: usize },
    Resize { which: usize, len: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let allocate = |(len, align_log2)| Step::Allocate { len, align_log2 };
    prop_oneof![
        3 => (0usize..3000, 0u32..13).prop_map(allocate),
        2 => any::<usize>().prop_map(|which| Step::Free { which }),
        2 => (any::<usize>(), 0usize..6000).prop_map(|(which, len)| Step::Resize { which, len }),
    ]
}

fn fill(block: NonNull<u8>, from: usize, len: usize, seed: u8) {
    for i in from..len {
        // SAFETY: the block is that long.
        unsafe { block.add(i).write(seed.wrapping_add(i as u8)) };
    }
}

fn holds(block: NonNull<u8>, len: usize, seed: u8) -> bool {
    // SAFETY: the block is that long.
    (0..len).all(|i| unsafe { block.add(i).read() } == seed.wrapping_add(i as u8))
}

proptest! {
    #[test]
    fn any_program_keeps_its_data_and_is_not_blamed(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut a = arena(1 << 19);
        let mut live: Vec<(NonNull<u8>, Layout, u8)> = vec![];
        for (i, step) in steps.into_iter().enumerate() {
            let seed = i as u8;
            match step {
                Step::Allocate { len, align_log2 } => {
                    let l = layout(len, 1 << align_log2);
                    let Some(block) = NonNull::new(a.heap.allocate(l).unwrap()) else { continue };
                    prop_assert_eq!(block.addr().get() % l.align(), 0);
                    fill(block, 0, len, seed);
                    live.push((block, l, seed));
                }
                Step::Free { which } if !live.is_empty() => {
                    let (block, l, seed) = live.swap_remove(which % live.len());
                    prop_assert!(holds(block, l.size(), seed));
                    prop_assert_eq!(a.free(block, l), Ok(()));
                }
                Step::Resize { which, len } if !live.is_empty() => {
                    let at = which % live.len();
                    let (block, l, seed) = live[at];
                    // SAFETY: the old pointer is not used unless null came back.
                    let moved = unsafe { a.heap.reallocate(block, l, len).unwrap() };
                    let Some(moved) = NonNull::new(moved) else { continue };
                    prop_assert!(holds(moved, l.size().min(len), seed));
                    fill(moved, l.size(), len, seed);
                    live[at] = (moved, layout(len, l.align()), seed);
                }
                _ => {}
            }
        }
        prop_assert_eq!(a.heap.check_all(), Ok(()));
        let counters = a.heap.counters();
        prop_assert_eq!(counters.live_blocks, live.len());
        prop_assert_eq!(counters.live_bytes, live.iter().map(|(_, l, _)| l.size()).sum::<usize>());
        for (block, l, seed) in live {
            prop_assert!(holds(block, l.size(), seed));
            prop_assert_eq!(a.free(block, l), Ok(()));
        }
        prop_assert_eq!(a.heap.counters().live_bytes, 0);
    }
}
