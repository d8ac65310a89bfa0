//! What boot found out, for the runtime.

use arch::cpu::Features;
use heapless::Vec;
use xen_abi::identity::XenVersion;
use xen_abi::memory::{ENTRIES_MAX, MemoryMapEntry};
use xen_abi::start_info::StartInfo;

/// Modules that are kept account of; Xen's toolstack gives two at the most.
pub const MODULES_MAX: usize = 16;

/// Who is below us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hypervisor {
    /// Xen, with the first of its CPUID leaves.
    Xen {
        /// Its version.
        version: XenVersion,
        /// Base of its CPUID leaves.
        leaf: u32,
    },
    /// Another hypervisor, by its CPUID signature.
    Other([u8; 12]),
    /// None that shows itself.
    None,
}

/// A module: its bytes and its line, both read-only for good.
#[derive(Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// What the loader put into memory.
    pub data: &'static [u8],
    /// The module's own boot line, empty if it has none.
    pub line: &'static [u8],
}

/// Everything boot found out.
#[derive(Debug)]
pub struct BootInfo {
    /// Who is below us.
    pub hypervisor: Hypervisor,
    /// Features of the CPU that the kernel uses.
    pub features: Features,
    /// Time stamp counter at the first instruction.
    pub first_tsc: u64,
    /// The loader's structure.
    pub start_info: StartInfo,
    /// The memory map as it was given.
    pub memory_map: Vec<MemoryMapEntry, ENTRIES_MAX>,
    /// The boot line.
    pub boot_line: &'static [u8],
    /// Modules (`ramdisk=`).
    pub modules: Vec<ModuleInfo, MODULES_MAX>,
    /// Modules that were given but not kept.
    pub modules_ignored: u32,
}
