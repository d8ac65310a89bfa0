//! Which response of the receive ring may follow which, for the packet that is being put together.
//!
//! ```text
//!            extra info follows         last extra info, more data follow
//!   First ───────────────────────▶ Extra ──────────────────────▶ Data
//!     │ ▲                         ╰──▲ another                   │ ╰──▲ more data follow
//!     │ ╰───────────────────────────┴────────────────────────────╯
//!     ╰──▶ Data, if more data follow and no extra info           the packet is complete
//! ```

use super::{Checksum, Lie, RxCounters};
use xen::page::PAGE_BYTES;
use xen_abi::netif::{
    ETHERNET_HEADER_BYTES, Extra, ExtraInfo, Gso, PACKET_SLOTS_MAX, PacketHash, RxFlags,
    RxResponse, RxStatus,
};

/// Most extra info slots of a packet: there are five types, and none is needed twice.
const EXTRAS_MAX: u32 = 5;
/// Most bytes of a packet: an IP packet of 16 bits of length, its Ethernet header and a VLAN tag.
pub(super) const PACKET_BYTES_MAX: u32 = 0xffff + ETHERNET_HEADER_BYTES as u32 + 4;

/// What the next response is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Next {
    #[default]
    First,
    Extra,
    Data,
}

/// Why a packet is thrown away. The backend may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drop {
    Failed,
    BadExtra,
}

/// What is known of a packet that may not be complete yet.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub next: Next,
    more_data: bool,
    slots: usize,
    extras: u32,
    pub bytes: u32,
    pub checksum: Checksum,
    pub gso: Option<Gso>,
    pub hash: Option<PacketHash>,
    drop: Option<Drop>,
}

impl Chain {
    /// Takes a response with data: how many bytes of its page are the packet's.
    pub fn data(&mut self, response: &RxResponse) -> Result<u16, Lie> {
        let RxResponse { id, offset, flags, status } = *response;
        if self.next == Next::First {
            self.checksum = checksum(flags);
        } else if flags.contains(RxFlags::EXTRA_INFO) {
            return Err(Lie::RxExtraInside);
        }
        self.slots += 1;
        if self.slots > PACKET_SLOTS_MAX {
            return Err(Lie::RxSlots);
        }
        let bytes = match response.status() {
            RxStatus::Bytes(bytes) => bytes,
            RxStatus::Failed => {
                self.drop = self.drop.or(Some(Drop::Failed));
                0
            }
            RxStatus::Unknown(_) => return Err(Lie::RxStatus { id, status }),
        };
        if usize::from(offset) + usize::from(bytes) > PAGE_BYTES {
            return Err(Lie::RxBeyondPage { offset, bytes });
        }
        self.bytes += u32::from(bytes);
        if self.bytes > PACKET_BYTES_MAX {
            return Err(Lie::RxLength(self.bytes));
        }
        self.more_data = flags.contains(RxFlags::MORE_DATA);
        self.next = match (flags.contains(RxFlags::EXTRA_INFO), self.more_data) {
            (true, _) => Next::Extra,
            (false, true) => Next::Data,
            (false, false) => Next::First,
        };
        Ok(bytes)
    }

    /// Takes an extra info.
    pub fn extra(&mut self, info: &ExtraInfo) -> Result<(), Lie> {
        self.extras += 1;
        if self.extras > EXTRAS_MAX {
            return Err(Lie::RxExtras);
        }
        match info.extra {
            Extra::Gso(gso) if gso.size_bytes > 0 => self.gso = Some(gso),
            Extra::Hash(hash) => self.hash = Some(hash),
            // Headroom was not asked for; the first slot's offset says where the data are anyway.
            Extra::Xdp(_) => {}
            Extra::Gso(_)
            | Extra::MulticastAdd(_)
            | Extra::MulticastDel(_)
            | Extra::UnknownGso(_)
            | Extra::Unknown(_) => self.drop = self.drop.or(Some(Drop::BadExtra)),
        }
        self.next = match (info.more, self.more_data) {
            (true, _) => Next::Extra,
            (false, true) => Next::Data,
            (false, false) => Next::First,
        };
        Ok(())
    }

    /// Whether the packet is to be thrown away, whatever else comes.
    pub fn is_dropped(&self) -> bool {
        self.drop.is_some()
    }

    /// Whether the packet, which is complete, is good for a stack that has `room_bytes` for it.
    /// Counts why not.
    pub fn judge(&self, counters: &mut RxCounters, room_bytes: usize) -> bool {
        match self.drop {
            Some(Drop::Failed) => counters.failed += 1,
            Some(Drop::BadExtra) => counters.bad_extra += 1,
            None if (self.bytes as usize) < ETHERNET_HEADER_BYTES => counters.short += 1,
            None if self.bytes as usize > room_bytes => counters.long += 1,
            None => return true,
        }
        false
    }
}

fn checksum(flags: RxFlags) -> Checksum {
    // Linux sets both for a blank one.
    if flags.contains(RxFlags::CHECKSUM_BLANK) {
        Checksum::Blank
    } else if flags.contains(RxFlags::DATA_VALIDATED) {
        Checksum::Valid
    } else {
        Checksum::Unverified
    }
}
