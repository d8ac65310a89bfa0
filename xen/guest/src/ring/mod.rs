//! Shared rings of requests and responses: both ends, over pages that the other end writes too.
//!
//! ```text
//!            req_prod_pvt     req_prod                    rsp_prod        rsp_cons
//!   Front ── push ──▶ │ ── publish ──▶ │ ─▶ Back … Back ─▶ │ ─▶ Front pop ──▶ │
//!            written           may be read        answered            slot is free again
//! ```
//!
//! A ring moves bytes and touches no hypervisor: whoever calls [`Front::publish`] sends the event
//! that it asks for. What the other end says is checked: no index leads outside, a slot is copied
//! out once before it is interpreted, and more responses than requests is [`RingError`], after
//! which the ring is not to be used any more. What we wrote ourselves is never read back from the
//! ring.
//!
//! Sources: Xen: io/ring.h. Field names are Xen's.

mod back;
mod front;
mod pages;
#[cfg(test)]
mod tests;

pub use back::Back;
pub use front::Front;
pub use pages::RingPages;

use core::fmt;

/// A free-running index. Two of them can be subtracted, never compared: they wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingIdx(pub u32);

impl RingIdx {
    /// How far this index is ahead of `earlier`.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The index `steps` further.
    pub const fn plus(self, steps: u32) -> Self {
        Self(self.0.wrapping_add(steps))
    }
}

/// Whether the other end asked for an event somewhere in `old..new`, given what it wrote into its
/// event index (Xen: io/ring.h, RING_PUSH_REQUESTS_AND_CHECK_NOTIFY).
const fn event_is_due(new: RingIdx, old: RingIdx, event: RingIdx) -> bool {
    new.since(event) < new.since(old)
}

/// The other end's index makes no sense. The other end is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingError {
    /// What it says it has written.
    pub producer: u32,
    /// Where we have read to.
    pub consumer: u32,
    /// How much further it could have got.
    pub outstanding: u32,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, consumer, outstanding } = self;
        write!(f, "index {producer} is more than {outstanding} beyond {consumer}")
    }
}
