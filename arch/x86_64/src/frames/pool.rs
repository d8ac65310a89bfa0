//! The running kernel's free RAM.

use super::{Extent, FrameAllocator, FrameError, FrameMemory, Policy};
use crate::addr::PhysRange;
use spin::Mutex;

/// RAM that is mapped one to one.
struct Identity;

impl FrameMemory for Identity {
    fn extent(&self, addr: u64) -> Extent {
        let at = core::ptr::with_exposed_provenance::<Extent>(addr as usize);
        // SAFETY: `addr` begins a free extent, which `add` and `free` were told is RAM that is
        // mapped and used by no one; it was written by `set_extent`.
        unsafe { at.read() }
    }

    fn set_extent(&mut self, addr: u64, extent: Extent) {
        let at = core::ptr::with_exposed_provenance_mut::<Extent>(addr as usize);
        // SAFETY: as above; a page is aligned for an extent.
        unsafe { at.write(extent) };
    }
}

static POOL: Mutex<FrameAllocator<Identity>> =
    Mutex::new(FrameAllocator::new(Identity, Policy::FirstFit));

/// Adds RAM.
///
/// # Safety
/// `range` is RAM, mapped one to one for reading and writing, and used by no one.
pub unsafe fn add(range: PhysRange) -> Result<(), FrameError> {
    POOL.lock().free(range)
}

/// Takes `frames` neighbouring frames, aligned to `align_frames`. Their contents are whatever they
/// were; who takes them owns them until [`free`].
pub fn allocate(frames: u64, align_frames: u64) -> Option<PhysRange> {
    POOL.lock().allocate(frames, align_frames)
}

/// Takes up to `frames` neighbouring frames from the upper end of the highest free extent; never
/// across a boundary of 2 MiB, so that large pages are taken whole.
pub fn take_highest(frames: u64) -> Option<PhysRange> {
    POOL.lock().take_highest(frames)
}

/// Gives frames back.
///
/// # Safety
/// `range` came from [`allocate`], whole or in part, is mapped for reading and writing, and no one
/// uses it any more.
pub unsafe fn free(range: PhysRange) -> Result<(), FrameError> {
    POOL.lock().free(range)
}

/// Free bytes in all.
pub fn free_bytes() -> u64 {
    POOL.lock().free_bytes()
}

/// Bytes in the longest free piece.
pub fn largest_free_bytes() -> u64 {
    POOL.lock().largest_free_bytes()
}

/// Changes which piece the next allocations take.
pub fn set_policy(policy: Policy) {
    POOL.lock().set_policy(policy);
}
