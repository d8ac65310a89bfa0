//! The backend's side of the receive ring.
//!
//! | offset | request | response | extra info |
//! |---|---|---|---|
//! | 0 | id, u16 | id | type, flags (bit 0: another one) |
//! | 2 | padding | offset | GSO size |
//! | 4 | grant, u32 | flags: 1 validated, 2 blank, 4 more data, 8 extra info | GSO type |
//! | 6 | | status: bytes, or an error below 0 | |

use super::Resolve;
use std::vec::Vec;
use xen::ring::Back;
use xen_abi::gnttab::GrantRef;

/// How a slot of a packet is filled: the bytes that it takes, from this offset on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlotPlan {
    pub offset: usize,
    pub bytes: usize,
}

/// A packet for the frontend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delivery {
    pub bytes: Vec<u8>,
    pub slots: Vec<SlotPlan>,
    /// Bits 1 and 2 of the first slot.
    pub flags: u16,
    /// Extra info slots, without their flags.
    pub extras: Vec<[u8; 8]>,
}

impl Delivery {
    /// The packet in full pages, as netback does it.
    pub fn plain(bytes: Vec<u8>) -> Self {
        let slots = bytes.chunks(4096).map(|piece| SlotPlan { offset: 0, bytes: piece.len() });
        Self { slots: slots.collect(), bytes, flags: 0, extras: Vec::new() }
    }

    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub fn extra(mut self, extra: [u8; 8]) -> Self {
        self.extras.push(extra);
        self
    }
}

pub(crate) struct FakeRx {
    pub ring: Back,
    resolve: Resolve,
}

impl FakeRx {
    pub fn new(ring: Back, resolve: Resolve) -> Self {
        Self { ring, resolve }
    }

    /// Delivers a packet; false if the frontend has not posted enough pages.
    pub fn deliver(&mut self, packet: &Delivery) -> bool {
        let wanted = packet.slots.len() + packet.extras.len();
        if (self.ring.pending().unwrap() as usize) < wanted {
            return false;
        }
        let mut rest = &packet.bytes[..];
        for (index, slot) in packet.slots.iter().enumerate() {
            let (piece, after) = rest.split_at(slot.bytes);
            rest = after;
            let more = index + 1 < packet.slots.len();
            let mut flags = if more { 4 } else { 0 };
            if index == 0 {
                flags |= packet.flags | if packet.extras.is_empty() { 0 } else { 8 };
            }
            self.fill(slot.offset, piece, flags);
            if index == 0 {
                self.extras(&packet.extras);
            }
        }
        assert!(rest.is_empty(), "the slots take the whole packet");
        true
    }

    fn fill(&mut self, offset: usize, piece: &[u8], flags: u16) {
        let (id, grant) = self.pop().unwrap();
        (self.resolve)(GrantRef(grant)).unwrap().write(offset, piece);
        self.respond(id, offset as u16, flags, piece.len() as i16);
    }

    fn extras(&mut self, extras: &[[u8; 8]]) {
        for (index, extra) in extras.iter().enumerate() {
            let mut slot = *extra;
            slot[1] = u8::from(index + 1 < extras.len());
            self.pop().unwrap();
            assert!(self.ring.push(&slot));
        }
    }

    /// The next request: its id and its grant.
    pub fn pop(&mut self) -> Option<(u16, u32)> {
        let mut slot = [0; 8];
        let there = self.ring.pop(&mut slot).unwrap();
        let id = u16::from_le_bytes([slot[0], slot[1]]);
        assert_eq!([slot[2], slot[3]], [0, 0], "padding");
        there.then(|| (id, u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]])))
    }

    /// A response of any kind.
    pub fn respond(&mut self, id: u16, offset: u16, flags: u16, status: i16) {
        let fields = [id.to_le_bytes(), offset.to_le_bytes(), flags.to_le_bytes()];
        let mut slot = fields.concat();
        slot.extend(status.to_le_bytes());
        assert!(self.ring.push(&slot), "one response a request");
    }
}
