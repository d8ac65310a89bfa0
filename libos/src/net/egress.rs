//! What an interface sends by itself or for a datagram: everything but TCP.

use super::device::{ETHERNET_HEADER_BYTES, MacAddr};
use super::env::Env;
use super::error::Error;
use super::fragment;
use super::interface::Interface;
use super::neighbor::{Answer, Queued, Request};
use super::port::{Outgoing, Transport};
use super::wire::ethernet::{EtherType, group_of};
use super::wire::{arp, dhcp, icmp, ip, ndp, protocol, put, udp};
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a datagram was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It was, or it waits for its destination's Ethernet address.
    Yes,
    /// The device has no room now.
    NoRoom,
}

/// What goes into a packet: who, to whom, what, how far; the payload's length is filled in.
pub fn header(source: IpAddr, dest: IpAddr, protocol: u8) -> ip::Header {
    let (hop_limit, payload_bytes) = (ip::HOP_LIMIT, 0);
    ip::Header { source, dest, protocol, hop_limit, payload_bytes, fragment: None }
}

impl Interface {
    /// Sends a UDP datagram.
    pub fn send_udp(
        &mut self,
        source: (IpAddr, u16),
        dest: (IpAddr, u16),
        payload: &[u8],
        env: &mut Env<'_>,
    ) -> Result<Sent, Error> {
        let len = u16::try_from(payload.len() + udp::HEADER_BYTES).map_err(|_| Error::TooLong)?;
        let mut start = [0; udp::HEADER_BYTES];
        udp::emit(&mut start, source.1, dest.1, len);
        let header = header(source.0, dest.0, protocol::UDP);
        let transport = Transport::udp(header.len());
        self.send_packet(header, Some(transport), [&start, payload], env)
    }

    /// Sends a packet that is made of two pieces, to whom its destination says.
    pub fn send_packet(
        &mut self,
        mut header: ip::Header,
        transport: Option<Transport>,
        pieces: [&[u8]; 2],
        env: &mut Env<'_>,
    ) -> Result<Sent, Error> {
        let payload_bytes = pieces[0].len() + pieces[1].len();
        header.payload_bytes = u16::try_from(payload_bytes).map_err(|_| Error::TooLong)?;
        let len_bytes = header.len() + payload_bytes;
        u16::try_from(len_bytes).map_err(|_| Error::TooLong)?;
        let too_long = len_bytes > usize::from(self.inner.link.mtu_bytes);
        let write = |packet: &mut [u8]| {
            header.emit(packet);
            put(packet, header.len(), pieces[0]);
            put(packet, header.len() + pieces[0].len(), pieces[1]);
        };
        let to = match self.station_of(header.dest, env)? {
            Answer::Known(mac, _) if !too_long => {
                let kind = EtherType::of(header.dest);
                let outgoing = Outgoing { to: mac, kind, len_bytes, transport, segments: None };
                if !self.port.device.can_transmit() {
                    return Ok(Sent::NoRoom);
                }
                self.port.send(&outgoing, write);
                return Ok(Sent::Yes);
            }
            to => to,
        };
        let mut packet = vec![0; len_bytes];
        write(&mut packet);
        match to {
            Answer::Known(mac, _) => return Ok(self.send_in_pieces(mac, packet, transport)),
            Answer::Sought(number) if !too_long => {
                if !self.inner.neighbors.queue(number, Queued { packet, transport }) {
                    self.port.counters.dropped_out += 1;
                }
            }
            // What has to be cut waits for nobody.
            _ => self.port.counters.dropped_out += 1,
        }
        Ok(Sent::Yes)
    }

    /// Sends a packet that is longer than the link takes.
    pub fn send_in_pieces(
        &mut self,
        to: MacAddr,
        mut packet: alloc::vec::Vec<u8>,
        transport: Option<Transport>,
    ) -> Sent {
        if let Some(transport) = transport {
            transport.fill_checksum(&mut packet, false);
        }
        self.inner.fragments = self.inner.fragments.wrapping_add(1);
        let mtu_bytes = self.inner.link.mtu_bytes.into();
        let kind = if packet[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        for piece in fragment::split(&packet, mtu_bytes, self.inner.fragments) {
            let len_bytes = piece.len();
            let outgoing = Outgoing { to, kind, len_bytes, transport: None, segments: None };
            // Without all pieces the rest is of no use, but neither does it harm.
            self.port.send(&outgoing, |bytes| bytes.copy_from_slice(&piece));
        }
        Sent::Yes
    }

    /// Sends what answers the frame that was received.
    pub fn send_answer(&mut self, env: &mut Env<'_>) {
        let answer = &mut *env.answer;
        if answer.reply.packet.len() > usize::from(self.inner.link.mtu_bytes) {
            let packet = core::mem::take(&mut answer.reply.packet);
            self.send_in_pieces(answer.to, packet, answer.transport);
        } else {
            answer.send(&mut self.port);
        }
    }

    /// Sends what waited for its destination's Ethernet address.
    pub fn send_queued(&mut self, to: MacAddr, queued: &Queued) {
        let Queued { packet, transport } = queued;
        let kind = if packet[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let (len_bytes, transport) = (packet.len(), *transport);
        let outgoing = Outgoing { to, kind, len_bytes, transport, segments: None };
        self.port.send(&outgoing, |bytes| bytes.copy_from_slice(packet));
    }

    /// The station that a packet is given to.
    fn station_of(&mut self, dest: IpAddr, env: &Env<'_>) -> Result<Answer, Error> {
        let until = crate::time::Instant::FAR_FUTURE;
        if dest.is_multicast() {
            return Ok(Answer::Known(group_of(dest), until));
        }
        if let IpAddr::V4(v4) = dest
            && (v4.is_broadcast() || self.inner.addresses.is_broadcast(v4))
        {
            return Ok(Answer::Known(MacAddr::BROADCAST, until));
        }
        let next = self.inner.addresses.next_hop(dest).ok_or(Error::NoRoute)?;
        Ok(self.inner.neighbors.lookup(next, env.now))
    }

    /// Asks where a neighbour is.
    pub fn ask_neighbor(&mut self, request: Request) {
        let mac = self.inner.link.mac;
        let Some(source) = self.inner.addresses.source_for(request.address) else { return };
        match (request.address, source) {
            (IpAddr::V4(target), IpAddr::V4(sender)) => {
                let target_mac = MacAddr::default();
                let message =
                    arp::Message { is_reply: false, sender_mac: mac, sender, target_mac, target };
                self.send_arp(request.mac.unwrap_or(MacAddr::BROADCAST), &message);
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => {
                let mut message = [0; ndp::NEIGHBOR_BYTES];
                ndp::emit_neighbor_solicit(&mut message, target, Some(mac));
                let group = ndp::solicited_node(target);
                let to = request.mac.unwrap_or_else(|| group_of(group.into()));
                let dest = if request.mac.is_some() { target } else { group };
                self.send_ndp(to, source, dest, &mut message);
            }
            _ => {}
        }
    }

    /// Tells all others of an address of ours; of an IPv6 address by asking who else has it.
    pub fn send_announcement(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                // RFC 5227, section 2.3: a request for ourselves.
                let message = arp::Message {
                    is_reply: false,
                    sender_mac: self.inner.link.mac,
                    sender: address,
                    target_mac: MacAddr::default(),
                    target: address,
                };
                self.send_arp(MacAddr::BROADCAST, &message);
            }
            IpAddr::V6(address) => {
                let mut message = [0; 24];
                ndp::emit_neighbor_solicit(&mut message, address, None);
                let group = ndp::solicited_node(address);
                let to = group_of(group.into());
                self.send_ndp(to, Ipv6Addr::UNSPECIFIED, group, &mut message);
                let mut message = [0; ndp::NEIGHBOR_BYTES];
                ndp::emit_neighbor_advert(&mut message, address, self.inner.link.mac, false);
                // Who knows an older place forgets it.
                let to = group_of(ndp::ALL_NODES.into());
                self.send_ndp(to, address, ndp::ALL_NODES, &mut message);
            }
        }
    }

    /// Asks for routers.
    pub fn send_router_solicit(&mut self) {
        let all = ndp::ALL_ROUTERS;
        let Some(IpAddr::V6(source)) = self.inner.addresses.source_for(all.into()) else { return };
        let mut message = [0; ndp::ROUTER_SOLICIT_BYTES];
        ndp::emit_router_solicit(&mut message, self.inner.link.mac);
        self.send_ndp(group_of(all.into()), source, all, &mut message);
    }

    /// Tells routers and switches which groups we are in.
    pub fn send_group_report(&mut self, groups: &[Ipv6Addr]) {
        let dest = ndp::GROUP_REPORT_DEST;
        let source = self.inner.addresses.source_for(dest.into());
        let Some(IpAddr::V6(source)) = source else { return };
        let mut bytes = vec![0; ndp::group_report_bytes(groups.len())];
        ndp::emit_group_report(&mut bytes, groups);
        icmp::fill_checksum(&mut bytes[8..], source.into(), dest.into());
        // The hop-by-hop header comes first; its protocol is 0.
        let header = ip::Header { hop_limit: 1, ..header(source.into(), dest.into(), 0) };
        self.send_to(group_of(dest.into()), header, None, &bytes);
    }

    /// Sends a DHCP message.
    pub fn send_dhcp(&mut self, to: Ipv4Addr, message: &[u8], env: &mut Env<'_>) {
        let own = self.inner.addresses.source_for(to.into()).filter(|_| !to.is_broadcast());
        let source = own.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let ports = (dhcp::CLIENT_PORT, dhcp::SERVER_PORT);
        // A message that cannot be sent now is repeated.
        let _ = self.send_udp((source, ports.0), (to.into(), ports.1), message, env);
    }

    fn send_arp(&mut self, to: MacAddr, message: &arp::Message) {
        let outgoing = Outgoing {
            to,
            kind: EtherType::ARP,
            len_bytes: arp::BYTES,
            transport: None,
            segments: None,
        };
        self.port.send(&outgoing, |bytes| message.emit(bytes));
    }

    fn send_ndp(&mut self, to: MacAddr, source: Ipv6Addr, dest: Ipv6Addr, message: &mut [u8]) {
        icmp::fill_checksum(message, source.into(), dest.into());
        let header = header(source.into(), dest.into(), protocol::ICMPV6);
        let header = ip::Header { hop_limit: ndp::HOP_LIMIT, ..header };
        self.send_to(to, header, None, message);
    }

    /// Sends a packet to a station.
    fn send_to(
        &mut self,
        to: MacAddr,
        mut header: ip::Header,
        transport: Option<Transport>,
        payload: &[u8],
    ) {
        header.payload_bytes = payload.len() as u16;
        let len_bytes = header.len() + payload.len();
        debug_assert!(len_bytes + ETHERNET_HEADER_BYTES <= 1514);
        let kind = EtherType::of(header.dest);
        let outgoing = Outgoing { to, kind, len_bytes, transport, segments: None };
        self.port.send(&outgoing, |bytes| {
            header.emit(bytes);
            put(bytes, header.len(), payload);
        });
    }
}
