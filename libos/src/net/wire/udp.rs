//! The UDP header (RFC 768).

use super::checksum::Sum;
use super::{protocol, put};
use core::net::IpAddr;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// A datagram that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// Our port.
    pub dest_port: u16,
    /// Whether it has a checksum: over IPv4 it need not.
    pub has_checksum: bool,
    /// The datagram, without what follows it.
    pub bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Parses a datagram.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len < HEADER_BYTES {
            return None;
        }
        Some(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            dest_port: u16::from_be_bytes([d0, d1]),
            has_checksum: [c0, c1] != [0, 0],
            bytes: bytes.get(..len)?,
        })
    }

    /// What was sent.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Whether nothing has changed on the way.
    pub fn is_valid(&self, source: IpAddr, dest: IpAddr) -> bool {
        if !self.has_checksum {
            // RFC 8200, section 8.1: over IPv6 there must be one.
            return source.is_ipv4();
        }
        let len = self.bytes.len() as u32;
        let sum = Sum::default().add_pseudo_header(source, dest, protocol::UDP, len);
        sum.add(self.bytes).is_valid()
    }
}

/// Where the checksum's field begins in the header.
pub const CHECKSUM_AT: usize = 6;

/// Writes a header, its checksum zero.
pub fn emit(bytes: &mut [u8], source_port: u16, dest_port: u16, len: u16) {
    put(bytes, 0, &source_port.to_be_bytes());
    put(bytes, 2, &dest_port.to_be_bytes());
    put(bytes, 4, &len.to_be_bytes());
    put(bytes, CHECKSUM_AT, &[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut bytes = [0; 12];
        emit(&mut bytes, 0x1234, 53, 10);
        assert_eq!(bytes[..8], [0x12, 0x34, 0, 53, 0, 10, 0, 0]);
        let datagram = Datagram::parse(&bytes).unwrap();
        assert_eq!((datagram.source_port, datagram.dest_port), (0x1234, 53));
        assert_eq!(datagram.payload().len(), 2);
        for len in [0, 7, 13, 0xffff] {
            emit(&mut bytes, 1, 2, len);
            assert_eq!(Datagram::parse(&bytes), None);
        }
        assert_eq!(Datagram::parse(&bytes[..7]), None);
    }

    #[test]
    fn only_ipv4_does_without_a_checksum() {
        let bytes = [0, 1, 0, 2, 0, 8, 0, 0];
        let datagram = Datagram::parse(&bytes).unwrap();
        let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), "::1".parse().unwrap());
        assert!(datagram.is_valid(v4, v4));
        assert!(!datagram.is_valid(v6, v6));
    }
}
