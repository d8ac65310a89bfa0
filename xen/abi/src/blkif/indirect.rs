//! A request whose segments lie in granted pages of their own (blkif.h, blkif_request_indirect).
//!
//! ```text
//!   0     1             2             4     8    16              24       26    28
//!   ├  6  ┼ indirect_op ┼ nr_segments ┼ pad ┼ id ┼ sector_number ┼ handle ┼ pad ┼ gref 0 … 7 ┤
//!
//!   a page of segments:   0          8          …          4096
//!                         ├ segment ─┼ segment ─┼ … 512 ───┤
//! ```

use super::{
    Handle, Operation, RequestError, RequestId, SLOT_BYTES, Sector, Slot, put, u16_at, u32_at,
    u64_at,
};
use crate::gnttab::GrantRef;

/// Most pages of segments in a request (blkif.h, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST).
pub const INDIRECT_PAGES_MAX: usize = 8;
/// Segments in one page.
pub const SEGMENTS_PER_PAGE: usize = 512;

const OPERATION: usize = 1;
const NR_SEGMENTS: usize = 2;
const ID: usize = 8;
const SECTOR: usize = 16;
const HANDLE: usize = 24;
const GRANTS: usize = 28;

/// Which way data flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

impl Direction {
    /// The operation's number.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::READ,
            Self::Write => Operation::WRITE,
        }
    }
}

/// Reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Indirect {
    /// What is to be done.
    pub direction: Direction,
    /// The disk.
    pub handle: Handle,
    /// The request's own number.
    pub id: RequestId,
    /// Where it begins on the disk; the segments follow each other from there.
    pub sector: Sector,
    /// Segments, from 1 to 4096.
    segments: u16,
    pages: [GrantRef; INDIRECT_PAGES_MAX],
}

impl Indirect {
    /// A request with `segments` segments, which lie in `pages`; nothing unless there are exactly
    /// as many pages as the segments need.
    pub fn new(
        direction: Direction,
        (handle, id, sector): (Handle, RequestId, Sector),
        segments: usize,
        pages: &[GrantRef],
    ) -> Option<Self> {
        if segments == 0 || pages.len() != segments.div_ceil(SEGMENTS_PER_PAGE) {
            return None;
        }
        let mut all = [GrantRef(0); INDIRECT_PAGES_MAX];
        all.get_mut(..pages.len())?.copy_from_slice(pages);
        let segments = segments as u16;
        Some(Self { direction, handle, id, sector, segments, pages: all })
    }

    /// Segments of the request.
    pub fn segments(&self) -> usize {
        usize::from(self.segments)
    }

    /// The pages that they lie in.
    pub fn pages(&self) -> &[GrantRef] {
        &self.pages[..self.segments().div_ceil(SEGMENTS_PER_PAGE)]
    }

    /// Reads a request, for a backend. What the pages hold is read separately.
    ///
    /// # Errors
    /// When the operation is another one, or the number of segments makes no sense.
    pub fn parse(slot: &Slot) -> Result<Self, RequestError> {
        if slot[0] != Operation::INDIRECT.0 {
            return Err(RequestError::Operation(Operation(slot[0])));
        }
        let direction = match Operation(slot[OPERATION]) {
            Operation::READ => Direction::Read,
            Operation::WRITE => Direction::Write,
            other => return Err(RequestError::Operation(other)),
        };
        let segments = u16_at(slot, NR_SEGMENTS);
        if segments == 0 || usize::from(segments) > INDIRECT_PAGES_MAX * SEGMENTS_PER_PAGE {
            return Err(RequestError::Segments(segments));
        }
        Ok(Self {
            direction,
            handle: Handle(u16_at(slot, HANDLE)),
            id: RequestId(u64_at(slot, ID)),
            sector: Sector(u64_at(slot, SECTOR)),
            segments,
            pages: core::array::from_fn(|index| GrantRef(u32_at(slot, GRANTS + 4 * index))),
        })
    }

    /// The slot of the request; unused bytes are zero.
    pub fn emit(&self) -> Slot {
        let mut slot = [0; SLOT_BYTES];
        slot[0] = Operation::INDIRECT.0;
        slot[OPERATION] = self.direction.operation().0;
        put(&mut slot, NR_SEGMENTS, self.segments.to_le_bytes());
        put(&mut slot, ID, self.id.0.to_le_bytes());
        put(&mut slot, SECTOR, self.sector.0.to_le_bytes());
        put(&mut slot, HANDLE, self.handle.0.to_le_bytes());
        for (index, page) in self.pages().iter().enumerate() {
            put(&mut slot, GRANTS + 4 * index, page.0.to_le_bytes());
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn request(segments: usize, pages: &[GrantRef]) -> Option<Indirect> {
        let place = (Handle(0xca10), RequestId(7), Sector(0x1122));
        Indirect::new(Direction::Write, place, segments, pages)
    }

    #[test]
    fn the_bytes_of_the_header_file() {
        let request = request(513, &[GrantRef(8), GrantRef(0x109)]).unwrap();
        let mut expected = [0; 112];
        expected[..4].copy_from_slice(&[6, 1, 1, 2]);
        expected[8] = 7;
        expected[16..18].copy_from_slice(&[0x22, 0x11]);
        expected[24..36].copy_from_slice(&[0x10, 0xca, 0, 0, 8, 0, 0, 0, 9, 1, 0, 0]);
        assert_eq!(request.emit(), expected);
    }

    #[test]
    fn pages_are_as_many_as_segments_need() {
        let pages = [GrantRef(1); 9];
        assert!(request(0, &[]).is_none());
        assert!(request(512, &pages[..1]).is_some());
        assert!(request(512, &pages[..2]).is_none());
        assert!(request(513, &pages[..1]).is_none());
        assert!(request(4096, &pages[..8]).is_some());
        assert!(request(4097, &pages).is_none());
        assert!(request(65536 + 1, &pages[..1]).is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut slot = request(1, &[GrantRef(1)]).unwrap().emit();
        slot[1] = 3;
        assert_eq!(Indirect::parse(&slot), Err(RequestError::Operation(Operation(3))));
        (slot[1], slot[2]) = (0, 0);
        assert_eq!(Indirect::parse(&slot), Err(RequestError::Segments(0)));
        (slot[2], slot[3]) = (1, 16);
        assert_eq!(Indirect::parse(&slot), Err(RequestError::Segments(4097)));
        slot[0] = 0;
        assert_eq!(Indirect::parse(&slot), Err(RequestError::Operation(Operation(0))));
    }

    proptest! {
        #[test]
        fn any_request_survives(
            write: bool, handle: u16, id: u64, sector: u64,
            segments in 1usize..=4096, grants: [u32; 8],
        ) {
            let direction = if write { Direction::Write } else { Direction::Read };
            let pages = grants[..segments.div_ceil(512)].iter().map(|n| GrantRef(*n));
            let pages: Vec<_> = pages.collect();
            let place = (Handle(handle), RequestId(id), Sector(sector));
            let request = Indirect::new(direction, place, segments, &pages).unwrap();
            let parsed = Indirect::parse(&request.emit()).unwrap();
            prop_assert_eq!(parsed, request);
            prop_assert_eq!(parsed.pages(), pages);
        }

        #[test]
        fn no_bytes_do_harm(slot in proptest::collection::vec(any::<u8>(), 112)) {
            let mut slot: Slot = slot.try_into().unwrap();
            slot[0] = 6;
            if let Ok(request) = Indirect::parse(&slot) {
                prop_assert!(request.pages().len() <= 8 && request.segments() <= 4096);
            }
        }
    }
}
