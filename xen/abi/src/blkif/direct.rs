//! A request whose segments lie in its slot (blkif.h, blkif_request).
//!
//! ```text
//!   0           1              2        4     8    16              24
//!   ├ operation ┼ nr_segments ─┼ handle ┼ pad ┼ id ┼ sector_number ┼ segment 0 … 10 ┤
//! ```

use super::{
    DIRECT_SEGMENTS_MAX, Handle, Operation, RequestError, RequestId, SEGMENT_BYTES, SLOT_BYTES,
    Sector, Segment, Slot, put, u16_at, u64_at,
};

const NR_SEGMENTS: usize = 1;
const HANDLE: usize = 2;
const ID: usize = 8;
const SECTOR: usize = 16;
const SEGMENTS: usize = 24;

/// The operations that such a request can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum DirectOperation {
    /// See [`Operation::READ`].
    Read = Operation::READ.0,
    /// See [`Operation::WRITE`].
    Write = Operation::WRITE.0,
    /// See [`Operation::WRITE_BARRIER`].
    Barrier = Operation::WRITE_BARRIER.0,
    /// See [`Operation::FLUSH_DISKCACHE`].
    Flush = Operation::FLUSH_DISKCACHE.0,
}

impl DirectOperation {
    /// The operation's number.
    pub const fn operation(self) -> Operation {
        Operation(self as u8)
    }

    const fn from_operation(operation: Operation) -> Option<Self> {
        Some(match operation {
            Operation::READ => Self::Read,
            Operation::WRITE => Self::Write,
            Operation::WRITE_BARRIER => Self::Barrier,
            Operation::FLUSH_DISKCACHE => Self::Flush,
            _ => return None,
        })
    }
}

/// Reads, writes or flushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Direct {
    /// What is to be done.
    pub operation: DirectOperation,
    /// The disk.
    pub handle: Handle,
    /// The request's own number.
    pub id: RequestId,
    /// Where it begins on the disk; the segments follow each other from there.
    pub sector: Sector,
    segments: [Segment; DIRECT_SEGMENTS_MAX],
    count: u8,
}

impl Direct {
    /// A request without segments.
    pub const fn new(
        operation: DirectOperation,
        handle: Handle,
        id: RequestId,
        sector: Sector,
    ) -> Self {
        let unused = Segment::leading(crate::gnttab::GrantRef(0), 1);
        Self { operation, handle, id, sector, segments: [unused; DIRECT_SEGMENTS_MAX], count: 0 }
    }

    /// Adds a segment; false if there is no room for it.
    #[must_use]
    pub fn push(&mut self, segment: Segment) -> bool {
        let Some(place) = self.segments.get_mut(usize::from(self.count)) else { return false };
        *place = segment;
        self.count += 1;
        true
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..usize::from(self.count)]
    }

    /// Reads a request, for a backend.
    ///
    /// # Errors
    /// When the operation is another one, there are too many segments, or one makes no sense.
    pub fn parse(slot: &Slot) -> Result<Self, RequestError> {
        let operation = DirectOperation::from_operation(Operation(slot[0]))
            .ok_or(RequestError::Operation(Operation(slot[0])))?;
        let count = u16::from(slot[NR_SEGMENTS]);
        if usize::from(count) > DIRECT_SEGMENTS_MAX {
            return Err(RequestError::Segments(count));
        }
        let (handle, id) = (Handle(u16_at(slot, HANDLE)), RequestId(u64_at(slot, ID)));
        let mut request = Self::new(operation, handle, id, Sector(u64_at(slot, SECTOR)));
        let (segments, _) = slot[SEGMENTS..].as_chunks();
        for segment in segments.iter().take(usize::from(count)) {
            let segment = Segment::parse(segment).ok_or(RequestError::Segment)?;
            let fits = request.push(segment);
            debug_assert!(fits);
        }
        Ok(request)
    }

    /// The slot of the request; unused bytes are zero.
    pub fn emit(&self) -> Slot {
        let mut slot = [0; SLOT_BYTES];
        slot[0] = self.operation as u8;
        slot[NR_SEGMENTS] = self.count;
        put(&mut slot, HANDLE, self.handle.0.to_le_bytes());
        put(&mut slot, ID, self.id.0.to_le_bytes());
        put(&mut slot, SECTOR, self.sector.0.to_le_bytes());
        for (index, segment) in self.segments().iter().enumerate() {
            put(&mut slot, SEGMENTS + index * SEGMENT_BYTES, segment.emit());
        }
        slot
    }
}

const _: () = assert!(SEGMENTS + DIRECT_SEGMENTS_MAX * SEGMENT_BYTES == SLOT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnttab::GrantRef;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_the_header_file() {
        let handle = Handle(51712);
        let id = RequestId(0x0102_0304_0506_0708);
        let mut write = Direct::new(DirectOperation::Write, handle, id, Sector(1 << 32));
        assert!(write.push(Segment::new(GrantRef(8), 0, 7).unwrap()));
        assert!(write.push(Segment::new(GrantRef(9), 1, 2).unwrap()));
        let mut expected = [0; 112];
        // 51712 is 0xca00.
        expected[..24].copy_from_slice(&[
            1, 2, 0x00, 0xca, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0,
        ]);
        expected[24..40].copy_from_slice(&[8, 0, 0, 0, 0, 7, 0, 0, 9, 0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(write.emit(), expected);
    }

    #[test]
    fn a_flush_has_no_segments() {
        let flush = Direct::new(DirectOperation::Flush, Handle(1), RequestId(2), Sector(0));
        let mut expected = [0; 112];
        (expected[0], expected[2], expected[8]) = (3, 1, 2);
        assert_eq!(flush.emit(), expected);
        let barrier = Direct { operation: DirectOperation::Barrier, ..flush };
        expected[0] = 2;
        assert_eq!(barrier.emit(), expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut slot = [0; 112];
        slot[0] = 4;
        assert_eq!(Direct::parse(&slot), Err(RequestError::Operation(Operation(4))));
        (slot[0], slot[1]) = (0, 12);
        assert_eq!(Direct::parse(&slot), Err(RequestError::Segments(12)));
        (slot[1], slot[29]) = (1, 8);
        assert_eq!(Direct::parse(&slot), Err(RequestError::Segment));
        let mut full = Direct::new(DirectOperation::Read, Handle(0), RequestId(0), Sector(0));
        for _ in 0..11 {
            assert!(full.push(Segment::leading(GrantRef(1), 8)));
        }
        assert!(!full.push(Segment::leading(GrantRef(1), 8)));
    }

    proptest! {
        #[test]
        fn any_request_survives(
            operation in 0u8..4, handle: u16, id: u64, sector: u64,
            segments in proptest::collection::vec((any::<u32>(), 0u8..8, 0u8..8), 0..=11),
        ) {
            let operation = DirectOperation::from_operation(Operation(operation)).unwrap();
            let mut request =
                Direct::new(operation, Handle(handle), RequestId(id), Sector(sector));
            for (grant, a, b) in segments {
                let segment = Segment::new(GrantRef(grant), a.min(b), a.max(b)).unwrap();
                prop_assert!(request.push(segment));
            }
            prop_assert_eq!(Direct::parse(&request.emit()), Ok(request));
        }

        #[test]
        fn no_bytes_do_harm(slot in proptest::collection::vec(any::<u8>(), 112)) {
            let slot: Slot = slot.try_into().unwrap();
            if let Ok(request) = Direct::parse(&slot) {
                prop_assert!(request.segments().len() <= 11);
                prop_assert_eq!(Direct::parse(&request.emit()), Ok(request));
            }
        }
    }
}
