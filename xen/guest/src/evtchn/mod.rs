//! Event channels by the two-level interface: pending bits in the shared info page.
//!
//! ```text
//!   Xen sets  pending[port]  ─▶  pending_sel[port / 64]  ─▶  upcall_pending
//!   we clear them in the other direction, the pending bit before whoever waits is told: an event that
//!   comes in between sets it again, and is seen by the next round
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
pub const PORTS: u32 = 4096;

/// Masks every port: nothing is delivered until it is asked for.
pub fn mask_all(shared_info: &SharedPage) {
    for word in 0..EVTCHN_WORDS {
        shared_info.u64_at(EVTCHN_MASK + 8 * word).store(u64::MAX, Ordering::Relaxed);
    }
}

/// Clears a port's pending bit; whether it was set. A port that does not exist is never pending.
pub fn take_pending(shared_info: &SharedPage, port: EvtchnPort) -> bool {
    if port.0 >= PORTS {
        return false;
    }
    let word = shared_info.u64_at(EVTCHN_PENDING + 8 * (port.0 as usize / 64));
    let bit = 1 << (port.0 % 64);
    word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// Clears the summary words. Called before the pending bits are looked at.
pub fn clear_summary(shared_info: &SharedPage) {
    shared_info.u8_at(UPCALL_PENDING).store(0, Ordering::SeqCst);
    shared_info.u64_at(PENDING_SEL).swap(0, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_bit_is_taken_once() {
        let page = SharedPage::allocate().unwrap();
        let peer = page.peer();
        for port in [0, 63, 64, 4095] {
            peer.u64_at(EVTCHN_PENDING + 8 * (port / 64))
                .fetch_or(1 << (port % 64), Ordering::SeqCst);
            let port = EvtchnPort(port as u32);
            assert!(take_pending(&page, port), "{port}");
            assert!(!take_pending(&page, port), "{port}");
        }
        assert!(!take_pending(&page, EvtchnPort(4096)));
        assert!(!take_pending(&page, EvtchnPort(u32::MAX)));
    }

    #[test]
    fn other_ports_stay_pending() {
        let page = SharedPage::allocate().unwrap();
        page.u64_at(EVTCHN_PENDING).store(0b110, Ordering::SeqCst);
        assert!(take_pending(&page, EvtchnPort(1)));
        assert_eq!(page.u64_at(EVTCHN_PENDING).load(Ordering::SeqCst), 0b100);
    }
}
