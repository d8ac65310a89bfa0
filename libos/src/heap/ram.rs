//! The free page frames beneath the heap, taken out of use and put back: what the balloon moves.

use crate::balloon::Ram;
use arch::addr::PhysRange;
use arch::paging::Hole;
use arch::{frames, paging};

/// The kernel's free frames.
#[derive(Debug)]
pub struct KernelRam;

impl Ram for KernelRam {
    fn take_highest(&mut self, pages: u64) -> Option<PhysRange> {
        let range = frames::take_highest(pages)?;
        // SAFETY: free frames, which no one uses.
        if unsafe { paging::kernel::unmap(range, Hole::Returned) }.is_ok() {
            return Some(range);
        }
        // No frame is left for the page tables: this memory is needed here.
        self.give(range);
        None
    }

    fn give(&mut self, range: PhysRange) {
        // SAFETY: RAM by the memory map, given back by Xen or never taken; no object lies there.
        let mapped = unsafe { paging::kernel::map_data(range) };
        if mapped.is_ok() {
            // SAFETY: mapped just now, and used by no one. An error is impossible: not free yet.
            let _ = unsafe { frames::free(range) };
        }
    }
}
