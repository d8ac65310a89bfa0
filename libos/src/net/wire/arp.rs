//! ARP for IPv4 over Ethernet (RFC 826).

use super::put;
use crate::net::device::MacAddr;
use core::net::Ipv4Addr;

/// Bytes of a message.
pub const BYTES: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, and their lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// A message. Its sender tells where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whether it is the answer to a request.
    pub is_reply: bool,
    /// Where the sender is.
    pub sender_mac: MacAddr,
    /// Who the sender is; unspecified in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Where the target is, if it is a reply.
    pub target_mac: MacAddr,
    /// Who is asked for.
    pub target: Ipv4Addr,
}

impl Message {
    /// Parses a message.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let message = bytes.first_chunk::<BYTES>()?;
        let [a0, a1, a2, a3, a4, a5, o0, o1, rest @ ..] = *message;
        let [m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, rest @ ..] = rest;
        let [n0, n1, n2, n3, n4, n5, t0, t1, t2, t3] = rest;
        let operation = u16::from_be_bytes([o0, o1]);
        if [a0, a1, a2, a3, a4, a5] != ETHERNET_IPV4 || !matches!(operation, 1 | 2) {
            return None;
        }
        Some(Self {
            is_reply: operation == 2,
            sender_mac: MacAddr([m0, m1, m2, m3, m4, m5]),
            sender: Ipv4Addr::new(s0, s1, s2, s3),
            target_mac: MacAddr([n0, n1, n2, n3, n4, n5]),
            target: Ipv4Addr::new(t0, t1, t2, t3),
        })
    }

    /// Writes the message.
    pub fn emit(&self, bytes: &mut [u8]) {
        put(bytes, 0, &ETHERNET_IPV4);
        put(bytes, 6, &[0, 1 + u8::from(self.is_reply)]);
        put(bytes, 8, &self.sender_mac.0);
        put(bytes, 14, &self.sender.octets());
        put(bytes, 18, &self.target_mac.0);
        put(bytes, 24, &self.target.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_these_bytes() {
        let message = Message {
            is_reply: false,
            sender_mac: MacAddr([1, 2, 3, 4, 5, 6]),
            sender: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr::default(),
            target: Ipv4Addr::new(10, 0, 0, 2),
        };
        let mut bytes = [0xff; BYTES];
        message.emit(&mut bytes);
        let golden =
            [0, 1, 8, 0, 6, 4, 0, 1, 1, 2, 3, 4, 5, 6, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
        assert_eq!(bytes, golden);
        assert_eq!(Message::parse(&bytes), Some(message));
        bytes[7] = 2;
        assert!(Message::parse(&bytes).unwrap().is_reply);
        for (at, value) in [(7, 3), (0, 1), (3, 6), (4, 8)] {
            let mut bytes = golden;
            bytes[at] = value;
            assert_eq!(Message::parse(&bytes), None);
        }
        assert_eq!(Message::parse(&bytes[..27]), None);
    }
}
