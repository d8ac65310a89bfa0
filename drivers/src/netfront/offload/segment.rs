//! A large TCP packet cut into segments, for backends that do not do it.
//!
//! ```text
//!   headers │ payload of 3.5 segments          one packet, length up to 64 KiB
//!   headers │ 1448      headers │ 1448      headers │ 1448      headers │ 724
//!    id 7                id 8                id 9                id 10
//!    seq n               seq n + 1448        seq n + 2896        seq n + 4344
//!    CWR                                                         FIN PSH
//! ```

use super::checksum;
use super::headers::{Headers, IP_AT, IpVersion, Transport, half, set_half};

/// TCP flags.
const FIN: u8 = 1 << 0;
const PSH: u8 = 1 << 3;
const CWR: u8 = 1 << 7;

/// The segments of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    frame: &'a [u8],
    headers: Headers,
    payload_at: usize,
    mss_bytes: usize,
}

impl<'a> Segments<'a> {
    /// The segments of a TCP packet, each with `mss_bytes` of its payload and the last one with the
    /// rest; nothing if it is no TCP packet or its header leads outside.
    pub fn new(frame: &'a [u8], mss_bytes: u16) -> Option<Self> {
        let headers = Headers::parse(frame)?;
        if headers.transport != Transport::Tcp || mss_bytes == 0 {
            return None;
        }
        let tcp_bytes = usize::from(frame.get(headers.transport_at + 12)? >> 4) * 4;
        let payload_at = headers.transport_at + tcp_bytes;
        if tcp_bytes < 20 || payload_at > headers.end {
            return None;
        }
        Some(Self { frame, headers, payload_at, mss_bytes: usize::from(mss_bytes) })
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        (self.headers.end - self.payload_at).div_ceil(self.mss_bytes).max(1)
    }

    /// Bytes of segment `index`, with all headers.
    pub fn len_bytes(&self, index: usize) -> usize {
        self.payload_at + self.payload(index).len()
    }

    /// Writes segment `index` into `to`, which is as long as it. Its TCP checksum is still to be
    /// filled in.
    pub fn write(&self, index: usize, to: &mut [u8]) {
        let (head, body) = to.split_at_mut(self.payload_at.min(to.len()));
        if let Some(headers) = self.frame.get(..head.len()) {
            head.copy_from_slice(headers);
        }
        let payload = self.payload(index);
        if body.len() == payload.len() {
            body.copy_from_slice(payload);
        }
        self.adapt_ip(index, head, payload.len());
        self.adapt_tcp(index, head);
    }

    fn payload(&self, index: usize) -> &'a [u8] {
        let start = self.payload_at.saturating_add(index.saturating_mul(self.mss_bytes));
        let end = start.saturating_add(self.mss_bytes).min(self.headers.end);
        self.frame.get(start..end).unwrap_or_default()
    }

    fn adapt_ip(&self, index: usize, head: &mut [u8], payload_bytes: usize) {
        let ip_bytes = (self.payload_at - IP_AT + payload_bytes) as u16;
        match self.headers.version {
            IpVersion::V4 => {
                let id = half(head, IP_AT + 4).unwrap_or(0).wrapping_add(index as u16);
                set_half(head, IP_AT + 2, ip_bytes);
                set_half(head, IP_AT + 4, id);
                let header = head.get(IP_AT..self.headers.transport_at).unwrap_or_default();
                let sum = checksum::ipv4_header(header);
                set_half(head, IP_AT + 10, sum);
            }
            IpVersion::V6 => set_half(head, IP_AT + 4, ip_bytes - 40),
        }
    }

    fn adapt_tcp(&self, index: usize, head: &mut [u8]) {
        let at = self.headers.transport_at;
        if let Some(field) = head.get_mut(at + 4..at + 8) {
            let first = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            let sequence = first.wrapping_add((index * self.mss_bytes) as u32);
            field.copy_from_slice(&sequence.to_be_bytes());
        }
        if let Some(flags) = head.get_mut(at + 13) {
            // RFC 3168, 6.1.2: the window was reduced once.
            *flags &= if index == 0 { !0 } else { !CWR };
            *flags &= if index + 1 == self.count() { !0 } else { !(FIN | PSH) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::offload::tests::{tcp_v4, tcp_v6, udp_v4};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn cut(frame: &[u8], mss: u16) -> Vec<Vec<u8>> {
        let segments = Segments::new(frame, mss).unwrap();
        let write = |index| {
            let mut to = std::vec![0; segments.len_bytes(index)];
            segments.write(index, &mut to);
            to
        };
        (0..segments.count()).map(write).collect()
    }

    #[test]
    fn flags_sequence_and_identification_go_on() {
        let mut frame = tcp_v4(&[7; 2500]);
        frame[18..20].copy_from_slice(&0xffffu16.to_be_bytes());
        frame[38..42].copy_from_slice(&(u32::MAX - 99).to_be_bytes());
        frame[47] = 0x80 | 0x10 | 0x08 | 0x01;
        let segments = cut(&frame, 1000);
        let lengths: Vec<usize> = segments.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1054, 1054, 554]);
        let flags: Vec<u8> = segments.iter().map(|segment| segment[47]).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19]);
        let ids: Vec<u16> = segments.iter().map(|s| half(s, 18).unwrap()).collect();
        assert_eq!(ids, [0xffff, 0, 1]);
        let sequence = |s: &Vec<u8>| u32::from_be_bytes(s[38..42].try_into().unwrap());
        let sequences: Vec<u32> = segments.iter().map(sequence).collect();
        assert_eq!(sequences, [u32::MAX - 99, 900, 1900]);
        for segment in &segments {
            assert_eq!(checksum::ipv4_header(&segment[14..34]), half(segment, 24).unwrap());
        }
    }

    #[test]
    fn what_is_no_tcp_packet_is_not_cut() {
        assert!(Segments::new(&udp_v4(&[0; 3000]), 1000).is_none());
        assert!(Segments::new(&tcp_v4(&[0; 3000]), 0).is_none());
        let mut frame = tcp_v4(b"x");
        frame[46] = 0x40;
        assert!(Segments::new(&frame, 1000).is_none(), "a header of 16 bytes");
        frame[46] = 0x60;
        assert!(Segments::new(&frame, 1000).is_none(), "a header longer than the packet");
    }

    proptest! {
        #[test]
        fn segments_are_packets_and_make_up_the_whole(
            v6: bool, mss in 1u16..3000, payload in proptest::collection::vec(any::<u8>(), 0..9000),
        ) {
            let frame = if v6 { tcp_v6(&payload) } else { tcp_v4(&payload) };
            let whole = Headers::parse(&frame).unwrap();
            let mut joined = Vec::new();
            let segments = cut(&frame, mss);
            for (index, segment) in segments.iter().enumerate() {
                let headers = Headers::parse(segment).unwrap();
                prop_assert_eq!(headers.end, segment.len());
                prop_assert_eq!(headers.transport_at, whole.transport_at);
                let bytes = &segment[headers.transport_at + 20..];
                prop_assert!(bytes.len() == usize::from(mss) || index + 1 == segments.len());
                joined.extend_from_slice(bytes);
            }
            prop_assert_eq!(joined, payload);
        }
    }
}
