//! Pages on the host, for tests: numbered, and found by their number as a peer finds a granted
//! frame.
//!
//! ```text
//!   SharedPage::allocate ──▶ a new number, "RAM"
//!   page.place(gfn)      ──▶ a second number: what Xen does with a page of its own
//!   outside_ram, in_slot ──▶ a view of what was placed
//! ```
//!
//! The table is one for the whole process: who places pages uses numbers of its own
//! ([`crate::testing::FakeXen`] has a window for each domain).
#![deny(unsafe_code)]

use super::{Backing, PAGE_BYTES, PageError, SharedPage, is_ram};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::Mutex;
use xen_abi::memory::MemoryMapEntry;

/// Memory of a page, with its alignment. Reached as atomics of any size.
#[repr(C, align(4096))]
struct Bytes([AtomicU64; PAGE_BYTES / 8]);

/// Neighbouring pages.
struct Block {
    bytes: Box<[Bytes]>,
    /// The page that was allocated was dropped: a guest's frame would be free now.
    freed: Box<[AtomicBool]>,
}

/// A page of a block.
#[derive(Clone)]
pub(super) struct Memory {
    block: Arc<Block>,
    index: usize,
}

impl Memory {
    /// The first of `count` new pages.
    fn new(count: usize) -> Self {
        let bytes = (0..count).map(|_| Bytes([const { AtomicU64::new(0) }; PAGE_BYTES / 8]));
        let freed = (0..count).map(|_| AtomicBool::new(false)).collect();
        Self { block: Arc::new(Block { bytes: bytes.collect(), freed }), index: 0 }
    }

    fn freed(&self) -> &AtomicBool {
        &self.block.freed[self.index]
    }
}

/// What a `SharedPage` is of a piece of memory.
pub(super) enum View {
    /// It was allocated: dropping it frees the frame.
    Owner(Memory),
    /// A peer's view, or a page that stays where it was placed.
    Other(Memory),
    /// A view that counts as long as it lives, see [`SharedPage::views_at`].
    Slot(Memory, u64),
}

impl View {
    fn memory(&self) -> &Memory {
        match self {
            Self::Owner(memory) | Self::Other(memory) | Self::Slot(memory, _) => memory,
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        match self {
            Self::Owner(memory) => memory.freed().store(true, Ordering::Relaxed),
            Self::Other(_) => {}
            Self::Slot(_, gfn) => {
                if let Some(place) = PLACES.lock().by_gfn.get_mut(gfn) {
                    place.views -= 1;
                }
            }
        }
    }
}

struct Place {
    block: Weak<Block>,
    index: usize,
    /// Living pages that `in_slot` made.
    views: usize,
}

struct Places {
    by_gfn: BTreeMap<u64, Place>,
    last: u64,
    /// Places of memory that is gone are thrown away when there are this many.
    purge_at: usize,
}

static PLACES: Mutex<Places> =
    Mutex::new(Places { by_gfn: BTreeMap::new(), last: 0x1000, purge_at: 1024 });

impl Places {
    fn put(&mut self, gfn: u64, memory: &Memory) {
        if self.by_gfn.len() >= self.purge_at {
            self.by_gfn.retain(|_, place| place.block.strong_count() > 0);
            self.purge_at = 1024.max(2 * self.by_gfn.len());
        }
        let (block, index) = (Arc::downgrade(&memory.block), memory.index);
        self.by_gfn.insert(gfn, Place { block, index, views: 0 });
    }

    fn find(&self, gfn: u64) -> Option<Memory> {
        let place = self.by_gfn.get(&gfn)?;
        Some(Memory { block: place.block.upgrade()?, index: place.index })
    }

    /// A number for a new page.
    fn add(&mut self, memory: &Memory) -> u64 {
        self.last += 1;
        self.put(self.last, memory);
        self.last
    }
}

impl SharedPage {
    /// A zeroed page of the host's memory that plays one of ours.
    pub fn allocate() -> Option<Self> {
        let memory = Memory::new(1);
        let gfn = PLACES.lock().add(&memory);
        Some(Self::of(View::Owner(memory), gfn))
    }

    /// The page at `gfn` as its other side sees it; nothing if there is no such page (any more).
    pub fn peer_at(gfn: u64) -> Option<Self> {
        let memory = PLACES.lock().find(gfn)?;
        Some(Self::of(View::Other(memory), gfn))
    }

    /// The same page seen by the other side.
    pub fn peer(&self) -> Self {
        let Backing::Host(view) = &self.backing;
        Self::of(View::Other(view.memory().clone()), self.gfn)
    }

    /// The page of Xen's at guest frame `gfn`, which no entry of `memory_map` calls RAM.
    pub fn outside_ram(gfn: u64, memory_map: &[MemoryMapEntry]) -> Result<Self, PageError> {
        if is_ram(gfn, memory_map) {
            return Err(PageError::IsRam(gfn));
        }
        Self::peer_at(gfn).ok_or(PageError::Empty(gfn))
    }

    /// The page of a peer's that was just mapped at guest frame `gfn`, which no entry of
    /// `memory_map` calls RAM; counted until this is dropped.
    pub(crate) fn in_slot(gfn: u64, memory_map: &[MemoryMapEntry]) -> Result<Self, PageError> {
        if is_ram(gfn, memory_map) {
            return Err(PageError::IsRam(gfn));
        }
        let mut places = PLACES.lock();
        let memory = places.find(gfn).ok_or(PageError::Empty(gfn))?;
        if let Some(place) = places.by_gfn.get_mut(&gfn) {
            place.views += 1;
        }
        Ok(Self::of(View::Slot(memory, gfn), gfn))
    }

    /// Lets the page be found at `gfn` as well, as long as it lives and until
    /// [`SharedPage::displace`].
    pub fn place(&self, gfn: u64) {
        let Backing::Host(view) = &self.backing;
        PLACES.lock().put(gfn, view.memory());
    }

    /// Empties the frame `gfn`.
    pub fn displace(gfn: u64) {
        PLACES.lock().by_gfn.remove(&gfn);
    }

    /// Pages at `gfn` that [`SharedPage::in_slot`] has made and that are still there.
    pub fn views_at(gfn: u64) -> usize {
        PLACES.lock().by_gfn.get(&gfn).map_or(0, |place| place.views)
    }

    /// Whether the owner has dropped the page: in a guest it would be free memory now, and every
    /// access through this view a use after free.
    pub fn is_freed(&self) -> bool {
        let Backing::Host(view) = &self.backing;
        view.memory().freed().load(Ordering::Relaxed)
    }

    fn of(view: View, gfn: u64) -> Self {
        let memory = view.memory();
        let base = NonNull::from(&memory.block.bytes[memory.index]).cast();
        Self { base, gfn, backing: Backing::Host(view) }
    }
}

/// `count` zeroed pages that lie one after the other: where they do, and the view and the number of
/// each.
pub(super) fn allocate_run(count: usize) -> (NonNull<u8>, Vec<(View, u64)>) {
    let first = Memory::new(count);
    let base = NonNull::from(&*first.block.bytes).cast();
    let mut places = PLACES.lock();
    let pages = (0..count).map(|index| {
        let memory = Memory { index, ..first.clone() };
        let gfn = places.add(&memory);
        (View::Owner(memory), gfn)
    });
    (base, pages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_where_it_was_placed_and_until_it_is_gone() {
        let gfn = 0x7000_0000;
        assert_eq!(SharedPage::outside_ram(gfn, &[]).err(), Some(PageError::Empty(gfn)));
        let page = SharedPage::allocate().unwrap();
        page.place(gfn);
        SharedPage::outside_ram(gfn, &[]).unwrap().write(0, b"x");
        assert_eq!(page.u8_at(0).load(Ordering::Relaxed), b'x');
        let slot = SharedPage::in_slot(gfn, &[]).unwrap();
        assert_eq!(SharedPage::views_at(gfn), 1);
        drop(slot);
        assert_eq!(SharedPage::views_at(gfn), 0);
        SharedPage::displace(gfn);
        assert!(SharedPage::peer_at(gfn).is_none());
    }

    #[test]
    fn a_freed_page_is_known_to_be_freed() {
        let page = SharedPage::allocate().unwrap();
        let peer = page.peer();
        assert!(!peer.is_freed());
        drop(page);
        assert!(peer.is_freed());
    }
}
