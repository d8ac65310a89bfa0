//! What the stack itself reads of TCP headers: enough to find the connection, to answer who has
//! none, and to change the largest segment that a SYN announces. All else is smoltcp's.

use super::checksum::Sum;
use super::{protocol, put, u16_at};
use core::net::IpAddr;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Where the checksum's field begins in the header.
pub const CHECKSUM_AT: usize = 16;

/// Flags (RFC 9293, section 3.1).
pub mod flag {
    /// The sender has nothing more to send.
    pub const FIN: u8 = 0x01;
    /// The sequence numbers begin here.
    pub const SYN: u8 = 0x02;
    /// The connection does not exist.
    pub const RST: u8 = 0x04;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
}

/// The fixed fields of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The sender's port.
    pub source_port: u16,
    /// Our port.
    pub dest_port: u16,
    /// Number of the first byte.
    pub seq: u32,
    /// Number of the byte that the sender expects, with [`flag::ACK`].
    pub ack: u32,
    /// All flags.
    pub flags: u8,
    /// Bytes that the sender has room for, not scaled.
    pub window: u16,
    /// Bytes of the header, options included.
    pub header_bytes: usize,
}

impl Header {
    /// Parses a segment's header. [`None`] if it reaches beyond the segment.
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let fields = segment.first_chunk::<HEADER_BYTES>()?;
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, len, flags, w0, w1, ..] = *fields;
        let header_bytes = usize::from(len >> 4) * 4;
        if header_bytes < HEADER_BYTES || header_bytes > segment.len() {
            return None;
        }
        Some(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            dest_port: u16::from_be_bytes([d0, d1]),
            seq: u32::from_be_bytes([q0, q1, q2, q3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            flags,
            window: u16::from_be_bytes([w0, w1]),
            header_bytes,
        })
    }

    /// Whether all of these flags are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Whether of SYN, ACK, RST and FIN exactly these are set.
    pub fn is(&self, flags: u8) -> bool {
        self.flags & (flag::SYN | flag::ACK | flag::RST | flag::FIN) == flags
    }

    /// Sequence numbers that a segment of this length takes.
    pub fn sequence_len(&self, segment_bytes: usize) -> u32 {
        let control = u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN));
        control + segment_bytes.saturating_sub(self.header_bytes) as u32
    }

    /// Writes the fixed fields, the checksum and the urgent pointer zero. Options are the caller's.
    pub fn emit(&self, bytes: &mut [u8]) {
        put(bytes, 0, &self.source_port.to_be_bytes());
        put(bytes, 2, &self.dest_port.to_be_bytes());
        put(bytes, 4, &self.seq.to_be_bytes());
        put(bytes, 8, &self.ack.to_be_bytes());
        put(bytes, 12, &[((self.header_bytes / 4) << 4) as u8, self.flags]);
        put(bytes, 14, &self.window.to_be_bytes());
        put(bytes, CHECKSUM_AT, &[0; 4]);
    }
}

/// Ports and number of a segment of which only the beginning is quoted.
pub fn quoted(segment: &[u8]) -> Option<(u16, u16, u32)> {
    Some((u16_at(segment, 0)?, u16_at(segment, 2)?, super::u32_at(segment, 4)?))
}

/// Whether a segment's checksum says that nothing has changed on the way.
pub fn is_valid(segment: &[u8], source: IpAddr, dest: IpAddr) -> bool {
    let len = segment.len() as u32;
    Sum::default().add_pseudo_header(source, dest, protocol::TCP, len).add(segment).is_valid()
}

/// What a SYN offers (RFC 9293, section 3.2; RFC 7323; RFC 2018).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SynOptions {
    /// The longest payload that its sender accepts, in bytes.
    pub mss: Option<u16>,
    /// By how many bits its sender's windows are scaled.
    pub window_scale: Option<u8>,
    /// Whether its sender wants selective acknowledgments.
    pub sack: bool,
    /// Its timestamp.
    pub timestamp: Option<u32>,
}

impl SynOptions {
    /// Reads the options of a segment; what is malformed counts as absent, with all that follows.
    pub fn parse(segment: &[u8], header: &Header) -> Self {
        let mut found = Self::default();
        let mut options = segment.get(HEADER_BYTES..header.header_bytes).unwrap_or_default();
        while let Some((&kind, rest)) = options.split_first() {
            match kind {
                0 => break,
                1 => {
                    options = rest;
                    continue;
                }
                _ => {}
            }
            let len = rest.first().map_or(0, |&len| usize::from(len));
            let Some((option, after)) = options.split_at_checked(len) else { break };
            match *option {
                [2, 4, a, b] => {
                    found.mss = Some(u16::from_be_bytes([a, b])).filter(|&mss| mss != 0)
                }
                // RFC 7323, section 2.3: more than 14 counts as 14.
                [3, 3, scale] => found.window_scale = Some(scale.min(14)),
                [4, 2] => found.sack = true,
                [8, 10, a, b, c, d, ..] => found.timestamp = Some(u32::from_be_bytes([a, b, c, d])),
                [_, _, ..] => {}
                // A length of 0 or 1 would never end.
                _ => break,
            }
            options = after;
        }
        found
    }

    /// Writes the options, padded; how many bytes, at most 20.
    pub fn emit(&self, bytes: &mut [u8], echo: u32) -> usize {
        let mut at = 0;
        let mut write = |option: &[u8]| {
            put(bytes, at, option);
            at += option.len();
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            write(&[2, 4, a, b]);
        }
        if let Some(scale) = self.window_scale {
            write(&[1, 3, 3, scale]);
        }
        match (self.sack, self.timestamp) {
            (true, None) => write(&[1, 1, 4, 2]),
            (sack, Some(now)) => {
                write(if sack { &[4, 2, 8, 10] } else { &[1, 1, 8, 10] });
                write(&now.to_be_bytes());
                write(&echo.to_be_bytes());
            }
            (false, None) => {}
        }
        at
    }
}

/// Lowers the largest segment that a SYN announces; whether it was larger.
pub fn lower_mss(segment: &mut [u8], header_bytes: usize, limit: u16) -> bool {
    let mut at = HEADER_BYTES;
    while at < header_bytes.min(segment.len()) {
        let len = match segment[at] {
            0 => break,
            1 => 1,
            _ => usize::from(segment.get(at + 1).copied().unwrap_or(0)),
        };
        if segment[at] == 2 && len == 4 {
            let lower = u16_at(segment, at + 2).is_some_and(|mss| mss > limit);
            if lower {
                put(segment, at + 2, &limit.to_be_bytes());
            }
            return lower;
        }
        if len == 0 {
            break;
        }
        at += len;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::TcpPacket;
    use std::vec::Vec;

    fn segment(options: &[u8]) -> Vec<u8> {
        let header_bytes = HEADER_BYTES + options.len();
        let (flags, window) = (flag::SYN | flag::ACK, 0x1234);
        let header =
            Header { source_port: 1, dest_port: 2, seq: 3, ack: 4, flags, window, header_bytes };
        let mut bytes = [0xff; HEADER_BYTES].to_vec();
        header.emit(&mut bytes);
        bytes.extend_from_slice(options);
        assert_eq!(Header::parse(&bytes), Some(header));
        bytes
    }

    #[test]
    fn smoltcp_reads_what_is_written() {
        let offer =
            SynOptions { mss: Some(1460), window_scale: Some(3), sack: true, timestamp: Some(9) };
        let mut options = [0; 20];
        assert_eq!(offer.emit(&mut options, 7), 20);
        let bytes = segment(&options);
        let packet = TcpPacket::new_checked(&bytes[..]).unwrap();
        assert_eq!((packet.seq_number().0, packet.ack_number().0), (3, 4));
        assert!(packet.syn() && packet.ack() && !packet.rst());
        let summary = SynOptions::parse(&bytes, &Header::parse(&bytes).unwrap());
        assert_eq!(summary, offer);
        assert!(packet.selective_ack_permitted().unwrap());
    }

    #[test]
    fn only_a_larger_mss_is_lowered() {
        let mut bytes = segment(&[1, 1, 1, 1, 2, 4, 0x05, 0xb4]);
        assert!(!lower_mss(&mut bytes, 28, 1460));
        assert!(lower_mss(&mut bytes, 28, 1400));
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(SynOptions::parse(&bytes, &header).mss, Some(1400));
    }

    proptest! {
        #[test]
        fn options_of_any_kind_end(options in proptest::collection::vec(any::<u8>(), 0..10)) {
            let spread = |&byte: &u8| [byte % 9, byte / 40, byte, 2];
            let options: Vec<u8> = options.iter().flat_map(spread).collect();
            let mut bytes = segment(&options);
            let header = Header::parse(&bytes).unwrap();
            let before = SynOptions::parse(&bytes, &header);
            lower_mss(&mut bytes, header.header_bytes, 500);
            let after = SynOptions::parse(&bytes, &header);
            prop_assert_eq!(before.window_scale.is_some(), after.window_scale.is_some());
        }
    }
}
