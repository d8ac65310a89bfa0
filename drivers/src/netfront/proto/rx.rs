//! The receive ring: pages that the backend fills, and the packets in them.
//!
//! ```text
//!   spare pages ── refill ──▶ posted, by slot ── response ──▶ held until the packet is complete
//!        ▲                                                       │ copied out once, then checked
//!        ╰───────────────────────────────────────────────────────╯
//! ```
//!
//! The backend may write into a page for as long as it is granted, and pages stay granted: they go
//! round without a grant operation. So a packet is copied out before anybody looks at it. The copy
//! is what makes it ours.
//!
//! How many pages are posted follows the traffic: twice as many when the backend was about to run
//! out, fewer by one each time that it had most of them left for a while.

use super::chain::{Chain, Next};
use super::{Checksum, Lie, RxCounters, RxPage};
use alloc::vec::Vec;
use core::borrow::Borrow;
use xen::gnttab::GrantedPage;
use xen::page::SharedPage;
use xen::ring::{Front, RingIdx};
use xen_abi::netif::{
    ExtraInfo, Gso, PACKET_SLOTS_MAX, PacketHash, RX_SLOT_BYTES, RxRequest, RxResponse,
};

/// Requests that can be outstanding: the slots of a ring of one page.
pub const RX_IDS: usize = 256;

/// Refills in a row that found most pages unused before one less is posted.
const CALM_REFILLS: u32 = 256;

/// A packet that was received. Its bytes are at the beginning of the buffer that was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxPacket {
    /// Bytes, Ethernet header included.
    pub len_bytes: usize,
    /// What the backend says of its checksum.
    pub checksum: Checksum,
    /// How it was joined of segments. The size is not 0.
    pub gso: Option<Gso>,
    /// The hash of its flow, if the backend tells one.
    pub hash: Option<PacketHash>,
}

/// Data of the packet that is being put together.
struct Held<P> {
    page: P,
    offset: usize,
    len_bytes: usize,
}

/// Our end of the receive ring.
pub struct RxRing<P, R = GrantedPage> {
    ring: Front<R>,
    /// By slot: the id of a request is its slot.
    posted: Vec<Option<P>>,
    /// Where the next response is.
    rsp_cons: RingIdx,
    /// Where the next request goes.
    req_prod: RingIdx,
    spare: Vec<P>,
    held: Vec<Held<P>>,
    chain: Chain,
    target: Target,
}

/// How many pages are to be posted.
struct Target {
    now: u32,
    min: u32,
    max: u32,
    /// Whether pages were posted before: the first time, none are left for no reason.
    begun: bool,
    /// Refills in a row that found most pages unused.
    calm: u32,
}

impl<P: RxPage, R: Borrow<SharedPage>> RxRing<P, R> {
    /// The ring at `ring`, which nobody has used yet, with all indices at `start`; between `min`
    /// and `max` pages are posted. A packet of most slots fits into the fewest.
    pub fn new(ring: Front<R>, start: RingIdx, (min, max): (u32, u32)) -> Self {
        let max = max.clamp(PACKET_SLOTS_MAX as u32, RX_IDS as u32);
        let min = min.clamp(PACKET_SLOTS_MAX as u32, max);
        Self {
            ring,
            posted: (0..RX_IDS).map(|_| None).collect(),
            rsp_cons: start,
            req_prod: start,
            spare: Vec::new(),
            held: Vec::new(),
            chain: Chain::default(),
            target: Target { now: min, min, max, begun: false, calm: 0 },
        }
    }

    /// Posts pages up to the target, spare ones first and then those that `allocate` gives, as long
    /// as it does; then [`Self::publish`].
    pub fn refill(&mut self, mut allocate: impl FnMut() -> Option<P>) {
        if core::mem::replace(&mut self.target.begun, true) {
            self.target.adapt(self.ring.outstanding());
        }
        while self.ring.outstanding() < self.target.now {
            let Some(page) = self.spare.pop().or_else(&mut allocate) else { break };
            let slot = slot(self.req_prod);
            let request = RxRequest { id: slot as u16, grant: page.reference() };
            if self.ring.push(&request.emit()).is_none() {
                self.spare.push(page);
                break;
            }
            self.posted[slot] = Some(page);
            self.req_prod = self.req_prod.plus(1);
        }
    }

    /// Shows the backend what was posted; whether it wants an event for that.
    #[must_use = "the backend sleeps until the event is sent"]
    pub fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Copies the next packet to the beginning of `to`. Nothing if none is complete. One that is
    /// longer than `to` is dropped.
    ///
    /// # Errors
    /// When the backend says what cannot be. The ring must not be used any more.
    pub fn receive(
        &mut self,
        to: &mut [u8],
        counters: &mut RxCounters,
    ) -> Result<Option<RxPacket>, Lie> {
        let mut response = [0; RX_SLOT_BYTES];
        while self.ring.pop(&mut response).map_err(Lie::RxIndex)? {
            let slot = slot(self.rsp_cons);
            self.rsp_cons = self.rsp_cons.plus(1);
            let page = self.posted[slot].take();
            match self.chain.next {
                Next::Extra => {
                    // No data in it: the page can be posted again.
                    self.spare.extend(page);
                    self.chain.extra(&ExtraInfo::parse(&response))?;
                }
                Next::First | Next::Data => self.take(slot, page, &RxResponse::parse(&response))?,
            }
            if self.chain.next == Next::First {
                let chain = core::mem::take(&mut self.chain);
                let packet = chain.judge(counters, to.len()).then(|| self.copy_out(&chain, to));
                self.spare.extend(self.held.drain(..).map(|held| held.page));
                if let Some(packet) = packet {
                    counters.packets += 1;
                    counters.bytes += packet.len_bytes as u64;
                    counters.large += u64::from(packet.gso.is_some());
                    counters.blank += u64::from(packet.checksum == Checksum::Blank);
                    return Ok(Some(packet));
                }
            }
        }
        Ok(None)
    }

    /// Takes a response with data.
    fn take(&mut self, slot: usize, page: Option<P>, response: &RxResponse) -> Result<(), Lie> {
        let (expected, id) = (slot as u16, response.id);
        // Xen: io/netif.h, "responses always appear in the same ring slot as their request".
        let Some(page) = page.filter(|_| id == expected) else {
            return Err(Lie::RxId { expected, id });
        };
        let bytes = self.chain.data(response)?;
        if bytes == 0 || self.chain.is_dropped() {
            self.spare.push(page);
        } else {
            let (offset, len_bytes) = (usize::from(response.offset), usize::from(bytes));
            self.held.push(Held { page, offset, len_bytes });
        }
        Ok(())
    }

    /// Copies the packet whose data are held, for which there is room.
    fn copy_out(&self, chain: &Chain, to: &mut [u8]) -> RxPacket {
        let len_bytes = chain.bytes as usize;
        let mut rest = &mut to[..len_bytes];
        for held in &self.held {
            let (piece, after) = rest.split_at_mut(held.len_bytes);
            held.page.page().read(held.offset, piece);
            rest = after;
        }
        RxPacket { len_bytes, checksum: chain.checksum, gso: chain.gso, hash: chain.hash }
    }

    /// Asks for an event for the next response; whether one is there already.
    ///
    /// # Errors
    /// As for [`Self::receive`].
    #[must_use = "no event comes for what is there already"]
    pub fn arm(&mut self) -> Result<bool, Lie> {
        self.ring.arm(1).map_err(Lie::RxIndex)
    }

    /// Pages that the backend has.
    pub fn posted(&self) -> u32 {
        self.ring.outstanding()
    }

    /// Pages that are to be posted.
    pub fn target(&self) -> u32 {
        self.target.now
    }

    /// Goes back to the fewest pages, and gives up those that are not posted.
    pub fn trim(&mut self) -> Vec<P> {
        self.target.now = self.target.min;
        core::mem::take(&mut self.spare)
    }

    /// Gives up spare pages beyond what the target can use.
    pub fn excess(&mut self) -> Vec<P> {
        let wanted = self.target.now.saturating_sub(self.ring.outstanding()) as usize;
        self.spare.split_off(wanted.min(self.spare.len()))
    }
}

impl Target {
    /// Follows the traffic, given how many pages the backend has left before a refill.
    fn adapt(&mut self, left: u32) {
        if left < self.now / 4 {
            self.now = (self.now * 2).min(self.max);
            self.calm = 0;
        } else if left < self.now / 4 * 3 {
            self.calm = 0;
        } else {
            self.calm += 1;
            if self.calm >= CALM_REFILLS {
                self.calm = 0;
                self.now = self.min.max(self.now - 1);
            }
        }
    }
}

/// The slot that an index stands for.
fn slot(index: RingIdx) -> usize {
    index.0 as usize % RX_IDS
}
