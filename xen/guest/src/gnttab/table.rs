//! The entries of the grant table: bytes that Xen reads and changes while we do.
//!
//! | | version 1 | version 2 |
//! |---|---|---|
//! | entry | flags, grantee, 32-bit frame | flags, grantee, 64-bit frame |
//! | Xen's "in use" bits | in the flags | in a status word elsewhere |
//! | ending | one compare-and-exchange | clear the flags, barrier, look at the status |
//!
//! Source: Xen: grant_table.h, "Introducing a valid entry", "Invalidating an unused entry".

use super::{Access, GrantError, StillInUse, Version};
use crate::Hypervisor;
use crate::page::SharedPage;
use crate::window::{GRANT_FRAMES_PER_STATUS, Window};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, Ordering, fence};
use xen_abi::gnttab::{GrantRef, flags, v1, v2};
use xen_abi::memory::map_space;
use xen_abi::{DomId, Errno};

/// Bits that Xen sets while the grantee uses an entry.
const IN_USE: u16 = flags::READING | flags::WRITING;
/// Tries to end an entry that changes under our hands; then it counts as in use.
const END_TRIES: u32 = 16;

/// The frames of the table, mapped.
pub(super) struct Table {
    version: Version,
    frames: Vec<SharedPage>,
    status: Vec<SharedPage>,
}

impl Table {
    /// A table without frames.
    pub fn new(version: Version) -> Self {
        Self { version, frames: Vec::new(), status: Vec::new() }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Frames that are mapped.
    pub fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Entries in a frame.
    pub fn entries_per_frame(&self) -> u32 {
        match self.version {
            Version::One => v1::PER_FRAME,
            Version::Two => v2::PER_FRAME,
        }
    }

    /// Has Xen put the next frame into our address space; Xen makes the frame if the table does not
    /// have it yet. After an error everything is as before, and it can be tried again.
    pub fn add_frame(&mut self, xen: &impl Hypervisor, window: &Window) -> Result<(), GrantError> {
        let index = self.frames();
        self.frames.try_reserve(1).map_err(|_| GrantError::OutOfMemory)?;
        self.status.try_reserve(1).map_err(|_| GrantError::OutOfMemory)?;
        let gfn = window.grant_frame(index).ok_or(GrantError::Xen(Errno::NOSPC))?;
        let frame = map_frame(xen, window, u64::from(index), gfn)?;
        let status_index = index / GRANT_FRAMES_PER_STATUS;
        if self.version == Version::Two && self.status.len() as u32 <= status_index {
            let gfn = window.status_frame(status_index).ok_or(GrantError::Xen(Errno::NOSPC))?;
            let xens_index = v2::STATUS_INDEX | u64::from(status_index);
            self.status.push(map_frame(xen, window, xens_index, gfn)?);
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Lets `domid` use the frame `gfn`. The entry is free: see [`Self::end`].
    pub fn permit(
        &self,
        grant: GrantRef,
        domid: DomId,
        gfn: u64,
        access: Access,
    ) -> Result<(), GrantError> {
        let (frame, at) = self.place(grant);
        match self.version {
            Version::One => {
                let gfn = u32::try_from(gfn).map_err(|_| GrantError::WideFrame(gfn))?;
                frame.u16_at(at + v1::DOMID).store(domid.0, Ordering::Relaxed);
                frame.u32_at(at + v1::FRAME).store(gfn, Ordering::Relaxed);
            }
            Version::Two => {
                frame.u16_at(at + v2::DOMID).store(domid.0, Ordering::Relaxed);
                frame.u64_at(at + v2::FRAME).store(gfn, Ordering::Relaxed);
            }
        }
        let readonly = if access == Access::ReadOnly { flags::READONLY } else { 0 };
        // The flags make the entry valid: last, and in one store.
        fence(Ordering::Release);
        self.flags_at(grant).store(flags::PERMIT_ACCESS | readonly, Ordering::Release);
        Ok(())
    }

    /// Ends the grantee's access for good, unless it is using the entry right now: then it may go
    /// on, and this is to be tried again. An entry that is free stays free.
    pub fn end(&self, grant: GrantRef) -> Result<(), StillInUse> {
        let ended = match self.version {
            Version::One => end_v1(self.flags_at(grant)),
            Version::Two => end_v2(self.flags_at(grant), self.status_at(grant)),
        };
        if ended { Ok(()) } else { Err(StillInUse(grant)) }
    }

    /// The page that an entry is in, and its offset there.
    fn place(&self, grant: GrantRef) -> (&SharedPage, usize) {
        let (per_frame, bytes) = match self.version {
            Version::One => (v1::PER_FRAME, v1::ENTRY_BYTES),
            Version::Two => (v2::PER_FRAME, v2::ENTRY_BYTES),
        };
        let frame = &self.frames[(grant.0 / per_frame) as usize];
        (frame, (grant.0 % per_frame) as usize * bytes)
    }

    /// Where an entry's flags are.
    pub fn flags_at(&self, grant: GrantRef) -> &AtomicU16 {
        const { assert!(v1::FLAGS == v2::FLAGS) };
        let (frame, at) = self.place(grant);
        frame.u16_at(at + v1::FLAGS)
    }

    /// Xen's bits for an entry of version 2.
    pub fn status_at(&self, grant: GrantRef) -> &AtomicU16 {
        let frame = &self.status[(grant.0 / v2::STATUS_PER_FRAME) as usize];
        frame.u16_at((grant.0 % v2::STATUS_PER_FRAME) as usize * size_of::<u16>())
    }
}

/// A word that Xen changes while we do. A trait, so that a test can let something happen between
/// any two accesses.
pub(super) trait Word {
    fn load(&self, order: Ordering) -> u16;
    fn store(&self, value: u16, order: Ordering);
    fn compare_exchange(&self, current: u16, new: u16) -> Result<u16, u16>;
}

impl Word for AtomicU16 {
    fn load(&self, order: Ordering) -> u16 {
        self.load(order)
    }

    fn store(&self, value: u16, order: Ordering) {
        self.store(value, order);
    }

    fn compare_exchange(&self, current: u16, new: u16) -> Result<u16, u16> {
        self.compare_exchange(current, new, Ordering::SeqCst, Ordering::Acquire)
    }
}

/// Invalidates an entry of version 1; whether it was not in use. Only the outcome of the exchange
/// counts: between a look at the flags and a store Xen may set a bit.
pub(super) fn end_v1(flags: &impl Word) -> bool {
    let mut seen = flags.load(Ordering::Acquire);
    for _ in 0..END_TRIES {
        if seen & IN_USE != 0 {
            return false;
        }
        match flags.compare_exchange(seen, 0) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// Invalidates an entry of version 2; whether it was not in use. Xen sets its status bits, and then
/// looks at the flags again before it lets a new use begin. We do the same in the other order, so
/// one of us sees the other.
pub(super) fn end_v2(flags: &impl Word, status: &impl Word) -> bool {
    // "Read only" stays until no one uses the entry: Xen lets a grantee that has a page mapped map
    // it again by the flags as they are now, and without this bit for writing.
    let readonly = flags.load(Ordering::Relaxed) & flags::READONLY;
    flags.store(readonly, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    // Acquire: nothing that is done with the page afterwards happens before this.
    if status.load(Ordering::Acquire) & IN_USE != 0 {
        return false;
    }
    flags.store(0, Ordering::Release);
    true
}

/// Has Xen put a frame of the table at `gfn`, and maps it.
fn map_frame(
    xen: &impl Hypervisor,
    window: &Window,
    index: u64,
    gfn: u64,
) -> Result<SharedPage, GrantError> {
    xen.add_to_physmap(map_space::GRANT_TABLE, index, gfn).map_err(GrantError::Xen)?;
    window.page(gfn).map_err(GrantError::Page)
}
