//! Types of the ELF notes that the loader looks for (Xen: elfnote.h).

/// The only note a PVH kernel must have: the physical address of its 32-bit entry.
pub const PHYS32_ENTRY: u32 = xen_sys::XEN_ELFNOTE_PHYS32_ENTRY;
/// Says that the kernel understands a suspend that was cancelled.
pub const SUSPEND_CANCEL: u32 = xen_sys::XEN_ELFNOTE_SUSPEND_CANCEL;
