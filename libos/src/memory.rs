//! The domain's memory: what an app can look at, and the balloon that follows the toolstack.

use crate::balloon::{Balloon, Outcome};
use crate::heap::KernelRam;
use alloc::vec::Vec;
use arch::addr::PAGE_BYTES;
use boot::BootInfo;
use spin::Mutex;
use xen::{Hypervisor as _, Native};
use xen_abi::memory::{MemoryKind, MemoryMapEntry};

static BALLOON: Mutex<Option<Balloon<Native, KernelRam>>> = Mutex::new(None);

/// The memory map and what is left.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    pub(crate) map: Vec<MemoryMapEntry>,
}

impl Memory {
    /// The map that the loader gave, in its order.
    pub fn map(&self) -> &[MemoryMapEntry] {
        &self.map
    }

    /// Bytes of RAM in the map: the most that the domain can have.
    pub fn ram_bytes(&self) -> u64 {
        ram_bytes(&self.map)
    }

    /// Bytes of RAM that the domain has now; the balloon may have given the rest back.
    pub fn current_bytes(&self) -> u64 {
        let balloon = BALLOON.lock();
        balloon.as_ref().map_or(self.ram_bytes(), |balloon| balloon.pages() * PAGE_BYTES)
    }

    /// Bytes of RAM that no one uses.
    pub fn free_bytes(&self) -> u64 {
        arch::frames::free_bytes() + crate::heap::counters().available_bytes as u64
    }
}

fn ram_bytes(map: &[MemoryMapEntry]) -> u64 {
    let ram = map.iter().filter(|entry| entry.kind == MemoryKind::Ram);
    ram.map(|entry| entry.len_bytes).fold(0, u64::saturating_add)
}

/// Gives back what the domain does not really have, if its map shows more: such a domain is
/// populated on demand, and ended by Xen when it touches more than it has.
pub(crate) fn start(info: &BootInfo) {
    if !crate::platform::on_xen() {
        return;
    }
    let map_pages = ram_bytes(&info.memory_map) / PAGE_BYTES;
    // If Xen does not tell, the map is all there is to go by.
    let pages = Native.current_reservation().unwrap_or(map_pages);
    if pages >= map_pages {
        return;
    }
    let outcome = with_balloon(info, |balloon| balloon.shrink(pages));
    if outcome.pages > outcome.target_pages {
        log::warn!("memory: {} pages are mapped but not ours", outcome.pages - pages);
    }
}

/// Pages that the domain has.
pub(crate) fn pages(info: &BootInfo) -> u64 {
    let map_pages = ram_bytes(&info.memory_map) / PAGE_BYTES;
    BALLOON.lock().as_ref().map_or(map_pages, Balloon::pages)
}

/// Goes towards a number of pages.
pub(crate) fn follow(info: &BootInfo, target_pages: u64) -> Outcome {
    with_balloon(info, |balloon| balloon.follow(target_pages))
}

fn with_balloon<T>(info: &BootInfo, act: impl FnOnce(&mut Balloon<Native, KernelRam>) -> T) -> T {
    let map_pages = ram_bytes(&info.memory_map) / PAGE_BYTES;
    let mut balloon = BALLOON.lock();
    act(balloon.get_or_insert_with(|| Balloon::new(Native, KernelRam, map_pages)))
}
