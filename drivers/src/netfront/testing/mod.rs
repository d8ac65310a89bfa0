//! A backend for tests, on the same bytes as the frontend. It is written from the protocol's
//! description (Xen: io/netif.h and Linux's netback), not from the frontend, and refuses what
//! netback refuses.

mod netback;
mod rx;
mod tx;
mod world;

pub(crate) use netback::{ALL, Netback};
pub(crate) use rx::{Delivery, FakeRx, SlotPlan};
pub(crate) use tx::{FakeTx, TxPacket};
pub(crate) use world::{BACK, FRONT, World};

use std::vec::Vec;
use xen::page::SharedPage;
use xen::ring::{Back, Front, RingIdx, RingPages};
use xen_abi::gnttab::GrantRef;

/// Finds the page behind a grant.
pub(crate) type Resolve = std::boxed::Box<dyn Fn(GrantRef) -> Option<SharedPage>>;

/// Grants whose references are frame numbers.
pub(crate) fn by_frame() -> Resolve {
    std::boxed::Box::new(|grant| SharedPage::peer_at(u64::from(grant.0)))
}

/// The reference that [`by_frame`] finds a page under.
pub(crate) fn reference(page: &SharedPage) -> GrantRef {
    GrantRef(u32::try_from(page.gfn()).unwrap())
}

/// Both ends of a ring of one page, at `start`.
pub(crate) fn ring(slot_bytes: usize, start: u32) -> (Front, Back) {
    let memory = RingPages::allocate(1, slot_bytes).unwrap();
    let peer = memory.pages().iter().map(SharedPage::peer).collect();
    let front = Front::starting_at(memory, RingIdx(start));
    (front, Back::attach(RingPages::new(peer, slot_bytes)))
}

/// Bytes that tell where they are from.
pub(crate) fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) << 1 | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}
