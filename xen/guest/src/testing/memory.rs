//! What lies at each guest frame: RAM, a page of Xen's, a page of a peer's, or nothing.

use super::World;
use crate::page::{PAGE_BYTES, SharedPage, is_ram};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_abi::Errno;
use xen_abi::gnttab::v2;
use xen_abi::memory::{MemoryKind, MemoryMapEntry, map_space};

/// Bytes of RAM: more than a test run ever allocates, since no frame number is used twice.
const RAM_BYTES: u64 = 64 << 30;
/// Guest frames between two domains' windows.
const WINDOW_FRAMES: u64 = 4096;

/// Windows that were given away.
static WINDOWS: AtomicU64 = AtomicU64::new(1);

/// A page outside of RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Special {
    SharedInfo,
    GrantFrame(u64),
    StatusFrame(u64),
    /// A peer's, by its handle.
    Foreign(u32),
}

pub(super) struct Memory {
    /// Where the window may begin.
    map_end: u64,
    special: BTreeMap<u64, Special>,
    /// RAM that is not there.
    holes: BTreeSet<u64>,
    pub pages: u64,
    pub pages_max: u64,
    pub shared_info: SharedPage,
}

impl Memory {
    pub fn new() -> Self {
        let window = WINDOWS.fetch_add(1, Ordering::Relaxed);
        Self {
            map_end: RAM_BYTES + window * WINDOW_FRAMES * PAGE_BYTES as u64,
            special: BTreeMap::new(),
            holes: BTreeSet::new(),
            pages: RAM_BYTES / PAGE_BYTES as u64,
            pages_max: RAM_BYTES / PAGE_BYTES as u64,
            shared_info: new_page(),
        }
    }

    pub fn map(&self) -> Vec<MemoryMapEntry> {
        let reserved_bytes = self.map_end - RAM_BYTES;
        alloc::vec![
            MemoryMapEntry { addr: 0, len_bytes: RAM_BYTES, kind: MemoryKind::Ram },
            MemoryMapEntry {
                addr: RAM_BYTES,
                len_bytes: reserved_bytes,
                kind: MemoryKind::Reserved
            },
        ]
    }

    /// The page of RAM at `gfn`; nothing where there is none.
    pub fn ram(&self, gfn: u64) -> Option<SharedPage> {
        if !is_ram(gfn, &self.map()) || self.holes.contains(&gfn) {
            return None;
        }
        SharedPage::peer_at(gfn)
    }

    /// Whether nothing lies at `gfn`.
    pub fn is_empty(&self, gfn: u64) -> bool {
        let ram = is_ram(gfn, &self.map()) && !self.holes.contains(&gfn);
        !ram && !self.special.contains_key(&gfn)
    }

    /// Puts a page at a frame that is not RAM; whatever special page was there is gone from there.
    pub fn put(&mut self, gfn: u64, special: Special, page: &SharedPage) {
        // Xen has a page at one frame at most.
        let before = self.special.iter().find(|(_, known)| **known == special);
        if let Some(gfn) = before.map(|(gfn, _)| *gfn) {
            self.remove(gfn);
        }
        self.special.insert(gfn, special);
        page.place(gfn);
    }

    /// Takes the special page at `gfn` away.
    pub fn remove(&mut self, gfn: u64) {
        self.special.remove(&gfn);
        SharedPage::displace(gfn);
    }

    /// The special page at `gfn`.
    pub fn special(&self, gfn: u64) -> Option<Special> {
        self.special.get(&gfn).copied()
    }

    /// Makes `gfn` a hole.
    pub fn lose_ram(&mut self, gfn: u64) {
        self.holes.insert(gfn);
    }

    pub fn forget_status_frames(&mut self) {
        let status = |special: &Special| matches!(special, Special::StatusFrame(_));
        let gone: Vec<u64> =
            self.special.iter().filter(|(_, s)| status(s)).map(|(gfn, _)| *gfn).collect();
        gone.into_iter().for_each(|gfn| self.remove(gfn));
    }

    /// A new domain has none of Xen's pages in its address space, and a shared info page of its
    /// own.
    pub fn forget_physmap(&mut self) {
        let all: Vec<u64> = self.special.keys().copied().collect();
        all.into_iter().for_each(|gfn| self.remove(gfn));
        self.shared_info = new_page();
    }

    pub fn give_back(&mut self, gfns: &[u64]) -> usize {
        for (done, gfn) in gfns.iter().enumerate() {
            if !is_ram(*gfn, &self.map()) || !self.holes.insert(*gfn) {
                return done;
            }
            self.pages -= 1;
        }
        gfns.len()
    }

    pub fn populate(&mut self, gfns: &[u64]) -> usize {
        for (done, gfn) in gfns.iter().enumerate() {
            if self.pages >= self.pages_max || !self.holes.remove(gfn) {
                return done;
            }
            self.pages += 1;
            if let Some(page) = SharedPage::peer_at(*gfn) {
                page.clear();
            }
        }
        gfns.len()
    }
}

impl World {
    /// Xen: memory.h, XENMEM_add_to_physmap; grant_table.c, gnttab_map_frame.
    pub(super) fn add_to_physmap(&mut self, space: u32, index: u64, gfn: u64) -> Result<(), Errno> {
        let ram = is_ram(gfn, &self.memory.map());
        assert!(!ram || self.memory.is_empty(gfn), "the RAM at frame {gfn:#x} would be lost");
        match (space, index) {
            (map_space::SHARED_INFO, 0) => {
                let page = self.memory.shared_info.peer();
                self.memory.put(gfn, Special::SharedInfo, &page);
            }
            (map_space::GRANT_TABLE, _) => {
                let is_status = self.grants.version() == 2 && index & v2::STATUS_INDEX != 0;
                let (special, page) = if is_status {
                    let index = index & !v2::STATUS_INDEX;
                    (Special::StatusFrame(index), self.grants.status_frame(index)?)
                } else {
                    (Special::GrantFrame(index), self.grants.frame(index)?)
                };
                self.memory.put(gfn, special, &page);
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }
}

/// A page of Xen's own.
pub(super) fn new_page() -> SharedPage {
    let Some(page) = SharedPage::allocate() else { unreachable!("the host gives memory or ends") };
    page
}
