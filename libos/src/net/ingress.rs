//! Frames that come in: what they are, and whose.
//!
//! ```text
//!   frame ─▶ for us? ─▶ ARP ────▶ neighbours, an answer
//!                    ─▶ IP ─▶ for an address of ours? ─▶ whole? ─▶ TCP ───▶ one flow
//!                                                    │          ─▶ UDP ───▶ one socket
//!                                                    ╰─▶ pieces ─▶ ICMP ──▶ answer, next hops
//! ```
//!
//! The frame may lie in the device's own memory. So nothing is sent meanwhile: the one answer that
//! a frame may have is written aside, and leaves afterwards.

use super::addresses::may_be_source;
use super::counters::InterfaceCounters;
use super::device::{MacAddr, RxChecksum, RxFrame};
use super::env::Env;
use super::fragment::Outcome;
use super::interface::{Inner, Interface};
use super::tcp::Tcp;
use super::udp::Udp;
use super::wire::ethernet::{EtherType, Header};
use super::wire::icmp::{self, Message};
use super::wire::{dhcp, ip, ndp, protocol, put, tcp as tcp_wire};
use core::net::IpAddr;

/// Who else a packet may be for.
pub struct Above<'a> {
    pub tcp: &'a mut Tcp,
    pub udp: &'a mut Udp,
}

impl Interface {
    /// Takes a frame, if one has come in; whether one has.
    pub fn receive(
        &mut self,
        above: &mut Above<'_>,
        scratch: &mut [u8],
        env: &mut Env<'_>,
    ) -> bool {
        let Some(frame) = self.port.device.receive(scratch) else { return false };
        let counters = &mut self.port.counters;
        counters.frames_in += 1;
        counters.bytes_in += frame.bytes.len() as u64;
        if let Some(tap) = &mut self.port.tap {
            tap.note(&[], frame.bytes);
        }
        self.inner.receive_frame(&frame, above, counters, env);
        if !env.answer.reply.packet.is_empty() {
            self.send_answer(env);
        }
        true
    }
}

impl Inner {
    fn receive_frame(
        &mut self,
        frame: &RxFrame<'_>,
        above: &mut Above<'_>,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let Some((header, payload)) = Header::parse(frame.bytes) else {
            counters.malformed += 1;
            return;
        };
        if header.dest != self.link.mac && !header.dest.is_group() {
            counters.not_for_us += 1;
            return;
        }
        env.answer.to = header.source;
        let packet = match header.kind {
            EtherType::IPV4 => ip::Packet::parse_ipv4(payload),
            EtherType::IPV6 if self.config.ipv6 => ip::Packet::parse_ipv6(payload),
            EtherType::ARP => return self.receive_arp(payload, env),
            _ => {
                counters.no_port += 1;
                return;
            }
        };
        match packet.filter(|_| !header.source.is_group()) {
            Some(packet) => {
                let addressed = header.dest == self.link.mac;
                self.receive_packet(&packet, frame.checksum, addressed, above, counters, env);
            }
            None => counters.malformed += 1,
        }
    }

    /// Takes a packet. `addressed` says that its frame was to us alone.
    fn receive_packet(
        &mut self,
        packet: &ip::Packet<'_>,
        checksum: RxChecksum,
        addressed: bool,
        above: &mut Above<'_>,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let own = self.addresses.has(packet.dest);
        let source_is_fine = may_be_source(packet.source);
        if own && addressed && source_is_fine && packet.protocol == protocol::TCP {
            if packet.fragment.is_none() {
                return above.tcp.receive(packet, checksum, &mut self.side, counters, env);
            }
        } else if !own && !self.addresses.is_in_group(packet.dest) {
            if self.is_for_dhcp(packet) {
                return self.receive_dhcp(packet, above.tcp, env);
            }
            counters.not_for_us += 1;
            return;
        }
        if let Some(fragment) = packet.fragment {
            counters.fragments_in += 1;
            if !own || !source_is_fine {
                counters.malformed += 1;
                return;
            }
            let (outcome, lost) = self.reassembly.add(packet, fragment, env.now);
            counters.fragments_lost += lost as u64;
            match outcome {
                Outcome::Whole(bytes) => {
                    let whole = match packet.source {
                        IpAddr::V4(_) => ip::Packet::parse_ipv4(&bytes),
                        IpAddr::V6(_) => ip::Packet::parse_ipv6(&bytes),
                    };
                    if let Some(whole) = whole.filter(|whole| whole.fragment.is_none()) {
                        // What the device says is true of each piece, not of the whole.
                        let checksum = RxChecksum::Unverified;
                        self.receive_packet(&whole, checksum, addressed, above, counters, env);
                    }
                }
                Outcome::Wait => {}
                Outcome::Nonsense => counters.fragments_lost += 1,
            }
            return;
        }
        match packet.protocol {
            protocol::ICMPV6 if packet.source.is_ipv6() => {
                self.receive_icmpv6(packet, own, above, counters, env);
            }
            _ if !source_is_fine => counters.malformed += 1,
            protocol::UDP => {
                if self.is_for_dhcp(packet) {
                    return self.receive_dhcp(packet, above.tcp, env);
                }
                let id = self.id;
                let taken = above.udp.receive(packet, checksum, id, counters, env);
                if !taken && own && addressed {
                    refuse(packet, counters, env);
                }
            }
            protocol::ICMP if packet.source.is_ipv4() => {
                self.receive_icmp(packet, own, above, counters, env);
            }
            _ => counters.no_port += 1,
        }
    }

    fn receive_icmpv6(
        &mut self,
        packet: &ip::Packet<'_>,
        own: bool,
        above: &mut Above<'_>,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let message = packet.payload();
        let is_ndp = message.first().is_some_and(|kind| (133..=137).contains(kind));
        if !is_ndp && may_be_source(packet.source) {
            return self.receive_icmp(packet, own, above, counters, env);
        }
        // RFC 4861, section 7.1: what comes from beyond the link is no neighbour's.
        let valid = packet.hop_limit == ndp::HOP_LIMIT
            && icmp::checksum_of(message, packet.source, packet.dest);
        match ndp::Message::parse(message).filter(|_| valid && is_ndp) {
            Some(message) => self.receive_ndp(packet, &message, above.tcp, counters, env),
            None => counters.malformed += 1,
        }
    }

    fn receive_icmp(
        &mut self,
        packet: &ip::Packet<'_>,
        own: bool,
        above: &mut Above<'_>,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        match Message::parse(packet) {
            Some(Message::EchoRequest) => self.answer_echo(packet, own, env),
            Some(Message::TooBig { mtu, packet: quoted }) if own => {
                if let Some((_, remote, seq, key)) = quoted_segment(self.id, quoted) {
                    let floor = if remote.is_ipv4() { 576 } else { 1280 };
                    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX).max(floor);
                    above.tcp.path_is_narrow(&key, seq, mtu, &mut self.side, env);
                }
            }
            Some(Message::Unreachable { packet: quoted }) if own => {
                if let Some((_, _, seq, key)) = quoted_segment(self.id, quoted) {
                    above.tcp.host_is_unreachable(&key, seq, &mut self.side, env);
                }
            }
            _ => counters.no_port += 1,
        }
    }

    /// Sends an echo request back.
    fn answer_echo(&mut self, packet: &ip::Packet<'_>, own: bool, env: &mut Env<'_>) {
        // To a group's request each member answers by its own name.
        let source = if own { Some(packet.dest) } else { self.addresses.source_for(packet.source) };
        let Some(source) = source else { return };
        let message = packet.payload();
        let mut header = super::egress::header(source, packet.source, packet.protocol);
        header.payload_bytes = message.len() as u16;
        let start = header.len();
        let bytes = env.answer.begin(EtherType::of(source), start + message.len(), None);
        header.emit(bytes);
        put(bytes, start, message);
        icmp::make_echo_reply(&mut bytes[start..], source, packet.source);
    }

    /// Whether a packet is for our DHCP client, which has no address yet.
    fn is_for_dhcp(&self, packet: &ip::Packet<'_>) -> bool {
        self.dhcp.is_some()
            && packet.protocol == protocol::UDP
            && packet.fragment.is_none()
            && super::wire::u16_at(packet.payload(), 2) == Some(dhcp::CLIENT_PORT)
            && super::wire::u16_at(packet.payload(), 0) == Some(dhcp::SERVER_PORT)
    }

    fn receive_dhcp(&mut self, packet: &ip::Packet<'_>, tcp: &mut Tcp, env: &mut Env<'_>) {
        let datagram = super::wire::udp::Datagram::parse(packet.payload());
        let datagram = datagram.filter(|datagram| datagram.is_valid(packet.source, packet.dest));
        let (Some(datagram), IpAddr::V4(from)) = (datagram, packet.source) else { return };
        let Some(client) = &mut self.dhcp else { return };
        let event = client.receive(datagram.payload(), from, self.link.mac, env.now);
        if let Some(event) = event {
            self.take_lease(event, tcp, env);
        }
    }
}

/// Answers that nobody waits for such datagrams.
fn refuse(packet: &ip::Packet<'_>, counters: &mut InterfaceCounters, env: &mut Env<'_>) {
    counters.no_port += 1;
    if env.answer.to == MacAddr::BROADCAST || !env.allowance.take(env.now) {
        counters.errors_withheld += 1;
        return;
    }
    counters.errors_out += 1;
    let (source, dest) = (packet.dest, packet.source);
    let protocol = if source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
    let quoted = &packet.bytes[..packet.bytes.len().min(icmp::quoted_bytes(source.is_ipv4()))];
    let mut header = super::egress::header(source, dest, protocol);
    let message_bytes = icmp::HEADER_BYTES + quoted.len();
    header.payload_bytes = message_bytes as u16;
    let start = header.len();
    let bytes = env.answer.begin(EtherType::of(source), start + message_bytes, None);
    header.emit(bytes);
    icmp::emit_port_unreachable(&mut bytes[start..], quoted, source, dest);
}

/// Reads whose segment an error quotes.
fn quoted_segment(interface: u8, quoted: &[u8]) -> Option<(IpAddr, IpAddr, u32, super::tcp::Key)> {
    let (source, dest, protocol, segment) = icmp::quoted_packet(quoted)?;
    if protocol != protocol::TCP {
        return None;
    }
    let (source_port, dest_port, seq) = tcp_wire::quoted(segment)?;
    let key = super::tcp::Key::new(interface, (source, source_port), (dest, dest_port));
    Some((source, dest, seq, key))
}
