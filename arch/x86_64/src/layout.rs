//! Where the image's parts lie: the linker's symbols as checked ranges, and the stacks.
//!
//! link.ld is the only other place that knows; the names are the same. On the host there is no
//! image, and a made-up one stands in so that the code above can be tested.

use crate::addr::PhysRange;
use crate::paging::{Hole, Leaf, Permission};

/// A named part of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Name as it is printed.
    pub name: &'static str,
    /// Its addresses, whole pages.
    pub range: PhysRange,
    /// What is mapped there.
    pub leaf: Leaf,
}

/// Stacks of the interrupt stack table; the number is the IST index that an IDT entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum IstStack {
    /// A fault while another was being delivered.
    DoubleFault = 1,
    /// Non-maskable interrupts.
    Nmi = 2,
    /// Machine checks.
    MachineCheck = 3,
    /// Page faults: among them those of a stack that met its guard.
    PageFault = 4,
    /// All other exceptions, and the report of a smashed stack.
    Fault = 5,
}

/// All stacks of the interrupt stack table with the names of their regions.
const IST_STACKS: [(IstStack, &str, &str); 5] = [
    (IstStack::DoubleFault, "double fault stack", "double fault stack's guard"),
    (IstStack::Nmi, "nmi stack", "nmi stack's guard"),
    (IstStack::MachineCheck, "machine check stack", "machine check stack's guard"),
    (IstStack::PageFault, "page fault stack", "page fault stack's guard"),
    (IstStack::Fault, "fault stack", "fault stack's guard"),
];

/// Regions in [`regions`].
const COUNT: usize = 6 + 2 * IST_STACKS.len();

/// All parts of the image in address order. Everything in the image belongs to one of them.
pub fn regions() -> [Region; COUNT] {
    let s = symbols::get();
    let page = |name, range, permission| Region { name, range, leaf: Leaf::Page(permission) };
    let guard = |name, end| Region {
        name,
        range: range(end - GUARD_BYTES, end),
        leaf: Leaf::Hole(Hole::StackGuard),
    };
    let mut regions = [page("text", range(s.text, s.text_end), Permission::Text); COUNT];
    regions[1] = page("rodata", range(s.rodata, s.rodata_end), Permission::Rodata);
    regions[2] = page("data", range(s.data, s.data_end), Permission::Data);
    regions[3] = page("bss", range(s.data_end, s.bss_end), Permission::Data);
    regions[4] = guard("main stack's guard", s.main_stack);
    regions[5] = page("main stack", range(s.main_stack, s.main_stack_end), Permission::Data);
    for (i, (stack, name, guard_name)) in IST_STACKS.into_iter().enumerate() {
        let stack = ist_stack(stack);
        regions[6 + 2 * i] = guard(guard_name, stack.start());
        regions[7 + 2 * i] = page(name, stack, Permission::Data);
    }
    regions
}

/// The whole image in memory, bss and stacks included.
pub fn image() -> PhysRange {
    let s = symbols::get();
    range(s.text, s.image_end)
}

/// The tables that the entry code ran on: free RAM once the final tables are in use.
pub fn boot_tables() -> PhysRange {
    let s = symbols::get();
    range(s.boot_tables, s.boot_tables_end)
}

/// Code.
pub fn text() -> PhysRange {
    let s = symbols::get();
    range(s.text, s.text_end)
}

/// The stack that the app and the executor run on.
pub fn main_stack() -> PhysRange {
    let s = symbols::get();
    range(s.main_stack, s.main_stack_end)
}

/// One stack of the interrupt stack table.
pub fn ist_stack(stack: IstStack) -> PhysRange {
    let s = symbols::get();
    let top = s.ist_stacks + (GUARD_BYTES + IST_STACK_BYTES) * stack as u64;
    range(top - IST_STACK_BYTES, top)
}

/// The stack that `addr` lies in, if any.
pub fn stack_of(addr: u64) -> Option<PhysRange> {
    let ist = IST_STACKS.iter().map(|(stack, ..)| ist_stack(*stack));
    core::iter::once(main_stack()).chain(ist).find(|stack| stack.contains(addr))
}

/// Bytes of the unmapped page below each stack (link.ld: GUARD_BYTES).
const GUARD_BYTES: u64 = 4096;
/// Bytes of each stack of the interrupt stack table (link.ld: IST_STACK_BYTES).
const IST_STACK_BYTES: u64 = 4 * 4096;

/// Linker symbols are in order by link.ld's assertions; a range that is not comes out empty.
fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start, end).unwrap_or_default()
}

/// Addresses of link.ld's symbols.
struct Symbols {
    text: u64,
    text_end: u64,
    rodata: u64,
    rodata_end: u64,
    data: u64,
    data_end: u64,
    bss_end: u64,
    main_stack: u64,
    main_stack_end: u64,
    ist_stacks: u64,
    boot_tables: u64,
    boot_tables_end: u64,
    image_end: u64,
}

#[cfg(xenios_kernel)]
mod symbols {
    use super::Symbols;

    unsafe extern "C" {
        static __text: u8;
        static __text_end: u8;
        static __rodata: u8;
        static __rodata_end: u8;
        static __data: u8;
        static __data_end: u8;
        static __bss_end: u8;
        static __main_stack: u8;
        static __main_stack_end: u8;
        static __ist_stacks: u8;
        static __boot_tables: u8;
        static __boot_tables_end: u8;
        static __image_end: u8;
    }

    pub(super) fn get() -> Symbols {
        Symbols {
            text: (&raw const __text).expose_provenance() as u64,
            text_end: (&raw const __text_end).expose_provenance() as u64,
            rodata: (&raw const __rodata).expose_provenance() as u64,
            rodata_end: (&raw const __rodata_end).expose_provenance() as u64,
            data: (&raw const __data).expose_provenance() as u64,
            data_end: (&raw const __data_end).expose_provenance() as u64,
            bss_end: (&raw const __bss_end).expose_provenance() as u64,
            main_stack: (&raw const __main_stack).expose_provenance() as u64,
            main_stack_end: (&raw const __main_stack_end).expose_provenance() as u64,
            ist_stacks: (&raw const __ist_stacks).expose_provenance() as u64,
            boot_tables: (&raw const __boot_tables).expose_provenance() as u64,
            boot_tables_end: (&raw const __boot_tables_end).expose_provenance() as u64,
            image_end: (&raw const __image_end).expose_provenance() as u64,
        }
    }
}

#[cfg(not(xenios_kernel))]
mod symbols {
    use super::{GUARD_BYTES, IST_STACK_BYTES, Symbols};

    /// An image of the shape that link.ld makes.
    pub(super) fn get() -> Symbols {
        let ist_stacks = 0x11_4000;
        let boot_tables = ist_stacks + 5 * (GUARD_BYTES + IST_STACK_BYTES);
        Symbols {
            text: 0x10_0000,
            text_end: 0x10_8000,
            rodata: 0x10_8000,
            rodata_end: 0x10_b000,
            data: 0x10_b000,
            data_end: 0x10_c000,
            bss_end: 0x10_f000,
            main_stack: 0x11_0000,
            main_stack_end: 0x11_4000,
            ist_stacks,
            boot_tables,
            boot_tables_end: boot_tables + 0x8000,
            image_end: boot_tables + 0x8000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_image_up_to_the_boot_tables_without_gap() {
        let regions = regions();
        for pair in regions.windows(2) {
            assert_eq!(pair[0].range.end(), pair[1].range.start(), "{pair:?}");
        }
        assert_eq!(regions[0].range.start(), image().start());
        assert_eq!(regions[COUNT - 1].range.end(), boot_tables().start());
        assert_eq!(boot_tables().end(), image().end());
    }

    #[test]
    fn every_stack_has_a_guard_right_below() {
        let regions = regions();
        for (i, region) in regions.iter().enumerate() {
            if region.name.ends_with("stack") {
                assert_eq!(regions[i - 1].leaf, Leaf::Hole(Hole::StackGuard), "{}", region.name);
            }
        }
    }
}
