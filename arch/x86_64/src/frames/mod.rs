//! Free RAM by page frames.
//!
//! The list of free extents lives in the extents themselves: the first 16 bytes of each say how
//! long it is and where the next one begins. So any number of pieces needs no other memory, and a
//! frame that was never handed out is never touched but the first of its extent: in a domain that
//! is populated on demand, touching is what takes memory.
//!
//! ```text
//!   first ─▶ ┌ frames, next ─┼─────┐      ┌ frames, next = 0 ─┼──┐
//!            └ free frames ──┴─────┘  ──▶ └ free frames ───────┴──┘
//!   in address order, never touching
//! ```

mod allocator;
#[cfg(xenios_kernel)]
mod pool;
#[cfg(test)]
mod tests;

pub use allocator::{Extent, FrameAllocator, FrameError, FrameMemory, Policy};
#[cfg(xenios_kernel)]
pub use pool::{add, allocate, free, free_bytes, largest_free_bytes, set_policy, take_highest};
