//! The first Rust code: reached once from start.S, never left.
//!
//! On entry (start.S, "At the call of boot_main"):
//! 1. rdi is start_info's address, its magic checked; rsi the counter at the first instruction;
//!    rdx points at the leaves of CPUID.
//! 2. The first 4 GiB are mapped one to one, W^X; SSE works; the canary is set; CR4 has what
//!    protects a kernel.
//! 3. The stack is the main stack; no IDT is loaded; interrupts are off.
//!
//! Duties, in this order:
//! 1. Find Xen, open the early console, load the descriptor tables: faults are reported from here
//!    on.
//! 2. Follow start_info; find out which RAM is free.
//! 3. Make the final tables and switch to them.
//! 4. Call `libos_start`.

use crate::info::{BootInfo, Hypervisor};
use crate::loader::{self, BootError, Kept};
use crate::memory::RangeSet;
use crate::platform;
use arch::addr::{PAGE_BYTES, PhysRange};
use arch::cpu::{Features, Leaves};
use arch::paging::kernel::{self, IdentityTables};
use arch::paging::{AddressSpace, Hole, Leaf, MapError, Permission};
use arch::phys::PhysWindow;
use arch::trap::{self, Registers, Trap};
use arch::{frames, layout};
use core::arch::global_asm;
use heapless::Vec;
use spin::Once;
use xen_abi::hypercall::Number;
use xen_abi::memory::{
    self, ENTRIES_MAX, HYPERCALL_ENTRY_BYTES, MemoryMapEntry, MemoryMapRequest, hypercall_map,
};

global_asm!(include_str!("start.S"), boot_main = sym boot_main, options(att_syntax));

/// What the boot tables map.
const BOOT_MAPPED_END: u64 = 4 << 30;

static INFO: Once<BootInfo> = Once::new();

unsafe extern "Rust" {
    /// The runtime, defined by the app's `libos::entry!`.
    safe fn libos_start(info: &'static BootInfo) -> !;
}

/// Called by start.S.
extern "C" fn boot_main(start_info_addr: u64, first_tsc: u64, leaves: &'static Leaves) -> ! {
    arch::vmcall::select(leaves);
    let hypervisor = platform::detect(leaves);
    trap::set_reporter(report_trap);
    // SAFETY: once, on the main stack; the boot tables map all stacks.
    unsafe { arch::segments::install() };
    match prepare(hypervisor, leaves, start_info_addr, first_tsc) {
        Ok(info) => libos_start(INFO.call_once(|| info)),
        Err(error) => {
            platform::early_console(|console| {
                console.print(format_args!("xenios: cannot boot: {error}\n"));
            });
            platform::crash_domain()
        }
    }
}

fn prepare(
    hypervisor: Hypervisor,
    leaves: &Leaves,
    start_info_addr: u64,
    first_tsc: u64,
) -> Result<BootInfo, BootError> {
    // SAFETY: the boot tables map this much one to one, and no one writes to what the loader left:
    // the free RAM found below leaves it out, and the final tables keep it readable.
    let memory = unsafe { PhysWindow::identity(BOOT_MAPPED_END) };
    let start_info = loader::start_info(memory, start_info_addr)?;
    let mut memory_map = loader::memory_map(memory, &start_info)?;
    if memory_map.is_empty() {
        memory_map = ask_memory_map(hypervisor)?;
    }
    let kept = Kept::find(memory, &start_info, layout::image())?;
    let features = Features::from_leaves(leaves);
    build_space(&memory_map, &kept, features)?;
    Ok(BootInfo {
        hypervisor,
        features,
        first_tsc,
        start_info,
        memory_map,
        boot_line: kept.boot_line,
        modules: kept.modules,
        modules_ignored: kept.modules_ignored,
    })
}

/// The memory map by hypercall, where start_info has none (version 0).
fn ask_memory_map(hypervisor: Hypervisor) -> Result<Vec<MemoryMapEntry, ENTRIES_MAX>, BootError> {
    if !matches!(hypervisor, Hypervisor::Xen { .. }) {
        return Err(BootError::NoMemoryMap);
    }
    let mut buffer = [0u8; ENTRIES_MAX * HYPERCALL_ENTRY_BYTES];
    let mut request = MemoryMapRequest {
        entries: ENTRIES_MAX as u32,
        pad: 0,
        buffer: buffer.as_mut_ptr().expose_provenance() as u64,
    };
    let request_addr = (&raw mut request).expose_provenance() as u64;
    let args = [memory::op::MEMORY_MAP, request_addr, 0, 0, 0];
    // SAFETY: Xen is there; the call writes `request` and as many entries as the buffer holds.
    let result = unsafe { arch::vmcall::call5(Number::MemoryOp as u64, args) };
    let written = (request.entries as usize).min(ENTRIES_MAX);
    if result != 0 || written == 0 {
        return Err(BootError::NoMemoryMap);
    }
    Ok(hypercall_map(&buffer[..written * HYPERCALL_ENTRY_BYTES]).collect())
}

/// Makes the final tables and switches to them; hands all free RAM to the frame allocator.
fn build_space(
    memory_map: &[MemoryMapEntry],
    kept: &Kept,
    features: Features,
) -> Result<(), BootError> {
    let ram = RangeSet::ram(memory_map);
    let mut free = ram.clone();
    free.remove(page_zero());
    free.remove(layout::image());
    kept.pages.ranges().iter().for_each(|pages| free.remove(*pages));

    // Only what the boot tables map can hold the new ones.
    let boot_mapped = PhysRange::new(0, BOOT_MAPPED_END).unwrap_or_default();
    let mut high = free.clone();
    high.remove(boot_mapped);
    high.ranges().iter().for_each(|range| free.remove(*range));
    // SAFETY: free RAM, mapped by the boot tables.
    unsafe { add_free(&free) };

    let pages_1g = features.contains(Features::PAGES_1G);
    let space = AddressSpace::new(IdentityTables, pages_1g).map_err(|_| BootError::NoRam)?;
    let space = map_all(space, &ram, kept).map_err(BootError::Paging)?;
    // SAFETY: the image is mapped as by the boot tables, but for the stacks' guards, and all RAM
    // too.
    unsafe { kernel::install(space) };

    high.add(layout::boot_tables());
    // SAFETY: free RAM, mapped by the final tables, which have replaced the boot tables.
    unsafe { add_free(&high) };
    if frames::free_bytes() == 0 { Err(BootError::NoRam) } else { Ok(()) }
}

/// Hands RAM to the frame allocator.
///
/// # Safety
/// As for [`frames::add`], for each of the ranges.
unsafe fn add_free(ram: &RangeSet) {
    for range in ram.ranges() {
        // SAFETY: the caller's word. An error is impossible: the ranges are whole pages and
        // disjoint.
        let _ = unsafe { frames::add(*range) };
    }
}

/// The plan, in words: docs/memory.md.
fn map_all(
    mut space: AddressSpace<IdentityTables>,
    ram: &RangeSet,
    kept: &Kept,
) -> Result<AddressSpace<IdentityTables>, MapError> {
    for range in ram.ranges() {
        space.map(*range, Leaf::Page(Permission::Data))?;
    }
    for range in kept.pages.ranges() {
        space.map(*range, Leaf::Page(Permission::Rodata))?;
    }
    for region in layout::regions() {
        space.map(region.range, region.leaf)?;
    }
    space.map(layout::boot_tables(), Leaf::Page(Permission::Data))?;
    space.map(page_zero(), Leaf::Hole(Hole::Null))?;
    Ok(space)
}

fn page_zero() -> PhysRange {
    PhysRange::from_len(0, PAGE_BYTES).unwrap_or_default()
}

/// Reports a trap until the runtime takes over.
fn report_trap(trap: &Trap<'_>) -> ! {
    platform::early_console(|console| {
        console.print(format_args!("xenios: fault while booting: {}\n", trap.cause));
        console.print(format_args!("{}", Registers(trap.frame)));
    });
    platform::crash_domain()
}
