//! The two-level interface: pending bits in the shared info page.
//!
//! ```text
//!   Xen sets  pending[port]  ─▶  pending_sel[port / 64]  ─▶  upcall_pending
//!   we clear them in the other direction: what Xen sets meanwhile is seen by the next pass
//! ```
//!
//! Source: Xen: event_channel.h, "2-level ABI"; xen.h, struct shared_info.

use crate::page::SharedPage;
use core::sync::atomic::Ordering;
use xen_abi::event::EvtchnPort;
use xen_abi::shared_info::{
    EVTCHN_MASK, EVTCHN_PENDING, EVTCHN_WORDS, PENDING_SEL, UPCALL_PENDING,
};

/// Ports that the interface has.
pub(super) const PORTS: u32 = 4096;

/// Where a pass is: the words still to be looked at, and what is left of the current one.
#[derive(Default)]
pub(super) struct TwoLevel {
    words: u64,
    word: usize,
    bits: u64,
}

/// Masks every port: nothing is delivered until it is asked for.
pub(super) fn mask_all(shared_info: &SharedPage) {
    for word in 0..EVTCHN_WORDS {
        shared_info.u64_at(EVTCHN_MASK + 8 * word).store(u64::MAX, Ordering::Relaxed);
    }
}

/// Masks one port. A port that does not exist is none of ours.
pub(super) fn mask(shared_info: &SharedPage, port: EvtchnPort) {
    if port.0 < PORTS {
        let word = shared_info.u64_at(EVTCHN_MASK + 8 * (port.0 as usize / 64));
        word.fetch_or(1 << (port.0 % 64), Ordering::AcqRel);
    }
}

/// Whether Xen says that events are pending. Used by both interfaces.
pub(super) fn upcall_is_pending(shared_info: &SharedPage) -> bool {
    shared_info.u8_at(UPCALL_PENDING).load(Ordering::SeqCst) != 0
}

/// Takes back what Xen said, before the bits are looked at.
pub(super) fn clear_upcall(shared_info: &SharedPage) {
    shared_info.u8_at(UPCALL_PENDING).swap(0, Ordering::SeqCst);
}

impl TwoLevel {
    pub(super) fn begin_pass(&mut self, shared_info: &SharedPage) {
        clear_upcall(shared_info);
        self.words |= shared_info.u64_at(PENDING_SEL).swap(0, Ordering::SeqCst);
    }

    pub(super) fn next(&mut self, shared_info: &SharedPage) -> Option<EvtchnPort> {
        while self.bits == 0 {
            if self.words == 0 {
                return None;
            }
            self.word = self.words.trailing_zeros() as usize;
            self.words &= self.words - 1;
            let pending = shared_info.u64_at(EVTCHN_PENDING + 8 * self.word);
            let mask = shared_info.u64_at(EVTCHN_MASK + 8 * self.word);
            self.bits = pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire);
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        let pending = shared_info.u64_at(EVTCHN_PENDING + 8 * self.word);
        pending.fetch_and(!(1 << bit), Ordering::SeqCst);
        Some(EvtchnPort(self.word as u32 * 64 + bit))
    }

    pub(super) fn has_leftovers(&self) -> bool {
        self.words != 0 || self.bits != 0
    }
}
