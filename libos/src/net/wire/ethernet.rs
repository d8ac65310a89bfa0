//! The Ethernet header: who it is for, who it is from, what is inside.

use crate::net::device::{ETHERNET_HEADER_BYTES, MacAddr};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is inside a frame (IANA, "IEEE 802 Numbers").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);

    /// The one of packets to or from this address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IPV4 } else { Self::IPV6 }
    }
}

/// A parsed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whom it is for.
    pub dest: MacAddr,
    /// Whom it is from.
    pub source: MacAddr,
    /// What is inside.
    pub kind: EtherType,
}

impl Header {
    /// Splits a frame into header and payload.
    pub fn parse(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, payload) = frame.split_first_chunk::<ETHERNET_HEADER_BYTES>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, k0, k1] = *header;
        let header = Self {
            dest: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            kind: EtherType(u16::from_be_bytes([k0, k1])),
        };
        Some((header, payload))
    }

    /// Writes the header and gives what follows it.
    pub fn emit(self, frame: &mut [u8]) -> &mut [u8] {
        let (MacAddr([d0, d1, d2, d3, d4, d5]), MacAddr([s0, s1, s2, s3, s4, s5])) =
            (self.dest, self.source);
        let [k0, k1] = self.kind.0.to_be_bytes();
        match frame.split_first_chunk_mut::<ETHERNET_HEADER_BYTES>() {
            Some((header, payload)) => {
                *header = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, k0, k1];
                payload
            }
            None => &mut [],
        }
    }
}

/// The group that a multicast address is sent to (RFC 1112, section 6.4; RFC 2464, section 7).
pub fn group_of(address: IpAddr) -> MacAddr {
    match address {
        IpAddr::V4(address) => ipv4_group(address),
        IpAddr::V6(address) => ipv6_group(address),
    }
}

fn ipv4_group(address: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = address.octets();
    MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

fn ipv6_group(address: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = address.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_fourteen_bytes() {
        let header = Header {
            dest: MacAddr([1, 2, 3, 4, 5, 6]),
            source: MacAddr([7, 8, 9, 10, 11, 12]),
            kind: EtherType::IPV6,
        };
        let mut frame = [0xee; 16];
        assert_eq!(header.emit(&mut frame), [0xee; 2]);
        assert_eq!(frame, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd, 0xee, 0xee]);
        assert_eq!(Header::parse(&frame), Some((header, &[0xee; 2][..])));
        assert_eq!(Header::parse(&frame[..13]), None);
        assert!(header.emit(&mut frame[..13]).is_empty());
    }

    #[test]
    fn groups_are_those_of_the_rfcs() {
        let all_hosts = group_of(Ipv4Addr::new(224, 128, 0, 1).into());
        assert_eq!(all_hosts, MacAddr([0x01, 0x00, 0x5e, 0, 0, 1]));
        let all_nodes = group_of("ff02::1".parse().unwrap());
        assert_eq!(all_nodes, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
        assert!(all_hosts.is_group() && all_nodes.is_group() && MacAddr::BROADCAST.is_group());
    }
}
