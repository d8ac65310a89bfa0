//! Pages that go round: granted, given back, cleared, granted again.
//!
//! A page that comes back holds what the peer wrote, or what we wrote for it: it is cleared before
//! it is kept. Older Xens say that a peer has let go a moment before it has (CVE-2017-12855), so a
//! peer may still write then: with [`Check::Always`] a page that is not all zeroes any more when it
//! is taken out is never used again.

use crate::page::SharedPage;
use alloc::vec::Vec;

/// Whether pages are looked at when they are taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Each time: reads 4 KiB.
    Always,
    /// Never.
    Never,
}

/// What a pool has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolCounters {
    /// Pages that are kept.
    pub kept: usize,
    /// Pages that someone wrote to while they were kept. They are lost on purpose.
    pub written_while_kept: u32,
}

/// A bounded number of zeroed pages.
pub struct PagePool {
    pages: Vec<SharedPage>,
    limit: usize,
    check: Check,
    written_while_kept: u32,
}

impl PagePool {
    /// An empty pool that keeps at most `limit` pages.
    pub const fn new(limit: usize, check: Check) -> Self {
        Self { pages: Vec::new(), limit, check, written_while_kept: 0 }
    }

    /// A page of zeroes: a kept one, or a new one. Nothing if memory is out.
    pub fn take(&mut self) -> Option<SharedPage> {
        while let Some(page) = self.pages.pop() {
            if self.check == Check::Never || page.is_zero() {
                return Some(page);
            }
            log::error!("guest frame {:#x} is written to after it was given back", page.gfn());
            self.written_while_kept = self.written_while_kept.saturating_add(1);
            core::mem::forget(page);
        }
        SharedPage::allocate()
    }

    /// Takes a page that no peer has access to (see [`super::GrantedPage::end`]): clears it and
    /// keeps it, or frees it if the pool is full.
    pub fn put(&mut self, page: SharedPage) {
        page.clear();
        if self.pages.len() < self.limit && self.pages.try_reserve(1).is_ok() {
            self.pages.push(page);
        }
    }

    /// What it has seen.
    pub fn counters(&self) -> PoolCounters {
        PoolCounters { kept: self.pages.len(), written_while_kept: self.written_while_kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;

    #[test]
    fn what_comes_out_is_zero_and_at_most_so_many_are_kept() {
        let mut pool = PagePool::new(2, Check::Never);
        for _ in 0..3 {
            let page = SharedPage::allocate().unwrap();
            page.write(4000, b"secret");
            pool.put(page);
        }
        assert_eq!(pool.counters(), PoolCounters { kept: 2, written_while_kept: 0 });
        for _ in 0..3 {
            assert!(pool.take().unwrap().is_zero());
        }
        assert_eq!(pool.counters().kept, 0);
    }

    #[test]
    fn a_page_that_a_peer_still_writes_to_is_never_used_again() {
        let mut pool = PagePool::new(2, Check::Always);
        let page = SharedPage::allocate().unwrap();
        let (peer, gfn) = (page.peer(), page.gfn());
        pool.put(page);
        peer.u8_at(4095).store(1, Ordering::Relaxed);
        let taken = pool.take().unwrap();
        assert!(taken.gfn() != gfn && taken.is_zero());
        assert_eq!(pool.counters(), PoolCounters { kept: 0, written_while_kept: 1 });
        assert!(!peer.is_freed(), "lost on purpose, not freed");
    }
}
