//! The addresses of an interface, and where packets to others go from it.
//!
//! ```text
//!   dest ─▶ on the link? (a prefix of ours, or a router says so) ─▶ next hop is dest itself
//!        ─▶ else the gateway: the configured one, or a router that has announced itself
//! ```

use super::wire::ndp;
use crate::time::Instant;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The boot line, or the app.
    Static,
    /// A DHCP server.
    Dhcp,
    /// A router's prefix and our Ethernet address (RFC 4862).
    Router,
    /// Our Ethernet address alone.
    LinkLocal,
}

/// An address and the prefix that it shares with its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// How many of its first bits are the prefix.
    pub bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.2/24` or `2001:db8::2/64`; [`None`] if it is not that, or not an address of a
    /// host.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let cidr = Self { address: address.parse().ok()?, bits: bits.parse().ok()? };
        let longest = if cidr.address.is_ipv4() { 32 } else { 128 };
        let usable = !cidr.address.is_unspecified() && !is_group(cidr.address);
        (cidr.bits <= longest && usable).then_some(cidr)
    }

    /// Whether an address has this prefix.
    pub fn contains(&self, other: IpAddr) -> bool {
        common_bits(self.address, other).is_some_and(|common| common >= u32::from(self.bits))
    }

    /// The address that all with this prefix listen to (RFC 919); IPv6 and point-to-point links
    /// have none.
    fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.bits < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | u32::MAX >> self.bits))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many first bits two addresses share; none if they are of different versions.
fn common_bits(a: IpAddr, b: IpAddr) -> Option<u32> {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        _ => None,
    }
}

/// Whether an address stands for several hosts: multicast, or the limited broadcast address.
pub fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Whether a host may have sent a packet from this address to others.
pub fn may_be_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_loopback() && !is_group(address),
        IpAddr::V6(v6) => {
            let mapped = v6.to_ipv4_mapped().is_some();
            !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast() && !mapped
        }
    }
}

/// An address of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address and its prefix.
    pub cidr: Cidr,
    /// Where it comes from.
    pub origin: Origin,
    /// Until when it may be used.
    pub until: Instant,
}

/// A router or a prefix that a router has announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Announced {
    cidr: Cidr,
    until: Instant,
}

/// All addresses and routes of an interface.
pub struct Addresses {
    list: Vec<Address>,
    ipv4_gateway: Option<Ipv4Addr>,
    ipv6_gateway: Option<Ipv6Addr>,
    routers: Vec<Announced>,
    prefixes: Vec<Announced>,
    limit: usize,
    /// When the first of all this is not valid any more.
    next: Instant,
    /// Counts up with every change.
    pub generation: u32,
}

impl Addresses {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            list: Vec::new(),
            ipv4_gateway: None,
            ipv6_gateway: None,
            routers: Vec::new(),
            prefixes: Vec::new(),
            limit: limit.max(2),
            next: Instant::FAR_FUTURE,
            generation: 0,
        }
    }

    /// All of them.
    pub fn list(&self) -> &[Address] {
        &self.list
    }

    /// Adds an address or extends its life; whether it is new.
    pub fn add(&mut self, address: Address) -> bool {
        self.next = self.next.min(address.until);
        let is_it = |known: &Address| known.cidr.address == address.cidr.address;
        match self.list.iter().position(is_it) {
            Some(place) => {
                let known = &mut self.list[place];
                let moved = known.cidr.bits != address.cidr.bits;
                *known = address;
                self.generation += u32::from(moved);
                false
            }
            None if self.list.len() < self.limit => {
                self.list.push(address);
                self.generation += 1;
                true
            }
            None => false,
        }
    }

    /// Takes the addresses away for which `goes` is true.
    pub fn remove(&mut self, mut goes: impl FnMut(&Address) -> bool) -> Vec<IpAddr> {
        let gone = self.list.extract_if(.., |address| goes(address));
        let gone: Vec<IpAddr> = gone.map(|address| address.cidr.address).collect();
        self.generation += u32::from(!gone.is_empty());
        gone
    }

    /// Takes away what is not valid any more; the addresses that have gone.
    pub fn expire(&mut self, now: Instant) -> Vec<IpAddr> {
        if self.next > now {
            return Vec::new();
        }
        self.routers.retain(|router| router.until > now);
        self.prefixes.retain(|prefix| prefix.until > now);
        self.generation += 1;
        let gone = self.remove(|address| address.until <= now);
        let announced = self.routers.iter().chain(&self.prefixes).map(|announced| announced.until);
        let addresses = self.list.iter().map(|address| address.until);
        self.next = announced.chain(addresses).min().unwrap_or(Instant::FAR_FUTURE);
        gone
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Sets where IPv4 packets to other links go.
    pub fn set_ipv4_gateway(&mut self, gateway: Option<Ipv4Addr>) {
        self.generation += u32::from(self.ipv4_gateway != gateway);
        self.ipv4_gateway = gateway;
    }

    /// Sets where IPv6 packets to other links go, whatever routers say.
    pub fn set_ipv6_gateway(&mut self, gateway: Option<Ipv6Addr>) {
        self.generation += u32::from(self.ipv6_gateway != gateway);
        self.ipv6_gateway = gateway;
    }

    /// A router says until when packets may be sent to it; not at all if that is now.
    pub fn announce_router(&mut self, router: Ipv6Addr, until: Instant, now: Instant) {
        let cidr = Cidr { address: router.into(), bits: 128 };
        announce(&mut self.routers, self.limit, Announced { cidr, until }, now);
        self.next = self.next.min(until);
        self.generation += 1;
    }

    /// A router says until when all with this prefix are on the link.
    pub fn announce_prefix(&mut self, cidr: Cidr, until: Instant, now: Instant) {
        announce(&mut self.prefixes, self.limit, Announced { cidr, until }, now);
        self.next = self.next.min(until);
        self.generation += 1;
    }

    /// Whether this is an address of ours.
    pub fn has(&self, address: IpAddr) -> bool {
        self.list.iter().any(|own| own.cidr.address == address)
    }

    /// Whether packets to this address are for us among others.
    pub fn is_in_group(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(Ipv4Addr::BROADCAST) => true,
            IpAddr::V4(v4) if v4.is_multicast() => v4 == Ipv4Addr::new(224, 0, 0, 1),
            IpAddr::V4(v4) => self.is_broadcast(v4),
            IpAddr::V6(ndp::ALL_NODES) => true,
            IpAddr::V6(v6) => v6.is_multicast() && self.groups().any(|group| group == v6),
        }
    }

    /// Whether an address is the broadcast address of a prefix of ours.
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.list.iter().any(|own| own.cidr.broadcast() == Some(address))
    }

    /// The IPv6 groups that we are in because of our addresses (RFC 4291, section 2.8).
    pub fn groups(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.list.iter().filter_map(|own| match own.cidr.address {
            IpAddr::V6(address) => Some(ndp::solicited_node(address)),
            IpAddr::V4(_) => None,
        })
    }

    /// Whom on the link a packet is to be given.
    pub fn next_hop(&self, dest: IpAddr) -> Option<IpAddr> {
        let on_link = match dest {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
            _ => self.list.iter().any(|own| own.cidr.contains(dest)),
        };
        if on_link || self.prefixes.iter().any(|prefix| prefix.cidr.contains(dest)) {
            return Some(dest);
        }
        match dest {
            IpAddr::V4(_) => self.ipv4_gateway.map(IpAddr::V4),
            IpAddr::V6(_) => {
                let router = self.routers.first().map(|router| router.cidr.address);
                self.ipv6_gateway.map(IpAddr::V6).or(router)
            }
        }
    }

    /// How many bits of a destination our prefixes know: which interface is the right one.
    pub fn known_bits(&self, dest: IpAddr) -> Option<u8> {
        let prefixes = self.prefixes.iter().map(|prefix| prefix.cidr);
        let own = self.list.iter().map(|own| own.cidr).chain(prefixes);
        let longest = own.filter(|cidr| cidr.contains(dest)).map(|cidr| cidr.bits).max();
        longest.or_else(|| self.next_hop(dest).map(|_| 0))
    }

    /// The address to send from: in the prefix of the destination if there is one, of the same
    /// scope, and with most bits in common (RFC 6724, rules 2 and 8).
    pub fn source_for(&self, dest: IpAddr) -> Option<IpAddr> {
        let link_local = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || is_link_group(v6),
        };
        let fitness = |own: &&Address| {
            let cidr = own.cidr;
            let same_scope = link_local(cidr.address) == link_local(dest);
            let common = common_bits(cidr.address, dest).unwrap_or(0);
            (same_scope, cidr.contains(dest), common)
        };
        let same_version = |own: &&Address| own.cidr.address.is_ipv4() == dest.is_ipv4();
        // Of equals the first: `max_by_key` would take the last.
        let best = self.list.iter().rev().filter(same_version).max_by_key(fitness);
        best.map(|own| own.cidr.address)
    }
}

/// Whether a group does not reach beyond the link.
fn is_link_group(address: Ipv6Addr) -> bool {
    address.is_multicast() && address.octets()[1] & 0xf <= 2
}

fn announce(list: &mut Vec<Announced>, limit: usize, announced: Announced, now: Instant) {
    match list.iter().position(|known| known.cidr == announced.cidr) {
        Some(place) => list[place].until = announced.until,
        None if list.len() < limit => list.push(announced),
        None => {}
    }
    list.retain(|known| known.until > now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::time::Duration;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(list: &[&str]) -> Addresses {
        let mut addresses = Addresses::new(8);
        for text in list {
            let until = Instant::FAR_FUTURE;
            addresses.add(Address { cidr: cidr(text), origin: Origin::Static, until });
        }
        addresses
    }

    #[test]
    fn only_addresses_of_hosts_are_read() {
        assert_eq!(cidr("10.0.0.2/24").to_string(), "10.0.0.2/24");
        assert_eq!(cidr("2001:db8::2/64").bits, 64);
        let wrong = ["10.0.0.2", "10.0.0.2/33", "::1/129", "0.0.0.0/0", "224.0.0.1/4", "x/8", "/8"];
        for text in wrong {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn packets_go_to_the_link_or_to_the_gateway() {
        let mut routes = addresses(&["10.0.0.2/24", "2001:db8::2/64"]);
        assert_eq!(routes.next_hop(ip("10.0.0.9")), Some(ip("10.0.0.9")));
        assert_eq!(routes.next_hop(ip("10.0.1.9")), None);
        routes.set_ipv4_gateway(Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(routes.next_hop(ip("10.0.1.9")), Some(ip("10.0.0.1")));
        assert_eq!(routes.known_bits(ip("10.0.0.9")), Some(24));
        assert_eq!(routes.known_bits(ip("10.0.1.9")), Some(0));
        assert_eq!(routes.next_hop(ip("fe80::7")), Some(ip("fe80::7")));
        let (router, now) = ("fe80::1".parse().unwrap(), Instant::BOOT);
        let soon = now + Duration::from_secs(9);
        routes.announce_router(router, soon, now);
        routes.announce_prefix(cidr("2001:db8:1::1/64"), soon, now);
        assert_eq!(routes.next_hop(ip("2001:db8:2::9")), Some(ip("fe80::1")));
        assert_eq!(routes.next_hop(ip("2001:db8:1::9")), Some(ip("2001:db8:1::9")));
        assert_eq!(routes.deadline(), soon);
        assert!(routes.expire(soon).is_empty());
        assert_eq!(routes.next_hop(ip("2001:db8:1::9")), None);
    }

    #[test]
    fn sources_are_of_the_right_scope() {
        let routes = addresses(&["10.0.0.2/24", "10.9.0.2/16", "fe80::2/64", "2001:db8::2/64"]);
        assert_eq!(routes.source_for(ip("10.9.3.3")), Some(ip("10.9.0.2")));
        assert_eq!(routes.source_for(ip("8.8.8.8")), Some(ip("10.0.0.2")));
        assert_eq!(routes.source_for(ip("fe80::9")), Some(ip("fe80::2")));
        assert_eq!(routes.source_for(ip("ff02::1")), Some(ip("fe80::2")));
        assert_eq!(routes.source_for(ip("2001:4860::1")), Some(ip("2001:db8::2")));
        assert_eq!(addresses(&["10.0.0.2/24"]).source_for(ip("::9")), None);
    }

    #[test]
    fn groups_follow_from_addresses() {
        let routes = addresses(&["10.0.0.2/24", "2001:db8::2/64"]);
        let ours = ["10.0.0.255", "255.255.255.255", "224.0.0.1", "ff02::1", "ff02::1:ff00:2"];
        assert!(ours.iter().all(|text| routes.is_in_group(ip(text))));
        let others = ["10.0.0.2", "10.0.0.254", "224.0.0.2", "ff02::2", "ff02::1:ff00:3"];
        assert!(!others.iter().any(|text| routes.is_in_group(ip(text))));
        assert!(addresses(&["10.0.0.2/31"]).list()[0].cidr.broadcast().is_none());
    }

    #[test]
    fn there_is_a_limit_and_an_end() {
        let mut routes = Addresses::new(2);
        let until = Instant::from_nanos(5);
        let address = |text| Address { cidr: cidr(text), origin: Origin::Router, until };
        assert!(routes.add(address("10.0.0.1/8")) && routes.add(address("10.0.0.2/8")));
        assert!(!routes.add(address("10.0.0.3/8")) && !routes.add(address("10.0.0.2/8")));
        assert!(routes.expire(Instant::from_nanos(4)).is_empty());
        assert_eq!(routes.expire(until), [ip("10.0.0.1"), ip("10.0.0.2")]);
        assert!(!may_be_source(ip("127.0.0.1")) && !may_be_source(ip("::ffff:1.2.3.4")));
        assert!(may_be_source(ip("10.0.0.1")) && may_be_source(ip("fe80::1")));
    }
}
