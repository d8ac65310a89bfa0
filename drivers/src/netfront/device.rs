//! The stack's end of a network device.
//!
//! ```text
//!   stack's turn ──▶ poll_ready(context)      a packet, room, or a link that changed
//!                ──▶ receive(to) …            until there is none
//!                ──▶ can_transmit(), transmit(len, offload, fill) …
//!                ──▶ flush()                  one notification for all
//! ```
//!
//! Received packets are always to be had, whatever waits to be sent: replies to them that find no
//! room wait in a bounded queue.

use super::TxOffload;
use super::proto::{Counters, RxPacket};
use super::state::Shared;
use core::task::{Context, Poll};
use xen::Hypervisor;
use xen_abi::netif::Mac;

/// What the backend does for the stack. What it does not do is done here, but costs time of this
/// domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// Completes checksums of TCP and UDP over IPv4.
    pub checksum_v4: bool,
    /// Completes checksums of TCP and UDP over IPv6.
    pub checksum_v6: bool,
    /// Cuts TCP over IPv4 into segments.
    pub segments_v4: bool,
    /// Cuts TCP over IPv6 into segments.
    pub segments_v6: bool,
}

/// The link as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Whether packets can be exchanged. Those sent meanwhile wait.
    pub up: bool,
    /// Our address. All zeroes before the first connection.
    pub mac: Mac,
    /// Bytes of the longest IP packet, 68 to 65521.
    pub mtu_bytes: u16,
    /// What need not be done here.
    pub offload: Offload,
    /// Another number whenever anything of this has changed, or the backend is a new one.
    pub generation: u32,
}

impl Default for Link {
    /// No link yet.
    fn default() -> Self {
        let mtu_bytes = 1500;
        Self { up: false, mac: Mac([0; 6]), mtu_bytes, offload: Offload::default(), generation: 0 }
    }
}

/// The stack's end of a network device. It outlives all backends.
///
/// One stack uses it: of two tasks in [`Self::poll_ready`] the last to ask is woken.
pub struct NetDevice<X: Hypervisor> {
    pub(super) shared: Shared<X>,
}

impl<X: Hypervisor> NetDevice<X> {
    /// The link as it is now.
    pub fn link(&self) -> Link {
        self.shared.lock().link()
    }

    /// Copies the next received packet to the beginning of `to`; 65,553 bytes are room for any.
    /// Packets may be longer than the MTU: large ones that were joined of segments.
    ///
    /// What the packet's checksum is worth is told with it: an unverified one is to be verified.
    pub fn receive(&mut self, to: &mut [u8]) -> Option<RxPacket> {
        self.shared.lock().receive(to)
    }

    /// Whether the next packet, of any length, goes out at once, or is kept for the next backend if
    /// there is none. If not, [`Self::poll_ready`] says when it does.
    pub fn can_transmit(&self) -> bool {
        self.shared.lock().can_transmit()
    }

    /// Sends a packet of `len_bytes`, 14 to 65,535 with its Ethernet header, no later than at the
    /// next [`Self::flush`]. `fill` is called once, with memory of that length whose contents are
    /// undefined, and writes all of it; it must not call this device. The backend can read that
    /// memory from then on.
    ///
    /// A packet that finds no room waits; if too many wait, it is lost and counted.
    pub fn transmit(
        &mut self,
        len_bytes: usize,
        offload: TxOffload,
        mut fill: impl FnMut(&mut [u8]),
    ) {
        self.shared.lock().transmit(len_bytes, offload, &mut fill);
    }

    /// Ends a batch: lets go what was sent, gives back the pages of what was received, and notifies
    /// the backend if it waits for that.
    pub fn flush(&mut self) {
        self.shared.lock().flush();
    }

    /// Ready if there is a packet, if the link has changed since the last call, or if there is room
    /// after [`Self::can_transmit`] said that there is none. Else the waker is woken when any of
    /// these is so.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.lock().poll_ready(context)
    }

    /// The multicast groups whose packets are wanted. It matters only if the filter was asked for
    /// ([`super::Config::multicast_filter`]) and the backend has one; without it all packets come.
    pub fn set_groups(&mut self, groups: &[Mac]) {
        self.shared.lock().set_groups(groups);
    }

    /// What was done so far, through all backends.
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters
    }
}
