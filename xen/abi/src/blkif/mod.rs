//! The block protocol as bytes and values (Xen: io/blkif.h), in its 64-bit layout.
//!
//! ```text
//!   ring slot, 112 bytes:   a request, later its response in the first 16
//!
//!   Direct    read, write, barrier, flush: up to 11 segments in the slot
//!   Indirect  read, write: up to 4096 segments in pages of their own, named in the slot
//!   Discard   sectors that hold nothing of value any more
//! ```
//!
//! A sector has 512 bytes in this protocol, whatever the disk's own sector size is; what is
//! transferred is a multiple of the disk's.

mod direct;
mod discard;
mod indirect;
pub mod keys;
mod request;
mod response;
mod segment;
mod vdev;

pub use direct::{Direct, DirectOperation};
pub use discard::Discard;
pub use indirect::{Direction, INDIRECT_PAGES_MAX, Indirect, SEGMENTS_PER_PAGE};
pub use request::{Request, RequestError};
pub use response::{Response, Status};
pub use segment::{SECTORS_PER_PAGE, SEGMENT_BYTES, Segment};
pub use vdev::{Vdev, VdevError};

use core::fmt;

/// Bytes of a ring slot: the larger of request and response.
pub const SLOT_BYTES: usize = 112;
/// Bytes of a sector in this protocol.
pub const SECTOR_BYTES: usize = 512;
/// Most segments of a direct request (blkif.h, BLKIF_MAX_SEGMENTS_PER_REQUEST).
pub const DIRECT_SEGMENTS_MAX: usize = 11;

/// The contents of a slot.
pub type Slot = [u8; SLOT_BYTES];

/// What a request asks for, and what a response says it answers (blkif.h, BLKIF_OP_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Operation(pub u8);

impl Operation {
    /// Reads sectors.
    pub const READ: Self = Self(0);
    /// Writes sectors.
    pub const WRITE: Self = Self(1);
    /// Writes sectors, perhaps none, after everything before and before everything after; what was
    /// written before and by it is on stable storage when it is answered.
    pub const WRITE_BARRIER: Self = Self(2);
    /// Brings everything that was answered before to stable storage.
    pub const FLUSH_DISKCACHE: Self = Self(3);
    /// Says that sectors hold nothing of value.
    pub const DISCARD: Self = Self(5);
    /// Reads or writes sectors by segments in pages of their own.
    pub const INDIRECT: Self = Self(6);
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::READ => "read",
            Self::WRITE => "write",
            Self::WRITE_BARRIER => "barrier",
            Self::FLUSH_DISKCACHE => "flush",
            Self::DISCARD => "discard",
            Self::INDIRECT => "indirect request",
            Self(number) => return write!(f, "operation {number}"),
        })
    }
}

/// The number that a request is known by until it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {:#x}", self.0)
    }
}

/// A place on the disk, in sectors of 512 bytes from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub struct Sector(pub u64);

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sector {}", self.0)
    }
}

/// The disk that a request is for: the low 16 bits of its virtual device number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Handle(pub u16);

/// The 16-bit field at `offset` of a slot.
const fn u16_at(slot: &Slot, offset: usize) -> u16 {
    u16::from_le_bytes([slot[offset], slot[offset + 1]])
}

/// The 32-bit field at `offset` of a slot.
const fn u32_at(slot: &Slot, offset: usize) -> u32 {
    u16_at(slot, offset) as u32 | (u16_at(slot, offset + 2) as u32) << 16
}

/// The 64-bit field at `offset` of a slot.
const fn u64_at(slot: &Slot, offset: usize) -> u64 {
    u32_at(slot, offset) as u64 | (u32_at(slot, offset + 4) as u64) << 32
}

/// Copies a field into a slot.
fn put<const N: usize>(slot: &mut Slot, offset: usize, field: [u8; N]) {
    slot[offset..offset + N].copy_from_slice(&field);
}
