//! What a disk is: how large, in which pieces, and what it can do.

use super::error::BlockError;
use xen_abi::blkif::{SECTOR_BYTES, Sector};

/// Sectors of the disk, from one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SectorRange {
    /// The first.
    pub first: Sector,
    /// How many, of 512 bytes each.
    pub count_sectors: u64,
}

impl SectorRange {
    /// As many sectors from `first` on.
    pub const fn new(first: Sector, count_sectors: u64) -> Self {
        Self { first, count_sectors }
    }

    /// The sectors of `len_bytes` bytes from `first` on.
    ///
    /// # Errors
    /// When the length is not a multiple of 512.
    pub fn of_bytes(first: Sector, len_bytes: usize) -> Result<Self, BlockError> {
        if !len_bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(BlockError::Misaligned);
        }
        Ok(Self::new(first, (len_bytes / SECTOR_BYTES) as u64))
    }

    /// The sector after the last; nothing if there is no such number.
    pub const fn end(&self) -> Option<Sector> {
        match self.first.0.checked_add(self.count_sectors) {
            Some(end) => Some(Sector(end)),
            None => None,
        }
    }

    /// Whether the two have a sector in common. Both have an end.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.first.0 < other.first.0.saturating_add(other.count_sectors)
            && other.first.0 < self.first.0.saturating_add(self.count_sectors)
    }

    /// The part of it from `offset_sectors` on, of `count_sectors`, which lies within.
    pub(super) const fn part(&self, offset_sectors: u64, count_sectors: u64) -> Self {
        Self { first: Sector(self.first.0 + offset_sectors), count_sectors }
    }
}

/// Size and shape of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Sectors of 512 bytes.
    pub capacity_sectors: u64,
    /// Bytes of the smallest piece that can be transferred: 512, 1024, 2048 or 4096. Places and
    /// lengths are multiples of it.
    pub sector_bytes: u32,
    /// Bytes of the smallest piece that the disk writes without reading: writes of multiples of it
    /// are fastest. A power of two, not smaller than a sector.
    pub physical_sector_bytes: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the medium can be taken out.
    pub removable: bool,
}

impl Geometry {
    /// That of a disk of which nothing is known.
    pub(super) const EMPTY: Self = Self {
        capacity_sectors: 0,
        sector_bytes: SECTOR_BYTES as u32,
        physical_sector_bytes: SECTOR_BYTES as u32,
        read_only: true,
        removable: false,
    };

    /// Bytes of the disk.
    pub const fn capacity_bytes(&self) -> u64 {
        self.capacity_sectors * SECTOR_BYTES as u64
    }

    /// Sectors of 512 bytes in a sector of the disk's.
    pub const fn sectors_per_sector(&self) -> u64 {
        self.sector_bytes as u64 / SECTOR_BYTES as u64
    }

    /// Checks that `range` consists of whole sectors of the disk, and of such as it has.
    ///
    /// # Errors
    /// [`BlockError::Misaligned`], [`BlockError::OutOfRange`].
    pub fn check(&self, range: &SectorRange) -> Result<(), BlockError> {
        let unit = self.sectors_per_sector();
        if !range.first.0.is_multiple_of(unit) || !range.count_sectors.is_multiple_of(unit) {
            return Err(BlockError::Misaligned);
        }
        match range.end() {
            Some(end) if end.0 <= self.capacity_sectors => Ok(()),
            _ => Err(BlockError::OutOfRange),
        }
    }
}

/// How a disk brings writes to stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// By flush requests.
    Flush,
    /// By barrier requests, as older backends do.
    Barrier,
    /// It does not say that it can: either there is no volatile cache, or no way to empty it.
    Unknown,
}

/// How a disk discards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiscardLimits {
    /// Bytes of the piece that is discarded as a whole; a multiple of the sector size.
    pub granularity_bytes: u32,
    /// Bytes from the disk's beginning to the first such piece; less than the granularity.
    pub alignment_bytes: u32,
    /// Whether a discard can promise that no copy of the data is left.
    pub secure: bool,
}

impl DiscardLimits {
    /// The whole pieces within `range`: what of it can be discarded.
    pub fn within(&self, range: &SectorRange) -> SectorRange {
        let unit = u64::from(self.granularity_bytes) / SECTOR_BYTES as u64;
        let start = u64::from(self.alignment_bytes) / SECTOR_BYTES as u64;
        let end = range.first.0.saturating_add(range.count_sectors);
        // Counted from the first piece's beginning; what lies before it belongs to none.
        let first_piece = range.first.0.saturating_sub(start).div_ceil(unit);
        let end_piece = end.saturating_sub(start) / unit;
        let count_sectors = end_piece.saturating_sub(first_piece) * unit;
        let first = Sector(first_piece.saturating_mul(unit).saturating_add(start));
        SectorRange { first, count_sectors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disk(capacity_sectors: u64, sector_bytes: u32) -> Geometry {
        let physical_sector_bytes = sector_bytes;
        let (read_only, removable) = (false, false);
        Geometry { capacity_sectors, sector_bytes, physical_sector_bytes, read_only, removable }
    }

    fn range(first: u64, count: u64) -> SectorRange {
        SectorRange::new(Sector(first), count)
    }

    #[test]
    fn only_whole_sectors_of_the_disk_pass() {
        let disk = disk(1 << 32, 4096);
        assert_eq!(disk.check(&range((1 << 32) - 8, 8)), Ok(()));
        assert_eq!(disk.check(&range(1 << 32, 0)), Ok(()));
        assert_eq!(disk.check(&range((1 << 32) - 8, 16)), Err(BlockError::OutOfRange));
        assert_eq!(disk.check(&range(4, 8)), Err(BlockError::Misaligned));
        assert_eq!(disk.check(&range(8, 4)), Err(BlockError::Misaligned));
        assert_eq!(disk.check(&range(u64::MAX - 7, 8)), Err(BlockError::OutOfRange));
        assert_eq!(disk.capacity_bytes(), 2 << 40);
        assert_eq!(SectorRange::of_bytes(Sector(0), 513), Err(BlockError::Misaligned));
    }

    #[test]
    fn what_is_discarded_is_whole_pieces() {
        let limits =
            DiscardLimits { granularity_bytes: 4096, alignment_bytes: 1024, secure: false };
        assert_eq!(limits.within(&range(0, 100)), range(2, 96));
        assert_eq!(limits.within(&range(2, 8)), range(2, 8));
        assert_eq!(limits.within(&range(3, 8)).count_sectors, 0);
        assert_eq!(limits.within(&range(0, 2)).count_sectors, 0);
    }

    proptest! {
        #[test]
        fn pieces_lie_within_and_none_that_fits_is_left_out(
            first in 0u64..200, count in 0u64..200, unit in 1u32..20, start in 0u32..20,
        ) {
            let start = start % unit;
            let limits = DiscardLimits {
                granularity_bytes: unit * 512, alignment_bytes: start * 512, secure: false,
            };
            let within = limits.within(&range(first, count));
            let (unit, start) = (u64::from(unit), u64::from(start));
            let pieces = (0..400 / unit).map(|n| start + n * unit);
            let inside = pieces.filter(|p| *p >= first && p + unit <= first + count);
            prop_assert_eq!(inside.count() as u64 * unit, within.count_sectors);
            if within.count_sectors > 0 {
                prop_assert!(within.first.0 >= first && within.first.0 % unit == start % unit);
                prop_assert!(within.end().unwrap().0 <= first + count);
            }
        }

        #[test]
        fn overlap_is_a_common_sector(a in 0u64..20, m in 0u64..9, b in 0u64..20, n in 0u64..9) {
            let common = (a..a + m).any(|sector| (b..b + n).contains(&sector));
            // An empty range between two sectors has none in common with anything.
            prop_assume!(m > 0 && n > 0);
            prop_assert_eq!(range(a, m).overlaps(&range(b, n)), common);
        }

        #[test]
        fn no_numbers_overflow(first: u64, count: u64, other: u64, unit in 1u32..9) {
            let (a, b) = (range(first, count), range(other, count));
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            let _ = disk(u64::MAX / 512, 4096).check(&a);
            let limits =
                DiscardLimits { granularity_bytes: unit * 512, alignment_bytes: 0, secure: true };
            let _ = limits.within(&a);
        }
    }
}
