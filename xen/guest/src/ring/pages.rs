//! The memory of a ring: one page or several, seen as one piece. Plain pages, or granted ones: then
//! the ring's end is the grant's.

use super::RingIdx;
use crate::page::{PAGE_BYTES, SharedPage};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use xen_abi::ring::{SLOTS, slot_count};

/// Pages of a ring, and its geometry.
pub struct RingPages<P = SharedPage> {
    pages: Vec<P>,
    slot_bytes: usize,
    slots: u32,
}

impl RingPages {
    /// Zeroed pages for a ring with slots of `slot_bytes`; nothing if memory is out.
    pub fn allocate(pages: usize, slot_bytes: usize) -> Option<Self> {
        let pages = (0..pages).map(|_| SharedPage::allocate()).collect::<Option<Vec<_>>>()?;
        Some(Self::new(pages, slot_bytes))
    }
}

impl<P: Borrow<SharedPage>> RingPages<P> {
    /// A ring with slots of `slot_bytes` in `pages`, of which there is at least one.
    pub fn new(pages: Vec<P>, slot_bytes: usize) -> Self {
        let slots = slot_count(pages.len() * PAGE_BYTES, slot_bytes);
        assert!(slots > 0, "a ring without slots");
        Self { pages, slot_bytes, slots }
    }

    /// The pages, to be granted.
    pub fn pages(&self) -> &[P] {
        &self.pages
    }

    /// The pages, to be taken back.
    pub fn into_pages(self) -> Vec<P> {
        self.pages
    }

    /// Slots, a power of two.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The word at `offset` in the header.
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        self.pages[0].borrow().u32_at(offset)
    }

    /// An index in the header, with all that was written before it.
    #[inline]
    pub(super) fn load(&self, offset: usize) -> RingIdx {
        RingIdx(self.word(offset).load(Ordering::Acquire))
    }

    /// Writes an index after all that was written before, then sees all that the other end wrote
    /// before it could know.
    pub(super) fn store_and_see(&self, offset: usize, index: RingIdx) {
        self.word(offset).store(index.0, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Copies the slot that `index` stands for into `to`, which is not longer than a slot.
    #[inline]
    pub(super) fn read_slot(&self, index: RingIdx, to: &mut [u8]) {
        let (page, offset) = self.place(index);
        let first = to.len().min(PAGE_BYTES - offset);
        let (head, tail) = to.split_at_mut(first);
        self.pages[page].borrow().read(offset, head);
        if !tail.is_empty() {
            self.pages[page + 1].borrow().read(0, tail);
        }
    }

    /// Copies `from`, which is not longer than a slot, into the slot that `index` stands for.
    #[inline]
    pub(super) fn write_slot(&self, index: RingIdx, from: &[u8]) {
        let (page, offset) = self.place(index);
        let first = from.len().min(PAGE_BYTES - offset);
        let (head, tail) = from.split_at(first);
        self.pages[page].borrow().write(offset, head);
        if !tail.is_empty() {
            self.pages[page + 1].borrow().write(0, tail);
        }
    }

    /// Page and offset of a slot. It may go on in the next page, never beyond the last: all slots
    /// fit.
    #[inline]
    fn place(&self, index: RingIdx) -> (usize, usize) {
        let slot = (index.0 & (self.slots - 1)) as usize;
        let at = SLOTS + slot * self.slot_bytes;
        (at / PAGE_BYTES, at % PAGE_BYTES)
    }

    /// Bytes of a slot.
    pub(super) fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }
}
