//! How connections begin.
//!
//! ```text
//!   SYN ──▶ room? ──▶ HalfOpen, SYN-ACK ──▶ ACK ──╮
//!             │no                                 ├─▶ socket ◀─ SYN again, so that it knows of it
//!             ╰─────▶ SYN-ACK, nothing kept ▶ ACK ─╯        ◀─ ACK, with its data
//! ```
//!
//! A peer that only begins costs a hundred bytes, or nothing: a socket and its buffers are made
//! when the peer has shown that our answer reaches it. smoltcp's socket must then believe that it
//! has sent that answer itself. It takes its first sequence number from a generator; so the number
//! that we answer with is the generator's first output for a seed, and the socket is opened with a
//! generator of that seed. The seed comes from the endpoints, a secret, and what is different each
//! time.
//!
//! When nothing is kept (SYN cookies, RFC 4987, section 3.6), the seed is made of what the ACK
//! tells again: the endpoints, the peer's number, the minute, and the class of its largest segment.
//! Then neither window scaling nor selective acknowledgments are agreed on.

use super::connection::{Connection, TcpOptions};
use super::engine::{Engine, first_number};
use super::flow::Flow;
use super::receive::{refuse, write_segment};
use super::{Key, Side, Tcp};
use crate::net::counters::InterfaceCounters;
use crate::net::device::MacAddr;
use crate::net::env::Env;
use crate::net::error::Error;
use crate::net::port::Port;
use crate::net::wire::tcp::{self, Header, SynOptions, flag};
use crate::net::wire::{ip, protocol, put};
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

/// Time until an answer is repeated; it doubles each time (RFC 6298, section 2).
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
/// Answers to a first segment.
const ANSWERS: u8 = 5;

/// For how long an answer to a cookie is believed: up to twice this.
const COOKIE_TIME: Duration = Duration::from_secs(64);
/// Largest segments that a cookie can tell apart.
const CLASSES: [u16; 4] = [536, 1220, 1440, 1460];

/// What different kinds of seeds are made for.
mod purpose {
    pub const ACCEPT: u64 = 1;
    pub const COOKIE: u64 = 2;
    pub const CONNECT: u64 = 3;
    pub const PORT: u64 = 4;
}

/// Ports of connections that we open (RFC 6335, section 6).
const EPHEMERAL: core::ops::RangeInclusive<u16> = 49_152..=65_535;

/// What a connection is made of, once the peer has shown that our answer reaches it.
#[derive(Clone, Copy)]
struct Beginning {
    seed: u64,
    /// The peer's first number.
    peer_number: u32,
    /// What the peer offers.
    offer: SynOptions,
    window: u16,
}

impl Beginning {
    /// Our first number.
    fn number(&self) -> u32 {
        first_number(self.seed)
    }
}

/// What is kept of a peer that has only begun.
pub struct HalfOpen {
    beginning: Beginning,
    /// Where the peer is.
    mac: MacAddr,
    answers: u8,
}

impl Tcp {
    /// A first segment: answers it, if somebody listens.
    pub(super) fn receive_first(
        &mut self,
        key: &Key,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(listener) = self.listener_for(key.local()) else { return false };
        let options = listener.options;
        if !listener.has_room() || self.counts.open >= env.limits.connections {
            // Whoever is in earnest asks again.
            self.counters.refused += 1;
            return true;
        }
        self.handshakes += 1;
        let mut beginning = Beginning {
            seed: key.number(env.secret, purpose::ACCEPT, self.handshakes),
            peer_number: header.seq,
            offer: SynOptions::parse(packet.payload(), header),
            window: header.window,
        };
        if self.counts.half_open < env.limits.half_open {
            write_answer(key, &beginning, options, side, env);
            let half = HalfOpen { beginning, mac: env.answer.to, answers: 1 };
            let number = self.insert(*key, Flow::HalfOpen(half));
            self.timers.arm(number, env.now + ANSWER_AGAIN);
        } else {
            let mss = beginning.offer.mss.unwrap_or(0);
            let class = CLASSES.iter().rposition(|&class| class <= mss).unwrap_or(0);
            beginning.offer = SynOptions::default();
            beginning.seed = cookie(key, header.seq, class, slot(env.now), env);
            write_answer(key, &beginning, options, side, env);
            self.cookies_until = env.now + COOKIE_TIME * 2;
            self.counters.cookies_sent += 1;
        }
        true
    }

    /// A segment of a peer that has only begun.
    pub(super) fn receive_half_open(
        &mut self,
        number: u32,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) {
        let Some(entry) = self.flows.get_mut(number) else { return };
        let (key, Flow::HalfOpen(half)) = (entry.key, &entry.flow) else { return };
        let beginning = half.beginning;
        let expected = beginning.peer_number.wrapping_add(1);
        if header.has(flag::RST) {
            if header.seq == expected {
                self.counters.half_open_lost += 1;
                self.remove(number);
            }
            return;
        }
        if header.is(flag::SYN) && header.seq == beginning.peer_number {
            // Our answer was lost.
            return self.answer_again(number, side, env);
        }
        if !header.has(flag::ACK) || header.has(flag::SYN) {
            return;
        }
        if header.ack != beginning.number().wrapping_add(1) {
            return refuse(&key, header, packet.payload().len(), counters, env);
        }
        let Some(connection) = self.made(&key, beginning, side, env) else { return };
        self.replace(number, Flow::Open(connection));
        self.welcome(number, header, packet, side, env);
    }

    /// Perhaps the answer to a segment of which nothing was kept.
    pub(super) fn receive_cookie(
        &mut self,
        key: &Key,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        env: &mut Env<'_>,
    ) -> bool {
        if env.now >= self.cookies_until {
            return false;
        }
        let (own, peer_number) = (header.ack.wrapping_sub(1), header.seq.wrapping_sub(1));
        let slots = [slot(env.now), slot(env.now).wrapping_sub(1)];
        let candidates = slots.iter().flat_map(|&slot| (0..CLASSES.len()).map(move |c| (slot, c)));
        let mut seeds = candidates
            .map(|(slot, class)| (cookie(key, peer_number, class, slot, env), CLASSES[class]));
        let Some((seed, mss)) = seeds.find(|&(seed, _)| first_number(seed) == own) else {
            return false;
        };
        let offer = SynOptions { mss: Some(mss), ..SynOptions::default() };
        let beginning = Beginning { seed, peer_number, offer, window: header.window };
        if let Some(connection) = self.made(key, beginning, side, env) {
            self.counters.cookies_accepted += 1;
            let number = self.insert(*key, Flow::Open(connection));
            self.welcome(number, header, packet, side, env);
        }
        true
    }

    /// Makes the connection of a peer that our answer has reached, if there is room for it.
    fn made(
        &mut self,
        key: &Key,
        beginning: Beginning,
        side: &mut Side,
        env: &mut Env<'_>,
    ) -> Option<Box<Connection>> {
        let options = self.listener_for(key.local()).filter(|l| l.has_room())?.options;
        if !self.has_room(options, env) {
            self.counters.refused += 1;
            return None;
        }
        let local = key.local();
        let mut connection = Box::new(Connection::new(options, key.remote().ip()));
        let endpoint = IpListenEndpoint { addr: Some(local.ip().into()), port: local.port() };
        connection.socket().listen(endpoint).ok()?;
        let path = side.engine(key.is_ipv6(), None).path();
        let mss = beginning.offer.mss.unwrap_or(536).min(path.mss());
        connection.segment_bytes = mss.max(48);
        connection.mtu_bytes = side.narrow.mtu_to(connection.remote, env.now);
        let mut engine = Engine::new(path, beginning.seed, env.now);
        let mut bytes = [0; 100];
        let offer = SynOptions { mss: Some(mss), timestamp: None, ..beginning.offer };
        let len = write_first(key, &beginning, offer, &mut bytes);
        let reply = &mut env.answer.reply;
        engine.receive(env.smol, &mut connection.set, &bytes[..len], reply);
        engine.transmit_to(env.smol, &mut connection.set, reply);
        let header_bytes = if path.ipv6 { ip::IPV6_HEADER_BYTES } else { ip::IPV4_HEADER_BYTES };
        let answer = reply.packet.get(header_bytes..).and_then(Header::parse);
        reply.packet.clear();
        let answer = answer.filter(|answer| answer.seq == beginning.number())?;
        connection.note_sent(answer.seq, 1, answer.ack);
        connection.state = State::SynReceived;
        Some(connection)
    }

    /// Gives a new connection the segment that has made it one, and the listener the connection.
    fn welcome(
        &mut self,
        number: u32,
        header: &Header,
        packet: &ip::Packet<'_>,
        side: &mut Side,
        env: &mut Env<'_>,
    ) {
        self.receive_open(number, header, packet, side, env);
        let Some((key, connection)) = self.connection(number) else { return };
        if matches!(connection.state, State::SynReceived | State::Closed | State::Listen) {
            // It was not what it seemed: a wrong number, say.
            return self.remove(number);
        }
        self.counters.accepted += 1;
        if let Some(listener) = self.listener_for(key.local()) {
            listener.offer(number, env.wakes);
        }
    }

    /// Answers a first segment again that has come again.
    fn answer_again(&mut self, number: u32, side: &mut Side, env: &mut Env<'_>) {
        let Some(entry) = self.flows.get_mut(number) else { return };
        let (key, Flow::HalfOpen(half)) = (entry.key, &entry.flow) else { return };
        let beginning = half.beginning;
        let Some(options) = self.listener_for(key.local()).map(|listener| listener.options) else {
            return;
        };
        write_answer(&key, &beginning, options, side, env);
    }

    /// The answer to a first segment was not answered.
    pub(super) fn ask_again(
        &mut self,
        number: u32,
        side: &mut Side,
        port: &mut Port,
        env: &mut Env<'_>,
    ) {
        let Some(entry) = self.flows.get_mut(number) else { return };
        let Flow::HalfOpen(half) = &mut entry.flow else { return };
        if half.answers >= ANSWERS {
            self.counters.half_open_lost += 1;
            return self.remove(number);
        }
        let again = env.now + ANSWER_AGAIN * (1 << half.answers);
        half.answers += 1;
        env.answer.to = half.mac;
        self.answer_again(number, side, env);
        env.answer.send(port);
        self.timers.arm(number, again);
    }

    /// Whether there may be one more connection with such buffers.
    fn has_room(&self, options: TcpOptions, env: &Env<'_>) -> bool {
        let bytes = self.counts.buffer_bytes.saturating_add(options.buffer_bytes());
        self.counts.open < env.limits.connections && bytes <= env.limits.tcp_buffer_bytes
    }

    /// Begins to open a connection.
    pub fn open(
        &mut self,
        local: core::net::IpAddr,
        remote: core::net::SocketAddr,
        options: TcpOptions,
        side: &mut Side,
        env: &mut Env<'_>,
    ) -> Result<u32, Error> {
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(Error::Invalid);
        }
        if !self.has_room(options, env) {
            return Err(Error::Limit);
        }
        let key = self.free_key(local, remote, side.id, env).ok_or(Error::InUse)?;
        let seed = key.number(env.secret, purpose::CONNECT, self.handshakes);
        let path = side.engine(key.is_ipv6(), None).path();
        let mut engine = Engine::new(path, seed, env.now);
        let mut connection = Box::new(Connection::new(options, remote.ip()));
        let endpoint = |address: core::net::SocketAddr| IpEndpoint::from(address);
        let socket = connection.socket();
        socket
            .connect(engine.context(), endpoint(remote), endpoint(key.local()))
            .map_err(|_| Error::Invalid)?;
        connection.mtu_bytes = side.narrow.mtu_to(remote.ip(), env.now);
        connection.queued = true;
        connection.state = State::SynSent;
        let number = self.insert(key, Flow::Open(connection));
        side.ready.push_back(number);
        Ok(number)
    }

    /// A key to this endpoint that nobody has: ports in an order that cannot be guessed (RFC 6056).
    fn free_key(
        &mut self,
        local: core::net::IpAddr,
        remote: core::net::SocketAddr,
        interface: u8,
        env: &Env<'_>,
    ) -> Option<Key> {
        self.handshakes += 1;
        let first = Key::new(interface, (local, 0), (remote.ip(), remote.port()));
        let start = first.number(env.secret, purpose::PORT, self.handshakes);
        let ports = u64::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let nth = |n: u64| EPHEMERAL.start() + (start.wrapping_add(n) % ports) as u16;
        let mut keys =
            (0..ports).map(|n| Key::new(interface, (local, nth(n)), (remote.ip(), remote.port())));
        keys.find(|key| self.find(key).is_none())
    }
}

/// The seed of an answer of which nothing is kept.
fn cookie(key: &Key, peer_number: u32, class: usize, slot: u32, env: &Env<'_>) -> u64 {
    let extra = u64::from(peer_number) << 32 | u64::from(slot << 2) | class as u64;
    key.number(env.secret, purpose::COOKIE, extra)
}

/// Which of the times that cookies are valid for it is.
fn slot(now: Instant) -> u32 {
    (now.as_nanos() / COOKIE_TIME.as_nanos() as u64) as u32
}

/// Answers a first segment.
fn write_answer(
    key: &Key,
    beginning: &Beginning,
    options: TcpOptions,
    side: &mut Side,
    env: &mut Env<'_>,
) {
    let offer = SynOptions {
        mss: Some(side.engine(key.is_ipv6(), None).path().mss()),
        window_scale: beginning.offer.window_scale.map(|_| options.window_scale()),
        sack: beginning.offer.sack,
        timestamp: None,
    };
    let mut bytes = [0; 40];
    let len = offer.emit(&mut bytes, 0);
    let ack = beginning.peer_number.wrapping_add(1);
    let (flags, window) = (flag::SYN | flag::ACK, options.first_window());
    write_segment(key, flags, beginning.number(), ack, window, &bytes[..len], env);
}

/// Writes the peer's first segment again, as a packet; its length. Nobody looks at its checksums.
fn write_first(key: &Key, beginning: &Beginning, offer: SynOptions, bytes: &mut [u8]) -> usize {
    let (local, remote) = (key.local(), key.remote());
    let mut options = [0; 40];
    let options_bytes = offer.emit(&mut options, 0);
    let header = Header {
        source_port: remote.port(),
        dest_port: local.port(),
        seq: beginning.peer_number,
        ack: 0,
        flags: flag::SYN,
        window: beginning.window,
        header_bytes: tcp::HEADER_BYTES + options_bytes,
    };
    let ip_header = ip::Header {
        source: remote.ip(),
        dest: local.ip(),
        protocol: protocol::TCP,
        hop_limit: ip::HOP_LIMIT,
        payload_bytes: header.header_bytes as u16,
        fragment: None,
    };
    let start = ip_header.len();
    ip_header.emit(bytes);
    header.emit(&mut bytes[start..]);
    put(bytes, start + tcp::HEADER_BYTES, &options[..options_bytes]);
    start + header.header_bytes
}
