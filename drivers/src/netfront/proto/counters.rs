//! What a device has done, and what it has thrown away for which reason. All counters wrap.

/// Received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxCounters {
    /// Packets given to the stack.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Those of them that were joined of segments.
    pub large: u64,
    /// Those of them with a blank checksum.
    pub blank: u64,
    /// Dropped: the backend reported an error in one of its slots.
    pub failed: u64,
    /// Dropped: shorter than an Ethernet header.
    pub short: u64,
    /// Dropped: longer than the stack takes.
    pub long: u64,
    /// Dropped: extra info that is not known, or segmentation that makes no sense.
    pub bad_extra: u64,
}

/// Transmitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxCounters {
    /// Packets that the backend has taken.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Those of them that the backend was to cut into segments.
    pub large: u64,
    /// Dropped: the backend answered with an error.
    pub failed: u64,
    /// Dropped: no room, in the ring and in the queue before it.
    pub full: u64,
    /// Dropped: out of memory or grants.
    pub no_memory: u64,
    /// Dropped: longer or shorter than a packet can be.
    pub bad_length: u64,
    /// Packets that were cut into segments here, as the backend does not do it.
    pub cut_here: u64,
    /// Packets that were sent once more, as their backend went away with them.
    pub sent_again: u64,
    /// Multicast addresses that the backend did not take.
    pub multicast_refused: u64,
}

/// Of a device, over all its backends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Received.
    pub rx: RxCounters,
    /// Transmitted.
    pub tx: TxCounters,
    /// Events that came for nothing.
    pub spurious_events: u64,
    /// Times that events were held back, as too many came for nothing.
    pub throttled: u64,
    /// Connections to a backend.
    pub connections: u64,
    /// Backends that lied.
    pub lies: u64,
}
