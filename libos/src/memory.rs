//! The domain's memory, for an app to look at.

use alloc::vec::Vec;
use xen_abi::memory::MemoryMapEntry;

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

    /// Bytes of RAM in the map.
    pub fn ram_bytes(&self) -> u64 {
        let ram = self.map.iter().filter(|entry| entry.kind == xen_abi::memory::MemoryKind::Ram);
        ram.map(|entry| entry.len_bytes).fold(0, u64::saturating_add)
    }
}
