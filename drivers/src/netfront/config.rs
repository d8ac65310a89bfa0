//! What a device may be asked for.

/// How a device is to be set up. What the backend does not offer is done without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Pairs of rings. Each has up to 2 MiB of pages; with one CPU, one is enough.
    pub queues: u16,
    /// An event channel for each ring, not for each pair.
    pub split_channels: bool,
    /// Packets of several pages.
    pub scatter_gather: bool,
    /// Large TCP packets from the backend, joined of segments. Needs `scatter_gather`.
    pub large_receive: bool,
    /// Large TCP packets to the backend, to be cut into segments. Needs `scatter_gather` and
    /// `checksums`.
    pub segments: bool,
    /// Blank checksums, both ways.
    pub checksums: bool,
    /// No multicast packets but for groups that were asked for. The stack has to ask for all that
    /// it wants, those of IPv6's neighbour discovery among them: a backend takes 64.
    pub multicast_filter: bool,
    /// Fewest and most pages for received packets, for each queue: 18 to 256.
    pub rx_pages: (u32, u32),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: 1,
            split_channels: true,
            scatter_gather: true,
            large_receive: true,
            segments: true,
            checksums: true,
            multicast_filter: false,
            rx_pages: (64, 256),
        }
    }
}
