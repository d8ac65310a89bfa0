//! Pages of peers, mapped into our address space: for vchan, and for backends in a guest.
//!
//! ```text
//!   map:   a slot of the window (a frame that holds nothing) ─▶ Xen puts the peer's page there
//!          ─▶ our page tables
//!   drop:  our page tables ─▶ Xen takes the page away ─▶ the slot is free
//!                                      └─ Xen refuses ─▶ the slot is poisoned: never used again
//! ```
//!
//! The peer goes on writing meanwhile, so there are copies and atomics, never a slice. While a
//! foreign page is mapped the domain cannot be saved: [`Foreign::mapped`] is zero before a suspend.

use super::Access;
use crate::Hypervisor;
use crate::page::{PAGE_BYTES, PageError, SharedPage};
use crate::window::Window;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;
use spin::Mutex;
use xen_abi::gnttab::{GrantRef, GrantStatus, MAP_HOST, MAP_READONLY, MapGrant, UnmapGrant};
use xen_abi::{DomId, Errno};

/// Maps or unmaps in one hypercall.
const CHUNK: usize = 16;

/// Why foreign pages could not be mapped. None of them is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MapError {
    /// Not enough slots are free.
    NoSlots {
        /// Slots that are free.
        free: u32,
    },
    /// Xen refused this grant of the peer's. All statuses but [`GrantStatus::EAGAIN`] and "no room"
    /// are the peer's fault.
    Grant {
        /// Which.
        grant: GrantRef,
        /// Why.
        status: GrantStatus,
    },
    /// Xen refused the batch.
    Xen(Errno),
    /// Our own page tables could not be changed.
    Page(PageError),
    /// The heap is out of memory.
    OutOfMemory,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlots { free } => write!(f, "only {free} foreign pages more can be mapped"),
            Self::Grant { grant, status } => {
                write!(f, "the peer's {grant} is not mapped: {status}")
            }
            Self::Xen(errno) => write!(f, "Xen refuses to map: {errno}"),
            Self::Page(error) => error.fmt(f),
            Self::OutOfMemory => f.write_str("no memory to keep account of foreign pages"),
        }
    }
}

impl core::error::Error for MapError {}

/// What became of the slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ForeignCounters {
    /// Slots with a page.
    pub mapped: u32,
    /// Slots whose page Xen did not take away; not used again.
    pub poisoned: u32,
    /// All slots.
    pub slots: u32,
}

/// The slots for foreign pages. A handle: copies name the same slots.
pub struct Foreign<X: Hypervisor> {
    xen: X,
    window: Window,
    slots: Arc<Mutex<Slots>>,
}

impl<X: Hypervisor> Clone for Foreign<X> {
    fn clone(&self) -> Self {
        Self { xen: self.xen.clone(), window: self.window.clone(), slots: self.slots.clone() }
    }
}

/// Which slots are free.
struct Slots {
    /// A bit for each slot with a page, poisoned ones among them.
    taken: Vec<u64>,
    counters: ForeignCounters,
    /// Counts resumes in a new domain: what was mapped before is not in this one.
    generation: u32,
}

/// A page that Xen has mapped.
#[derive(Clone, Copy)]
struct Mapped {
    slot: u32,
    host_addr: u64,
    handle: u32,
}

/// Pages of a peer's in our address space, in the order of the grants. Unmapped when dropped.
pub struct MappedGrants<X: Hypervisor> {
    foreign: Foreign<X>,
    access: Access,
    generation: u32,
    pages: Vec<SharedPage>,
    mapped: Vec<Mapped>,
}

impl<X: Hypervisor> Foreign<X> {
    /// The slots of `window`, all free. Made once.
    pub fn new(xen: X, window: &Window) -> Self {
        let slots = window.sizes().foreign_slots;
        let taken = alloc::vec![0; slots.div_ceil(64) as usize];
        let counters = ForeignCounters { slots, ..ForeignCounters::default() };
        let slots = Slots { taken, counters, generation: 0 };
        Self { xen, window: window.clone(), slots: Arc::new(Mutex::new(slots)) }
    }

    /// Maps pages that `domid` has granted to us: all of them or none.
    pub fn map(
        &self,
        domid: DomId,
        grants: &[GrantRef],
        access: Access,
    ) -> Result<MappedGrants<X>, MapError> {
        let (mut pages, mut mapped) = (Vec::new(), Vec::new());
        pages.try_reserve_exact(grants.len()).map_err(|_| MapError::OutOfMemory)?;
        mapped.try_reserve_exact(grants.len()).map_err(|_| MapError::OutOfMemory)?;
        let generation = self.slots.lock().generation;
        // From here on, whatever is mapped is unmapped when this is dropped.
        let mut all = MappedGrants { foreign: self.clone(), access, generation, pages, mapped };
        for chunk in grants.chunks(CHUNK) {
            all.map_chunk(domid, chunk)?;
        }
        for mapped in &all.mapped {
            let gfn = mapped.host_addr / PAGE_BYTES as u64;
            all.pages.push(self.window.slot_page(gfn).map_err(MapError::Page)?);
        }
        Ok(all)
    }

    /// Foreign pages that are mapped, or could not be unmapped: zero before the domain is
    /// suspended.
    pub fn mapped(&self) -> u32 {
        let counters = self.counters();
        counters.mapped + counters.poisoned
    }

    /// What became of the slots.
    pub fn counters(&self) -> ForeignCounters {
        self.slots.lock().counters
    }

    /// Starts anew in a new domain, where nothing is mapped: all slots are free, the poisoned ones
    /// too. Nothing should have been mapped at the suspend; what was is stale, and dropping it only
    /// takes it out of our page tables.
    pub fn resume(&self) {
        let mut slots = self.slots.lock();
        slots.taken.fill(0);
        slots.counters = ForeignCounters { slots: slots.counters.slots, ..Default::default() };
        slots.generation = slots.generation.wrapping_add(1);
    }
}

impl Slots {
    fn free(&self) -> u32 {
        self.counters.slots - self.counters.mapped - self.counters.poisoned
    }

    /// Takes the lowest free slot. There is one, see [`Self::free`]: bits beyond the last slot come
    /// after it.
    fn take(&mut self) -> Option<u32> {
        let word = self.taken.iter().position(|word| *word != u64::MAX)?;
        let slot = word as u32 * 64 + self.taken[word].trailing_ones();
        self.taken[word] |= 1 << (slot % 64);
        self.counters.mapped += 1;
        Some(slot)
    }

    fn put(&mut self, slot: u32) {
        self.taken[slot as usize / 64] &= !(1 << (slot % 64));
        self.counters.mapped -= 1;
    }

    /// Leaves the slot taken for good.
    fn poison(&mut self) {
        self.counters.mapped -= 1;
        self.counters.poisoned += 1;
    }
}

impl<X: Hypervisor> MappedGrants<X> {
    /// How many pages these are.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Page `index`, if we may write to it: a store to a page that the peer lets us only read would
    /// be a fault of ours, so there is [`Self::read`] for those.
    pub fn page(&self, index: usize) -> Option<&SharedPage> {
        match self.access {
            Access::ReadWrite => self.pages.get(index),
            Access::ReadOnly => None,
        }
    }

    /// Copies bytes out of page `index`, from `offset` on. An index or an end beyond the pages is a
    /// bug.
    pub fn read(&self, index: usize, offset: usize, to: &mut [u8]) {
        self.pages[index].read(offset, to);
    }

    /// The 32-bit word at `offset` of page `index`; what the peer wrote before it is seen too.
    pub fn load_u32(&self, index: usize, offset: usize) -> u32 {
        self.pages[index].u32_at(offset).load(Ordering::Acquire)
    }

    /// Maps at most [`CHUNK`] grants. Those that succeeded are noted even if others did not.
    fn map_chunk(&mut self, domid: DomId, grants: &[GrantRef]) -> Result<(), MapError> {
        let mut raw = [MapGrant::UNUSED; CHUNK];
        let raw = &mut raw[..grants.len()];
        let mut slots = [0; CHUNK];
        self.take_slots(&mut slots[..grants.len()])?;
        let readonly = if self.access == Access::ReadOnly { MAP_READONLY } else { 0 };
        for ((op, grant), slot) in raw.iter_mut().zip(grants).zip(slots) {
            let gfn = self.foreign.window.foreign_slot(slot).unwrap_or_default();
            op.host_addr = gfn * PAGE_BYTES as u64;
            op.flags = MAP_HOST | readonly;
            op.grant = *grant;
            op.domid = domid.0;
        }
        let outcome = self.foreign.xen.grant_map(raw);
        let mut result = outcome.map_err(MapError::Xen);
        let mut state = self.foreign.slots.lock();
        for (op, slot) in raw.iter().zip(slots) {
            match op.status.result() {
                Ok(()) => {
                    let (host_addr, handle) = (op.host_addr, op.handle);
                    self.mapped.push(Mapped { slot, host_addr, handle });
                }
                Err(status) => {
                    state.put(slot);
                    let error = MapError::Grant { grant: op.grant, status };
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    fn take_slots(&self, slots: &mut [u32]) -> Result<(), MapError> {
        let mut state = self.foreign.slots.lock();
        let free = state.free();
        if (free as usize) < slots.len() {
            return Err(MapError::NoSlots { free });
        }
        for slot in slots {
            *slot = state.take().ok_or(MapError::NoSlots { free })?;
        }
        Ok(())
    }
}

impl<X: Hypervisor> Drop for MappedGrants<X> {
    fn drop(&mut self) {
        // Out of our page tables first: a page that Xen has taken away must not be reachable.
        self.pages.clear();
        if self.generation != self.foreign.slots.lock().generation {
            return;
        }
        for chunk in self.mapped.chunks(CHUNK) {
            let mut raw = [UnmapGrant::UNUSED; CHUNK];
            let raw = &mut raw[..chunk.len()];
            for (op, mapped) in raw.iter_mut().zip(chunk) {
                op.host_addr = mapped.host_addr;
                op.handle = mapped.handle;
            }
            if let Err(errno) = self.foreign.xen.grant_unmap(raw) {
                log::error!("Xen refuses to unmap foreign pages: {errno}");
            }
            let mut slots = self.foreign.slots.lock();
            for (op, mapped) in raw.iter().zip(chunk) {
                match op.status.result() {
                    Ok(()) => slots.put(mapped.slot),
                    Err(status) => {
                        log::error!("slot {} for foreign pages is lost: {status}", mapped.slot);
                        slots.poison();
                    }
                }
            }
        }
    }
}
