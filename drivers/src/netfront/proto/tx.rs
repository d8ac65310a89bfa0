//! The transmit ring: packets as requests, and the responses that say what became of them.
//!
//! ```text
//!   push:   │ total size, flags, MORE │ extra info: segments │ size, MORE │ size │
//!             id 7                      no id                  id 3         id 9
//!   answers:  7 okay, null, 9 okay, 3 okay: in any order; the packet is done with the last one
//! ```
//!
//! An id is in use from its request to its response. The first id of a packet stands for the
//! packet, and is in use until the last response.

use super::{Checksum, Lie, TxCounters, TxMeta};
use alloc::vec::Vec;
use core::borrow::Borrow;
use xen::gnttab::GrantedPage;
use xen::page::{PAGE_BYTES, SharedPage};
use xen::ring::Front;
use xen_abi::gnttab::GrantRef;
use xen_abi::netif::{
    ETHERNET_HEADER_BYTES, EXTRA_BYTES, Extra, ExtraInfo, Mac, PACKET_SLOTS_MAX,
    TX_PACKET_BYTES_MAX, TX_RESPONSE_BYTES, TX_SLOT_BYTES, TxFlags, TxRequest, TxResponse,
    TxStatus,
};

/// Requests that can be outstanding: the slots of a ring of one page.
pub const TX_IDS: usize = 256;

/// Bytes of a packet that lie in its first slot, if it has so many: all headers. Linux's backend
/// copies as many and maps the rest.
pub const TX_HEADER_BYTES: usize = 128;

/// A piece of a packet, in a page that the backend may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The page.
    pub grant: GrantRef,
    /// First byte in the page.
    pub offset: u16,
    /// Bytes, at least 1; offset and bytes stay within the page.
    pub len_bytes: u16,
}

/// Why a packet is not taken. All but the first are mistakes of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TxError {
    /// The ring has no room for it now.
    Full,
    /// It has so many bytes: more or fewer than a packet can have.
    Length(usize),
    /// It has so many pieces: more than a backend takes, or none.
    Pieces(usize),
    /// A piece is empty or reaches beyond its page.
    Piece(Piece),
    /// Its headers are not all in the first piece.
    Headers,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxDone {
    /// The backend has taken it.
    Sent,
    /// The backend could not use it, or threw it away.
    Failed,
}

/// A packet, or a message to the multicast filter, some of whose requests have no response yet.
struct Packet<B> {
    /// What keeps its pages; nothing if it is no packet.
    buffer: Option<B>,
    bytes: usize,
    large: bool,
    /// Requests without response.
    left: usize,
    failed: bool,
    /// In the order of their pushing.
    number: u64,
}

/// Our end of the transmit ring. `B` keeps the pages of a packet as long as the backend may read
/// them.
pub struct TxRing<B, R = GrantedPage> {
    ring: Front<R>,
    /// By id: the packet that the request belongs to, if it has no response yet.
    waiting: Vec<Option<u8>>,
    free_ids: Vec<u8>,
    /// By first id.
    packets: Vec<Option<Packet<B>>>,
    /// Extra info slots without response. They have no id.
    extras: u32,
    pushed: u64,
}

impl<B, R: Borrow<SharedPage>> TxRing<B, R> {
    /// The ring at `ring`, which nobody has used yet.
    pub fn new(ring: Front<R>) -> Self {
        Self {
            ring,
            waiting: (0..TX_IDS).map(|_| None).collect(),
            free_ids: (0..=u8::MAX).rev().collect(),
            packets: (0..TX_IDS).map(|_| None).collect(),
            extras: 0,
            pushed: 0,
        }
    }

    /// Slots that can be pushed now, extra info included.
    pub fn room(&self) -> usize {
        (self.ring.room() as usize).min(self.free_ids.len())
    }

    /// Whether any packet can be pushed now, however many slots it has.
    pub fn has_room(&self) -> bool {
        self.room() > PACKET_SLOTS_MAX
    }

    /// Slots that have no response.
    pub fn outstanding(&self) -> u32 {
        self.ring.outstanding()
    }

    /// Writes a packet into the ring; then [`Self::publish`].
    ///
    /// # Errors
    /// Nothing is written then, and the buffer comes back.
    pub fn push(&mut self, buffer: B, pieces: &[Piece], meta: &TxMeta) -> Result<(), (B, TxError)> {
        let bytes = match self.check(pieces, meta) {
            Ok(bytes) => bytes,
            Err(error) => return Err((buffer, error)),
        };
        let (Some(&first_id), Some((first, others))) = (self.free_ids.last(), pieces.split_first())
        else {
            return Err((buffer, TxError::Full));
        };
        let more = if others.is_empty() { TxFlags::default() } else { TxFlags::MORE_DATA };
        // Checked: not more than fits into 16 bits.
        self.request(first_id, first, flags(meta).with(more), bytes as u16);
        if let Some(gso) = meta.gso {
            self.extra(Extra::Gso(gso));
        }
        for (index, piece) in others.iter().enumerate() {
            let last = index + 1 == others.len();
            let more = if last { TxFlags::default() } else { TxFlags::MORE_DATA };
            self.request(first_id, piece, more, piece.len_bytes);
        }
        let large = meta.gso.is_some();
        self.begin(first_id, Some(buffer), (bytes, large), pieces.len());
        Ok(())
    }

    /// Asks the backend to let packets to a multicast address through, or not to any more. False if
    /// the ring has no room.
    pub fn push_multicast(&mut self, mac: Mac, wanted: bool) -> bool {
        let Some(&id) = self.free_ids.last().filter(|_| self.room() >= 2) else { return false };
        // Xen: io/netif.h, "dummy transmit requests".
        let nothing = Piece { grant: GrantRef(0), offset: 0, len_bytes: 0 };
        self.request(id, &nothing, TxFlags::EXTRA_INFO, 0);
        self.extra(if wanted { Extra::MulticastAdd(mac) } else { Extra::MulticastDel(mac) });
        self.begin(id, None, (0, false), 1);
        true
    }

    /// Takes the responses that are there; gives each buffer back whose packet is done.
    ///
    /// # Errors
    /// When the backend says what cannot be. The ring must not be used any more.
    pub fn collect(
        &mut self,
        counters: &mut TxCounters,
        mut done: impl FnMut(B, TxDone),
    ) -> Result<(), Lie> {
        let mut response = [0; TX_RESPONSE_BYTES];
        while self.ring.pop(&mut response).map_err(Lie::TxIndex)? {
            if let Some(packet) = self.take(&TxResponse::parse(&response))? {
                let what = if packet.failed { TxDone::Failed } else { TxDone::Sent };
                packet.count(counters);
                if let Some(buffer) = packet.buffer {
                    done(buffer, what);
                }
            }
        }
        Ok(())
    }

    /// Shows the backend what was pushed; whether it wants an event for that.
    #[must_use = "the backend sleeps until the event is sent"]
    pub fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Asks for an event once half of what is outstanding has a response; whether it has already.
    ///
    /// # Errors
    /// As for [`Self::collect`].
    #[must_use = "no event comes for what is there already"]
    pub fn arm(&mut self) -> Result<bool, Lie> {
        let half = self.ring.outstanding() / 2 + 1;
        self.ring.arm(half).map_err(Lie::TxIndex)
    }

    /// The buffers of all packets that are not done, in the order in which they were pushed. The
    /// backend may have sent some of them.
    pub fn unsent(&mut self) -> Vec<&mut B> {
        let mut packets: Vec<_> = self.packets.iter_mut().flatten().collect();
        packets.sort_by_key(|packet| packet.number);
        packets.into_iter().filter_map(|packet| packet.buffer.as_mut()).collect()
    }

    /// Bytes of the packet, if it can be pushed.
    fn check(&self, pieces: &[Piece], meta: &TxMeta) -> Result<usize, TxError> {
        if pieces.is_empty() || pieces.len() > PACKET_SLOTS_MAX {
            return Err(TxError::Pieces(pieces.len()));
        }
        let is_bad = |piece: &&Piece| {
            let end = usize::from(piece.offset) + usize::from(piece.len_bytes);
            piece.len_bytes == 0 || end > PAGE_BYTES
        };
        if let Some(piece) = pieces.iter().find(is_bad) {
            return Err(TxError::Piece(*piece));
        }
        let bytes = pieces.iter().map(|piece| usize::from(piece.len_bytes)).sum();
        if !(ETHERNET_HEADER_BYTES..=TX_PACKET_BYTES_MAX).contains(&bytes) {
            return Err(TxError::Length(bytes));
        }
        if usize::from(pieces[0].len_bytes) < bytes.min(TX_HEADER_BYTES) {
            return Err(TxError::Headers);
        }
        if self.room() < pieces.len() + usize::from(meta.gso.is_some()) {
            return Err(TxError::Full);
        }
        Ok(bytes)
    }

    /// Writes a request of the packet `first_id`, for which there is room.
    fn request(&mut self, first_id: u8, piece: &Piece, flags: TxFlags, size_bytes: u16) {
        let Some(id) = self.free_ids.pop() else { return };
        let Piece { grant, offset, .. } = *piece;
        let request = TxRequest { grant, offset, flags, id: u16::from(id), size_bytes };
        let pushed = self.ring.push(&request.emit());
        debug_assert!(pushed.is_some(), "there was room");
        self.waiting[usize::from(id)] = Some(first_id);
    }

    /// Writes an extra info, for which there is room. All of the slot: what it held is not shown
    /// again.
    fn extra(&mut self, extra: Extra) {
        let mut slot = [0; TX_SLOT_BYTES];
        slot[..EXTRA_BYTES].copy_from_slice(&ExtraInfo { extra, more: false }.emit());
        let pushed = self.ring.push(&slot);
        debug_assert!(pushed.is_some(), "there was room");
        self.extras += 1;
    }

    fn begin(
        &mut self,
        first_id: u8,
        buffer: Option<B>,
        (bytes, large): (usize, bool),
        left: usize,
    ) {
        let number = self.pushed;
        self.pushed += 1;
        let packet = Packet { buffer, bytes, large, left, failed: false, number };
        self.packets[usize::from(first_id)] = Some(packet);
    }

    /// Takes a response; the packet, if it is done with it.
    fn take(&mut self, response: &TxResponse) -> Result<Option<Packet<B>>, Lie> {
        let TxResponse { id, status } = *response;
        let outcome = TxStatus::from_number(status).ok_or(Lie::TxStatus { id, status })?;
        if outcome == TxStatus::Null {
            // Its id is whatever the extra info had there.
            self.extras = self.extras.checked_sub(1).ok_or(Lie::TxNull)?;
            return Ok(None);
        }
        let first_id = self.waiting.get_mut(usize::from(id)).and_then(Option::take);
        let first_id = first_id.ok_or(Lie::TxId(id))?;
        if id != u16::from(first_id) {
            self.free_ids.push(id as u8);
        }
        let place = &mut self.packets[usize::from(first_id)];
        if let Some(packet) = place {
            packet.failed |= outcome != TxStatus::Okay;
            packet.left -= 1;
            if packet.left == 0 {
                self.free_ids.push(first_id);
                return Ok(place.take());
            }
        }
        Ok(None)
    }
}

impl<B> Packet<B> {
    fn count(&self, counters: &mut TxCounters) {
        match (&self.buffer, self.failed) {
            (Some(_), true) => counters.failed += 1,
            (Some(_), false) => {
                counters.packets += 1;
                counters.bytes += self.bytes as u64;
                counters.large += u64::from(self.large);
            }
            (None, true) => counters.multicast_refused += 1,
            (None, false) => {}
        }
    }
}

/// What the first request says of the whole packet.
fn flags(meta: &TxMeta) -> TxFlags {
    let checksum = match meta.checksum {
        Checksum::Unverified => TxFlags::default(),
        Checksum::Valid => TxFlags::DATA_VALIDATED,
        // Linux sets and expects both.
        Checksum::Blank => TxFlags::CHECKSUM_BLANK.with(TxFlags::DATA_VALIDATED),
    };
    checksum.with(if meta.gso.is_some() { TxFlags::EXTRA_INFO } else { TxFlags::default() })
}
