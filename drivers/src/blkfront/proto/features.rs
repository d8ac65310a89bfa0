//! What a backend offers, by the nodes of its directory. They are texts that it wrote: whatever is
//! missing or makes no sense counts as not offered.

use crate::blkfront::config::Config;
use crate::blkfront::disk::{DiscardLimits, Geometry};
use crate::blkfront::error::Refusal;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use xen_abi::blkif::keys::{FEATURE_PERSISTENT, backend, info};
use xen_abi::blkif::{INDIRECT_PAGES_MAX, SECTOR_BYTES, SEGMENTS_PER_PAGE};
use xen_abi::xs_wire::decimal;

/// Sector sizes that a page holds a whole number of.
const SECTOR_SIZES: [u64; 4] = [512, 1024, 2048, 4096];
/// log2 of the most pages that a ring of ours may have.
const RING_ORDER_LIMIT: u64 = 4;
/// Most rings that can be told apart in the set of those to be notified.
pub const QUEUES_LIMIT: u64 = 32;

/// Values of a backend's nodes, as they were read.
#[derive(Clone, Default, Debug)]
pub struct Keys(BTreeMap<&'static str, Vec<u8>>);

impl Keys {
    /// No nodes.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a node's value.
    pub fn insert(&mut self, name: &'static str, value: Vec<u8>) {
        self.0.insert(name, value);
    }

    /// The size of the disk, in sectors of 512 bytes.
    pub fn sectors(&self) -> Option<u64> {
        self.number(backend::SECTORS)
    }

    fn number(&self, name: &str) -> Option<u64> {
        decimal(self.0.get(name)?)
    }

    fn flag(&self, name: &str) -> bool {
        self.number(name) == Some(1)
    }
}

/// How the rings may be: told before there are any, in the state InitWait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingLayout {
    /// log2 of the pages in each ring.
    pub order: u8,
    /// Rings.
    pub queues: u8,
}

impl RingLayout {
    /// The nodes that it depends on.
    pub const KEYS: [&'static str; 3] =
        [backend::MAX_RING_PAGE_ORDER, backend::MAX_RING_PAGES, backend::MULTI_QUEUE_MAX_QUEUES];

    /// The largest that both sides want.
    pub fn negotiate(keys: &Keys, config: &Config) -> Self {
        let pages = keys.number(backend::MAX_RING_PAGES).and_then(u64::checked_ilog2);
        let order = keys.number(backend::MAX_RING_PAGE_ORDER).or(pages.map(u64::from));
        let order = order.unwrap_or(0).min(u64::from(config.ring_order_max)).min(RING_ORDER_LIMIT);
        let queues = keys.number(backend::MULTI_QUEUE_MAX_QUEUES).unwrap_or(1);
        let queues = queues.min(u64::from(config.queues_max)).clamp(1, QUEUES_LIMIT);
        Self { order: order as u8, queues: queues as u8 }
    }

    /// Pages of each ring.
    pub const fn pages(&self) -> usize {
        1 << self.order
    }
}

/// What can be done with the disk: told in the state Connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Whether flush requests work.
    pub flush: bool,
    /// Whether barrier requests work.
    pub barrier: bool,
    /// How discard requests work, if they do.
    pub discard: Option<DiscardLimits>,
    /// Whether the backend keeps pages mapped.
    pub persistent: bool,
    /// Most segments of an indirect request; 0 if there are none.
    pub indirect_segments: u16,
}

impl Features {
    /// Those of a backend that offers nothing.
    pub const NONE: Self = Self {
        flush: false,
        barrier: false,
        discard: None,
        persistent: false,
        indirect_segments: 0,
    };

    /// The nodes that they depend on.
    pub const KEYS: [&'static str; 8] = [
        backend::FEATURE_FLUSH_CACHE,
        backend::FEATURE_BARRIER,
        backend::FEATURE_DISCARD,
        backend::DISCARD_GRANULARITY,
        backend::DISCARD_ALIGNMENT,
        backend::DISCARD_SECURE,
        FEATURE_PERSISTENT,
        backend::FEATURE_MAX_INDIRECT_SEGMENTS,
    ];

    /// What both sides can do. `geometry` is the disk's.
    pub fn negotiate(keys: &Keys, geometry: &Geometry, config: &Config) -> Self {
        let segments_max = (INDIRECT_PAGES_MAX * SEGMENTS_PER_PAGE) as u64;
        let segments = keys.number(backend::FEATURE_MAX_INDIRECT_SEGMENTS).unwrap_or(0);
        let segments = segments.min(u64::from(config.indirect_segments_max)).min(segments_max);
        let discard = keys.flag(backend::FEATURE_DISCARD);
        Self {
            flush: keys.flag(backend::FEATURE_FLUSH_CACHE),
            barrier: keys.flag(backend::FEATURE_BARRIER),
            discard: discard.then(|| discard_limits(keys, geometry.sector_bytes)),
            persistent: config.persistent && keys.flag(FEATURE_PERSISTENT),
            indirect_segments: segments as u16,
        }
    }
}

fn discard_limits(keys: &Keys, sector_bytes: u32) -> DiscardLimits {
    let whole_sectors = |n: &u32| *n > 0 && n.is_multiple_of(sector_bytes);
    let granularity = keys.number(backend::DISCARD_GRANULARITY).and_then(|n| n.try_into().ok());
    let granularity_bytes = granularity.filter(whole_sectors).unwrap_or(sector_bytes);
    let alignment = keys.number(backend::DISCARD_ALIGNMENT).and_then(|n| n.try_into().ok());
    let alignment = alignment.filter(whole_sectors).filter(|n| *n < granularity_bytes);
    let secure = keys.flag(backend::DISCARD_SECURE);
    DiscardLimits { granularity_bytes, alignment_bytes: alignment.unwrap_or(0), secure }
}

/// The nodes that size and shape of the disk depend on.
pub const GEOMETRY_KEYS: [&str; 5] = [
    backend::SECTORS,
    backend::SECTOR_SIZE,
    backend::PHYSICAL_SECTOR_SIZE,
    backend::INFO,
    backend::MODE,
];

/// Size and shape of the disk.
///
/// # Errors
/// When it is none that we can use.
pub fn geometry(keys: &Keys) -> Result<Geometry, Refusal> {
    let flags = keys.number(backend::INFO).unwrap_or(0);
    if flags & info::CDROM != 0 {
        return Err(Refusal::CdRom);
    }
    let sector_bytes = match keys.0.get(backend::SECTOR_SIZE) {
        None => SECTOR_BYTES as u64,
        Some(text) => decimal(text).ok_or(Refusal::SectorSize)?,
    };
    if !SECTOR_SIZES.contains(&sector_bytes) {
        return Err(Refusal::SectorSize);
    }
    let sector_bytes = sector_bytes as u32;
    let sectors = keys.sectors().ok_or(Refusal::Sectors)?;
    let physical = keys.number(backend::PHYSICAL_SECTOR_SIZE).and_then(|n| u32::try_from(n).ok());
    let physical = physical.filter(|n| n.is_power_of_two() && *n >= sector_bytes);
    let mut geometry = Geometry {
        capacity_sectors: 0,
        sector_bytes,
        physical_sector_bytes: physical.unwrap_or(sector_bytes),
        read_only: flags & info::READONLY != 0
            || keys.0.get(backend::MODE).is_some_and(|m| m == b"r"),
        removable: flags & info::REMOVABLE != 0,
    };
    geometry.capacity_sectors = capacity(sectors, &geometry)?;
    Ok(geometry)
}

/// The capacity that the node `sectors` gives a disk of that shape: whole sectors of the disk's.
///
/// # Errors
/// When a number of bytes cannot be as large.
pub fn capacity(sectors: u64, geometry: &Geometry) -> Result<u64, Refusal> {
    if sectors > u64::MAX / SECTOR_BYTES as u64 {
        return Err(Refusal::Sectors);
    }
    Ok(sectors - sectors % geometry.sectors_per_sector())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn keys(pairs: &[(&'static str, &str)]) -> Keys {
        let mut keys = Keys::new();
        pairs.iter().for_each(|(name, value)| keys.insert(name, value.as_bytes().to_vec()));
        keys
    }

    const WIDE: Config =
        Config { persistent: false, queues_max: 8, ring_order_max: 4, ..Config::DEFAULT };

    #[test]
    fn a_backend_that_says_nothing_offers_one_small_ring() {
        let layout = RingLayout::negotiate(&Keys::new(), &WIDE);
        assert_eq!((layout.order, layout.pages(), layout.queues), (0, 1, 1));
        let disk = geometry(&keys(&[("sectors", "8")])).unwrap();
        assert_eq!(Features::negotiate(&Keys::new(), &disk, &WIDE), Features::NONE);
        assert_eq!((disk.sector_bytes, disk.physical_sector_bytes), (512, 512));
        assert!(!disk.read_only && !disk.removable);
    }

    #[test]
    fn the_smaller_wish_counts() {
        let offer = keys(&[("max-ring-page-order", "4"), ("multi-queue-max-queues", "16")]);
        assert_eq!(RingLayout::negotiate(&offer, &WIDE), RingLayout { order: 4, queues: 8 });
        let narrow = Config { queues_max: 0, ring_order_max: 1, ..WIDE };
        assert_eq!(RingLayout::negotiate(&offer, &narrow), RingLayout { order: 1, queues: 1 });
        let old = keys(&[("max-ring-pages", "9"), ("multi-queue-max-queues", "0")]);
        assert_eq!(RingLayout::negotiate(&old, &WIDE), RingLayout { order: 3, queues: 1 });
    }

    #[test]
    fn everything_that_a_full_backend_offers() {
        let offer = keys(&[
            ("feature-flush-cache", "1"),
            ("feature-barrier", "1"),
            ("feature-persistent", "1"),
            ("feature-max-indirect-segments", "99999"),
            ("feature-discard", "1"),
            ("discard-granularity", "65536"),
            ("discard-alignment", "4096"),
            ("discard-secure", "1"),
        ]);
        let disk = geometry(&keys(&[("sectors", "8")])).unwrap();
        let config = Config { persistent: true, indirect_segments_max: u16::MAX, ..WIDE };
        let features = Features::negotiate(&offer, &disk, &config);
        assert!(features.flush && features.barrier && features.persistent);
        assert_eq!(features.indirect_segments, 4096);
        let limits =
            DiscardLimits { granularity_bytes: 65536, alignment_bytes: 4096, secure: true };
        assert_eq!(features.discard, Some(limits));
        assert!(!Features::negotiate(&offer, &disk, &WIDE).persistent, "only if we want it too");
    }

    #[test]
    fn discard_limits_that_make_no_sense_are_those_of_a_sector() {
        let disk = geometry(&keys(&[("sectors", "8"), ("sector-size", "4096")])).unwrap();
        for (granularity, alignment) in [("0", "0"), ("512", "0"), ("4096", "4096"), ("x", "8")] {
            let offer = keys(&[
                ("feature-discard", "1"),
                ("discard-granularity", granularity),
                ("discard-alignment", alignment),
            ]);
            let limits = Features::negotiate(&offer, &disk, &WIDE).discard.unwrap();
            assert_eq!((limits.granularity_bytes, limits.alignment_bytes), (4096, 0));
        }
    }

    #[test]
    fn disks_that_are_refused() {
        let with = |name, value| geometry(&keys(&[("sectors", "8"), (name, value)]));
        assert_eq!(with("info", "1"), Err(Refusal::CdRom));
        assert_eq!(with("info", "5"), Err(Refusal::CdRom));
        for size in ["0", "256", "1000", "8192", "", "-512", "99999999999999999999"] {
            assert_eq!(with("sector-size", size), Err(Refusal::SectorSize), "{size}");
        }
        assert_eq!(geometry(&Keys::new()), Err(Refusal::Sectors));
        for sectors in ["", "many", "-1", "36028797018963968"] {
            assert_eq!(
                geometry(&keys(&[("sectors", sectors)])),
                Err(Refusal::Sectors),
                "{sectors}"
            );
        }
    }

    #[test]
    fn sizes_and_flags_are_taken_over() {
        let disk = geometry(&keys(&[
            ("sectors", "4294967299"),
            ("sector-size", "2048"),
            ("physical-sector-size", "4096"),
            ("info", "6"),
        ]))
        .unwrap();
        assert_eq!(disk.capacity_sectors, 4294967296, "whole sectors of 2048 bytes");
        assert_eq!(disk.physical_sector_bytes, 4096);
        assert!(disk.read_only && disk.removable);
        assert!(geometry(&keys(&[("sectors", "0"), ("mode", "r")])).unwrap().read_only);
        let largest = geometry(&keys(&[("sectors", "36028797018963967")])).unwrap();
        assert_eq!(largest.capacity_bytes(), u64::MAX - 511);
    }

    proptest! {
        #[test]
        fn no_values_do_harm(texts in proptest::collection::vec(
            prop_oneof!["[0-9]{0,22}", any::<u64>().prop_map(|n| n.to_string()), ".*"], 16)) {
            let names = RingLayout::KEYS.iter().chain(&Features::KEYS).chain(&GEOMETRY_KEYS);
            let mut keys = Keys::new();
            names.zip(texts).for_each(|(name, text)| keys.insert(name, text.into_bytes()));
            let layout = RingLayout::negotiate(&keys, &WIDE);
            prop_assert!(layout.order <= 4 && (1..=8).contains(&layout.queues));
            if let Ok(disk) = geometry(&keys) {
                let features = Features::negotiate(&keys, &disk, &WIDE);
                prop_assert!(features.indirect_segments <= 256);
                let _ = disk.capacity_bytes();
                if let Some(limits) = features.discard {
                    prop_assert!(limits.alignment_bytes < limits.granularity_bytes);
                }
            }
        }
    }
}
