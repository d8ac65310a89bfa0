//! smoltcp, one connection at a time: what turns segments into a stream and back.
//!
//! smoltcp's interface goes through all sockets of a set for each packet, and again for each poll.
//! So each connection has a set of its own, and is given exactly the packets that are its:
//!
//! ```text
//!   packet ─▶ table ─▶ connection ─▶ receive(set of one) ─▶ reply, if it is due at once
//!   work to do ──────▶ connection ─▶ transmit(set of one) ─▶ one segment, as long as may be
//! ```
//!
//! An engine has no state that belongs to a connection. It works on IP packets; addresses,
//! neighbours and checksums are not its business.

use crate::net::device::{ETHERNET_HEADER_BYTES, MAX_FRAME_BYTES, MacAddr, Segments};
use crate::net::port::{Outgoing, Port, Transport};
use crate::net::wire::ethernet::EtherType;
use crate::net::wire::{ip, put, tcp};
use crate::time::Instant;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};
use smoltcp::iface::{Config, Context, Interface, SocketSet};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::HardwareAddress;

/// What a link means to TCP, for one version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Whether the packets are IPv6's.
    pub ipv6: bool,
    /// Bytes of the longest packet.
    pub mtu_bytes: u16,
    /// Whether longer packets are cut into segments by the device.
    pub large: bool,
}

impl Path {
    /// Bytes of IP and TCP headers without options.
    fn header_bytes(self) -> u16 {
        let ip = if self.ipv6 { ip::IPV6_HEADER_BYTES } else { ip::IPV4_HEADER_BYTES };
        (ip + tcp::HEADER_BYTES) as u16
    }

    /// The largest segment: what we announce, and do not exceed.
    pub fn mss(self) -> u16 {
        self.mtu_bytes.saturating_sub(self.header_bytes()).max(48)
    }

    /// What smoltcp is told the longest packet is. Over IPv6 it drops what is longer, also if the
    /// device would cut it; so it is told of no limit, and the largest segment is kept in the SYNs.
    fn told_mtu(self) -> usize {
        if self.ipv6 && self.large { 65_535 } else { self.mtu_bytes.into() }
    }

    fn capabilities(self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.told_mtu();
        // Of what comes in all checksums are verified before; of what goes out TCP's are filled in
        // after.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::None;
        let longest = NonZeroUsize::new(MAX_FRAME_BYTES - ETHERNET_HEADER_BYTES);
        if self.large && self.ipv6 {
            capabilities.segmentation.tcpv6 = longest;
        } else if self.large {
            capabilities.segmentation.tcpv4 = longest;
        }
        capabilities
    }
}

/// Time as smoltcp counts it.
pub fn smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros((now.as_nanos() / 1000) as i64)
}

/// Time as we count it.
fn ours(time: SmolInstant) -> Instant {
    Instant::from_nanos(u64::try_from(time.total_micros()).unwrap_or(0).saturating_mul(1000))
}

/// The part of smoltcp that all connections over a path share.
pub struct Engine {
    interface: Interface,
    path: Path,
}

impl Engine {
    /// An engine. Each sequence of numbers begins where `seed` says: see [`first_number`].
    pub fn new(path: Path, seed: u64, now: Instant) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut wire = Wire { packet: None, out: Out::Reply(&mut Reply::default()), path };
        let mut interface = Interface::new(config, &mut wire, smol(now));
        // Whether an address is ours was asked before.
        interface.set_any_ip(true);
        Self { interface, path }
    }

    /// The path that it is for.
    pub fn path(&self) -> Path {
        self.path
    }

    /// What some functions of sockets ask for.
    pub fn context(&mut self) -> &mut Context {
        self.interface.context()
    }

    /// Gives a connection a packet. What it answers at once, without data, is in `reply` then.
    pub fn receive(
        &mut self,
        now: SmolInstant,
        set: &mut SocketSet<'static>,
        packet: &[u8],
        reply: &mut Reply,
    ) {
        let mut wire = Wire { packet: Some(packet), out: Out::Reply(reply), path: self.path };
        self.interface.poll_ingress_single(now, &mut wire, set);
    }

    /// Lets a connection send one segment; which, if it wanted to.
    pub fn transmit(
        &mut self,
        now: SmolInstant,
        set: &mut SocketSet<'static>,
        outlet: Outlet<'_>,
    ) -> Option<Sent> {
        let mut wire = Wire { packet: None, out: Out::Outlet(outlet), path: self.path };
        self.interface.poll_egress(now, &mut wire, set);
        match wire.out {
            Out::Outlet(outlet) => outlet.sent,
            Out::Reply(_) => None,
        }
    }

    /// Has a connection write its next segment to memory.
    pub fn transmit_to(
        &mut self,
        now: SmolInstant,
        set: &mut SocketSet<'static>,
        reply: &mut Reply,
    ) {
        let mut wire = Wire { packet: None, out: Out::Reply(reply), path: self.path };
        self.interface.poll_egress(now, &mut wire, set);
    }

    /// When a connection wants to be let send: never, if it waits for packets alone.
    pub fn poll_at(&mut self, now: SmolInstant, set: &SocketSet<'static>) -> Option<Instant> {
        self.interface.poll_at(now, set).map(ours)
    }
}

/// The sequence number that a connection begins with if it is opened with a fresh engine of this
/// seed: what smoltcp's generator (sPCG32) gives after the engine has taken its first IPv4
/// identification from it, which is not zero. A test says if that ever changes.
pub fn first_number(seed: u64) -> u32 {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0xbb2e_fcec_3c39_611d).wrapping_add(0x7590_ef39);
        (state >> (29 - (state >> 61))) as u32
    };
    loop {
        let number = next();
        if (number ^ number >> 16) as u16 != 0 {
            return next();
        }
    }
}

/// A packet that answers the one that is being received. It is sent when that is no longer in use.
#[derive(Default)]
pub struct Reply {
    /// The packet; empty if there is none.
    pub packet: Vec<u8>,
}

impl Reply {
    /// Memory for a packet of this length.
    pub fn begin(&mut self, len_bytes: usize) -> &mut [u8] {
        self.packet.clear();
        self.packet.resize(len_bytes, 0);
        &mut self.packet
    }
}

/// A port, for the segments of one connection.
pub struct Outlet<'a> {
    /// The port; it has room.
    pub port: &'a mut Port,
    /// To which station.
    pub to: MacAddr,
    /// Payload of each segment that the device makes of a longer one, where smoltcp does not say.
    pub segment_bytes: u16,
    /// The number after the highest that was sent before.
    pub next_number: Option<u32>,
    /// What was sent.
    pub sent: Option<Sent>,
}

/// A segment that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its header.
    pub header: tcp::Header,
    /// Numbers that it takes: bytes, and one each for SYN and FIN.
    pub sequence_len: u32,
}

/// Where segments go.
enum Out<'a> {
    Outlet(Outlet<'a>),
    Reply(&'a mut Reply),
}

/// What smoltcp takes for its device: one packet in, packets out.
struct Wire<'a> {
    packet: Option<&'a [u8]>,
    out: Out<'a>,
    path: Path,
}

impl<'a> phy::Device for Wire<'a> {
    type RxToken<'b>
        = Rx<'a>
    where
        Self: 'b;
    type TxToken<'b>
        = Tx<'b, 'a>
    where
        Self: 'b;

    fn receive(&mut self, _now: SmolInstant) -> Option<(Rx<'a>, Tx<'_, 'a>)> {
        let packet = self.packet.take()?;
        Some((Rx(packet), Tx { out: &mut self.out, path: self.path, segment_bytes: None }))
    }

    fn transmit(&mut self, _now: SmolInstant) -> Option<Tx<'_, 'a>> {
        Some(Tx { out: &mut self.out, path: self.path, segment_bytes: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.path.capabilities()
    }
}

struct Rx<'a>(&'a [u8]);

impl phy::RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

struct Tx<'b, 'a> {
    out: &'b mut Out<'a>,
    path: Path,
    segment_bytes: Option<NonZeroU16>,
}

impl Tx<'_, '_> {
    /// What the port is to know of a packet.
    fn outgoing(&self, outlet: &Outlet<'_>, len_bytes: usize) -> Outgoing {
        let Path { ipv6, mtu_bytes, .. } = self.path;
        let (kind, header_bytes) = match ipv6 {
            true => (EtherType::IPV6, ip::IPV6_HEADER_BYTES),
            false => (EtherType::IPV4, ip::IPV4_HEADER_BYTES),
        };
        let unsaid =
            NonZeroU16::new(outlet.segment_bytes).filter(|_| ipv6 && len_bytes > mtu_bytes.into());
        let size = self.segment_bytes.or(unsaid);
        Outgoing {
            to: outlet.to,
            kind,
            len_bytes,
            transport: Some(Transport::tcp(header_bytes)),
            segments: size.map(|size| Segments { size, ipv6 }),
        }
    }
}

impl phy::TxToken for Tx<'_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let (outgoing, next_number) = match &*self.out {
            Out::Outlet(outlet) => (Some(self.outgoing(outlet, len)), outlet.next_number),
            Out::Reply(_) => (None, None),
        };
        let (packet, open) = match (&mut *self.out, &outgoing) {
            (Out::Outlet(outlet), Some(outgoing)) => {
                let (packet, open) = outlet.port.open(outgoing);
                (packet, Some(open))
            }
            (Out::Outlet(_), None) => (&mut [][..], None),
            (Out::Reply(reply), _) => (reply.begin(len), None),
        };
        let result = write(packet);
        let (Some(outgoing), Some(open)) = (outgoing, open) else { return result };
        let sent = sent(packet, self.path, next_number);
        open.close(packet, outgoing.transport);
        if let Out::Outlet(outlet) = self.out {
            outlet.port.commit(&outgoing);
            outlet.sent = sent;
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment_bytes = meta.segmentation_offload_size;
    }
}

/// Reads what smoltcp has written, and corrects what it cannot know: the largest segment that a SYN
/// may announce, and the number of an acknowledgment.
fn sent(packet: &mut [u8], path: Path, next_number: Option<u32>) -> Option<Sent> {
    let ip_bytes = if path.ipv6 { ip::IPV6_HEADER_BYTES } else { ip::IPV4_HEADER_BYTES };
    let segment = packet.get_mut(ip_bytes..)?;
    let header = tcp::Header::parse(segment)?;
    if header.has(tcp::flag::SYN) {
        tcp::lower_mss(segment, header.header_bytes, path.mss());
    }
    let mut sent = Sent { header, sequence_len: header.sequence_len(segment.len()) };
    correct_number(segment, &mut sent, next_number);
    Some(sent)
}

/// An acknowledgment without data has the number after the highest that was sent (RFC 9293, section
/// 3.10.7.4: SND.NXT). smoltcp goes back with that number when it sends again. Then the peer, who
/// has got further already, takes the acknowledgment for an old segment and does not look at it;
/// and if both sides are in that state, neither ever gets out of it.
pub fn correct_number(segment: &mut [u8], sent: &mut Sent, next_number: Option<u32>) {
    if let Some(next) = next_number
        && sent.sequence_len == 0
        && sent.header.is(tcp::flag::ACK)
        && (next.wrapping_sub(sent.header.seq) as i32) > 0
    {
        sent.header.seq = next;
        put(segment, 4, &next.to_be_bytes());
    }
}
