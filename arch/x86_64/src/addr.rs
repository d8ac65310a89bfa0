//! Addresses and ranges. The kernel maps RAM one to one, so guest-physical and virtual addresses
//! have equal values; the two types still keep what is meant apart.
//!
//! The address types are those of the `x86_64` crate, which refuses what is not canonical.

pub use x86_64::{PhysAddr, VirtAddr};

/// Bytes in the smallest page.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes in a page mapped by a page directory entry.
pub const PAGE_2M_BYTES: u64 = 2 << 20;
/// Bytes in a page mapped by a page directory pointer entry.
pub const PAGE_1G_BYTES: u64 = 1 << 30;

/// Guest-physical bytes `start..end`. Never ends before it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct PhysRange {
    start: u64,
    end: u64,
}

impl PhysRange {
    /// The range `start..end`, or nothing if it would end before it starts.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start <= end { Some(Self { start, end }) } else { None }
    }

    /// `len_bytes` bytes from `start` on, or nothing if the end does not fit in 64 bits.
    pub const fn from_len(start: u64, len_bytes: u64) -> Option<Self> {
        match start.checked_add(len_bytes) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// Address of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Address after the last byte.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Length in bytes.
    pub const fn len_bytes(self) -> u64 {
        self.end - self.start
    }

    /// Whether the range holds no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `addr` lies inside.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Whether all of `other` lies inside. An empty range lies inside when its address does.
    pub const fn contains_range(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Shrunk to whole pages; empty if no whole page lies inside.
    pub const fn whole_pages_inside(self) -> Self {
        let start = match self.start.checked_next_multiple_of(PAGE_BYTES) {
            Some(start) => start,
            None => return Self { start: 0, end: 0 },
        };
        let end = self.end & !(PAGE_BYTES - 1);
        if start < end { Self { start, end } } else { Self { start, end: start } }
    }

    /// Grown to whole pages; the end stays below 2^64.
    pub const fn whole_pages_around(self) -> Self {
        let start = self.start & !(PAGE_BYTES - 1);
        let end = match self.end.checked_next_multiple_of(PAGE_BYTES) {
            Some(end) => end,
            None => !(PAGE_BYTES - 1),
        };
        Self { start, end }
    }
}

impl core::fmt::Display for PhysRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#012x}..{:#012x}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_ends_before_it_starts() {
        assert_eq!(PhysRange::new(2, 1), None);
        assert_eq!(PhysRange::from_len(u64::MAX, 2), None);
        assert_eq!(PhysRange::from_len(u64::MAX, 0).map(PhysRange::len_bytes), Some(0));
    }

    #[test]
    fn page_rounding_is_exact_at_the_multiple() {
        let exact = PhysRange::new(0x1000, 0x3000).unwrap();
        assert_eq!(exact.whole_pages_inside(), exact);
        assert_eq!(exact.whole_pages_around(), exact);
        let odd = PhysRange::new(0x0fff, 0x3001).unwrap();
        assert_eq!(odd.whole_pages_inside(), exact);
        assert_eq!(odd.whole_pages_around(), PhysRange::new(0, 0x4000).unwrap());
        assert!(PhysRange::new(1, 0xfff).unwrap().whole_pages_inside().is_empty());
        let last = PhysRange::new(u64::MAX - 5, u64::MAX).unwrap();
        assert!(last.whole_pages_inside().is_empty());
        assert!(last.whole_pages_around().end() >= last.whole_pages_around().start());
    }
}
