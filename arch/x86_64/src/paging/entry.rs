//! What a leaf entry says: a permission, or why there is no page.

use core::fmt;
use x86_64::structures::paging::PageTableFlags as Flags;

/// What may be done with a page. There is no permission to write and execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Permission {
    /// Read and execute.
    Text,
    /// Read.
    Rodata,
    /// Read and write.
    Data,
}

/// Why an address has no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Hole {
    /// Nothing was ever there.
    Unmapped,
    /// Page zero: what a null pointer meets.
    Null,
    /// Below a stack.
    StackGuard,
    /// Beside a piece of the heap.
    HeapGuard,
    /// RAM that went back to the hypervisor.
    Returned,
}

/// A leaf of the page tables: a page or a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Leaf {
    /// A page.
    Page(Permission),
    /// No page.
    Hole(Hole),
}

/// The rights that an entry really gives, also those that no [`Permission`] has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Access {
    /// Stores are allowed.
    pub write: bool,
    /// Fetches are allowed.
    pub execute: bool,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = if self.write { 'w' } else { '-' };
        let execute = if self.execute { 'x' } else { '-' };
        write!(f, "r{write}{execute}")
    }
}

/// Bits that a non-present entry keeps for software.
const HOLE_BITS: [Flags; 3] = [Flags::BIT_9, Flags::BIT_10, Flags::BIT_11];
/// Holes by their number in [`HOLE_BITS`].
const HOLES: [Hole; 5] =
    [Hole::Unmapped, Hole::Null, Hole::StackGuard, Hole::HeapGuard, Hole::Returned];

impl Permission {
    /// The rights this permission gives.
    pub const fn access(self) -> Access {
        match self {
            Self::Text => Access { write: false, execute: true },
            Self::Rodata => Access { write: false, execute: false },
            Self::Data => Access { write: true, execute: false },
        }
    }
}

impl Leaf {
    /// The flags of an entry that means this leaf, without the large page bit.
    pub(super) fn flags(self) -> Flags {
        let (access, base) = match self {
            Self::Page(permission) => (permission.access(), Flags::PRESENT | Flags::GLOBAL),
            Self::Hole(hole) => {
                let number = HOLES.iter().position(|&known| known == hole).unwrap_or(0);
                let bits = HOLE_BITS.iter().enumerate().filter(|(i, _)| number & (1 << i) != 0);
                return bits.fold(Flags::empty(), |all, (_, bit)| all | *bit);
            }
        };
        let write = if access.write { Flags::WRITABLE } else { Flags::empty() };
        let no_execute = if access.execute { Flags::empty() } else { Flags::NO_EXECUTE };
        base | write | no_execute
    }
}

/// The rights in a present entry's flags.
pub(super) fn access_of(flags: Flags) -> Access {
    Access { write: flags.contains(Flags::WRITABLE), execute: !flags.contains(Flags::NO_EXECUTE) }
}

/// The hole in a non-present entry's flags.
pub(super) fn hole_of(flags: Flags) -> Hole {
    let bits = HOLE_BITS.iter().enumerate().filter(|(_, bit)| flags.contains(**bit));
    let number = bits.fold(0, |all, (i, _)| all | 1 << i);
    HOLES.get(number).copied().unwrap_or(Hole::Unmapped)
}
