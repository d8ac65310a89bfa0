//! What an extra info slot of either ring tells about its packet (io/netif.h, netif_extra_info).
//!
//! ```text
//!   0      1       2                    4       5     6          8
//!   ├─ type ┼ flags ┼──── size ──────────┼ GSO type ┼ pad ┼ features ┤    segmentation
//!   │       │       ├──────────────── address ──────────────────────┤    multicast filter
//!   │       │       ├ hash type ┼ algorithm ┼──────── value ────────┤    hash
//! ```
//!
//! The message has 8 bytes; in a slot of the transmit ring 4 bytes of padding follow.

use super::Mac;
use crate::bytes::u16_at;

/// Bytes of the message.
pub const EXTRA_BYTES: usize = 8;

/// Another extra info slot follows (io/netif.h, XEN_NETIF_EXTRA_FLAG_MORE).
const FLAG_MORE: u8 = 1 << 0;

/// XEN_NETIF_EXTRA_TYPE_*; the last one is known to Linux alone.
mod kind {
    pub const GSO: u8 = 1;
    pub const MULTICAST_ADD: u8 = 2;
    pub const MULTICAST_DEL: u8 = 3;
    pub const HASH: u8 = 4;
    pub const XDP: u8 = 5;
}

/// What is cut into segments (io/netif.h, XEN_NETIF_GSO_TYPE_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoType {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

/// The packet is to be cut, or was joined of, segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// What it carries.
    pub kind: GsoType,
    /// Payload of a segment, in bytes; the last one may have less. From a peer, any number.
    pub size_bytes: u16,
}

/// Over which fields a hash was taken (io/netif.h, XEN_NETIF_CTRL_HASH_TYPE_*: the number of the
/// bit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashType(pub u8);

impl HashType {
    /// IPv4 addresses.
    pub const IPV4: Self = Self(0);
    /// IPv4 addresses and TCP ports.
    pub const IPV4_TCP: Self = Self(1);
    /// IPv6 addresses.
    pub const IPV6: Self = Self(2);
    /// IPv6 addresses and TCP ports.
    pub const IPV6_TCP: Self = Self(3);
}

/// How it was taken (io/netif.h, XEN_NETIF_CTRL_HASH_ALGORITHM_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashAlgorithm(pub u8);

impl HashAlgorithm {
    /// In a way that is not told.
    pub const NONE: Self = Self(0);
    /// Toeplitz's.
    pub const TOEPLITZ: Self = Self(1);
}

/// A hash of the packet's flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHash {
    /// Over what.
    pub kind: HashType,
    /// How.
    pub algorithm: HashAlgorithm,
    /// The hash.
    pub value: [u8; 4],
}

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    /// How to cut the packet, or how it was joined.
    Gso(Gso),
    /// Packets to this address are wanted. There is no packet with it.
    MulticastAdd(Mac),
    /// They are not wanted any more. There is no packet with it.
    MulticastDel(Mac),
    /// The flow's hash.
    Hash(PacketHash),
    /// Bytes left free before the packet; sent only to who asked for it.
    Xdp(u16),
    /// Segmentation of a type that is not known.
    UnknownGso(u8),
    /// A type that is not known.
    Unknown(u8),
}

/// An extra info slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtraInfo {
    /// What it tells.
    pub extra: Extra,
    /// Whether another one follows.
    pub more: bool,
}

impl ExtraInfo {
    /// The message in a slot. Nothing is checked: what makes no sense is an `Unknown`.
    pub fn parse(bytes: &[u8; EXTRA_BYTES]) -> Self {
        let [_, flags, b2, b3, b4, b5, b6, b7] = *bytes;
        let mac = Mac([b2, b3, b4, b5, b6, b7]);
        let size_bytes = u16_at(bytes, 2).unwrap_or(0);
        let extra = match bytes[0] {
            kind::GSO => match b4 {
                1 => Extra::Gso(Gso { kind: GsoType::TcpV4, size_bytes }),
                2 => Extra::Gso(Gso { kind: GsoType::TcpV6, size_bytes }),
                other => Extra::UnknownGso(other),
            },
            kind::MULTICAST_ADD => Extra::MulticastAdd(mac),
            kind::MULTICAST_DEL => Extra::MulticastDel(mac),
            kind::HASH => Extra::Hash(PacketHash {
                kind: HashType(b2),
                algorithm: HashAlgorithm(b3),
                value: [b4, b5, b6, b7],
            }),
            kind::XDP => Extra::Xdp(size_bytes),
            other => Extra::Unknown(other),
        };
        Self { extra, more: flags & FLAG_MORE != 0 }
    }

    /// The message as bytes.
    pub fn emit(&self) -> [u8; EXTRA_BYTES] {
        let (kind, body) = match self.extra {
            Extra::Gso(Gso { kind, size_bytes }) => {
                let [low, high] = size_bytes.to_le_bytes();
                let kind = match kind {
                    GsoType::TcpV4 => 1,
                    GsoType::TcpV6 => 2,
                };
                (kind::GSO, [low, high, kind, 0, 0, 0])
            }
            Extra::MulticastAdd(Mac(mac)) => (kind::MULTICAST_ADD, mac),
            Extra::MulticastDel(Mac(mac)) => (kind::MULTICAST_DEL, mac),
            Extra::Hash(PacketHash { kind, algorithm, value: [a, b, c, d] }) => {
                (kind::HASH, [kind.0, algorithm.0, a, b, c, d])
            }
            Extra::Xdp(headroom) => {
                let [low, high] = headroom.to_le_bytes();
                (kind::XDP, [low, high, 0, 0, 0, 0])
            }
            Extra::UnknownGso(kind) => (kind::GSO, [0, 0, kind, 0, 0, 0]),
            Extra::Unknown(kind) => (kind, [0; 6]),
        };
        let flags = if self.more { FLAG_MORE } else { 0 };
        let [a, b, c, d, e, f] = body;
        [kind, flags, a, b, c, d, e, f]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_header() {
        let gso = Gso { kind: GsoType::TcpV6, size_bytes: 1440 };
        let hash = PacketHash {
            kind: HashType::IPV4_TCP,
            algorithm: HashAlgorithm::TOEPLITZ,
            value: [9, 8, 7, 6],
        };
        let mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
        for (extra, more, golden) in [
            (Extra::Gso(gso), true, [1, 1, 0xa0, 5, 2, 0, 0, 0]),
            (Extra::MulticastAdd(mac), false, [2, 0, 0x33, 0x33, 0, 0, 0, 1]),
            (Extra::MulticastDel(mac), false, [3, 0, 0x33, 0x33, 0, 0, 0, 1]),
            (Extra::Hash(hash), false, [4, 0, 1, 1, 9, 8, 7, 6]),
            (Extra::Xdp(256), false, [5, 0, 0, 1, 0, 0, 0, 0]),
            (Extra::Unknown(0), true, [0, 1, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(ExtraInfo { extra, more }.emit(), golden);
            assert_eq!(ExtraInfo::parse(&golden), ExtraInfo { extra, more });
        }
    }

    #[test]
    fn segmentation_of_no_known_type_is_not_segmentation() {
        for kind in [0, 3, 255] {
            let info = ExtraInfo::parse(&[1, 0, 1, 1, kind, 0, 0, 0]);
            assert_eq!(info.extra, Extra::UnknownGso(kind));
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_can_be_emitted_and_parsed_again(bytes: [u8; EXTRA_BYTES]) {
            let info = ExtraInfo::parse(&bytes);
            prop_assert_eq!(info.more, bytes[1] & 1 == 1);
            prop_assert_eq!(ExtraInfo::parse(&info.emit()), info);
        }

        #[test]
        fn segmentation_survives(size_bytes: u16, v6: bool, more: bool) {
            let kind = if v6 { GsoType::TcpV6 } else { GsoType::TcpV4 };
            let info = ExtraInfo { extra: Extra::Gso(Gso { kind, size_bytes }), more };
            prop_assert_eq!(ExtraInfo::parse(&info.emit()), info);
        }
    }
}
