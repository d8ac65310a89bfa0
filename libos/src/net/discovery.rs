//! What neighbours and routers tell of themselves, and what we answer them.

use super::addresses::{Cidr, Origin, may_be_source};
use super::counters::InterfaceCounters;
use super::env::Env;
use super::interface::{Inner, made_address};
use super::tcp::Tcp;
use super::wire::ethernet::EtherType;
use super::wire::{arp, icmp, ip, ndp, protocol};
use crate::time::{Duration, Instant};
use core::net::{IpAddr, Ipv6Addr};

/// A router cannot take an address away at once, only let it run out (RFC 4862, section 5.5.3).
const SHORTEST_LIFE: Duration = Duration::from_secs(7200);

impl Inner {
    /// Takes an ARP message.
    pub fn receive_arp(&mut self, bytes: &[u8], env: &mut Env<'_>) {
        let Some(message) = arp::Message::parse(bytes) else { return };
        let sender = IpAddr::V4(message.sender);
        let is_probe = message.sender.is_unspecified();
        if message.sender_mac.is_group() || (!is_probe && !may_be_source(sender)) {
            return;
        }
        if self.addresses.has(sender) {
            if message.sender_mac != self.link.mac {
                let Self { name, .. } = self;
                log::warn!("{name}: {sender} is also used by {}", message.sender_mac);
            }
            return;
        }
        let target = IpAddr::V4(message.target);
        let asks_us = self.addresses.has(target);
        if !is_probe {
            // Who asks for us will talk to us.
            let on_link = self.addresses.next_hop(sender) == Some(sender);
            let found =
                self.neighbors.told(sender, message.sender_mac, env.now, asks_us && on_link);
            self.found.extend(found);
        }
        if asks_us && !message.is_reply {
            let reply = arp::Message {
                is_reply: true,
                sender_mac: self.link.mac,
                sender: message.target,
                target_mac: message.sender_mac,
                target: message.sender,
            };
            env.answer.to = message.sender_mac;
            reply.emit(env.answer.begin(EtherType::ARP, arp::BYTES, None));
        }
    }

    /// Takes a message of neighbour discovery, whose checksum and hop limit are right.
    pub fn receive_ndp(
        &mut self,
        packet: &ip::Packet<'_>,
        message: &ndp::Message<'_>,
        tcp: &mut Tcp,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let IpAddr::V6(source) = packet.source else { return };
        match *message {
            ndp::Message::NeighborSolicit { target, source_mac } => {
                if !self.addresses.has(target.into()) {
                    return;
                }
                if source.is_unspecified() {
                    // Somebody wants to have our address (RFC 4862, section 5.4.3).
                    if self.is_tentative(target) {
                        return self.give_up(target, tcp, env);
                    }
                    return self.advertise(target, ndp::ALL_NODES, env);
                }
                if let Some(mac) = source_mac {
                    let on_link = self.addresses.next_hop(packet.source) == Some(packet.source);
                    let found = self.neighbors.told(packet.source, mac, env.now, on_link);
                    self.found.extend(found);
                }
                self.advertise(target, source, env);
            }
            ndp::Message::NeighborAdvert { target, target_mac, solicited, overrides } => {
                if self.addresses.has(target.into()) {
                    if self.is_tentative(target) && target_mac != Some(self.link.mac) {
                        self.give_up(target, tcp, env);
                    }
                    return;
                }
                // A flood of unasked advertisements must not move neighbours about.
                if let Some(mac) = target_mac.filter(|_| solicited || overrides) {
                    let found = self.neighbors.told(target.into(), mac, env.now, false);
                    self.found.extend(found);
                }
            }
            ndp::Message::RouterAdvert(advert) if self.config.ipv6_routers => {
                if source.is_unicast_link_local() {
                    self.receive_router(source, &advert, env);
                } else {
                    counters.malformed += 1;
                }
            }
            ndp::Message::RouterAdvert(_) | ndp::Message::RouterSolicit => {}
        }
    }

    fn receive_router(
        &mut self,
        router: Ipv6Addr,
        advert: &ndp::RouterAdvert<'_>,
        env: &mut Env<'_>,
    ) {
        let now = env.now;
        self.router_questions = 0;
        self.router_at = Instant::FAR_FUTURE;
        if let Some(mac) = advert.source_mac {
            let found = self.neighbors.told(router.into(), mac, now, true);
            self.found.extend(found);
        }
        self.addresses.announce_router(router, after(now, advert.lifetime_s.into()), now);
        for prefix in advert.prefixes() {
            let usable = !prefix.address.is_multicast()
                && !prefix.address.is_unicast_link_local()
                && !prefix.address.is_loopback();
            if !usable {
                continue;
            }
            let until = after(now, prefix.valid_s);
            if prefix.on_link {
                let cidr = Cidr { address: prefix.address.into(), bits: prefix.bits };
                self.addresses.announce_prefix(cidr, until, now);
            }
            if prefix.autonomous && prefix.bits == 64 {
                self.take_prefix(prefix.address, until, now);
            }
        }
        let room = super::dns::MAX_SERVERS;
        for (server, lifetime_s) in advert.name_servers() {
            self.name_servers.retain(|&known| known != IpAddr::V6(server));
            if lifetime_s > 0 && self.name_servers.len() < room {
                self.name_servers.push(server.into());
            }
        }
        self.configured.wake(env.wakes);
    }

    /// A router lets us make an address of a prefix.
    fn take_prefix(&mut self, prefix: Ipv6Addr, until: Instant, now: Instant) {
        let cidr = made_address(prefix, self.link.mac);
        let known = self.addresses.list().iter().find(|own| own.cidr == cidr).copied();
        let until = match known {
            Some(known) if known.origin != Origin::Router => return,
            Some(known) => until.max(known.until.min(now + SHORTEST_LIFE)),
            None if until <= now => return,
            None => until,
        };
        self.add_address(cidr, Origin::Router, until);
    }

    /// Whether others may still object to an address of ours.
    fn is_tentative(&self, address: Ipv6Addr) -> bool {
        self.tentative.iter().any(|&(tentative, _)| tentative == address)
    }

    /// Somebody else has an address that we have just taken.
    fn give_up(&mut self, address: Ipv6Addr, tcp: &mut Tcp, env: &mut Env<'_>) {
        log::warn!("{}: {address} is used by another host", self.name);
        self.tentative.retain(|&(tentative, _)| tentative != address);
        let gone = self.addresses.remove(|own| own.cidr.address == IpAddr::V6(address));
        self.lose(&gone, tcp, env);
    }

    /// Answers where an address of ours is.
    fn advertise(&mut self, target: Ipv6Addr, dest: Ipv6Addr, env: &mut Env<'_>) {
        let mut header = super::egress::header(target.into(), dest.into(), protocol::ICMPV6);
        (header.hop_limit, header.payload_bytes) = (ndp::HOP_LIMIT, ndp::NEIGHBOR_BYTES as u16);
        let start = header.len();
        if dest == ndp::ALL_NODES {
            env.answer.to = super::wire::ethernet::group_of(dest.into());
        }
        let bytes = env.answer.begin(EtherType::IPV6, start + ndp::NEIGHBOR_BYTES, None);
        header.emit(bytes);
        let (mac, solicited) = (self.link.mac, dest != ndp::ALL_NODES);
        ndp::emit_neighbor_advert(&mut bytes[start..], target, mac, solicited);
        icmp::fill_checksum(&mut bytes[start..], target.into(), dest.into());
    }
}

/// A time that a router tells: all ones stand for ever.
fn after(now: Instant, seconds: u32) -> Instant {
    match seconds {
        u32::MAX => Instant::FAR_FUTURE,
        seconds => now + Duration::from_secs(seconds.into()),
    }
}
