//! The seam between the stack and what sends and receives Ethernet frames: netfront, or a test's
//! link.
//!
//! ```text
//!              stack                                   device
//!   turn ──▶ poll_ready(cx) ── "frames, room, link?" ──▶ registers the waker, then looks again
//!        ──▶ receive(scratch) ◀── one frame, where it lies ── or copied together in `scratch`
//!        ──▶ can_transmit() ◀── room for the largest packet
//!        ──▶ begin_frame(frame) ◀── memory for the frame, where it will be sent from
//!        ──▶ commit_frame() ── it is whole
//!        ──▶ flush() ── pushes requests and buffers, one notification for all
//! ```
//!
//! Nothing here waits, and nothing fails half way: room is asked for before a frame is written.

use core::fmt;
use core::num::NonZeroU16;
use core::task::{Context, Poll};

/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER_BYTES: usize = 14;

/// Bytes of the longest frame: an IP packet of 65535 bytes behind its Ethernet header.
pub const MAX_FRAME_BYTES: usize = ETHERNET_HEADER_BYTES + 65_535;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group of stations: a multicast address or the broadcast address.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of the TCP or UDP checksum of a frame that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxChecksum {
    /// Nothing: the stack verifies it.
    Unverified,
    /// The device has found it right, or left it blank because the frame never crossed a wire.
    Valid,
}

/// A frame that was received.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// The frame from its Ethernet header on, in one piece; no checksum sequence at its end.
    /// Segments of a TCP stream that were joined on the way may make it longer than the MTU.
    pub bytes: &'a [u8],
    /// What is known of the checksum inside.
    pub checksum: RxChecksum,
}

/// A frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxFrame {
    /// Its length in bytes, Ethernet header included: at most [`MAX_FRAME_BYTES`].
    pub len_bytes: usize,
    /// Where the device or its peer is to fill the checksum in, unless the frame has it.
    pub checksum: Option<TxChecksum>,
    /// Into what segments it is to be cut, unless it fits the MTU. Never without a checksum to fill
    /// in.
    pub segments: Option<Segments>,
}

/// A checksum that is left to be filled in. Its field holds the sum of the pseudo header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxChecksum {
    /// From which byte of the frame on it counts: the TCP or UDP header.
    pub start: u16,
    /// Which byte of the frame its field begins at.
    pub field: u16,
}

/// How a frame is cut into TCP segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Payload bytes of each but the last.
    pub size: NonZeroU16,
    /// Whether they are IPv6 packets; else IPv4.
    pub ipv6: bool,
}

/// What the device and its peer do for the stack.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offload {
    /// Fills in the checksums of TCP and UDP over IPv4.
    pub checksum_ipv4: bool,
    /// Fills in the checksums of TCP and UDP over IPv6.
    pub checksum_ipv6: bool,
    /// Cuts TCP over IPv4 into segments; needs `checksum_ipv4`.
    pub segments_ipv4: bool,
    /// Cuts TCP over IPv6 into segments; needs `checksum_ipv6`.
    pub segments_ipv6: bool,
}

/// The link as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Whether frames can be exchanged.
    pub up: bool,
    /// Our address.
    pub mac: MacAddr,
    /// Bytes of the longest IP packet on it, from 576 (RFC 791) to 65535. IPv6 needs 1280.
    pub mtu_bytes: u16,
    /// What needs not be done here.
    pub offload: Offload,
    /// Counts up whenever anything of this changes, and whenever the peer is a new one: neighbours
    /// are told again then where we are.
    pub generation: u32,
}

/// What sends and receives Ethernet frames.
pub trait Device: Send {
    /// The link as it is now. Asked for each turn, so it is kept at hand.
    fn link(&self) -> &Link;

    /// The next frame that was received. `scratch` is [`MAX_FRAME_BYTES`] long: frames that do not
    /// lie in memory in one piece, or that others may still write to, are put together there.
    fn receive<'a>(&'a mut self, scratch: &'a mut [u8]) -> Option<RxFrame<'a>>;

    /// Whether there is room for one more frame of [`MAX_FRAME_BYTES`].
    fn can_transmit(&self) -> bool;

    /// Begins a frame: gives memory of [`TxFrame::len_bytes`] bytes, whose content is undefined,
    /// for all of it to be written. Only while [`Device::can_transmit`]; a frame begun all the same
    /// is written to memory of any kind, and lost.
    fn begin_frame(&mut self, frame: TxFrame) -> &mut [u8];

    /// Sends the frame that was begun last, which is whole now. It need not leave before
    /// [`Device::flush`]. A frame that another is begun after instead was given up.
    fn commit_frame(&mut self);

    /// Lets go what was sent and gives back what was received: the end of a batch.
    fn flush(&mut self);

    /// Ready if there is a frame to receive, if the link has changed since the last call, or if
    /// there is room again after [`Device::can_transmit`] said that there is none. Otherwise the
    /// waker is woken once any of these is so.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Has the device let frames to these groups through, and to no others. The broadcast address
    /// is always let through. A device that does not filter ignores it.
    fn set_groups(&mut self, _groups: &[MacAddr]) {}
}
