//! Segments that come in: whose they are, and the answer to those that are nobody's.

use super::connection::Connection;
use super::engine::{Sent, correct_number};
use super::flow::Flow;
use super::{Key, Side, Tcp};
use crate::net::counters::InterfaceCounters;
use crate::net::device::RxChecksum;
use crate::net::env::Env;
use crate::net::error::Error;
use crate::net::port::Transport;
use crate::net::wire::ethernet::EtherType;
use crate::net::wire::tcp::{self, Header, flag};
use crate::net::wire::{ip, protocol, put};
use alloc::vec::Vec;
use smoltcp::socket::tcp::State;

impl Tcp {
    /// Takes a packet. What answers it at once is in `env.answer`.
    pub fn receive(
        &mut self,
        packet: &ip::Packet<'_>,
        checksum: RxChecksum,
        side: &mut Side,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let segment = packet.payload();
        let Some(header) = Header::parse(segment) else {
            counters.malformed += 1;
            return;
        };
        if checksum == RxChecksum::Unverified && !tcp::is_valid(segment, packet.source, packet.dest)
        {
            counters.bad_checksum += 1;
            return;
        }
        let local = (packet.dest, header.dest_port);
        let key = Key::new(side.id, local, (packet.source, header.source_port));
        self.counters.polls += 1;
        let Some(number) = self.find(&key) else {
            return self.receive_stranger(&key, &header, packet, side, counters, env);
        };
        let Some(entry) = self.flows.get_mut(number) else { return };
        match &mut entry.flow {
            Flow::Open(_) => self.receive_open(number, &header, packet, side, env),
            Flow::HalfOpen(_) => {
                self.receive_half_open(number, &header, packet, side, counters, env);
            }
            Flow::Waiting(waiting) => {
                let is_new = header.is(flag::SYN)
                    && (header.seq.wrapping_sub(waiting.peer_number) as i32) >= 0;
                if is_new {
                    // RFC 9293, section 3.10.7.4: the same ports are used again.
                    self.remove(number);
                    return self.receive_stranger(&key, &header, packet, side, counters, env);
                }
                if header.has(flag::RST) {
                    // RFC 1337: what was delayed must not end the waiting.
                    return;
                }
                if header.has(flag::FIN) {
                    waiting.until = env.now + env.limits.time_wait_time;
                }
                let (seq, ack) = (waiting.number, waiting.peer_number);
                write_bare(&key, flag::ACK, seq, ack, env);
            }
        }
    }

    /// Gives a connection its segment.
    pub(super) fn receive_open(
        &mut self,
        number: u32,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        env: &mut Env<'_>,
    ) {
        let Some((key, connection)) = self.connection(number) else { return };
        connection.heard = Some(env.now);
        connection.counters.segments_in += 1;
        let ipv6 = key.is_ipv6();
        let engine = side.engine(ipv6, connection.mtu_bytes);
        let before = connection.state;
        let queued = connection.socket().send_queue();
        let rewritten = rewritten(connection, header, packet, engine.path().mss());
        let bytes = rewritten.as_deref().unwrap_or(packet.bytes);
        engine.receive(env.smol, &mut connection.set, bytes, &mut env.answer.reply);
        if !env.answer.reply.packet.is_empty() {
            note_reply(connection, ipv6, env);
        }
        if connection.orphaned && connection.socket().send_queue() < queued {
            connection.extend_orphan(env.now + env.limits.orphan_time);
        }
        if connection.socket().state() == State::Closed && header.has(flag::RST) {
            let refused = before == State::SynSent;
            connection.end = Some(if refused { Error::Refused } else { Error::Reset });
            self.counters.reset_by_peer += u64::from(!refused);
        } else if before == State::SynSent && connection.socket().state() == State::Established {
            self.counters.connected += 1;
        }
        self.settle(number, side, env, false);
    }

    /// A segment of no flow.
    fn receive_stranger(
        &mut self,
        key: &Key,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        if header.has(flag::RST) {
            return;
        }
        let taken = match header.flags & (flag::SYN | flag::ACK | flag::FIN) {
            flag::SYN => self.receive_first(key, header, packet, side, env),
            flag::ACK => self.receive_cookie(key, header, packet, side, env),
            _ => false,
        };
        if !taken {
            refuse(key, header, packet.payload().len(), counters, env);
        }
    }
}

/// The packet as smoltcp is to see it, unless that is as it came: IPv6 without extension headers,
/// and an accepting segment that announces no more than we want to send.
fn rewritten(
    connection: &mut Connection,
    header: &Header,
    packet: &ip::Packet<'_>,
    mss: u16,
) -> Option<Vec<u8>> {
    let accepts = header.has(flag::SYN);
    if !accepts && (packet.is_plain() || packet.source.is_ipv4()) {
        return None;
    }
    let mut bytes = plain(packet);
    if accepts {
        let start = bytes.len() - packet.payload().len();
        let segment = &mut bytes[start..];
        tcp::lower_mss(segment, header.header_bytes, mss);
        let announced = tcp::SynOptions::parse(segment, header).mss.unwrap_or(536);
        connection.segment_bytes = announced.clamp(48, mss);
    }
    Some(bytes)
}

/// A copy of a packet without options and extension headers.
fn plain(packet: &ip::Packet<'_>) -> Vec<u8> {
    let payload = packet.payload();
    let header = ip::Header {
        source: packet.source,
        dest: packet.dest,
        protocol: packet.protocol,
        hop_limit: packet.hop_limit,
        payload_bytes: payload.len() as u16,
        fragment: None,
    };
    let mut bytes = alloc::vec![0; header.len()];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// smoltcp has answered: says where the answer's checksum is, and what it acknowledges.
fn note_reply(connection: &mut Connection, ipv6: bool, env: &mut Env<'_>) {
    let (kind, header_bytes) = match ipv6 {
        true => (EtherType::IPV6, ip::IPV6_HEADER_BYTES),
        false => (EtherType::IPV4, ip::IPV4_HEADER_BYTES),
    };
    env.answer.kind = kind;
    env.answer.transport = Some(Transport::tcp(header_bytes));
    let segment = env.answer.reply.packet.get_mut(header_bytes..).unwrap_or_default();
    let Some(header) = Header::parse(segment).filter(|header| !header.has(flag::RST)) else {
        return;
    };
    let mut sent = Sent { header, sequence_len: header.sequence_len(segment.len()) };
    correct_number(segment, &mut sent, connection.sent.map(|(next, _)| next));
    connection.note_sent(sent.header.seq, sent.sequence_len, sent.header.ack);
}

/// Answers that there is no such connection (RFC 9293, section 3.10.7.1).
pub(super) fn refuse(
    key: &Key,
    header: &Header,
    segment_bytes: usize,
    counters: &mut InterfaceCounters,
    env: &mut Env<'_>,
) {
    counters.no_port += 1;
    if !env.allowance.take(env.now) {
        counters.errors_withheld += 1;
        return;
    }
    counters.errors_out += 1;
    if header.has(flag::ACK) {
        write_bare(key, flag::RST, header.ack, 0, env);
    } else {
        let ack = header.seq.wrapping_add(header.sequence_len(segment_bytes));
        write_bare(key, flag::RST | flag::ACK, 0, ack, env);
    }
}

/// Answers with a segment without options and data.
fn write_bare(key: &Key, flags: u8, seq: u32, ack: u32, env: &mut Env<'_>) {
    write_segment(key, flags, seq, ack, 0, &[], env);
}

/// Answers with a segment without data.
pub(super) fn write_segment(
    key: &Key,
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: &[u8],
    env: &mut Env<'_>,
) {
    let (local, remote) = (key.local(), key.remote());
    let header_bytes = tcp::HEADER_BYTES + options.len();
    let ip_header = ip::Header {
        source: local.ip(),
        dest: remote.ip(),
        protocol: protocol::TCP,
        hop_limit: ip::HOP_LIMIT,
        payload_bytes: header_bytes as u16,
        fragment: None,
    };
    let header = Header {
        source_port: local.port(),
        dest_port: remote.port(),
        seq,
        ack,
        flags,
        window,
        header_bytes,
    };
    let ip_bytes = ip_header.len();
    let transport = Some(Transport::tcp(ip_bytes));
    let bytes = env.answer.begin(EtherType::of(local.ip()), ip_bytes + header_bytes, transport);
    ip_header.emit(bytes);
    header.emit(&mut bytes[ip_bytes..]);
    put(bytes, ip_bytes + tcp::HEADER_BYTES, options);
}
