//! Names of the nodes in xenstore by which the two ends of a disk find each other (Xen: io/blkif.h,
//! docs/man/xen-vbd-interface.7). Values are decimal text unless it says otherwise.

/// The kind of device, in the paths of both ends: `device/vbd/51712`.
pub const DEVICE_TYPE: &str = "vbd";

/// What the toolstack writes into the frontend's directory.
pub mod toolstack {
    /// Text: `disk` or `cdrom`.
    pub const DEVICE_TYPE: &str = "device-type";
    /// The virtual device number, see [`crate::blkif::Vdev`].
    pub const VIRTUAL_DEVICE: &str = "virtual-device";
    /// 0 if the backend is not to see anything but the data of its disk. 1 if absent.
    pub const TRUSTED: &str = "trusted";
}

/// What the backend's directory has.
pub mod backend {
    /// Text, from the toolstack: `r` for a disk that cannot be written, else `w`.
    pub const MODE: &str = "mode";
    /// Sectors of the disk, of 512 bytes each. There from Connected on, and again when it changes.
    pub const SECTORS: &str = "sectors";
    /// Bytes of the smallest piece that can be transferred.
    pub const SECTOR_SIZE: &str = "sector-size";
    /// Bytes of the smallest piece that the disk writes without reading. As the sector size if
    /// absent.
    pub const PHYSICAL_SECTOR_SIZE: &str = "physical-sector-size";
    /// Bits, see [`super::info`].
    pub const INFO: &str = "info";
    /// 1 if flush requests work.
    pub const FEATURE_FLUSH_CACHE: &str = "feature-flush-cache";
    /// 1 if barrier requests work.
    pub const FEATURE_BARRIER: &str = "feature-barrier";
    /// 1 if discard requests work.
    pub const FEATURE_DISCARD: &str = "feature-discard";
    /// Bytes of the piece that the disk discards as a whole.
    pub const DISCARD_GRANULARITY: &str = "discard-granularity";
    /// Bytes from the disk's beginning to the first such piece.
    pub const DISCARD_ALIGNMENT: &str = "discard-alignment";
    /// 1 if discards can be secure.
    pub const DISCARD_SECURE: &str = "discard-secure";
    /// Most segments of an indirect request; none work if it is 0 or absent.
    pub const FEATURE_MAX_INDIRECT_SEGMENTS: &str = "feature-max-indirect-segments";
    /// log2 of the most pages in a ring.
    pub const MAX_RING_PAGE_ORDER: &str = "max-ring-page-order";
    /// The most pages in a ring; an older name.
    pub const MAX_RING_PAGES: &str = "max-ring-pages";
    /// The most rings.
    pub const MULTI_QUEUE_MAX_QUEUES: &str = "multi-queue-max-queues";
    /// Text: why the toolstack's script could not make the disk ready.
    pub const HOTPLUG_ERROR: &str = "hotplug-error";
}

/// Bits of the backend's `info` (blkif.h, VDISK_*).
pub mod info {
    /// A CD-ROM drive.
    pub const CDROM: u64 = 1;
    /// The medium can be taken out.
    pub const REMOVABLE: u64 = 2;
    /// It cannot be written.
    pub const READONLY: u64 = 4;
}

/// What the frontend writes. The nodes of a ring lie in a directory of its own where there are
/// several.
pub mod frontend {
    /// The grant of a ring of one page. With a number behind it (`ring-ref0`), that of one page of
    /// several.
    pub const RING_REF: &str = "ring-ref";
    /// log2 of the pages in each ring, where there are several.
    pub const RING_PAGE_ORDER: &str = "ring-page-order";
    /// The pages in each ring, where there are several; an older name.
    pub const NUM_RING_PAGES: &str = "num-ring-pages";
    /// The event channel's port.
    pub const EVENT_CHANNEL: &str = "event-channel";
    /// Text: the layout of requests, see [`PROTOCOL_X86_64`].
    pub const PROTOCOL: &str = "protocol";
    /// Name of the layout in this module (Xen: io/protocols.h).
    pub const PROTOCOL_X86_64: &str = "x86_64-abi";
    /// With a number behind it, the directory of one ring of several.
    pub const QUEUE: &str = "queue-";
    /// Rings, where there are several.
    pub const MULTI_QUEUE_NUM_QUEUES: &str = "multi-queue-num-queues";
}

/// 1 at either end: pages stay granted for the life of the connection, and the backend may keep
/// them mapped.
pub const FEATURE_PERSISTENT: &str = "feature-persistent";
