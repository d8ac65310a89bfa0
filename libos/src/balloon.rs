//! Memory that comes and goes: the domain's RAM follows what the toolstack wants.
//!
//! ```text
//!             release: unmap, then give to Xen
//!    free ──────────────────────────────────────▶ returned
//!   frames ◀────────────────────────────────────   (holes)
//!             take: ask Xen, then map
//! ```
//!
//! The highest free frames go first, in pieces of 2 MiB where whole ones are free, so that large
//! pages stay whole; they come back in the opposite order. What the app uses is never taken from
//! it: the domain then stays larger than asked, and the log says by how much.
//!
//! A domain that starts with less memory than its map shows (`memory=` below `maxmem=`) is
//! populated on demand: Xen ends it if it touches more than it has. The rest is released before the
//! app runs.

use alloc::vec::Vec;
use arch::addr::{PAGE_2M_BYTES, PAGE_BYTES, PhysRange};
use xen::Hypervisor;
use xen::hypercall::Extents;

/// Pages in a piece of 2 MiB.
const LARGE_PAGES: u64 = PAGE_2M_BYTES / PAGE_BYTES;
/// log2 of it.
const LARGE_ORDER: u32 = LARGE_PAGES.trailing_zeros();

/// The free RAM that the balloon takes from and gives to.
pub trait Ram {
    /// Takes up to `pages` neighbouring frames, the highest there are, out of use and out of the
    /// address space; never across a boundary of 2 MiB.
    fn take_highest(&mut self, pages: u64) -> Option<PhysRange>;
    /// Puts frames that hold RAM (again) into the address space and into use.
    fn give(&mut self, range: PhysRange);
}

/// The balloon.
#[derive(Debug)]
pub struct Balloon<X, R> {
    xen: X,
    ram: R,
    /// Pages of RAM in the memory map.
    map_pages: u64,
    /// What went back to Xen, last piece last.
    returned: Vec<PhysRange>,
    returned_pages: u64,
}

/// Where the balloon got to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Pages that the domain has now.
    pub pages: u64,
    /// Pages that it should have.
    pub target_pages: u64,
}

impl<X: Hypervisor, R: Ram> Balloon<X, R> {
    /// The balloon of a domain whose memory map has `map_pages` pages of RAM.
    pub fn new(xen: X, ram: R, map_pages: u64) -> Self {
        Self { xen, ram, map_pages, returned: Vec::new(), returned_pages: 0 }
    }

    /// Pages that the domain has.
    pub fn pages(&self) -> u64 {
        self.map_pages - self.returned_pages
    }

    /// Gives back until no more than `target_pages` are left, or nothing more is free.
    pub fn shrink(&mut self, target_pages: u64) -> Outcome {
        while self.pages() > target_pages && self.release(self.pages() - target_pages) {}
        Outcome { pages: self.pages(), target_pages }
    }

    /// Goes as far as it can towards `target_pages`, but not beyond the memory map.
    pub fn follow(&mut self, target_pages: u64) -> Outcome {
        let target_pages = target_pages.min(self.map_pages);
        self.shrink(target_pages);
        while self.pages() < target_pages && self.take(target_pages - self.pages()) {}
        Outcome { pages: self.pages(), target_pages }
    }

    /// Gives a piece of at most `pages` to Xen; whether anything was given.
    fn release(&mut self, pages: u64) -> bool {
        let Some(range) = self.ram.take_highest(pages) else { return false };
        let released = each_extent(range, |extents| self.xen.decrease_reservation(extents).ok());
        // Xen takes from the front of the list; what it did not take is RAM still.
        let (gone, kept) = split(range, released);
        if !kept.is_empty() {
            self.ram.give(kept);
        }
        self.returned_pages += released;
        if !gone.is_empty() {
            self.returned.push(gone);
        }
        released > 0
    }

    /// Takes a piece of at most `pages` from Xen; whether anything came.
    fn take(&mut self, pages: u64) -> bool {
        let Some(range) = self.returned.pop() else { return false };
        // From the piece's lower end, so that what is left of it is taken next.
        let (asked, later) = split(range, pages);
        let filled = each_extent(asked, |extents| self.xen.populate_physmap(extents).ok());
        let (back, missing) = split(asked, filled);
        for rest in [later, missing] {
            if !rest.is_empty() {
                self.returned.push(rest);
            }
        }
        self.returned_pages -= filled;
        if !back.is_empty() {
            self.ram.give(back);
        }
        filled > 0
    }
}

/// The first `pages` of a range, and the rest.
fn split(range: PhysRange, pages: u64) -> (PhysRange, PhysRange) {
    let middle = range.end().min(range.start() + pages.saturating_mul(PAGE_BYTES));
    let part = |start, end| PhysRange::new(start, end).unwrap_or_default();
    (part(range.start(), middle), part(middle, range.end()))
}

/// Hands a piece of at most 2 MiB to `call`: as one extent if it is a whole large page and that is
/// accepted, else page by page. How many pages were done, counted from the first.
fn each_extent(range: PhysRange, call: impl Fn(Extents<'_>) -> Option<usize>) -> u64 {
    let first = range.start() / PAGE_BYTES;
    let pages = range.len_bytes() / PAGE_BYTES;
    let is_large = pages == LARGE_PAGES && first.is_multiple_of(LARGE_PAGES);
    if is_large && call(Extents { gfns: &[first], order: LARGE_ORDER }) == Some(1) {
        return pages;
    }
    let mut gfns = [0; 64];
    let mut done = 0;
    while done < pages {
        let count = (pages - done).min(gfns.len() as u64) as usize;
        for (gfn, number) in gfns.iter_mut().zip(first + done..) {
            *gfn = number;
        }
        let part = call(Extents { gfns: &gfns[..count], order: 0 }).unwrap_or(0).min(count);
        done += part as u64;
        if part < count {
            break;
        }
    }
    done
}
