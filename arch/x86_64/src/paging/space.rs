//! Page tables built and read: [`AddressSpace`].

use super::entry::{access_of, hole_of};
use super::{Access, Hole, Leaf};
use crate::addr::{PAGE_BYTES, PhysAddr, PhysRange};
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};

/// Where page tables live: gives zeroed frames and the tables in them.
///
/// In the kernel the frames are RAM, mapped one to one; in a test they are a vector.
pub trait TableMemory {
    /// A zeroed frame for a new table, or nothing when memory is out.
    fn allocate(&mut self) -> Option<PhysAddr>;
    /// The table in the frame at `at`, which came from [`Self::allocate`].
    fn table(&self, at: PhysAddr) -> &PageTable;
    /// The same, to be changed.
    fn table_mut(&mut self, at: PhysAddr) -> &mut PageTable;
}

/// Why a mapping could not be made. What was mapped before the error stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The range does not begin and end on page boundaries.
    Unaligned(PhysRange),
    /// The range goes beyond what four levels of tables reach (2^47 bytes, the lower half).
    TooHigh(PhysRange),
    /// No frame was left for a table.
    OutOfFrames,
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unaligned(range) => write!(f, "{range} is not made of whole pages"),
            Self::TooHigh(range) => write!(f, "{range} lies beyond the reach of the page tables"),
            Self::OutOfFrames => f.write_str("no memory is left for page tables"),
        }
    }
}

/// Neighbouring pages with the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The addresses.
    pub range: PhysRange,
    /// What may be done there.
    pub access: Access,
}

/// Four levels of page tables that map memory one to one.
pub struct AddressSpace<M> {
    root: PhysAddr,
    memory: M,
    largest_level: u8,
}

/// Level of the root table (PML4).
const ROOT_LEVEL: u8 = 4;
/// First address beyond the lower canonical half.
const END: u64 = 1 << 47;

/// Bytes that one entry of a table at `level` covers.
const fn entry_bytes(level: u8) -> u64 {
    PAGE_BYTES << (9 * (level - 1))
}

impl<M: TableMemory> AddressSpace<M> {
    /// An empty space. `pages_1g` says whether the CPU has 1 GiB pages.
    pub fn new(mut memory: M, pages_1g: bool) -> Result<Self, MapError> {
        let root = memory.allocate().ok_or(MapError::OutOfFrames)?;
        Ok(Self { root, memory, largest_level: if pages_1g { 3 } else { 2 } })
    }

    /// The root table, for CR3.
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The memory that the tables come from.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Makes every address of `range` the `leaf`, with the largest pages that fit, whatever was
    /// there before. A large page that is hit in part is split; the rest of it stays as it was.
    ///
    /// The caller flushes the TLB if `range` was mapped before and the space is in use.
    pub fn map(&mut self, range: PhysRange, leaf: Leaf) -> Result<(), MapError> {
        if !range.start().is_multiple_of(PAGE_BYTES) || !range.end().is_multiple_of(PAGE_BYTES) {
            return Err(MapError::Unaligned(range));
        }
        if range.end() > END {
            return Err(MapError::TooHigh(range));
        }
        if range.is_empty() {
            return Ok(());
        }
        self.fill(self.root, ROOT_LEVEL, 0, range, leaf)
    }

    /// Applies `leaf` to the part of `range` that the table at `table` covers (it starts at
    /// `base`).
    fn fill(
        &mut self,
        table: PhysAddr,
        level: u8,
        base: u64,
        range: PhysRange,
        leaf: Leaf,
    ) -> Result<(), MapError> {
        let span = entry_bytes(level);
        let first = (range.start().max(base) - base) / span;
        let last = ((range.end() - 1).min(base + (512 * span - 1)) - base) / span;
        for index in first..=last {
            let start = base + index * span;
            let whole = range.start() <= start && start + span <= range.end();
            let entry = &mut self.memory.table_mut(table)[index as usize];
            let is_table = level > 1
                && entry.flags().contains(Flags::PRESENT)
                && !entry.flags().contains(Flags::HUGE_PAGE);
            let is_leaf_level = level == 1 || level <= self.largest_level;
            if whole && is_leaf_level && !is_table {
                set_leaf(entry, level, start, leaf);
            } else {
                let child = self.child(table, index as usize, level)?;
                self.fill(child, level - 1, start, range, leaf)?;
            }
        }
        Ok(())
    }

    /// The table below an entry; made, with the entry's present meaning spread over it, if the
    /// entry is a leaf.
    fn child(&mut self, table: PhysAddr, index: usize, level: u8) -> Result<PhysAddr, MapError> {
        let entry = &self.memory.table(table)[index];
        let (flags, addr) = (entry.flags(), entry.addr());
        let present = flags.contains(Flags::PRESENT);
        if present && !flags.contains(Flags::HUGE_PAGE) {
            return Ok(addr);
        }
        let child = self.memory.allocate().ok_or(MapError::OutOfFrames)?;
        let below = level - 1;
        let small_flags = if below == 1 { flags - Flags::HUGE_PAGE } else { flags };
        // A new table is all zero: what is plainly unmapped needs no writing.
        if !flags.is_empty() {
            let step = if present { entry_bytes(below) } else { 0 };
            let mut slot_addr = addr;
            for slot in self.memory.table_mut(child).iter_mut() {
                slot.set_addr(slot_addr, small_flags);
                slot_addr += step;
            }
        }
        self.memory.table_mut(table)[index].set_addr(child, Flags::PRESENT | Flags::WRITABLE);
        Ok(child)
    }

    /// What the tables say of one address: the rights, or why there is no page.
    pub fn look_up(&self, addr: u64) -> Result<Access, Hole> {
        if addr >= END {
            return Err(Hole::Unmapped);
        }
        let mut table = self.root;
        let mut level = ROOT_LEVEL;
        loop {
            let index = (addr / entry_bytes(level)) % 512;
            let entry = &self.memory.table(table)[index as usize];
            let flags = entry.flags();
            if !flags.contains(Flags::PRESENT) {
                return Err(hole_of(flags));
            }
            if level == 1 || flags.contains(Flags::HUGE_PAGE) {
                return Ok(access_of(flags));
            }
            table = entry.addr();
            level -= 1;
        }
    }

    /// Calls `each` with all mapped pages in address order, neighbours with the same rights joined.
    pub fn runs(&self, mut each: impl FnMut(Run)) {
        let mut open: Option<Run> = None;
        self.visit(self.root, ROOT_LEVEL, 0, &mut |page: Run| match &mut open {
            Some(run) if run.range.end() == page.range.start() && run.access == page.access => {
                run.range =
                    PhysRange::new(run.range.start(), page.range.end()).unwrap_or(page.range);
            }
            _ => {
                if let Some(done) = open.replace(page) {
                    each(done);
                }
            }
        });
        if let Some(done) = open {
            each(done);
        }
    }

    /// Calls `each` with every page below the table at `table`.
    fn visit(&self, table: PhysAddr, level: u8, base: u64, each: &mut impl FnMut(Run)) {
        for (index, entry) in self.memory.table(table).iter().enumerate() {
            let start = base + index as u64 * entry_bytes(level);
            let flags = entry.flags();
            if !flags.contains(Flags::PRESENT) {
                continue;
            }
            if level > 1 && !flags.contains(Flags::HUGE_PAGE) {
                self.visit(entry.addr(), level - 1, start, each);
            } else if let Some(range) = PhysRange::from_len(start, entry_bytes(level)) {
                each(Run { range, access: access_of(flags) });
            }
        }
    }
}

/// Writes a leaf into an entry that is not a table.
fn set_leaf(
    entry: &mut x86_64::structures::paging::page_table::PageTableEntry,
    level: u8,
    start: u64,
    leaf: Leaf,
) {
    match leaf {
        Leaf::Page(_) => {
            let large = if level > 1 { Flags::HUGE_PAGE } else { Flags::empty() };
            entry.set_addr(PhysAddr::new_truncate(start), leaf.flags() | large);
        }
        Leaf::Hole(_) => entry.set_addr(PhysAddr::zero(), leaf.flags()),
    }
}
