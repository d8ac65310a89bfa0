//! Where the headers of a TCP or UDP packet are.
//!
//! ```text
//!   0          14            transport                       end
//!   ├ Ethernet ┼ IP ─────────┼ TCP or UDP header ┼ payload ──┤ padding
//! ```

use xen_abi::netif::ETHERNET_HEADER_BYTES;

/// Which IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which protocol over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// Its number in an IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Where its checksum is, from the beginning of its header.
    pub(super) const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }

    const fn header_bytes_min(self) -> usize {
        match self {
            Self::Tcp => 20,
            Self::Udp => 8,
        }
    }
}

/// Headers of an unfragmented TCP or UDP packet: all of them are inside the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// The IP header's kind. It begins after the Ethernet header.
    pub version: IpVersion,
    /// What follows the IP header.
    pub transport: Transport,
    /// Where that begins.
    pub transport_at: usize,
    /// Where its payload ends: padding may follow.
    pub end: usize,
}

/// Where the IP header begins.
pub(super) const IP_AT: usize = ETHERNET_HEADER_BYTES;
/// IPv6 extension headers that are skipped at the most.
const EXTENSIONS_MAX: usize = 4;

impl Headers {
    /// The headers of a frame; nothing if it is no whole TCP or UDP packet: another protocol, a
    /// fragment, or lengths that lead outside.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        match half(frame, 12)? {
            0x0800 => Self::parse_v4(frame),
            0x86dd => Self::parse_v6(frame),
            _ => None,
        }
    }

    fn parse_v4(frame: &[u8]) -> Option<Self> {
        let first = *frame.get(IP_AT)?;
        let header_bytes = usize::from(first & 0xf) * 4;
        // RFC 791: the first 20 bytes are always there.
        if first >> 4 != 4 || header_bytes < 20 {
            return None;
        }
        // Bit 13: more fragments follow; below it the offset of this one.
        let fragment = half(frame, IP_AT + 6)? & 0x3fff;
        let transport = Transport::from_number(*frame.get(IP_AT + 9)?)?;
        let total_bytes = usize::from(half(frame, IP_AT + 2)?);
        if fragment != 0 || total_bytes < header_bytes {
            return None;
        }
        let (transport_at, end) = (IP_AT + header_bytes, IP_AT + total_bytes);
        Self { version: IpVersion::V4, transport, transport_at, end }.checked(frame)
    }

    fn parse_v6(frame: &[u8]) -> Option<Self> {
        if frame.get(IP_AT)? >> 4 != 6 {
            return None;
        }
        let end = IP_AT + 40 + usize::from(half(frame, IP_AT + 4)?);
        let mut next = *frame.get(IP_AT + 6)?;
        let mut at = IP_AT + 40;
        // RFC 8200: hop-by-hop (0) and destination (60) options do not change what the checksum
        // covers.
        for _ in 0..EXTENSIONS_MAX {
            if next != 0 && next != 60 {
                break;
            }
            next = *frame.get(at)?;
            at += 8 + 8 * usize::from(*frame.get(at + 1)?);
        }
        let transport = Transport::from_number(next)?;
        Self { version: IpVersion::V6, transport, transport_at: at, end }.checked(frame)
    }

    /// The same, if it all lies within the frame. A UDP packet ends where its own header says.
    fn checked(mut self, frame: &[u8]) -> Option<Self> {
        let room = self.end.min(frame.len()).checked_sub(self.transport_at)?;
        if self.end > frame.len() || room < self.transport.header_bytes_min() {
            return None;
        }
        if self.transport == Transport::Udp {
            let bytes = usize::from(half(frame, self.transport_at + 4)?);
            if bytes < self.transport.header_bytes_min() || bytes > room {
                return None;
            }
            self.end = self.transport_at + bytes;
        }
        Some(self)
    }

    /// Where the transport's checksum is.
    pub(super) fn checksum_at(&self) -> usize {
        self.transport_at + self.transport.checksum_at()
    }

    /// Where source and destination address are, one after the other.
    pub(super) fn addresses(&self) -> core::ops::Range<usize> {
        match self.version {
            IpVersion::V4 => IP_AT + 12..IP_AT + 20,
            IpVersion::V6 => IP_AT + 8..IP_AT + 40,
        }
    }

    /// Bytes of the transport's header and payload.
    pub(super) fn transport_bytes(&self) -> usize {
        self.end - self.transport_at
    }
}

/// The 16 bits at `at`, in network byte order.
pub(super) fn half(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// Writes 16 bits at `at`, in network byte order; beyond the end nothing.
pub(super) fn set_half(frame: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = frame.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::offload::tests::{tcp_v4, tcp_v6, udp_v4};
    use proptest::prelude::*;

    #[test]
    fn headers_are_where_the_standards_put_them() {
        let v4 = Headers::parse(&tcp_v4(b"hello")).unwrap();
        assert_eq!((v4.version, v4.transport), (IpVersion::V4, Transport::Tcp));
        assert_eq!((v4.transport_at, v4.end), (34, 34 + 20 + 5));
        let v6 = Headers::parse(&tcp_v6(b"hello")).unwrap();
        assert_eq!((v6.transport_at, v6.end), (54, 54 + 20 + 5));
        let udp = Headers::parse(&udp_v4(b"hello")).unwrap();
        assert_eq!((udp.transport, udp.end), (Transport::Udp, 34 + 8 + 5));
    }

    #[test]
    fn padding_is_not_part_of_the_packet() {
        let mut frame = tcp_v4(b"");
        frame.resize(60, 0);
        assert_eq!(Headers::parse(&frame).unwrap().end, 54);
    }

    #[test]
    fn options_before_the_transport_are_skipped() {
        let mut frame = tcp_v6(b"hello");
        // Hop-by-hop options of 16 bytes between the IP and the TCP header.
        let options = [[6, 1, 1, 12, 0, 0, 0, 0], [0; 8]].concat();
        frame.splice(54..54, options);
        (frame[14 + 5], frame[14 + 6]) = (20 + 5 + 16, 0);
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!((headers.transport_at, headers.end), (70, 70 + 25));
    }

    #[test]
    fn fragments_and_broken_lengths_are_left_alone() {
        let broken: [fn(&mut std::vec::Vec<u8>); 7] = [
            |frame| frame[12] = 9,
            |frame| frame[14] = 0x44,
            |frame| frame[14] = 0x65,
            |frame| frame[20] = 0x20,
            |frame| frame[21] = 1,
            |frame| frame[17] += 1,
            |frame| frame.truncate(53),
        ];
        for (index, change) in broken.into_iter().enumerate() {
            let mut frame = tcp_v4(b"");
            change(&mut frame);
            assert_eq!(Headers::parse(&frame), None, "change {index}");
        }
        let mut udp = udp_v4(b"hello");
        udp[34 + 5] = 14;
        assert_eq!(Headers::parse(&udp), None, "longer than the IP packet");
        udp[34 + 5] = 7;
        assert_eq!(Headers::parse(&udp), None, "shorter than its header");
    }

    proptest! {
        #[test]
        fn what_is_found_lies_within_the_frame(
            mut frame in proptest::collection::vec(any::<u8>(), 0..120),
            v6: bool,
            protocol in prop_oneof![Just(6u8), Just(17), Just(0), any::<u8>()],
        ) {
            if frame.len() > 24 {
                (frame[12], frame[13]) = if v6 { (0x86, 0xdd) } else { (8, 0) };
                frame[14] = if v6 { 0x60 } else { 0x45 };
                frame[if v6 { 20 } else { 23 }] = protocol;
                (frame[if v6 { 18 } else { 16 }], frame[20]) = (0, frame[20] & 0x4f);
            }
            if let Some(headers) = Headers::parse(&frame) {
                prop_assert!(headers.addresses().end <= headers.transport_at);
                prop_assert!(headers.checksum_at() + 2 <= headers.end);
                prop_assert!(headers.end <= frame.len());
            }
        }
    }
}
