//! The window: guest frames above all RAM, for pages that Xen puts into our address space.
//!
//! Xen frees whatever lies at a guest frame when it puts a page of its own there, so these frames
//! hold nothing: they begin above everything in the memory map, and each kind of page has a piece
//! of its own.
//!
//! ```text
//!   first        +1                    + grant frames       + status frames
//!   ┌────────────┬─────────────────────┬────────────────────┬──────────────────────────┐
//!   │ shared     │ grant table         │ status words of a  │ slots for foreign pages  │
//!   │ info       │ frames              │ version 2 table    │                          │
//!   └────────────┴─────────────────────┴────────────────────┴──────────────────────────┘
//! ```

use crate::page::{PAGE_BYTES, PageError, SharedPage};
use alloc::sync::Arc;
use core::fmt;
use xen_abi::gnttab::v2;
use xen_abi::memory::{MemoryKind, MemoryMapEntry};

/// Grant table frames for which one frame of status words is enough.
pub(crate) const GRANT_FRAMES_PER_STATUS: u32 = v2::STATUS_PER_FRAME / v2::PER_FRAME;

/// The first guest frame of the window, where the shared info page goes: above everything in the
/// memory map, and above 4 GiB.
pub fn first_gfn(memory_map: &[MemoryMapEntry]) -> u64 {
    let ends = memory_map.iter().map(|entry| entry.addr.saturating_add(entry.len_bytes));
    let end = ends.max().unwrap_or(0).max(4 << 30);
    // On a 2 MiB boundary, so that no large mapping of RAM is broken up for it.
    end.div_ceil(2 << 20) * ((2 << 20) / PAGE_BYTES as u64)
}

/// What a window has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Frames of the grant table: what Xen gives as the domain's limit.
    pub grant_frames: u32,
    /// Foreign pages that are mapped at the same time.
    pub foreign_slots: u32,
}

/// Why there is no room for a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowError {
    /// It would end at this guest frame, beyond what the CPU can address.
    BeyondAddresses {
        /// The frame after the last one.
        end_gfn: u64,
        /// Bits of a physical address.
        address_bits: u32,
    },
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::BeyondAddresses { end_gfn, address_bits } = self;
        write!(
            f,
            "no room above RAM for Xen's pages: frame {end_gfn:#x} is beyond {address_bits} bits"
        )
    }
}

impl core::error::Error for WindowError {}

/// The frames above RAM. A handle: copies name the same frames.
#[derive(Clone, Debug)]
pub struct Window {
    memory_map: Arc<[MemoryMapEntry]>,
    first: u64,
    sizes: Sizes,
}

impl Window {
    /// Lays the window out above `memory_map`. `address_bits` is how long a physical address of
    /// this CPU is (`arch::cpu::physical_address_bits`).
    pub fn new(
        memory_map: &[MemoryMapEntry],
        sizes: Sizes,
        address_bits: u32,
    ) -> Result<Self, WindowError> {
        let window = Self { memory_map: memory_map.into(), first: first_gfn(memory_map), sizes };
        let end_gfn = window.end();
        let frame_bits = address_bits.saturating_sub(PAGE_BYTES.ilog2());
        match 1u64.checked_shl(frame_bits) {
            Some(limit) if end_gfn > limit => {
                Err(WindowError::BeyondAddresses { end_gfn, address_bits })
            }
            _ => Ok(window),
        }
    }

    /// Where the shared info page goes.
    pub fn shared_info(&self) -> u64 {
        self.first
    }

    /// Where frame `index` of the grant table goes; nothing if the window has no room for it.
    pub fn grant_frame(&self, index: u32) -> Option<u64> {
        (index < self.sizes.grant_frames).then(|| self.grants_first() + u64::from(index))
    }

    /// Where frame `index` of the grant table's status words goes.
    pub fn status_frame(&self, index: u32) -> Option<u64> {
        (index < self.status_frames()).then(|| self.status_first() + u64::from(index))
    }

    /// Guest frame of slot `index` for foreign pages.
    pub fn foreign_slot(&self, index: u32) -> Option<u64> {
        (index < self.sizes.foreign_slots).then(|| self.foreign_first() + u64::from(index))
    }

    /// What it has room for.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The frame after the last.
    pub fn end(&self) -> u64 {
        self.foreign_first() + u64::from(self.sizes.foreign_slots)
    }

    /// Whether some RAM has frame numbers of more than 32 bits, which an entry of version 1 cannot
    /// name.
    pub fn has_wide_frames(&self) -> bool {
        let ram = self.memory_map.iter().filter(|entry| entry.kind == MemoryKind::Ram);
        let end = ram.map(|entry| entry.addr.saturating_add(entry.len_bytes)).max();
        end.unwrap_or(0) > (PAGE_BYTES as u64) << 32
    }

    /// The page that Xen has put at `gfn`, mapped for good.
    pub(crate) fn page(&self, gfn: u64) -> Result<SharedPage, PageError> {
        SharedPage::outside_ram(gfn, &self.memory_map)
    }

    /// The foreign page at `gfn`, mapped until it is dropped.
    pub(crate) fn slot_page(&self, gfn: u64) -> Result<SharedPage, PageError> {
        SharedPage::in_slot(gfn, &self.memory_map)
    }

    fn grants_first(&self) -> u64 {
        self.first + 1
    }

    fn status_first(&self) -> u64 {
        self.grants_first() + u64::from(self.sizes.grant_frames)
    }

    fn status_frames(&self) -> u32 {
        self.sizes.grant_frames.div_ceil(GRANT_FRAMES_PER_STATUS)
    }

    fn foreign_first(&self) -> u64 {
        self.status_first() + u64::from(self.status_frames())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::is_ram;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn ram(addr: u64, len_bytes: u64) -> MemoryMapEntry {
        MemoryMapEntry { addr, len_bytes, kind: MemoryKind::Ram }
    }

    #[test]
    fn the_window_begins_above_all_memory() {
        let map = [ram(0, 0x20_0001), ram(4 << 30, 1 << 30)];
        assert_eq!(first_gfn(&map), (5 << 30) / 4096);
        assert!(!is_ram(first_gfn(&map), &map));
        assert_eq!(first_gfn(&[]), (4 << 30) / 4096);
        assert_eq!(first_gfn(&[ram(u64::MAX, 2)]), 1 << 52, "no overflow");
    }

    #[test]
    fn an_end_beyond_the_cpus_addresses_is_refused() {
        let sizes = Sizes { grant_frames: 64, foreign_slots: 446 };
        // 1 + 64 + 8 + 439 frames are 2 MiB: they end at 2^36 bytes here.
        let map = [ram(0, (1 << 36) - (2 << 20))];
        let fitting = Sizes { foreign_slots: 439, ..sizes };
        assert!(Window::new(&map, fitting, 36).is_ok());
        let error = Window::new(&map, Sizes { foreign_slots: 440, ..sizes }, 36).unwrap_err();
        let end_gfn = (1 << 24) + 1;
        assert_eq!(error, WindowError::BeyondAddresses { end_gfn, address_bits: 36 });
        assert!(Window::new(&map, sizes, 64).is_ok());
    }

    #[test]
    fn only_frames_of_more_than_32_bits_are_wide() {
        let window = |end| {
            let sizes = Sizes { grant_frames: 1, foreign_slots: 0 };
            Window::new(&[ram(0, end)], sizes, 52).unwrap()
        };
        assert!(!window(1 << 44).has_wide_frames());
        assert!(window((1 << 44) + 1).has_wide_frames());
    }

    proptest! {
        #[test]
        fn no_two_pages_share_a_frame_and_none_is_ram(
            extents in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 38), 0..6),
            grant_frames in 1u32..100,
            foreign_slots in 0u32..100,
        ) {
            let map: Vec<_> = extents.into_iter().map(|(addr, len)| ram(addr, len)).collect();
            let sizes = Sizes { grant_frames, foreign_slots };
            let window = Window::new(&map, sizes, 48).unwrap();
            let mut all = BTreeSet::from([window.shared_info()]);
            let mut count = 1;
            let status_frames = grant_frames.div_ceil(8);
            for (frames, place) in [
                (grant_frames, Window::grant_frame as fn(&Window, u32) -> Option<u64>),
                (status_frames, Window::status_frame),
                (foreign_slots, Window::foreign_slot),
            ] {
                prop_assert_eq!(place(&window, frames), None);
                all.extend((0..frames).map(|index| place(&window, index).unwrap()));
                count += frames as usize;
            }
            prop_assert_eq!(all.len(), count);
            prop_assert_eq!(all.last().copied(), Some(window.end() - 1));
            prop_assert!(all.iter().all(|&gfn| !is_ram(gfn, &map)));
        }
    }
}
