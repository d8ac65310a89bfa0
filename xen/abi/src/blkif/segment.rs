//! One piece of a transfer: some sectors of one granted page (blkif.h, blkif_request_segment).
//!
//! ```text
//!   0       4            5           6    8
//!   ├ gref ─┼ first_sect ┼ last_sect ┼ pad ┤      both inclusive, 0 to 7 within the page
//! ```

use crate::gnttab::GrantRef;

/// Bytes of a segment, in a slot and in an indirect page alike.
pub const SEGMENT_BYTES: usize = 8;
/// Sectors of a page.
pub const SECTORS_PER_PAGE: u8 = 8;

/// Sectors `first..=last` of a granted page. There is at least one, and all lie in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    grant: GrantRef,
    first: u8,
    last: u8,
}

impl Segment {
    /// The sectors `first..=last` of the page; nothing if there are no such.
    pub const fn new(grant: GrantRef, first: u8, last: u8) -> Option<Self> {
        if first <= last && last < SECTORS_PER_PAGE {
            Some(Self { grant, first, last })
        } else {
            None
        }
    }

    /// The first `sectors` sectors of the page, from 1 to 8; more count as 8, none as 1.
    pub const fn leading(grant: GrantRef, sectors: u8) -> Self {
        let last = if sectors > SECTORS_PER_PAGE { SECTORS_PER_PAGE } else { sectors };
        Self { grant, first: 0, last: last.saturating_sub(1) }
    }

    /// The page.
    pub const fn grant(&self) -> GrantRef {
        self.grant
    }

    /// The first sector within the page.
    pub const fn first(&self) -> u8 {
        self.first
    }

    /// Sectors, from 1 to 8.
    pub const fn sectors(&self) -> u8 {
        self.last - self.first + 1
    }

    /// Reads a segment; nothing if its sectors make no sense.
    pub const fn parse(bytes: &[u8; SEGMENT_BYTES]) -> Option<Self> {
        let grant = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Self::new(GrantRef(grant), bytes[4], bytes[5])
    }

    /// The bytes of the segment.
    pub const fn emit(&self) -> [u8; SEGMENT_BYTES] {
        let [a, b, c, d] = self.grant.0.to_le_bytes();
        [a, b, c, d, self.first, self.last, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_the_header_file() {
        let segment = Segment::new(GrantRef(0x0102_0304), 2, 7).unwrap();
        assert_eq!(segment.emit(), [4, 3, 2, 1, 2, 7, 0, 0]);
        assert_eq!((segment.first(), segment.sectors()), (2, 6));
        let whole = Segment::leading(GrantRef(9), 8);
        assert_eq!(whole.emit(), [9, 0, 0, 0, 0, 7, 0, 0]);
        assert_eq!(Segment::leading(GrantRef(9), 1).emit(), [9, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn sectors_outside_of_the_page_are_no_segment() {
        assert_eq!(Segment::parse(&[9, 0, 0, 0, 0, 8, 0, 0]), None);
        assert_eq!(Segment::parse(&[9, 0, 0, 0, 5, 4, 0, 0]), None);
        assert_eq!(Segment::leading(GrantRef(1), 200).sectors(), 8);
        assert_eq!(Segment::leading(GrantRef(1), 0).sectors(), 1);
    }

    proptest! {
        #[test]
        fn any_segment_survives(bytes: [u8; 6]) {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], 0, 0];
            match Segment::parse(&bytes) {
                Some(segment) => prop_assert_eq!(segment.emit(), bytes),
                None => prop_assert!(bytes[5] > 7 || bytes[4] > bytes[5]),
            }
        }
    }
}
