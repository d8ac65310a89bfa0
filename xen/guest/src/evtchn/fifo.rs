//! The FIFO interface: a word for each event in pages of ours, linked into a queue for each
//! priority.
//!
//! ```text
//!   control block            event array (one word a port)
//!   ready: bit a queue       ┌──────────────────────────────┐
//!   head[priority] ────────▶ │ P M L B          link ───────┼─▶ next of the queue; 0: the last
//!                            └──────────────────────────────┘
//!   Xen links a pending event to the tail, or makes it the head of an empty queue; we unlink from
//!   the head. A word we unlinked with link 0 ends the queue: its next head is in the control
//!   block.
//! ```
//!
//! Source: Xen: event_channel.h, "FIFO-based event channel ABI"; the design document "Event Channel
//! Internals" that it names.

use crate::Hypervisor;
use crate::page::SharedPage;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use xen_abi::Errno;
use xen_abi::event::EvtchnPort;
use xen_abi::event::fifo::{
    HEAD, LINK_MASK, LINKED, MASKED, PENDING, PORTS, QUEUES, READY, WORDS_PER_PAGE,
};

pub(super) struct Fifo {
    control: SharedPage,
    array: Vec<SharedPage>,
    /// Our own copy of each queue's head; 0: to be read from the control block.
    heads: [u32; QUEUES],
    /// Queues that this pass still looks at.
    ready: u32,
}

impl Fifo {
    /// Switches to the interface; nothing if Xen does not have it or memory is out.
    pub(super) fn start<X: Hypervisor>(xen: &X) -> Option<Self> {
        let control = SharedPage::allocate()?;
        xen.init_control(control.gfn()).ok()?;
        Some(Self { control, array: Vec::new(), heads: [0; QUEUES], ready: 0 })
    }

    /// Has a word for `port`.
    pub(super) fn cover<X: Hypervisor>(&mut self, xen: &X, port: EvtchnPort) -> Result<(), Errno> {
        if port.0 >= PORTS {
            return Err(Errno::NOSPC);
        }
        while self.array.len() <= (port.0 / WORDS_PER_PAGE) as usize {
            let page = SharedPage::allocate().ok_or(Errno::NOMEM)?;
            for word in 0..WORDS_PER_PAGE as usize {
                page.u32_at(4 * word).store(MASKED, Ordering::Relaxed);
            }
            xen.expand_array(page.gfn())?;
            self.array.push(page);
        }
        Ok(())
    }

    pub(super) fn mask(&self, port: EvtchnPort) {
        if let Some(word) = self.word(port.0) {
            word.fetch_or(MASKED, Ordering::AcqRel);
        }
    }

    pub(super) fn begin_pass(&mut self) {
        self.ready |= self.control.u32_at(READY).swap(0, Ordering::SeqCst);
        self.ready &= (1 << QUEUES) - 1;
    }

    /// The next pending port, the most urgent first; its bit is cleared.
    pub(super) fn next(&mut self) -> Option<EvtchnPort> {
        while self.ready != 0 {
            let queue = self.ready.trailing_zeros() as usize;
            let port = match self.heads[queue] {
                0 => self.control.u32_at(HEAD + 4 * queue).load(Ordering::Acquire),
                port => port,
            };
            let Some(word) = self.word(port).filter(|_| port != 0) else {
                // Nothing there after all.
                self.heads[queue] = 0;
                self.ready &= !(1 << queue);
                continue;
            };
            let next = unlink(word);
            let before = word.load(Ordering::Acquire);
            let deliver = before & PENDING != 0 && before & MASKED == 0;
            if deliver {
                word.fetch_and(!PENDING, Ordering::SeqCst);
            }
            self.heads[queue] = next;
            if next == 0 {
                self.ready &= !(1 << queue);
            }
            if deliver {
                return Some(EvtchnPort(port));
            }
        }
        None
    }

    pub(super) fn has_leftovers(&self) -> bool {
        self.ready != 0
    }

    fn word(&self, port: u32) -> Option<&AtomicU32> {
        let page = self.array.get((port / WORDS_PER_PAGE) as usize)?;
        Some(page.u32_at(4 * (port % WORDS_PER_PAGE) as usize))
    }
}

/// Takes a word off its queue; the port that is next, 0 if it was the last.
fn unlink(word: &AtomicU32) -> u32 {
    let link = |word: u32| Some(word & !(LINKED | LINK_MASK));
    match word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, link) {
        Ok(before) | Err(before) => before & LINK_MASK,
    }
}
