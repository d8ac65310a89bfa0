//! A request that gives sectors up (blkif.h, blkif_request_discard).
//!
//! ```text
//!   0     1       2        4     8    16              24           32
//!   ├  5  ┼ flag ─┼ handle ┼ pad ┼ id ┼ sector_number ┼ nr_sectors ┤      flag bit 0: secure
//! ```

use super::{
    Handle, Operation, RequestError, RequestId, SLOT_BYTES, Sector, Slot, put, u16_at, u64_at,
};

const FLAG: usize = 1;
const HANDLE: usize = 2;
const ID: usize = 8;
const SECTOR: usize = 16;
const NR_SECTORS: usize = 24;
/// blkif.h, BLKIF_DISCARD_SECURE.
const SECURE: u8 = 1;

/// Gives sectors up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// The disk.
    pub handle: Handle,
    /// The request's own number.
    pub id: RequestId,
    /// The first sector.
    pub sector: Sector,
    /// How many.
    pub count_sectors: u64,
    /// Whether no copy of them may be left.
    pub secure: bool,
}

impl Discard {
    /// Reads a request, for a backend.
    ///
    /// # Errors
    /// When the operation is another one.
    pub fn parse(slot: &Slot) -> Result<Self, RequestError> {
        if slot[0] != Operation::DISCARD.0 {
            return Err(RequestError::Operation(Operation(slot[0])));
        }
        Ok(Self {
            handle: Handle(u16_at(slot, HANDLE)),
            id: RequestId(u64_at(slot, ID)),
            sector: Sector(u64_at(slot, SECTOR)),
            count_sectors: u64_at(slot, NR_SECTORS),
            secure: slot[FLAG] & SECURE != 0,
        })
    }

    /// The slot of the request; unused bytes are zero.
    pub fn emit(&self) -> Slot {
        let mut slot = [0; SLOT_BYTES];
        slot[0] = Operation::DISCARD.0;
        slot[FLAG] = if self.secure { SECURE } else { 0 };
        put(&mut slot, HANDLE, self.handle.0.to_le_bytes());
        put(&mut slot, ID, self.id.0.to_le_bytes());
        put(&mut slot, SECTOR, self.sector.0.to_le_bytes());
        put(&mut slot, NR_SECTORS, self.count_sectors.to_le_bytes());
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_the_header_file() {
        let discard = Discard {
            handle: Handle(0x1234),
            id: RequestId(5),
            sector: Sector(0x10),
            count_sectors: 1 << 32,
            secure: true,
        };
        let mut expected = [0; 112];
        expected[..4].copy_from_slice(&[5, 1, 0x34, 0x12]);
        (expected[8], expected[16], expected[28]) = (5, 0x10, 1);
        assert_eq!(discard.emit(), expected);
        expected[1] = 0;
        assert_eq!(Discard { secure: false, ..discard }.emit(), expected);
    }

    proptest! {
        #[test]
        fn any_request_survives(
            handle: u16, id: u64, sector: u64, count_sectors: u64, secure: bool,
        ) {
            let (handle, id, sector) = (Handle(handle), RequestId(id), Sector(sector));
            let discard = Discard { handle, id, sector, count_sectors, secure };
            prop_assert_eq!(Discard::parse(&discard.emit()), Ok(discard));
        }

        #[test]
        fn another_operation_is_refused(operation: u8) {
            prop_assume!(operation != 5);
            let mut slot = [0; 112];
            slot[0] = operation;
            let error = RequestError::Operation(Operation(operation));
            prop_assert_eq!(Discard::parse(&slot), Err(error));
        }
    }
}
