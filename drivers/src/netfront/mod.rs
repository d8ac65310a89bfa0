//! The network frontend (Xen: io/netif.h).
//!
//! ```text
//!   TCP/IP stack ── NetDevice ──╮                             ╭── rings, pages ──▶ backend
//!                     (packets) ├── State { Connection } ─────┤
//!   runtime ─────── Driver ─────╯                             ╰── event channels
//!                     (xenstore: connects, watches, closes)
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`proto`] | slots: how packets become requests, and what is believed of responses |
//! | [`offload`] | headers: checksums and segments, in software |
//! | `features`, `plan` | what the backend offers, and what becomes of a packet with it |
//! | `buffer`, `backlog` | pages that stay granted, packets that wait |
//! | `queue`, `connection` | a pair of rings; all of them together |
//! | `state`, `device`, `task` | who may do what with the connection: the stack, and the driver |
//!
//! docs/network-device.md follows a packet through all of it.

mod backlog;
mod buffer;
mod config;
mod connection;
mod device;
mod features;
pub mod offload;
mod plan;
pub mod proto;
mod queue;
mod state;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::domain::Domain;
pub use config::Config;
pub use device::{Link, NetDevice, Offload};
pub use features::{Features, Offer};
pub use proto::{Checksum, Counters, Lie, RxPacket};
pub use task::{Driver, NetError, new};

use core::num::NonZeroU16;

/// Where a checksum is to be filled in. Its field holds the sum of the pseudo header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChecksumPlace {
    /// From which byte of the frame on it counts: the TCP or UDP header.
    pub start: u16,
    /// Where its field begins in the frame.
    pub field: u16,
}

/// What a stack leaves to the device about a packet that it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxOffload {
    /// The checksum of TCP or UDP is to be completed. If not, the stack has done so, or there is
    /// none.
    pub checksum: Option<ChecksumPlace>,
    /// The packet is TCP and to be cut into segments with so many bytes of payload each. Not
    /// without `checksum`.
    pub mss_bytes: Option<NonZeroU16>,
}
