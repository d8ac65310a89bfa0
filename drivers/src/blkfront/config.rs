//! What a disk's driver may use, and how.

/// Limits and choices for one disk. What the backend offers may make them smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Whether to offer persistent grants: all data is copied through pages that the backend keeps
    /// mapped. To copy is cheaper than to have a page mapped and unmapped by Xen for each request,
    /// also for the backend. Without, a page is the backend's for one request alone, and buffers of
    /// the app's own are not copied.
    pub persistent: bool,
    /// Whether neighbours are joined into one request.
    pub merge: bool,
    /// Most segments, which are pages, of an indirect request; 0 for none. At most 4096.
    pub indirect_segments_max: u16,
    /// log2 of the most pages in each ring: 0 for 32 requests, 4 for 512.
    pub ring_order_max: u8,
    /// Most rings, at least 1.
    pub queues_max: u8,
    /// Most pages that hold data of requests whose buffers are slices: they wait when all are
    /// taken.
    pub pool_pages: usize,
    /// Most of those pages that are kept when they are not needed.
    pub idle_pages: usize,
    /// Most grant references.
    pub grants_max: u32,
}

impl Config {
    /// For one vCPU: one ring with 128 requests of up to 1 MiB, 2 MiB of pages of our own.
    pub const DEFAULT: Self = Self {
        persistent: true,
        merge: true,
        indirect_segments_max: 256,
        ring_order_max: 2,
        queues_max: 1,
        pool_pages: 512,
        idle_pages: 64,
        grants_max: 2048,
    };

    /// Pages that a connection with persistent grants has beside the pool, so that requests with
    /// pages of the app's own always get on: those of one request.
    pub(super) fn reserve_pages(&self) -> usize {
        usize::from(self.indirect_segments_max).max(xen_abi::blkif::DIRECT_SEGMENTS_MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}
