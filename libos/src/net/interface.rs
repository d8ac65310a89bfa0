//! An interface: a device, its addresses, its neighbours, and what it does by itself.
//!
//! ```text
//!   link changed? ▶ announce ourselves anew, ask routers and DHCP servers again
//!   poll ─────────▶ neighbours asked again, what has expired, DHCP, routers
//!   ingress ──────▶ frames, see `ingress`          egress ─▶ datagrams, see `egress`
//! ```

use super::addresses::{Address, Addresses, Cidr, Origin};
use super::config::InterfaceConfig;
use super::device::{Link, MacAddr};
use super::dhcp::{Client, Event};
use super::env::Env;
use super::error::Error;
use super::fragment::Reassembly;
use super::limits::Limits;
use super::neighbor::{Neighbors, Outcome};
use super::port::Port;
use super::tcp::{Side, Tcp};
use super::waiters::Waiters;
use super::wire::{dhcp, ndp};
use crate::time::{Duration, Instant};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

/// Questions to routers, and the time between them (RFC 4861, section 10).
const ROUTER_QUESTIONS: u8 = 3;
const ROUTER_AGAIN: Duration = Duration::from_secs(4);
/// For how long others may object to a new address (RFC 4862, section 5.1).
const OBJECTION_TIME: Duration = Duration::from_secs(1);

/// An interface.
pub struct Interface {
    pub port: Port,
    pub inner: Inner,
}

/// All of an interface but its device, which lends out the frame that is being received.
pub struct Inner {
    pub id: u8,
    pub name: String,
    /// The link when it was looked at last.
    pub link: Link,
    pub config: InterfaceConfig,
    pub addresses: Addresses,
    pub neighbors: Neighbors,
    pub side: Side,
    pub reassembly: Reassembly,
    pub dhcp: Option<Client>,
    /// Name servers that DHCP and routers have told of.
    pub name_servers: Vec<IpAddr>,
    /// Who waits for room to send.
    pub senders: Waiters,
    /// Who waits for the interface to have an address.
    pub configured: Waiters,
    /// Searches for neighbours that have come to an end.
    pub found: Vec<Outcome>,
    /// Addresses that others are to be told of.
    pub announcements: Vec<IpAddr>,
    /// IPv6 addresses that others may still object to, and until when.
    pub tentative: Vec<(Ipv6Addr, Instant)>,
    pub router_questions: u8,
    pub router_at: Instant,
    /// Numbers of packets that are sent in pieces.
    pub fragments: u32,
}

impl Interface {
    /// An interface on a device, with the addresses that do not have to be asked for.
    pub fn new(id: u8, name: String, port: Port, config: InterfaceConfig, env: &Env<'_>) -> Self {
        let link = port.device.link().clone();
        let Limits { neighbors, neighbor_queue, addresses, .. } = *env.limits;
        let mut inner = Inner {
            id,
            name,
            side: Side::new(id, link.mtu_bytes, large(&link), env.now),
            config,
            addresses: Addresses::new(addresses),
            neighbors: Neighbors::new(*env.secret, neighbors, neighbor_queue),
            reassembly: Reassembly::new(env.limits),
            dhcp: None,
            name_servers: Vec::new(),
            senders: Waiters::default(),
            configured: Waiters::default(),
            found: Vec::new(),
            announcements: Vec::new(),
            tentative: Vec::new(),
            router_questions: 0,
            router_at: Instant::FAR_FUTURE,
            fragments: env.secret.number(u64::from(id), [0x6672_6167, 0, 0, 0]) as u32,
            link,
        };
        inner.set_static_addresses();
        if inner.config.ipv4_dhcp {
            let exchange = env.secret.number(u64::from(id), [0x6468_6370, 0, 0, 0]) as u32;
            inner.dhcp = Some(Client::new(exchange, env.now));
        }
        inner.link_is_new(env.now);
        Self { port, inner }
    }

    /// Looks whether the link has changed, and does what it means.
    pub fn check_link(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        let now = self.port.device.link();
        if now.generation == self.inner.link.generation {
            return;
        }
        let now = now.clone();
        let before = core::mem::replace(&mut self.inner.link, now);
        let Inner { name, link, .. } = &self.inner;
        let state = if link.up { "up" } else { "down" };
        log::debug!("{name}: link {state}, {}, MTU {}", link.mac, link.mtu_bytes);
        if before.mac != link.mac {
            self.inner.set_made_addresses(before.mac, tcp, env);
        }
        let inner = &mut self.inner;
        inner.side.set_link(inner.link.mtu_bytes, large(&inner.link), env.now);
        let lost = inner.neighbors.clear();
        inner.found.extend(lost);
        inner.link_is_new(env.now);
    }

    /// Does what it is time for.
    pub fn poll(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        if self.deadline() > env.now && self.inner.announcements.is_empty() {
            return;
        }
        let inner = &mut self.inner;
        let gone = inner.addresses.expire(env.now);
        inner.lose(&gone, tcp, env);
        let lost = inner.neighbors.poll(env.now);
        inner.found.extend(lost);
        self.port.counters.fragments_lost += inner.reassembly.expire(env.now) as u64;
        inner.tentative.retain(|&(_, until)| until > env.now);
        if self.inner.link.up {
            self.ask_routers(env);
            self.poll_dhcp(tcp, env);
            self.announce(env);
        }
        self.settle_searches(tcp, env);
    }

    /// When [`Self::poll`] has something to do.
    pub fn deadline(&self) -> Instant {
        let inner = &self.inner;
        let kept = inner.addresses.deadline().min(inner.neighbors.deadline());
        let kept = kept.min(inner.reassembly.deadline());
        match (&inner.dhcp, inner.link.up) {
            (_, false) => kept,
            (None, true) => kept.min(inner.router_at),
            (Some(client), true) => kept.min(inner.router_at).min(client.deadline()),
        }
    }

    /// Sends requests for neighbours, and tells who waited for some what has come of it.
    pub fn settle_searches(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        if self.inner.neighbors.requests.is_empty() && self.inner.found.is_empty() {
            return;
        }
        let mut requests = core::mem::take(&mut self.inner.neighbors.requests);
        for request in requests.drain(..) {
            self.ask_neighbor(request);
        }
        self.inner.neighbors.requests = requests;
        for outcome in core::mem::take(&mut self.inner.found) {
            let (found, waiting) = match outcome {
                Outcome::Found { mac, queued, waiting } => {
                    queued.iter().for_each(|queued| self.send_queued(mac, queued));
                    (true, waiting)
                }
                Outcome::Lost { queued, waiting } => {
                    self.port.counters.dropped_out += queued as u64;
                    (false, waiting)
                }
            };
            for number in waiting {
                tcp.unpark(number, found, &mut self.inner.side, env);
            }
        }
    }

    fn poll_dhcp(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        let mac = self.inner.link.mac;
        let Some(client) = &mut self.inner.dhcp else { return };
        let mut message = [0; dhcp::BYTES];
        let (to, event) = client.poll(mac, env.now, &mut message);
        if let Some(event) = event {
            self.inner.take_lease(event, tcp, env);
        }
        if let Some(to) = to {
            self.send_dhcp(to, &message, env);
        }
    }

    fn ask_routers(&mut self, env: &Env<'_>) {
        if self.inner.router_at > env.now {
            return;
        }
        self.inner.router_questions -= 1;
        let last = self.inner.router_questions == 0;
        self.inner.router_at = if last { Instant::FAR_FUTURE } else { env.now + ROUTER_AGAIN };
        self.send_router_solicit();
    }

    /// Tells others of new addresses.
    fn announce(&mut self, env: &Env<'_>) {
        if self.inner.announcements.is_empty() {
            return;
        }
        let groups: Vec<Ipv6Addr> = self.inner.addresses.groups().collect();
        let mut macs: Vec<MacAddr> =
            groups.iter().map(|&group| super::wire::ethernet::group_of(group.into())).collect();
        macs.push(super::wire::ethernet::group_of(ndp::ALL_NODES.into()));
        self.port.device.set_groups(&macs);
        if !groups.is_empty() {
            self.send_group_report(&groups);
        }
        for address in core::mem::take(&mut self.inner.announcements) {
            self.send_announcement(address);
            if let IpAddr::V6(address) = address {
                self.inner.tentative.push((address, env.now + OBJECTION_TIME));
            }
        }
    }
}

impl Inner {
    /// The link is up, or another: everything that it was told must be told again.
    fn link_is_new(&mut self, now: Instant) {
        if !self.link.up {
            return;
        }
        self.announcements = self.addresses.list().iter().map(|own| own.cidr.address).collect();
        if let Some(client) = &mut self.dhcp {
            client.restart(now);
        }
        if self.config.ipv6 && self.config.ipv6_routers {
            (self.router_questions, self.router_at) = (ROUTER_QUESTIONS, now);
        }
    }

    fn set_static_addresses(&mut self) {
        for cidr in self.config.addresses.clone() {
            self.add_address(cidr, Origin::Static, Instant::FAR_FUTURE);
        }
        self.addresses.set_ipv4_gateway(self.config.ipv4_gateway);
        self.addresses.set_ipv6_gateway(self.config.ipv6_gateway);
        if self.config.ipv6 {
            let address = made_address(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), self.link.mac);
            self.add_address(address, Origin::LinkLocal, Instant::FAR_FUTURE);
        }
    }

    /// Our Ethernet address has changed: so do the addresses that are made of it.
    fn set_made_addresses(&mut self, before: MacAddr, tcp: &mut Tcp, env: &mut Env<'_>) {
        let old: Vec<Address> = self.addresses.list().to_vec();
        let is_made = |own: &Address| matches!(own.origin, Origin::LinkLocal | Origin::Router);
        let gone = self.addresses.remove(is_made);
        self.lose(&gone, tcp, env);
        for own in old.iter().filter(|own| is_made(own)) {
            if let IpAddr::V6(address) = own.cidr.address
                && made_address(address, before).address == own.cidr.address
            {
                self.add_address(made_address(address, self.link.mac), own.origin, own.until);
            }
        }
    }

    /// Adds an address, and has others told of it.
    pub fn add_address(&mut self, cidr: Cidr, origin: Origin, until: Instant) {
        if self.addresses.add(Address { cidr, origin, until }) {
            log::debug!("{}: address {cidr}", self.name);
            self.announcements.push(cidr.address);
        }
    }

    /// Addresses are gone: so are the connections that use them.
    pub fn lose(&mut self, gone: &[IpAddr], tcp: &mut Tcp, env: &mut Env<'_>) {
        for address in gone {
            log::debug!("{}: address {address} is gone", self.name);
        }
        if !gone.is_empty() {
            let id = self.id;
            tcp.abort_where(
                |key| key.interface() == id && gone.contains(&key.local().ip()),
                Error::NoAddress,
                &mut self.side,
                env,
            );
        }
    }

    /// A DHCP server has given or taken an address.
    pub fn take_lease(&mut self, event: Event, tcp: &mut Tcp, env: &mut Env<'_>) {
        let kept = match &event {
            Event::Leased(lease) => Some(lease.cidr.address),
            Event::Lost => None,
        };
        let is_old = |own: &Address| own.origin == Origin::Dhcp && Some(own.cidr.address) != kept;
        let gone = self.addresses.remove(is_old);
        self.lose(&gone, tcp, env);
        let Event::Leased(lease) = event else {
            self.addresses.set_ipv4_gateway(self.config.ipv4_gateway);
            return;
        };
        self.add_address(lease.cidr, Origin::Dhcp, lease.until);
        self.addresses.set_ipv4_gateway(self.config.ipv4_gateway.or(lease.router));
        self.name_servers.retain(|server| !server.is_ipv4());
        self.name_servers.extend(lease.name_servers);
        self.configured.wake(env.wakes);
    }
}

/// Whether the device cuts long packets: IPv4's, IPv6's.
fn large(link: &Link) -> [bool; 2] {
    let offload = link.offload;
    [offload.segments_ipv4 && offload.checksum_ipv4, offload.segments_ipv6 && offload.checksum_ipv6]
}

/// The address that is made of a prefix of 64 bits and an Ethernet address (RFC 4291, appendix A).
pub fn made_address(prefix: Ipv6Addr, mac: MacAddr) -> Cidr {
    let MacAddr([a, b, c, d, e, f]) = mac;
    let half = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let bits = prefix.to_bits() >> 64 << 64 | u128::from(half);
    Cidr { address: Ipv6Addr::from_bits(bits).into(), bits: 64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_addresses_are_those_of_the_rfc() {
        // RFC 2464, section 4.
        let mac = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        let prefix = "2001:db8::ffff".parse().unwrap();
        let expected: IpAddr = "2001:db8::3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(made_address(prefix, mac), Cidr { address: expected, bits: 64 });
    }
}
