//! Neighbour discovery for IPv6 (RFC 4861) and what is next to it: name servers in advertisements
//! (RFC 8106), reports of groups (MLDv2, RFC 3810).

use super::{icmp, put, u32_at};
use crate::net::device::MacAddr;
use core::net::Ipv6Addr;

/// The hop limit of each message: what comes from another link has less.
pub const HOP_LIMIT: u8 = 255;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All who keep lists of groups (RFC 3810, section 5.2.14).
const ALL_MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The group that who looks for an address sends to (RFC 4291, section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// "Routers, speak!"
    RouterSolicit,
    /// A router tells what the link is like.
    RouterAdvert(RouterAdvert<'a>),
    /// "Who has this address?"
    NeighborSolicit {
        /// The address.
        target: Ipv6Addr,
        /// Where who asks is; nowhere if it probes whether the address is in use.
        source_mac: Option<MacAddr>,
    },
    /// "I have this address."
    NeighborAdvert {
        /// The address.
        target: Ipv6Addr,
        /// Where it is.
        target_mac: Option<MacAddr>,
        /// Whether it is an answer.
        solicited: bool,
        /// Whether it overrides what was known before.
        overrides: bool,
    },
}

/// What a router tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterAdvert<'a> {
    /// For how many seconds packets to other links may be sent to it.
    pub lifetime_s: u16,
    /// Where it is.
    pub source_mac: Option<MacAddr>,
    /// The link's MTU.
    pub mtu: Option<u32>,
    options: &'a [u8],
}

/// An address prefix of the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The prefix.
    pub address: Ipv6Addr,
    /// How many bits of it count.
    pub bits: u8,
    /// Whether all such addresses are on the link.
    pub on_link: bool,
    /// Whether hosts may make addresses of it.
    pub autonomous: bool,
    /// For how many seconds it is valid; [`u32::MAX`] for ever.
    pub valid_s: u32,
}

impl<'a> RouterAdvert<'a> {
    /// The prefixes that it lists.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + use<'a> {
        options(self.options).filter_map(|option| match option {
            [3, 4, bits, flags, rest @ ..] if *bits <= 128 => Some(Prefix {
                address: Ipv6Addr::from(*rest.get(12..)?.first_chunk::<16>()?),
                bits: *bits,
                on_link: flags & 0x80 != 0,
                autonomous: flags & 0x40 != 0,
                valid_s: u32_at(rest, 0)?,
            }),
            _ => None,
        })
    }

    /// The name servers that it lists, and for how many seconds they may be asked.
    pub fn name_servers(&self) -> impl Iterator<Item = (Ipv6Addr, u32)> + use<'a> {
        let lists = options(self.options).filter_map(|option| match option {
            [25, _, _, _, rest @ ..] => Some((rest.get(4..)?, u32_at(rest, 0)?)),
            _ => None,
        });
        lists.flat_map(|(servers, lifetime_s)| {
            let (servers, _) = servers.as_chunks::<16>();
            servers.iter().map(move |server| (Ipv6Addr::from(*server), lifetime_s))
        })
    }
}

/// The options of a message, up to the first that is malformed.
fn options(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = usize::from(*rest.get(1)?) * 8;
        let (option, after) = rest.split_at_checked(len).filter(|_| len > 0)?;
        rest = after;
        Some(option)
    })
}

/// The address in an option that names the sender (kind 1) or the target (kind 2).
fn mac_option(rest: &[u8], kind: u8) -> Option<MacAddr> {
    options(rest).find_map(|option| match *option {
        [found, 1, a, b, c, d, e, f] if found == kind => Some(MacAddr([a, b, c, d, e, f])),
        _ => None,
    })
}

impl<'a> Message<'a> {
    /// Parses a message whose checksum and hop limit are right.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let [kind, 0, ..] = *message else { return None };
        if kind == 133 {
            return (message.len() >= icmp::HEADER_BYTES).then_some(Self::RouterSolicit);
        }
        if kind == 134 {
            let rest = message.get(16..)?;
            return Some(Self::RouterAdvert(RouterAdvert {
                lifetime_s: super::u16_at(message, 6)?,
                source_mac: mac_option(rest, 1),
                mtu: options(rest).find_map(|option| match option {
                    [5, 1, _, _, mtu @ ..] => u32_at(mtu, 0),
                    _ => None,
                }),
                options: rest,
            }));
        }
        let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
        let rest = message.get(24..)?;
        if target.is_multicast() {
            return None;
        }
        match kind {
            135 => Some(Self::NeighborSolicit { target, source_mac: mac_option(rest, 1) }),
            136 => Some(Self::NeighborAdvert {
                target,
                target_mac: mac_option(rest, 2),
                solicited: message[4] & 0x40 != 0,
                overrides: message[4] & 0x20 != 0,
            }),
            _ => None,
        }
    }
}

/// Bytes of [`emit_neighbor_solicit`] and [`emit_neighbor_advert`].
pub const NEIGHBOR_BYTES: usize = 32;

/// Writes "who has this address?", without checksum. A probe does not say who asks: 8 bytes less.
pub fn emit_neighbor_solicit(bytes: &mut [u8], target: Ipv6Addr, source_mac: Option<MacAddr>) {
    put(bytes, 0, &[135, 0, 0, 0, 0, 0, 0, 0]);
    put(bytes, 8, &target.octets());
    if let Some(MacAddr([a, b, c, d, e, f])) = source_mac {
        put(bytes, 24, &[1, 1, a, b, c, d, e, f]);
    }
}

/// Writes "I have this address", without checksum.
pub fn emit_neighbor_advert(bytes: &mut [u8], target: Ipv6Addr, mac: MacAddr, solicited: bool) {
    let flags = if solicited { 0x60 } else { 0x20 };
    put(bytes, 0, &[136, 0, 0, 0, flags, 0, 0, 0]);
    put(bytes, 8, &target.octets());
    let MacAddr([a, b, c, d, e, f]) = mac;
    put(bytes, 24, &[2, 1, a, b, c, d, e, f]);
}

/// Bytes of [`emit_router_solicit`].
pub const ROUTER_SOLICIT_BYTES: usize = 16;

/// Writes "routers, speak!", without checksum.
pub fn emit_router_solicit(bytes: &mut [u8], mac: MacAddr) {
    let MacAddr([a, b, c, d, e, f]) = mac;
    put(bytes, 0, &[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, a, b, c, d, e, f]);
}

/// Whom [`emit_group_report`] is for.
pub const GROUP_REPORT_DEST: Ipv6Addr = ALL_MLD_ROUTERS;
/// Bytes of [`emit_group_report`] with this many groups, extension header included.
pub const fn group_report_bytes(groups: usize) -> usize {
    8 + 8 + 20 * groups
}

/// Writes a report that we listen to these groups, without checksum: a hop-by-hop header with a
/// router alert (RFC 2711), then, from byte 8 on, the message.
pub fn emit_group_report(bytes: &mut [u8], groups: &[Ipv6Addr]) {
    put(bytes, 0, &[58, 0, 5, 2, 0, 0, 1, 0]);
    let [high, low] = (groups.len() as u16).to_be_bytes();
    put(bytes, 8, &[143, 0, 0, 0, 0, 0, high, low]);
    for (record, group) in groups.iter().enumerate() {
        // Record type 4: from now on all sources but none (RFC 3810, section 5.2.12).
        put(bytes, 16 + 20 * record, &[4, 0, 0, 0]);
        put(bytes, 20 + 20 * record, &group.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12, 0x3456);
    const MAC: MacAddr = MacAddr([1, 2, 3, 4, 5, 6]);

    #[test]
    fn the_group_has_the_last_three_bytes() {
        assert_eq!(solicited_node(TARGET), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn neighbours_understand_each_other() {
        let mut bytes = [0; NEIGHBOR_BYTES];
        emit_neighbor_solicit(&mut bytes, TARGET, Some(MAC));
        let expected = Message::NeighborSolicit { target: TARGET, source_mac: Some(MAC) };
        assert_eq!(Message::parse(&bytes), Some(expected));
        emit_neighbor_solicit(&mut bytes[..24], TARGET, None);
        let expected = Message::NeighborSolicit { target: TARGET, source_mac: None };
        assert_eq!(Message::parse(&bytes[..24]), Some(expected));
        emit_neighbor_advert(&mut bytes, TARGET, MAC, true);
        let expected = Message::NeighborAdvert {
            target: TARGET,
            target_mac: Some(MAC),
            solicited: true,
            overrides: true,
        };
        assert_eq!(Message::parse(&bytes), Some(expected));
        assert_eq!(Message::parse(&bytes[..23]), None);
    }

    #[test]
    fn an_advert_lists_prefixes_and_servers() {
        let prefix: Ipv6Addr = "2001:db8::".parse().unwrap();
        let server: Ipv6Addr = "2001:db8::53".parse().unwrap();
        let mut bytes = [134, 0, 0, 0, 64, 0, 7, 8].to_vec();
        bytes.extend([0; 8]);
        bytes.extend([1, 1, 1, 2, 3, 4, 5, 6]);
        bytes.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
        bytes.extend([3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0]);
        bytes.extend(prefix.octets());
        bytes.extend([25, 3, 0, 0, 0, 0, 0, 11]);
        bytes.extend(server.octets());
        let Some(Message::RouterAdvert(advert)) = Message::parse(&bytes) else { panic!() };
        assert_eq!(advert.lifetime_s, 0x708);
        assert_eq!((advert.source_mac, advert.mtu), (Some(MAC), Some(1500)));
        let expected =
            Prefix { address: prefix, bits: 64, on_link: true, autonomous: true, valid_s: 9 };
        assert_eq!(advert.prefixes().collect::<Vec<_>>(), [expected]);
        assert_eq!(advert.name_servers().collect::<Vec<_>>(), [(server, 11)]);
        // An option of no length would never end.
        bytes[17] = 0;
        let Some(Message::RouterAdvert(advert)) = Message::parse(&bytes) else { panic!() };
        assert_eq!((advert.source_mac, advert.prefixes().count()), (None, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(
            kind in 133u8..138,
            rest in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let bytes: Vec<u8> = [kind, 0].into_iter().chain(rest).collect();
            if let Some(Message::RouterAdvert(advert)) = Message::parse(&bytes) {
                prop_assert!(advert.prefixes().count() + advert.name_servers().count() <= 8);
            }
        }
    }
}
