//! The memory map and the operations of `memory_op`.
//!
//! Sources: Xen: memory.h; arch-x86/hvm/start_info.h for the map a loader gives.

use crate::bytes::{u32_at, u64_at};
use crate::start_info::MEMORY_MAP_ENTRY_BYTES;
use core::fmt;

/// `memory_op` commands.
pub mod op {
    /// Gives frames back to Xen.
    pub const DECREASE_RESERVATION: u64 = 1;
    /// How many pages the domain has.
    pub const CURRENT_RESERVATION: u64 = 3;
    /// How many it may have.
    pub const MAXIMUM_RESERVATION: u64 = 4;
    /// Takes frames from Xen.
    pub const POPULATE_PHYSMAP: u64 = 6;
    /// Puts a page of Xen's at a guest frame number.
    pub const ADD_TO_PHYSMAP: u64 = 7;
    /// Asks for the memory map.
    pub const MEMORY_MAP: u64 = 9;
    /// Empties a guest frame number.
    pub const REMOVE_FROM_PHYSMAP: u64 = 15;
}

/// Spaces of `ADD_TO_PHYSMAP`.
pub mod map_space {
    /// The shared info page (index 0).
    pub const SHARED_INFO: u32 = 0;
    /// Frames of the grant table.
    pub const GRANT_TABLE: u32 = 1;
}

/// What an entry of the memory map is (Xen: start_info.h, XEN_HVM_MEMMAP_TYPE_*; the same as E820).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MemoryKind {
    /// Ordinary memory.
    Ram,
    /// Not to be used.
    Reserved,
    /// ACPI tables.
    Acpi,
    /// ACPI non-volatile storage.
    AcpiNvs,
    /// Broken memory.
    Unusable,
    /// Any other number.
    Other(u32),
}

impl MemoryKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Ram,
            2 => Self::Reserved,
            3 => Self::Acpi,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram => f.write_str("RAM"),
            Self::Reserved => f.write_str("reserved"),
            Self::Acpi => f.write_str("ACPI"),
            Self::AcpiNvs => f.write_str("ACPI NVS"),
            Self::Unusable => f.write_str("unusable"),
            Self::Other(number) => write!(f, "type {number}"),
        }
    }
}

/// One entry of the memory map, as it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryMapEntry {
    /// Guest-physical address of the first byte.
    pub addr: u64,
    /// Length in bytes.
    pub len_bytes: u64,
    /// What is there.
    pub kind: MemoryKind,
}

/// Bytes of an entry that the hypercall writes: like that of start_info, but packed.
pub const HYPERCALL_ENTRY_BYTES: usize = 20;
/// Entries read at the most (Xen: E820MAX).
pub const ENTRIES_MAX: usize = 128;

/// The whole entries in `bytes`, as start_info has them (24 bytes each).
pub fn start_info_map(bytes: &[u8]) -> impl Iterator<Item = MemoryMapEntry> + '_ {
    entries(bytes, MEMORY_MAP_ENTRY_BYTES as usize)
}

/// The whole entries in `bytes`, as the hypercall writes them (20 bytes each).
pub fn hypercall_map(bytes: &[u8]) -> impl Iterator<Item = MemoryMapEntry> + '_ {
    entries(bytes, HYPERCALL_ENTRY_BYTES)
}

fn entries(bytes: &[u8], stride: usize) -> impl Iterator<Item = MemoryMapEntry> + '_ {
    bytes.chunks_exact(stride).filter_map(|entry| {
        Some(MemoryMapEntry {
            addr: u64_at(entry, 0)?,
            len_bytes: u64_at(entry, 8)?,
            kind: MemoryKind::from_number(u32_at(entry, 16)?),
        })
    })
}

/// Argument of `MEMORY_MAP`: in, room for entries; out, entries written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MemoryMapRequest {
    /// Entries that fit; then entries written.
    pub entries: u32,
    /// Padding.
    pub pad: u32,
    /// Virtual address of the buffer.
    pub buffer: u64,
}

/// Argument of `ADD_TO_PHYSMAP` (Xen: memory.h, xen_add_to_physmap).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AddToPhysmap {
    /// The domain, `DomId::SELF`.
    pub domid: u16,
    /// Pages, for spaces that take many.
    pub size: u16,
    /// One of [`map_space`].
    pub space: u32,
    /// Index in the space.
    pub index: u64,
    /// Where it shall appear.
    pub gfn: u64,
}

/// Argument of `DECREASE_RESERVATION` and `POPULATE_PHYSMAP` (Xen: memory.h,
/// xen_memory_reservation).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MemoryReservation {
    /// Virtual address of an array of guest frame numbers (u64).
    pub extents: u64,
    /// Entries of the array.
    pub extent_count: u64,
    /// log2 of the pages in an extent.
    pub extent_order: u32,
    /// 0.
    pub flags: u32,
    /// The domain, `DomId::SELF`.
    pub domid: u16,
    /// Padding.
    pub pad: [u16; 3],
}

/// Argument of `REMOVE_FROM_PHYSMAP` (Xen: memory.h, xen_remove_from_physmap).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RemoveFromPhysmap {
    /// The domain, `DomId::SELF`.
    pub domid: u16,
    /// Padding.
    pub pad: [u16; 3],
    /// The frame.
    pub gfn: u64,
}

const _: () = assert!(size_of::<MemoryReservation>() == 32);
const _: () = assert!(size_of::<RemoveFromPhysmap>() == 16);
const _: () = assert!(size_of::<MemoryMapRequest>() == 16);
const _: () = assert!(size_of::<AddToPhysmap>() == 24);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn entry(addr: u64, len: u64, kind: u32, pad: usize) -> Vec<u8> {
        let mut bytes = addr.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(std::iter::repeat_n(0xee, pad));
        bytes
    }

    #[test]
    fn both_layouts_are_read() {
        let expected = [
            MemoryMapEntry { addr: 0, len_bytes: 0x20_0000, kind: MemoryKind::Ram },
            MemoryMapEntry { addr: 1 << 32, len_bytes: 7, kind: MemoryKind::Other(12) },
        ];
        for (pad, packed) in [(4, false), (0, true)] {
            let mut bytes = entry(0, 0x20_0000, 1, pad);
            bytes.extend(entry(1 << 32, 7, 12, pad));
            bytes.push(0);
            let read: Vec<_> = match packed {
                true => hypercall_map(&bytes).collect(),
                false => start_info_map(&bytes).collect(),
            };
            assert_eq!(read, expected);
        }
    }
}
