//! What the heap found, in words.

use core::alloc::Layout;
use core::fmt;

/// What is wrong with a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The canary after the block has changed.
    Overflow,
    /// The header before the block has changed.
    Underflow,
    /// The block was freed before.
    DoubleFree,
    /// No block begins at this address.
    WildFree,
    /// Freed or reallocated with a size or an alignment that is not the block's.
    WrongLayout {
        /// Bytes it was said to have.
        said_bytes: usize,
        /// Alignment it was said to have.
        said_align: usize,
    },
    /// Memory was written after it was freed: at this byte of the block.
    WriteAfterFree {
        /// Offset from the block's beginning.
        offset_bytes: usize,
    },
}

/// Damage, and the block it was found at. Whoever wrote there, or freed it, is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeapFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Address of the block.
    pub addr: usize,
    /// Its size, as far as it is known.
    pub len_bytes: usize,
}

impl fmt::Display for HeapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, addr, len_bytes } = self;
        match kind {
            FaultKind::Overflow => {
                write!(f, "heap overflow: written past the {len_bytes}-byte block at {addr:#x}")
            }
            FaultKind::Underflow => {
                write!(f, "heap underflow: written before the {len_bytes}-byte block at {addr:#x}")
            }
            FaultKind::DoubleFree => write!(f, "double free of the block at {addr:#x}"),
            FaultKind::WildFree => write!(f, "wild free: no block begins at {addr:#x}"),
            FaultKind::WrongLayout { said_bytes, said_align } => write!(
                f,
                "the {len_bytes}-byte block at {addr:#x} is freed as one of {said_bytes} bytes, \
                 aligned to {said_align}"
            ),
            FaultKind::WriteAfterFree { offset_bytes } => write!(
                f,
                "write after free: byte {offset_bytes} of the freed {len_bytes}-byte block at \
                 {addr:#x}"
            ),
        }
    }
}

/// An allocation that could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// What was asked for.
    pub asked: Layout,
    /// Free bytes in all.
    pub free_bytes: u64,
    /// Bytes in the largest free piece.
    pub largest_bytes: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "out of memory: {} bytes asked (aligned to {}), {} free in all, \
             {} in the largest piece",
            self.asked.size(),
            self.asked.align(),
            self.free_bytes,
            self.largest_bytes
        )
    }
}
