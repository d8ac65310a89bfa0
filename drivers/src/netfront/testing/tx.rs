//! The backend's side of the transmit ring.
//!
//! | offset | request | extra info |
//! |---|---|---|
//! | 0 | grant, u32 | type, flags (bit 0: another one) |
//! | 2 | | GSO size; or 6 bytes of address |
//! | 4 | offset, u16 | GSO type |
//! | 6 | flags: 1 blank, 2 validated, 4 more data, 8 extra info | |
//! | 8 | id | |
//! | 10 | size | |

use super::Resolve;
use std::collections::VecDeque;
use std::vec::Vec;
use xen::ring::Back;
use xen_abi::gnttab::GrantRef;

/// What netback would disconnect the frontend for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TxFault {
    Ring,
    PartialPacket,
    ExtraType(u8),
    TooManySlots(usize),
    CrossesPage,
    Fragments,
    Short(usize),
    Grant(u32),
    GsoSize,
    GsoType(u8),
    GsoWithoutBlank,
    HeadersSplit,
    UnknownFlags(u16),
}

/// A packet as it would leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TxPacket {
    pub bytes: Vec<u8>,
    pub blank: bool,
    pub validated: bool,
    /// Size and type.
    pub gso: Option<(u16, u8)>,
    /// Bytes of each slot.
    pub slots: Vec<usize>,
}

pub(crate) struct FakeTx {
    pub ring: Back,
    resolve: Resolve,
    /// Responses to be given, in this order: id and status.
    pub answers: VecDeque<(u16, i16)>,
    pub packets: Vec<TxPacket>,
    /// Addresses that are let through.
    pub multicast: Vec<[u8; 6]>,
    /// What a packet's slots are answered with.
    pub status: i16,
}

#[derive(Clone, Copy)]
struct Request {
    grant: u32,
    offset: usize,
    flags: u16,
    id: u16,
    size: usize,
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Request {
    fn new(slot: [u8; 12]) -> Self {
        Self {
            grant: u32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]]),
            offset: half(&slot, 4).into(),
            flags: half(&slot, 6),
            id: half(&slot, 8),
            size: half(&slot, 10).into(),
        }
    }
}

impl FakeTx {
    pub fn new(ring: Back, resolve: Resolve) -> Self {
        let (answers, packets, multicast) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { ring, resolve, answers, packets, multicast, status: 0 }
    }

    /// Takes all packets that are there; their answers wait in `answers`.
    pub fn take_all(&mut self) -> Result<usize, TxFault> {
        let before = self.packets.len();
        while self.ring.pending().map_err(|_| TxFault::Ring)? > 0 {
            self.take_one()?;
        }
        Ok(self.packets.len() - before)
    }

    /// Takes one packet.
    pub fn take_one(&mut self) -> Result<(), TxFault> {
        let first = Request::new(self.pop()?);
        let mut extras = Vec::new();
        let mut more_extra = first.flags & 8 != 0;
        while more_extra {
            let extra = self.pop()?;
            more_extra = extra[1] & 1 != 0;
            extras.push(extra);
        }
        if let Some(done) = self.multicast_message(&first, &extras) {
            self.answer(first.id, done, extras.len());
            return Ok(());
        }
        let mut slots = Vec::from([first]);
        while slots.last().is_some_and(|slot| slot.flags & 4 != 0) {
            slots.push(Request::new(self.pop()?));
        }
        let packet = self.assemble(first, &extras, &mut slots)?;
        self.packets.push(packet);
        self.answer(first.id, self.status, extras.len());
        for slot in &slots[1..] {
            self.answers.push_back((slot.id, self.status));
        }
        Ok(())
    }

    fn multicast_message(&mut self, first: &Request, extras: &[[u8; 12]]) -> Option<i16> {
        let extra = extras.iter().find(|extra| extra[0] == 2 || extra[0] == 3)?;
        assert_eq!((first.size, first.flags), (0, 8));
        let address: [u8; 6] = extra[2..8].try_into().unwrap();
        self.multicast.retain(|known| *known != address);
        if extra[0] == 2 {
            // netback: XEN_NETBK_MCAST_MAX.
            if self.multicast.len() == 64 {
                return Some(-1);
            }
            self.multicast.push(address);
        }
        Some(0)
    }

    fn assemble(
        &self,
        first: Request,
        extras: &[[u8; 12]],
        slots: &mut [Request],
    ) -> Result<TxPacket, TxFault> {
        // netback drops from 19 on, and is fatal beyond 20: neither is to be seen.
        if slots.len() > 18 {
            return Err(TxFault::TooManySlots(slots.len()));
        }
        let others: usize = slots[1..].iter().map(|slot| slot.size).sum();
        slots[0].size = first.size.checked_sub(others).ok_or(TxFault::Fragments)?;
        if first.size < 14 || slots.iter().any(|slot| slot.size == 0) {
            return Err(TxFault::Short(first.size));
        }
        if slots[0].size < first.size.min(128) {
            return Err(TxFault::HeadersSplit);
        }
        if let Some(slot) = slots[1..].iter().find(|slot| slot.flags & !4 != 0) {
            return Err(TxFault::UnknownFlags(slot.flags));
        }
        let mut bytes = Vec::new();
        for slot in slots.iter() {
            if slot.offset + slot.size > 4096 {
                return Err(TxFault::CrossesPage);
            }
            let page = (self.resolve)(GrantRef(slot.grant)).ok_or(TxFault::Grant(slot.grant))?;
            let mut piece = std::vec![0; slot.size];
            page.read(slot.offset, &mut piece);
            bytes.extend(piece);
        }
        let mut gso = None;
        for extra in extras {
            match (extra[0], half(extra, 2), extra[4]) {
                (1, 0, _) => return Err(TxFault::GsoSize),
                (1, size, kind @ 1..=2) => gso = Some((size, kind)),
                (1, _, kind) => return Err(TxFault::GsoType(kind)),
                (kind, ..) => return Err(TxFault::ExtraType(kind)),
            }
            assert!(extra[5..].iter().all(|byte| *byte == 0), "padding and features");
        }
        let blank = first.flags & 1 != 0;
        if gso.is_some() && !blank {
            return Err(TxFault::GsoWithoutBlank);
        }
        let validated = first.flags & 2 != 0;
        let slots = slots.iter().map(|slot| slot.size).collect();
        Ok(TxPacket { bytes, blank, validated, gso, slots })
    }

    fn pop(&mut self) -> Result<[u8; 12], TxFault> {
        let mut slot = [0; 12];
        match self.ring.pop(&mut slot) {
            Ok(true) => Ok(slot),
            // Fatal to netback: a packet is published as a whole.
            Ok(false) => Err(TxFault::PartialPacket),
            Err(_) => Err(TxFault::Ring),
        }
    }

    fn answer(&mut self, id: u16, status: i16, extras: usize) {
        self.answers.push_back((id, status));
        // netback sets the status alone: the id is what was in the slot.
        self.answers.extend((0..extras).map(|_| (0xbeef, 1)));
    }

    /// Gives up to `count` answers; whether an event is due.
    pub fn give_answers(&mut self, count: usize) -> bool {
        for (id, status) in self.answers.drain(..count.min(self.answers.len())) {
            let [[a, b], [c, d]] = [id.to_le_bytes(), status.to_le_bytes()];
            assert!(self.ring.push(&[a, b, c, d]), "one response a request");
        }
        self.ring.publish()
    }
}
