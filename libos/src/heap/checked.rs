//! The checking layer over talc.

use super::block::{Block, Geometry, HEADER_BYTES, Header, Key};
use super::fault::{FaultKind, HeapFault};
use super::quarantine::{Freed, Quarantine};
use core::alloc::Layout;
use core::ptr::NonNull;
use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Source;

/// What the heap has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Blocks in use.
    pub live_blocks: usize,
    /// Payload bytes in use.
    pub live_bytes: usize,
    /// Most payload bytes that were ever in use at once.
    pub peak_bytes: usize,
    /// Blocks ever allocated.
    pub allocations: u64,
    /// Blocks ever freed.
    pub frees: u64,
    /// Bytes of RAM that the heap has.
    pub claimed_bytes: usize,
    /// Bytes of it that are free, in pieces.
    pub available_bytes: usize,
}

/// A heap whose memory comes from `S`.
#[derive(Debug)]
pub struct CheckedHeap<S: Source> {
    talc: Talc<S, DefaultBinning>,
    key: Key,
    /// The block allocated last; all live ones are linked from there.
    head: usize,
    quarantine: Quarantine,
    counters: Counters,
    /// Payloads ever handed out lie in `lowest..=highest`; 0 before the first.
    lowest: usize,
    highest: usize,
}

// SAFETY: the raw memory is reached through this value alone.
unsafe impl<S: Source + Send> Send for CheckedHeap<S> {}

/// A pointer to a block, or null when memory is out; or damage.
type Allocated = Result<*mut u8, HeapFault>;

impl<S: Source> CheckedHeap<S> {
    /// An empty heap. [`Self::set_key`] comes before the first allocation.
    pub const fn new(source: S) -> Self {
        Self {
            talc: Talc::new(source),
            key: Key(0),
            head: 0,
            quarantine: Quarantine::new(),
            counters: Counters {
                live_blocks: 0,
                live_bytes: 0,
                peak_bytes: 0,
                allocations: 0,
                frees: 0,
                claimed_bytes: 0,
                available_bytes: 0,
            },
            lowest: 0,
            highest: 0,
        }
    }

    /// Adds memory by hand, for a heap whose source has none.
    ///
    /// # Safety
    /// The memory is the heap's alone for as long as the heap is used.
    pub unsafe fn claim(&mut self, base: *mut u8, len_bytes: usize) {
        // SAFETY: the caller's word. Too little memory to begin with leaves the heap empty.
        let _ = unsafe { self.talc.claim(base, len_bytes) };
    }

    /// Sets the key that canaries are made with; ignored once a block is out.
    pub fn set_key(&mut self, key: u64) {
        if self.counters.allocations == 0 {
            self.key = Key(key);
        }
    }

    /// Whether freed blocks wait before they are used again.
    pub fn set_quarantine(&mut self, enabled: bool) {
        self.quarantine.set_enabled(enabled);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let below = self.talc.counters();
        Counters {
            claimed_bytes: below.claimed_bytes,
            available_bytes: below.available_bytes,
            ..self.counters
        }
    }

    /// Allocates a block. Null if memory is out.
    pub fn allocate(&mut self, layout: Layout) -> Allocated {
        let Some(geometry) = Geometry::of(layout) else { return Ok(core::ptr::null_mut()) };
        let Some(raw) = self.allocate_raw(geometry.raw)? else { return Ok(core::ptr::null_mut()) };
        // SAFETY: the raw block is at least that long.
        let block = Block::at(unsafe { raw.add(geometry.payload_offset) });
        let nothing_below = self.lowest == 0 || block.addr() < self.lowest;
        self.lowest = if nothing_below { block.addr() } else { self.lowest };
        self.highest = self.highest.max(block.addr());
        // SAFETY: the raw block has room for header, payload and trailer, and is ours.
        unsafe {
            self.link(block, Header::new(layout))?;
            block.set_trailer(layout.size(), self.key.trailer(block, layout.size()));
        }
        self.counters.live_blocks += 1;
        self.counters.allocations += 1;
        self.count_grown(layout.size());
        Ok(block.payload().as_ptr())
    }

    /// Frees a block.
    ///
    /// # Safety
    /// If `payload` is a block of this heap, no one uses it any more. It need not be one: that is
    /// found.
    pub unsafe fn deallocate(
        &mut self,
        payload: NonNull<u8>,
        layout: Layout,
    ) -> Result<(), HeapFault> {
        let block = Block::at(payload);
        // SAFETY: `verify` looks only where the heap's memory is.
        let header = unsafe { self.verify(block, layout)? };
        // SAFETY: verified: a live block of this heap with this layout, and the caller is done with
        // it.
        unsafe {
            self.unlink(block, header)?;
            let freed = Freed { block, len_bytes: layout.size() };
            freed.poison(self.key);
            self.counters.live_blocks -= 1;
            self.counters.live_bytes -= layout.size();
            self.counters.frees += 1;
            match self.quarantine.exchange(freed) {
                Some(out) if out.block == block => self.release(out),
                Some(out) => self.check_and_release(out),
                None => Ok(()),
            }
        }
    }

    /// Gives a block a new size, in place if the allocator below can. Null if memory is out: the
    /// block stays as it was.
    ///
    /// # Safety
    /// As for [`Self::deallocate`], unless null is returned.
    pub unsafe fn reallocate(
        &mut self,
        payload: NonNull<u8>,
        layout: Layout,
        new_len_bytes: usize,
    ) -> Allocated {
        let block = Block::at(payload);
        // SAFETY: as for `deallocate`.
        let header = unsafe { self.verify(block, layout)? };
        let new = Layout::from_size_align(new_len_bytes, layout.align()).ok();
        let geometries = new.and_then(|new| Some((Geometry::of(layout)?, Geometry::of(new)?)));
        let (Some(new), Some((old_raw, new_raw))) = (new, geometries) else {
            return Ok(core::ptr::null_mut());
        };
        // SAFETY: a verified live block of this heap; the raw pointer and layout are those it came
        // with.
        unsafe {
            let raw = block.payload().sub(old_raw.payload_offset).as_ptr();
            let in_place = if new_len_bytes >= layout.size() {
                self.talc.try_grow_in_place(raw, old_raw.raw, new_raw.raw.size())
            } else {
                let cut = layout.size() - new_len_bytes;
                block.payload().add(new_len_bytes).write_bytes(super::POISON, cut);
                self.talc.shrink(raw, old_raw.raw, new_raw.raw.size());
                true
            };
            if in_place {
                self.resize(block, header, new);
                self.counters.live_bytes -= layout.size();
                self.count_grown(new_len_bytes);
                return Ok(block.payload().as_ptr());
            }
            let moved = self.allocate(new)?;
            if !moved.is_null() {
                payload.as_ptr().copy_to_nonoverlapping(moved, layout.size().min(new_len_bytes));
                self.deallocate(payload, layout)?;
            }
            Ok(moved)
        }
    }

    /// Checks all live blocks and all that wait in quarantine.
    pub fn check_all(&self) -> Result<(), HeapFault> {
        let mut at = self.head;
        let mut blocks = 0;
        while let Some(block) = Block::from_addr(at) {
            // SAFETY: the list's addresses are sealed: each was verified before it is followed.
            unsafe {
                let header = self.verify_header(block)?;
                self.verify_trailer(block, header.len_bytes())?;
                at = header.next;
            }
            blocks += 1;
            debug_assert!(blocks <= self.counters.live_blocks, "the list has a loop");
        }
        // SAFETY: blocks in quarantine are the heap's, with the sizes they had.
        self.quarantine.iter().try_for_each(|freed| unsafe { freed.check(self.key) })
    }

    /// Seals everything anew with another key, after a look at all of it: the copy of this domain
    /// that a saved image becomes shall not have the canaries that the image shows.
    pub fn rekey(&mut self, key: u64) -> Result<(), HeapFault> {
        while let Some(freed) = self.quarantine.take_oldest() {
            // SAFETY: it is in quarantine no more, and no one uses it.
            unsafe { self.check_and_release(freed)? };
        }
        self.check_all()?;
        self.key = Key(key);
        let mut at = self.head;
        while let Some(block) = Block::from_addr(at) {
            // SAFETY: the list was checked just now: all in it are live blocks of the sizes they
            // say.
            unsafe {
                let header = self.key.sealed(block, block.header());
                block.set_header(header);
                block.set_trailer(header.len_bytes(), self.key.trailer(block, header.len_bytes()));
                at = header.next;
            }
        }
        Ok(())
    }

    /// Bytes of the largest block that could be allocated without more memory: found by trying.
    pub fn largest_available_bytes(&mut self) -> usize {
        let (mut fits, mut limit) = (0, self.talc.counters().available_bytes + 1);
        while limit - fits > 64 {
            let middle = fits + (limit - fits) / 2;
            let Some(layout) = Layout::from_size_align(middle, 16).ok() else { break };
            // SAFETY: the size is not zero; what was allocated is given back at once, unused.
            let fitted = unsafe {
                let raw = self.talc.try_allocate(layout);
                raw.inspect(|raw| self.talc.deallocate(raw.as_ptr(), layout)).is_some()
            };
            if fitted { fits = middle } else { limit = middle }
        }
        fits
    }

    /// Memory from the allocator below; when it is out, the quarantine is given up first.
    fn allocate_raw(&mut self, raw: Layout) -> Result<Option<NonNull<u8>>, HeapFault> {
        loop {
            // SAFETY: the size is not zero: it has a header.
            if let Some(raw) = unsafe { self.talc.allocate(raw) } {
                return Ok(Some(raw));
            }
            let Some(freed) = self.quarantine.take_oldest() else { return Ok(None) };
            // SAFETY: it is in quarantine no more, and no one uses it.
            unsafe { self.check_and_release(freed)? };
        }
    }

    /// # Safety
    /// `freed` is a poisoned block that is in no list.
    unsafe fn check_and_release(&mut self, freed: Freed) -> Result<(), HeapFault> {
        // SAFETY: the caller's word.
        unsafe {
            freed.check(self.key)?;
            self.release(freed)
        }
    }

    /// # Safety
    /// As for [`Self::check_and_release`].
    unsafe fn release(&mut self, freed: Freed) -> Result<(), HeapFault> {
        // SAFETY: the header is the block's still; its size and alignment say how it was allocated.
        unsafe {
            let layout = freed.block.header().layout();
            let Some(geometry) = layout.and_then(Geometry::of) else {
                return Err(fault(FaultKind::Underflow, freed.block, freed.len_bytes));
            };
            self.key.mark_released(freed.block);
            let raw = freed.block.payload().sub(geometry.payload_offset);
            self.talc.deallocate(raw.as_ptr(), geometry.raw);
        }
        Ok(())
    }

    /// Checks that `block` is a live block with this layout, undamaged.
    ///
    /// # Safety
    /// None of the caller's: the header is read only where the heap's blocks are.
    unsafe fn verify(&self, block: Block, layout: Layout) -> Result<Header, HeapFault> {
        let addr = block.addr();
        let may_be_one = addr.is_multiple_of(16) && (self.lowest..=self.highest).contains(&addr);
        if !may_be_one {
            return Err(fault(FaultKind::WildFree, block, 0));
        }
        // SAFETY: between the lowest and the highest block, so the memory is the heap's, or a guard
        // page whose fault tells as much.
        let header = unsafe { self.verify_header(block)? };
        if header.layout() != Some(layout) {
            let kind =
                FaultKind::WrongLayout { said_bytes: layout.size(), said_align: layout.align() };
            return Err(fault(kind, block, header.len_bytes()));
        }
        // SAFETY: the header says how long the block is.
        unsafe { self.verify_trailer(block, layout.size())? };
        Ok(header)
    }

    /// Reads a header and tells what is wrong with it.
    ///
    /// # Safety
    /// The header lies in memory that can be read.
    unsafe fn verify_header(&self, block: Block) -> Result<Header, HeapFault> {
        // SAFETY: the caller's word.
        let header = unsafe { block.header() };
        if self.key.fits(block, &header) {
            return Ok(header);
        }
        // SAFETY: behind the header, in the heap's memory, there is a payload or the end of a
        // chunk.
        if self.key.is_freed(block, &header) || unsafe { self.key.was_released(block) } {
            return Err(fault(FaultKind::DoubleFree, block, header.len_bytes()));
        }
        // A neighbour that points back says that this is a block, and that its header was damaged.
        let known = [header.prev, header.next]
            .into_iter()
            .any(|neighbour| self.points_at(neighbour, block));
        let kind = if known || self.head == block.addr() {
            FaultKind::Underflow
        } else {
            FaultKind::WildFree
        };
        Err(fault(kind, block, header.len_bytes()))
    }

    /// Whether there is an undamaged block at `addr` with a link to `block`.
    fn points_at(&self, addr: usize, block: Block) -> bool {
        if !addr.is_multiple_of(16) || !(self.lowest..=self.highest).contains(&addr) {
            return false;
        }
        Block::from_addr(addr).is_some_and(|neighbour| {
            // SAFETY: aligned, and between the lowest and the highest block.
            let header = unsafe { neighbour.header() };
            self.key.fits(neighbour, &header) && [header.prev, header.next].contains(&block.addr())
        })
    }

    /// # Safety
    /// `block` is a live block of `len_bytes`.
    unsafe fn verify_trailer(&self, block: Block, len_bytes: usize) -> Result<(), HeapFault> {
        // SAFETY: the caller's word.
        if unsafe { block.trailer(len_bytes) } == self.key.trailer(block, len_bytes) {
            Ok(())
        } else {
            Err(fault(FaultKind::Overflow, block, len_bytes))
        }
    }

    /// Puts a new block at the head of the list and seals it.
    ///
    /// # Safety
    /// `block` has room for its header and is in no list.
    unsafe fn link(&mut self, block: Block, header: Header) -> Result<(), HeapFault> {
        // SAFETY: the caller's word for `block`; the head of the list is a live block.
        unsafe {
            if let Some(old) = Block::from_addr(self.head) {
                let old_header = self.verify_header(old)?;
                old.set_header(
                    self.key.sealed(old, old_header.between(block.addr(), old_header.next)),
                );
            }
            block.set_header(self.key.sealed(block, header.between(0, self.head)));
        }
        self.head = block.addr();
        Ok(())
    }

    /// Takes a verified block out of the list.
    ///
    /// # Safety
    /// `header` is the verified header of `block`.
    unsafe fn unlink(&mut self, block: Block, header: Header) -> Result<(), HeapFault> {
        // SAFETY: the links of a sealed header name live blocks; each is verified before it is
        // changed.
        unsafe {
            let next = Block::from_addr(header.next);
            let prev = Block::from_addr(header.prev);
            let next_header = next.map(|next| self.verify_header(next)).transpose()?;
            let prev_header = prev.map(|prev| self.verify_header(prev)).transpose()?;
            if let (Some(next), Some(old)) = (next, next_header) {
                next.set_header(self.key.sealed(next, old.between(header.prev, old.next)));
            }
            match (prev, prev_header) {
                (Some(prev), Some(old)) => {
                    prev.set_header(self.key.sealed(prev, old.between(old.prev, header.next)));
                }
                _ => self.head = header.next,
            }
            debug_assert!(self.head != block.addr());
        }
        Ok(())
    }

    /// Seals a block anew with another size.
    ///
    /// # Safety
    /// `header` is the verified header of `block`, whose memory now has room for `new`.
    unsafe fn resize(&mut self, block: Block, header: Header, new: Layout) {
        let resized = Header::new(new).between(header.prev, header.next);
        // SAFETY: the caller's word.
        unsafe {
            block.set_header(self.key.sealed(block, resized));
            block.set_trailer(new.size(), self.key.trailer(block, new.size()));
        }
    }

    fn count_grown(&mut self, bytes: usize) {
        self.counters.live_bytes += bytes;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.live_bytes);
    }
}

fn fault(kind: FaultKind, block: Block, len_bytes: usize) -> HeapFault {
    HeapFault { kind, addr: block.addr(), len_bytes }
}

const _: () = assert!(HEADER_BYTES == 32);
