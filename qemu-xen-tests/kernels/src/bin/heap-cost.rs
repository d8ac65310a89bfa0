//! Runs the same steps on the checking heap and on the bare allocator below it, each in an arena of
//! its own, and prints the ticks that each took: for `cargo xenios bench heap`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use libos::heap::CheckedHeap;
use libos::println;
use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

libos::entry!(main);

/// Bytes of an arena.
const ARENA_BYTES: usize = 8 << 20;
/// Blocks that are live during the mixed work.
const LIVE: usize = 2000;
/// Times that each step is done in a round.
const TIMES: u64 = 2000;
/// Rounds.
const ROUNDS: u32 = 10;
/// The longest block that a growing one becomes.
const GROWN_BYTES: usize = 64 << 10;

type Bare = Talc<Manual, DefaultBinning>;

/// What is measured.
trait Subject {
    fn allocate(&mut self, layout: Layout) -> NonNull<u8>;
    fn free(&mut self, block: NonNull<u8>, layout: Layout);
    fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_len: usize) -> NonNull<u8>;
}

fn found(block: Option<NonNull<u8>>) -> NonNull<u8> {
    block.unwrap_or_else(|| panic!("the arena is too small"))
}

impl Subject for Bare {
    fn allocate(&mut self, layout: Layout) -> NonNull<u8> {
        // SAFETY: no layout here has the size 0.
        found(unsafe { Talc::allocate(self, layout) })
    }

    fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: from `allocate`, with this layout, and not used any more.
        unsafe { self.deallocate(block.as_ptr(), layout) }
    }

    fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_len: usize) -> NonNull<u8> {
        // SAFETY: as above; the block grows. A copy goes to a block that is longer.
        unsafe {
            if self.try_grow_in_place(block.as_ptr(), layout, new_len) {
                return block;
            }
            let moved = Subject::allocate(self, of(new_len));
            block.copy_to_nonoverlapping(moved, layout.size());
            self.free(block, layout);
            moved
        }
    }
}

impl Subject for CheckedHeap<Manual> {
    fn allocate(&mut self, layout: Layout) -> NonNull<u8> {
        found(CheckedHeap::allocate(self, layout).ok().and_then(NonNull::new))
    }

    fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: from `allocate`, with this layout, and not used any more.
        if let Err(fault) = unsafe { self.deallocate(block, layout) } {
            panic!("{fault}");
        }
    }

    fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_len: usize) -> NonNull<u8> {
        // SAFETY: as above.
        found(unsafe { self.reallocate(block, layout, new_len) }.ok().and_then(NonNull::new))
    }
}

fn of(len: usize) -> Layout {
    Layout::from_size_align(len, 8).unwrap_or(Layout::new::<u64>())
}

/// The next of a row of numbers that is the same in each run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Half of the blocks are short, a quarter of middle length, a quarter long.
fn length(state: &mut u64) -> usize {
    let number = next(state);
    let (least, most) = match number & 3 {
        0 | 1 => (8, 128),
        2 => (128, 1024),
        _ => (1024, 4096),
    };
    least + (number >> 8) as usize % (most - least)
}

/// Ticks of the quickest of some rounds: in the others dom0 wanted the CPU.
fn ticks(mut work: impl FnMut()) -> u64 {
    let round = |_| {
        let start = arch::tsc::read();
        work();
        arch::tsc::read() - start
    };
    (0..ROUNDS).map(round).min().unwrap_or(0)
}

/// One block after the other is allocated and freed.
fn pairs(subject: &mut impl Subject, layout: Layout) -> u64 {
    ticks(|| {
        for _ in 0..TIMES {
            let block = subject.allocate(layout);
            subject.free(block, layout);
        }
    })
}

/// A block grows to twice its length, again and again.
fn growth(subject: &mut impl Subject) -> u64 {
    ticks(|| {
        for _ in 0..TIMES / 100 {
            let mut len = 16;
            let mut block = subject.allocate(of(len));
            while len < GROWN_BYTES {
                block = subject.resize(block, of(len), 2 * len);
                len *= 2;
            }
            subject.free(block, of(len));
        }
    })
}

/// One of many live blocks is freed, and a new one takes its place.
fn mixed(subject: &mut impl Subject) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut live: Vec<(NonNull<u8>, Layout)> = Vec::with_capacity(LIVE);
    for _ in 0..LIVE {
        let layout = of(length(&mut state));
        live.push((subject.allocate(layout), layout));
    }
    let choose = |state: &mut u64| (next(state) as usize % LIVE, of(length(state)));
    let mut again = state;
    let all = ticks(|| {
        for _ in 0..TIMES {
            let (which, layout) = choose(&mut state);
            let (old, old_layout) = live[which];
            subject.free(old, old_layout);
            live[which] = (subject.allocate(layout), layout);
        }
    });
    let choosing = ticks(|| {
        for _ in 0..TIMES {
            core::hint::black_box(choose(&mut again));
        }
    });
    for (block, layout) in live {
        subject.free(block, layout);
    }
    all.saturating_sub(choosing)
}

fn report(name: &str, operations: u64, bare: u64, checked: u64) {
    println!("work: {operations} operations, {bare} ticks bare, {checked} ticks checked: {name}");
}

async fn main(_env: libos::Env) {
    let mut arenas = [vec![0u64; ARENA_BYTES / 8], vec![0u64; ARENA_BYTES / 8]];
    let [for_bare, for_checked] = arenas.each_mut().map(|arena| arena.as_mut_ptr().cast::<u8>());
    let mut bare: Bare = Talc::new(Manual);
    let mut checked = CheckedHeap::new(Manual);
    checked.set_key(arch::tsc::read());
    // SAFETY: an arena for each, which lives as long as it and is used by nothing else.
    unsafe {
        let _ = bare.claim(for_bare, ARENA_BYTES);
        checked.claim(for_checked, ARENA_BYTES);
    }
    for len in [16, 64, 512, 2048] {
        let name = alloc::format!("a {len}-byte block, there and back");
        report(&name, TIMES, pairs(&mut bare, of(len)), pairs(&mut checked, of(len)));
    }
    let grown = TIMES / 100 * u64::from((GROWN_BYTES / 16).ilog2());
    report("a growing block, each doubling", grown, growth(&mut bare), growth(&mut checked));
    report("one of 2000 live blocks replaced", TIMES, mixed(&mut bare), mixed(&mut checked));
    let blocks: Vec<NonNull<u8>> =
        (0..LIVE).map(|_| Subject::allocate(&mut checked, of(64))).collect();
    let walk = ticks(|| {
        if let Err(fault) = checked.check_all() {
            panic!("{fault}");
        }
    });
    report("walk over all, each live block", blocks.len() as u64, 0, walk);
}
