//! The one address space of the running kernel.
//!
//! Made by `boot`, then kept here for what changes later: guard pages, the hypervisor's special
//! pages, memory that comes and goes.

use super::{Access, AddressSpace, Hole, Leaf, MapError, Permission, Run, TableMemory};
use crate::addr::{PAGE_BYTES, PhysAddr, PhysRange, VirtAddr};
use spin::Mutex;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{PageTable, PhysFrame};

/// Page tables in frames of the kernel's free RAM, which is mapped one to one.
#[derive(Debug, Default)]
pub struct IdentityTables;

impl TableMemory for IdentityTables {
    fn allocate(&mut self) -> Option<PhysAddr> {
        let frame = PhysAddr::new_truncate(crate::frames::allocate(1, 1)?.start());
        *self.table_mut(frame) = PageTable::new();
        Some(frame)
    }

    fn table(&self, at: PhysAddr) -> &PageTable {
        // SAFETY: `at` came from `allocate`: a frame of RAM that is mapped one to one and ours
        // alone.
        unsafe { &*core::ptr::with_exposed_provenance(at.as_u64() as usize) }
    }

    fn table_mut(&mut self, at: PhysAddr) -> &mut PageTable {
        // SAFETY: as above; `&mut self` makes this the only reference.
        unsafe { &mut *core::ptr::with_exposed_provenance_mut(at.as_u64() as usize) }
    }
}

static SPACE: Mutex<Option<AddressSpace<IdentityTables>>> = Mutex::new(None);

/// Switches to `space` and keeps it as the kernel's.
///
/// # Safety
/// `space` maps all that the running code uses (its text, stack and data) as the tables in use do,
/// with at least the same rights.
pub unsafe fn install(space: AddressSpace<IdentityTables>) {
    let root = PhysFrame::containing_address(space.root());
    // SAFETY: the caller vouches for the space.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    *SPACE.lock() = Some(space);
}

/// Maps `range` read and write, one to one: for pages of the hypervisor's that lie outside of RAM.
///
/// # Safety
/// No Rust object lies in `range`, and whoever reads and writes there knows what it is.
pub unsafe fn map_data(range: PhysRange) -> Result<(), MapError> {
    change(range, Leaf::Page(Permission::Data))
}

/// Takes one page out of the address space. Touching it from then on is a fault that names `hole`.
///
/// # Safety
/// No one uses the page.
pub unsafe fn unmap(range: PhysRange, hole: Hole) -> Result<(), MapError> {
    change(range, Leaf::Hole(hole))
}

fn change(range: PhysRange, leaf: Leaf) -> Result<(), MapError> {
    let mut space = SPACE.lock();
    let space = space.as_mut().ok_or(MapError::OutOfFrames)?;
    space.map(range, leaf)?;
    for page in (range.start()..range.end()).step_by(PAGE_BYTES as usize) {
        tlb::flush(VirtAddr::new_truncate(page));
    }
    Ok(())
}

/// What the tables in use say of `addr`. Nothing if they are being changed right now.
pub fn look_up(addr: u64) -> Option<Result<Access, Hole>> {
    SPACE.try_lock()?.as_ref().map(|space| space.look_up(addr))
}

/// All mapped pages in address order. `each` must not change the mapping.
pub fn runs(each: impl FnMut(Run)) {
    if let Some(space) = SPACE.lock().as_ref() {
        space.runs(each);
    }
}
