//! IPv4 and IPv6 headers, parsed far enough to find out where a packet goes.
//!
//! ```text
//!   IPv4  [ header, 20 to 60 bytes | payload ]
//!   IPv6  [ header, 40 bytes | hop-by-hop | destination | routing | fragment | … | payload ]
//!                              ◀── skipped, at most MAX_EXTENSIONS of them ──▶
//! ```

use super::checksum::Sum;
use super::{put, u16_at, u32_at};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an IPv4 header without options.
pub const IPV4_HEADER_BYTES: usize = 20;
/// Bytes of an IPv6 header.
pub const IPV6_HEADER_BYTES: usize = 40;

/// How many extension headers are skipped; packets with more are dropped.
const MAX_EXTENSIONS: usize = 6;

/// Hop limit of what we send, where nothing else is asked for (IANA, "IP Option Numbers").
pub const HOP_LIMIT: u8 = 64;

/// A packet that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Who sent it, as it says.
    pub source: IpAddr,
    /// Whom it is for.
    pub dest: IpAddr,
    /// What the payload is: a number of [`super::protocol`].
    pub protocol: u8,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Set if this is a piece of a packet.
    pub fragment: Option<Fragment>,
    /// The whole packet, without what the link padded it with.
    pub bytes: &'a [u8],
    /// Where the payload begins in it.
    pub header_bytes: usize,
}

/// Which piece of a packet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The same for all pieces of a packet.
    pub id: u32,
    /// Where in the payload the piece belongs.
    pub offset_bytes: u16,
    /// Whether it is not the last.
    pub more: bool,
}

impl<'a> Packet<'a> {
    /// Parses an IPv4 packet. [`None`] if it is malformed or its header has changed on the way.
    pub fn parse_ipv4(bytes: &'a [u8]) -> Option<Self> {
        let start = bytes.first_chunk::<IPV4_HEADER_BYTES>()?;
        let header_bytes = usize::from(start[0] & 0xf) * 4;
        let total_bytes = usize::from(u16::from_be_bytes([start[2], start[3]]));
        if start[0] >> 4 != 4 || header_bytes < IPV4_HEADER_BYTES || total_bytes < header_bytes {
            return None;
        }
        let bytes = bytes.get(..total_bytes)?;
        if !Sum::default().add(&bytes[..header_bytes]).is_valid() {
            return None;
        }
        // Bit 13 says that more follow; the 13 bits below count units of 8 bytes (RFC 791).
        let field = u16::from_be_bytes([start[6], start[7]]);
        let fragment = (field & 0x3fff != 0).then(|| Fragment {
            id: u32::from(u16::from_be_bytes([start[4], start[5]])),
            offset_bytes: field << 3,
            more: field & 0x2000 != 0,
        });
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *start;
        Some(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            dest: Ipv4Addr::new(d0, d1, d2, d3).into(),
            protocol: start[9],
            hop_limit: start[8],
            fragment,
            bytes,
            header_bytes,
        })
    }

    /// Parses an IPv6 packet. [`None`] if it is malformed or asks for what we do not do.
    pub fn parse_ipv6(bytes: &'a [u8]) -> Option<Self> {
        let start = bytes.first_chunk::<IPV6_HEADER_BYTES>()?;
        let payload_bytes = usize::from(u16::from_be_bytes([start[4], start[5]]));
        if start[0] >> 4 != 6 {
            return None;
        }
        let mut packet = Self {
            source: Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into(),
            dest: Ipv6Addr::from(*bytes.get(24..)?.first_chunk::<16>()?).into(),
            protocol: start[6],
            hop_limit: start[7],
            fragment: None,
            bytes: bytes.get(..IPV6_HEADER_BYTES + payload_bytes)?,
            header_bytes: IPV6_HEADER_BYTES,
        };
        if extension::is_one(packet.protocol) {
            packet.skip_extensions()?;
        }
        Some(packet)
    }

    /// The packet's payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_bytes..]
    }

    /// Whether the header is as short as it can be.
    pub fn is_plain(&self) -> bool {
        let plain = if self.source.is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES };
        self.header_bytes == plain
    }

    #[cold]
    fn skip_extensions(&mut self) -> Option<()> {
        for _ in 0..MAX_EXTENSIONS {
            let header = &self.bytes[self.header_bytes..];
            match self.protocol {
                extension::FRAGMENT => {
                    let field = u16_at(header, 2)?;
                    let fragment = Fragment {
                        id: u32_at(header, 4)?,
                        offset_bytes: field & !7,
                        more: field & 1 != 0,
                    };
                    // "Atomic" fragments are whole packets (RFC 6946).
                    self.fragment =
                        (fragment.more || fragment.offset_bytes != 0).then_some(fragment);
                    self.step(header, 8)?;
                    if self.fragment.is_some() {
                        return Some(());
                    }
                }
                extension::HOP_BY_HOP | extension::DESTINATION => {
                    let len = extension::len(header)?;
                    extension::may_be_skipped(header.get(2..len)?).then_some(())?;
                    self.step(header, len)?;
                }
                extension::ROUTING => {
                    // Somebody else's turn to route it (RFC 8200, section 4.4).
                    (*header.get(3)? == 0).then_some(())?;
                    self.step(header, extension::len(header)?)?;
                }
                _ => return Some(()),
            }
        }
        None
    }

    fn step(&mut self, header: &[u8], len: usize) -> Option<()> {
        self.protocol = *header.first()?;
        self.header_bytes += len;
        (self.header_bytes <= self.bytes.len()).then_some(())
    }
}

/// IPv6's extension headers (RFC 8200, section 4).
mod extension {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const DESTINATION: u8 = 60;

    pub fn is_one(protocol: u8) -> bool {
        matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
    }

    /// The length that a header tells, in bytes.
    pub fn len(header: &[u8]) -> Option<usize> {
        Some(usize::from(*header.get(1)?) * 8 + 8)
    }

    /// Whether all unknown options allow that: the two highest bits of their types are zero.
    pub fn may_be_skipped(mut options: &[u8]) -> bool {
        while let Some((&kind, rest)) = options.split_first() {
            let len = match kind {
                0 => 0,
                _ if kind & 0xc0 != 0 => return false,
                _ => match rest.first() {
                    Some(&len) => usize::from(len) + 1,
                    None => return false,
                },
            };
            match rest.get(len..) {
                Some(rest) => options = rest,
                None => return false,
            }
        }
        true
    }
}

/// A header to be written.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Us.
    pub source: IpAddr,
    /// Whom it is for, of the same version.
    pub dest: IpAddr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Bytes that follow the header.
    pub payload_bytes: u16,
    /// Which piece of a packet it is. IPv4 only: IPv6 has an extension header for it.
    pub fragment: Option<Fragment>,
}

impl Header {
    /// Bytes of the header.
    pub fn len(&self) -> usize {
        if self.source.is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES }
    }

    /// Writes the header.
    pub fn emit(&self, bytes: &mut [u8]) {
        match (self.source, self.dest) {
            (IpAddr::V4(source), IpAddr::V4(dest)) => self.emit_ipv4(source, dest, bytes),
            (IpAddr::V6(source), IpAddr::V6(dest)) => self.emit_ipv6(source, dest, bytes),
            _ => {}
        }
    }

    fn emit_ipv4(&self, source: Ipv4Addr, dest: Ipv4Addr, bytes: &mut [u8]) {
        let Some(header) = bytes.first_chunk_mut::<IPV4_HEADER_BYTES>() else { return };
        // What is not fragmented must not be on the way either: path MTU discovery.
        let (id, field) = match self.fragment {
            Some(piece) => {
                (piece.id as u16, piece.offset_bytes >> 3 | if piece.more { 0x2000 } else { 0 })
            }
            None => (0, 0x4000),
        };
        *header = [0; IPV4_HEADER_BYTES];
        header[0] = 0x45;
        let total_bytes = IPV4_HEADER_BYTES as u16 + self.payload_bytes;
        put(header, 2, &total_bytes.to_be_bytes());
        put(header, 4, &id.to_be_bytes());
        put(header, 6, &field.to_be_bytes());
        header[8] = self.hop_limit;
        header[9] = self.protocol;
        put(header, 12, &source.octets());
        put(header, 16, &dest.octets());
        let checksum = Sum::default().add(header).finish();
        put(header, 10, &checksum);
    }

    fn emit_ipv6(&self, source: Ipv6Addr, dest: Ipv6Addr, bytes: &mut [u8]) {
        let Some(header) = bytes.first_chunk_mut::<IPV6_HEADER_BYTES>() else { return };
        header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        put(header, 4, &self.payload_bytes.to_be_bytes());
        header[6] = self.protocol;
        header[7] = self.hop_limit;
        put(header, 8, &source.octets());
        put(header, 24, &dest.octets());
    }
}

#[cfg(test)]
#[path = "ip_tests.rs"]
mod tests;
