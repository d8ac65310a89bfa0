//! Packets in pieces: cut where a link is too narrow (RFC 791, RFC 8200), and put together again.
//!
//! ```text
//!   piece ─▶ partial packet [ 0..1480 | … | 2960..4440 ] ── no gap left ─▶ packet
//!                │ 30 s, too much memory, pieces that overlap
//!                ▼
//!              lost
//! ```
//!
//! Pieces are kept as they come, so a few bytes at the far end of a packet do not take memory for
//! all of it. Pieces that overlap are somebody's trick: the packet is lost (RFC 5722).

use super::limits::Limits;
use super::wire::ip::{Fragment, Header, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Packet};
use super::wire::put;
use crate::time::{Duration, Instant};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

/// For how long missing pieces are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces of one packet.
const MAX_PIECES: usize = 64;
/// What a piece takes beside its bytes.
const PIECE_OVERHEAD_BYTES: usize = 64;
/// Bytes of IPv6's fragment header.
const FRAGMENT_HEADER_BYTES: usize = 8;

/// Whose piece it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    dest: IpAddr,
    protocol: u8,
    id: u32,
}

struct Piece {
    start: usize,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }
}

struct Partial {
    key: Key,
    hop_limit: u8,
    /// In the order of where they belong; none overlap.
    pieces: Vec<Piece>,
    /// Where the packet ends, once the last piece has come.
    end: Option<usize>,
    until: Instant,
}

/// The packets of an interface of which pieces are missing.
pub struct Reassembly {
    partials: Vec<Partial>,
    bytes: usize,
    limit_bytes: usize,
    limit_packets: usize,
}

/// What has come of a piece.
pub enum Outcome {
    /// The packet is whole.
    Whole(Vec<u8>),
    /// Pieces are missing.
    Wait,
    /// The packet made no sense.
    Nonsense,
}

impl Reassembly {
    /// No pieces yet.
    pub fn new(limits: &Limits) -> Self {
        let (limit_bytes, limit_packets) = (limits.fragment_bytes, limits.fragmented_packets);
        Self { partials: Vec::new(), bytes: 0, limit_bytes, limit_packets }
    }

    /// Takes a piece; and how many other packets were given up for it.
    pub fn add(
        &mut self,
        packet: &Packet<'_>,
        fragment: Fragment,
        now: Instant,
    ) -> (Outcome, usize) {
        let Packet { source, dest, protocol, .. } = *packet;
        let key = Key { source, dest, protocol, id: fragment.id };
        let payload = packet.payload();
        let start = usize::from(fragment.offset_bytes);
        let end = start + payload.len();
        let place = self.partials.iter().position(|partial| partial.key == key);
        // All but the last are a multiple of 8 bytes long, and none is empty.
        let fits = end <= usize::from(u16::MAX) - IPV6_HEADER_BYTES;
        if payload.is_empty() || !fits || (fragment.more && !payload.len().is_multiple_of(8)) {
            if let Some(place) = place {
                self.forget(place);
            }
            return (Outcome::Nonsense, 0);
        }
        let cost = payload.len() + PIECE_OVERHEAD_BYTES;
        let (place, lost) = match place {
            Some(place) => (place, self.make_room(cost, Some(key))),
            None => {
                let lost = self.make_room(cost, None);
                let (hop_limit, until) = (packet.hop_limit, now + PATIENCE);
                let pieces = Vec::new();
                self.partials.push(Partial { key, hop_limit, pieces, end: None, until });
                (self.partials.len() - 1, lost)
            }
        };
        // Making room may have moved it, or have been in vain.
        let place = self.partials.get(place).filter(|partial| partial.key == key).map(|_| place);
        let place = place.or_else(|| self.partials.iter().position(|partial| partial.key == key));
        let Some(place) = place else { return (Outcome::Nonsense, lost) };
        let partial = &mut self.partials[place];
        match partial.insert(start, payload, fragment.more) {
            Some(true) => self.bytes += cost,
            Some(false) => {}
            None => {
                self.forget(place);
                return (Outcome::Nonsense, lost);
            }
        }
        if !self.partials[place].is_whole() {
            return (Outcome::Wait, lost);
        }
        let partial = self.forget(place);
        (partial.join().map_or(Outcome::Nonsense, Outcome::Whole), lost)
    }

    /// Gives up what has waited for too long; how many packets.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut lost = 0;
        while self.deadline() <= now {
            self.forget(0);
            lost += 1;
        }
        lost
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Instant {
        // The oldest is the first, and all wait equally long.
        self.partials.first().map_or(Instant::FAR_FUTURE, |partial| partial.until)
    }

    /// Gives up the oldest packets, but `spared`, until there is room for more; how many.
    fn make_room(&mut self, cost: usize, spared: Option<Key>) -> usize {
        let mut lost = 0;
        let new = usize::from(spared.is_none());
        while self.bytes + cost > self.limit_bytes
            || self.partials.len() + new > self.limit_packets.max(1)
        {
            // The oldest is the first; the one that is added to goes last.
            let Some(place) = self.partials.iter().position(|p| Some(p.key) != spared) else {
                if !self.partials.is_empty() {
                    self.forget(0);
                    lost += 1;
                }
                return lost;
            };
            self.forget(place);
            lost += 1;
        }
        lost
    }

    fn forget(&mut self, place: usize) -> Partial {
        let partial = self.partials.remove(place);
        let cost = partial.pieces.iter().map(|piece| piece.bytes.len() + PIECE_OVERHEAD_BYTES);
        self.bytes -= cost.sum::<usize>();
        partial
    }
}

impl Partial {
    /// Adds a piece: true if it is new, false if it was there; [`None`] if it contradicts others.
    fn insert(&mut self, start: usize, bytes: &[u8], more: bool) -> Option<bool> {
        let end = start + bytes.len();
        if !more {
            if self.end.is_some_and(|known| known != end) {
                return None;
            }
            self.end = Some(end);
        }
        let last = self.pieces.last().map_or(0, Piece::end);
        if self.end.is_some_and(|known| end.max(last) > known) {
            return None;
        }
        let place = self.pieces.partition_point(|piece| piece.start < start);
        if self.pieces.get(place).is_some_and(|next| next.start == start && next.end() == end) {
            return Some(false);
        }
        let after_previous = place == 0 || self.pieces[place - 1].end() <= start;
        let before_next = self.pieces.get(place).is_none_or(|next| end <= next.start);
        if !after_previous || !before_next || self.pieces.len() >= MAX_PIECES {
            return None;
        }
        self.pieces.insert(place, Piece { start, bytes: bytes.to_vec() });
        Some(true)
    }

    fn is_whole(&self) -> bool {
        let mut at = 0;
        for piece in &self.pieces {
            if piece.start != at {
                return false;
            }
            at = piece.end();
        }
        self.end == Some(at)
    }

    /// The packet. [`None`] if it would be longer than any.
    fn join(&self) -> Option<Vec<u8>> {
        let payload_bytes = self.pieces.last().map_or(0, Piece::end);
        let header = Header {
            source: self.key.source,
            dest: self.key.dest,
            protocol: self.key.protocol,
            hop_limit: self.hop_limit,
            payload_bytes: u16::try_from(payload_bytes).ok()?,
            fragment: None,
        };
        u16::try_from(header.len() + payload_bytes).ok()?;
        let mut packet = vec![0; header.len()];
        header.emit(&mut packet);
        for piece in &self.pieces {
            packet.extend_from_slice(&piece.bytes);
        }
        Some(packet)
    }
}

/// Cuts a packet, whose checksums are filled in, into pieces that fit an MTU.
pub fn split(packet: &[u8], mtu_bytes: usize, id: u32) -> Vec<Vec<u8>> {
    let parsed = match packet.first().map(|byte| byte >> 4) {
        Some(4) => Packet::parse_ipv4(packet),
        _ => Packet::parse_ipv6(packet),
    };
    let Some(parsed) = parsed else { return Vec::new() };
    let is_ipv4 = parsed.source.is_ipv4();
    let extra_bytes = if is_ipv4 { 0 } else { FRAGMENT_HEADER_BYTES };
    let header_bytes = if is_ipv4 { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES };
    let piece_bytes = mtu_bytes.saturating_sub(header_bytes + extra_bytes) & !7;
    if piece_bytes == 0 {
        return Vec::new();
    }
    let payload = parsed.payload();
    let pieces = payload.chunks(piece_bytes).enumerate();
    let write = |(n, piece): (usize, &[u8])| {
        let offset_bytes = (n * piece_bytes) as u16;
        let more = (n + 1) * piece_bytes < payload.len();
        let header = Header {
            source: parsed.source,
            dest: parsed.dest,
            protocol: if is_ipv4 { parsed.protocol } else { 44 },
            hop_limit: parsed.hop_limit,
            payload_bytes: (extra_bytes + piece.len()) as u16,
            fragment: is_ipv4.then_some(Fragment { id, offset_bytes, more }),
        };
        let mut bytes = vec![0; header_bytes + extra_bytes];
        header.emit(&mut bytes);
        if !is_ipv4 {
            put(&mut bytes, header_bytes, &[parsed.protocol]);
            put(&mut bytes, header_bytes + 2, &(offset_bytes | u16::from(more)).to_be_bytes());
            put(&mut bytes, header_bytes + 4, &id.to_be_bytes());
        }
        bytes.extend_from_slice(piece);
        bytes
    };
    pieces.map(write).collect()
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
