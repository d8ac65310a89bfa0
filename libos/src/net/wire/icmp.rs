//! ICMP and ICMPv6 (RFC 792, RFC 4443): echo, and what is said of packets that cannot be taken.

use super::checksum::Sum;
use super::{ip, protocol, put, u16_at, u32_at};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes before what a message carries.
pub const HEADER_BYTES: usize = 8;

/// A message that means something to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// To be sent back as it is.
    EchoRequest,
    /// A packet of ours was too long for a link on its way.
    TooBig {
        /// What would fit, in bytes; 0 if the router does not say.
        mtu: u32,
        /// The beginning of the packet.
        packet: &'a [u8],
    },
    /// A packet of ours did not arrive: there is no such port, host or network.
    Unreachable {
        /// The beginning of the packet.
        packet: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Parses the payload of an IP packet. [`None`] if it is broken, or nothing to us.
    pub fn parse(packet: &ip::Packet<'a>) -> Option<Self> {
        let message = packet.payload();
        if message.len() < HEADER_BYTES || !checksum_of(message, packet.source, packet.dest) {
            return None;
        }
        let rest = &message[HEADER_BYTES..];
        match (packet.protocol, message[0], message[1]) {
            (protocol::ICMP, 8, 0) | (protocol::ICMPV6, 128, 0) => Some(Self::EchoRequest),
            (protocol::ICMP, 3, 4) => {
                Some(Self::TooBig { mtu: u16_at(message, 6)?.into(), packet: rest })
            }
            (protocol::ICMPV6, 2, _) => {
                Some(Self::TooBig { mtu: u32_at(message, 4)?, packet: rest })
            }
            (protocol::ICMP, 3, _) | (protocol::ICMPV6, 1, _) => {
                Some(Self::Unreachable { packet: rest })
            }
            _ => None,
        }
    }
}

/// Whether a message's checksum is right.
pub fn checksum_of(message: &[u8], source: IpAddr, dest: IpAddr) -> bool {
    sum(message, source, dest).is_valid()
}

fn sum(message: &[u8], source: IpAddr, dest: IpAddr) -> Sum {
    let start = Sum::default();
    let start = if source.is_ipv4() {
        start
    } else {
        start.add_pseudo_header(source, dest, protocol::ICMPV6, message.len() as u32)
    };
    start.add(message)
}

/// Fills the checksum of a message in.
pub fn fill_checksum(message: &mut [u8], source: IpAddr, dest: IpAddr) {
    put(message, 2, &[0, 0]);
    let checksum = sum(message, source, dest).finish();
    put(message, 2, &checksum);
}

/// Turns an echo request into its reply.
pub fn make_echo_reply(message: &mut [u8], source: IpAddr, dest: IpAddr) {
    put(message, 0, &[if source.is_ipv4() { 0 } else { 129 }]);
    fill_checksum(message, source, dest);
}

/// Writes the message that says that a port is not in use; `packet` is how the packet began.
pub fn emit_port_unreachable(message: &mut [u8], packet: &[u8], source: IpAddr, dest: IpAddr) {
    // RFC 792, "Destination Unreachable", code 3; RFC 4443, section 3.1, code 4.
    let kind = if source.is_ipv4() { [3, 3] } else { [1, 4] };
    put(message, 0, &kind);
    put(message, 2, &[0; 6]);
    put(message, HEADER_BYTES, packet);
    fill_checksum(message, source, dest);
}

/// How much of a packet is sent back in an error: RFC 1812, section 4.3.2.3 and RFC 4443, section
/// 2.4.
pub const fn quoted_bytes(ipv4: bool) -> usize {
    if ipv4 {
        576 - ip::IPV4_HEADER_BYTES - HEADER_BYTES
    } else {
        1280 - ip::IPV6_HEADER_BYTES - HEADER_BYTES
    }
}

/// From and to whom a packet of ours was, of which an error quotes the beginning: addresses,
/// protocol, and the bytes that follow the header.
pub fn quoted_packet(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<{ ip::IPV4_HEADER_BYTES }>()?;
            let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
            let (source, dest) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
            let rest = packet.get(usize::from(header[0] & 0xf) * 4..)?;
            Some((source.into(), dest.into(), header[9], rest))
        }
        6 => {
            let source = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
            let dest = Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?);
            Some((source.into(), dest.into(), packet[6], packet.get(ip::IPV6_HEADER_BYTES..)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr};
    use std::vec;
    use std::vec::Vec;

    fn packet(source: IpAddr, dest: IpAddr, message: &[u8]) -> Vec<u8> {
        let protocol = if source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let payload_bytes = message.len() as u16;
        let header =
            ip::Header { source, dest, protocol, hop_limit: 64, payload_bytes, fragment: None };
        let mut bytes = vec![0; header.len()];
        header.emit(&mut bytes);
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn smoltcp_takes_the_echo_reply() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let mut message = [8, 0, 0, 0, 1, 2, 3, 4, 0xaa];
        fill_checksum(&mut message, a.into(), b.into());
        let bytes = packet(a.into(), b.into(), &message);
        let parsed = Message::parse(&ip::Packet::parse_ipv4(&bytes).unwrap());
        assert_eq!(parsed, Some(Message::EchoRequest));
        make_echo_reply(&mut message, b.into(), a.into());
        let reply = Icmpv4Packet::new_checked(&message[..]).unwrap();
        let repr = Icmpv4Repr::parse(&reply, &ChecksumCapabilities::default()).unwrap();
        assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 0x102, seq_no: 0x304, data: &[0xaa] });
    }

    #[test]
    fn smoltcp_takes_port_unreachable_over_ipv6() {
        let [a, b]: [Ipv6Addr; 2] = ["fe80::1", "fe80::2"].map(|text| text.parse().unwrap());
        let quoted = packet(a.into(), b.into(), &[7; 9]);
        let mut message = vec![0; HEADER_BYTES + quoted.len()];
        emit_port_unreachable(&mut message, &quoted, b.into(), a.into());
        let error = Icmpv6Packet::new_checked(&message[..]).unwrap();
        let repr = Icmpv6Repr::parse(&b, &a, &error, &ChecksumCapabilities::default()).unwrap();
        assert!(matches!(repr, Icmpv6Repr::DstUnreachable { .. }));
        let bytes = packet(b.into(), a.into(), &message);
        match Message::parse(&ip::Packet::parse_ipv6(&bytes).unwrap()) {
            Some(Message::Unreachable { packet }) => {
                let (source, dest, protocol, rest) = quoted_packet(packet).unwrap();
                assert_eq!((source, dest, protocol), (a.into(), b.into(), protocol::ICMPV6));
                assert_eq!(rest, [7; 9]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_broken_says_nothing() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let bytes = packet(a.into(), b.into(), &[8, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(Message::parse(&ip::Packet::parse_ipv4(&bytes).unwrap()), None);
        let bytes = packet(a.into(), b.into(), &[8, 0, 0xf7]);
        assert_eq!(Message::parse(&ip::Packet::parse_ipv4(&bytes).unwrap()), None);
        assert_eq!(quoted_packet(&[0x45; 19]), None);
        assert_eq!(quoted_packet(&[]), None);
    }
}
