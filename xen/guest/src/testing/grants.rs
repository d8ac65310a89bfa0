//! The guest's grant table as Xen keeps it: entries in pages that the guest writes, and beside them
//! who really uses what.
//!
//! Source: Xen: grant_table.h; common/grant_table.c (`_set_status_v1`, `_set_status_v2`,
//! `acquire_grant_for_copy`, `gnttab_set_version`).

use super::memory::{Memory, new_page};
use crate::page::SharedPage;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use xen_abi::gnttab::{GrantStatus, RESERVED_ENTRIES, flags, v1, v2};
use xen_abi::{DomId, Errno};

/// Type of an entry, in its flags.
const TYPE_MASK: u16 = 3;
/// Users of one entry, readers and writers apart.
const USERS_MAX: u32 = 127;
/// How often Xen tries to set its bits in an entry that keeps changing.
const STATUS_TRIES: u32 = 5;

/// What Xen knows of an entry that is in use, whatever the guest has written there since.
struct Active {
    domid: DomId,
    page: SharedPage,
    readers: u32,
    writers: u32,
}

pub(super) struct GrantTable {
    version: u32,
    pub version_2_allowed: bool,
    pub limit: u32,
    frames: Vec<SharedPage>,
    status: Vec<SharedPage>,
    active: BTreeMap<u32, Active>,
}

impl GrantTable {
    pub fn new(limit: u32) -> Self {
        Self {
            version: 1,
            version_2_allowed: true,
            limit,
            frames: alloc::vec![new_page()],
            status: Vec::new(),
            active: BTreeMap::new(),
        }
    }

    /// The table that the domain has after it was restored: its limits, and the toolstack's
    /// entries.
    pub fn of_new_domain(&self) -> Self {
        let new = Self { version_2_allowed: self.version_2_allowed, ..Self::new(self.limit) };
        for index in 0..RESERVED_ENTRIES {
            if self.flags(index) & TYPE_MASK == flags::PERMIT_ACCESS {
                new.set_entry(index, self.domid(index), self.gfn(index), false);
            }
        }
        new
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Frame `index`; the table grows to it if it may.
    pub fn frame(&mut self, index: u64) -> Result<SharedPage, Errno> {
        if index >= u64::from(self.limit) {
            return Err(Errno::INVAL);
        }
        while self.frames.len() as u64 <= index {
            self.frames.push(new_page());
        }
        self.grow_status();
        Ok(self.frames[index as usize].peer())
    }

    /// Status frame `index`; the table grows to it if it may.
    pub fn status_frame(&mut self, index: u64) -> Result<SharedPage, Errno> {
        if self.status.get(index as usize).is_none() {
            self.frame(index.saturating_mul(8))?;
        }
        Ok(self.status.get(index as usize).ok_or(Errno::INVAL)?.peer())
    }

    fn grow_status(&mut self) {
        let entries = self.frames() * v2::PER_FRAME;
        while self.version == 2 && (self.status.len() as u32) * v2::STATUS_PER_FRAME < entries {
            self.status.push(new_page());
        }
    }

    /// Changes the layout: all entries are lost but the reserved ones.
    pub fn set_version(&mut self, version: u32) -> Result<(), Errno> {
        match version {
            2 if !self.version_2_allowed => return Err(Errno::NOSYS),
            1 | 2 => {}
            _ => return Err(Errno::INVAL),
        }
        if version == self.version {
            return Ok(());
        }
        if self.active.keys().any(|index| *index >= RESERVED_ENTRIES) {
            return Err(Errno::BUSY);
        }
        let kept: Vec<_> = (0..RESERVED_ENTRIES)
            .map(|index| (self.all_flags(index), self.domid(index), self.gfn(index)))
            .collect();
        self.frames.iter().for_each(SharedPage::clear);
        self.status.clear();
        self.version = version;
        self.grow_status();
        for (index, (all_flags, domid, gfn)) in (0..).zip(kept) {
            self.set_entry(index, domid, gfn, false);
            let in_use = all_flags & (flags::READING | flags::WRITING);
            self.set_flags(index, all_flags & !in_use);
            self.set_bits(index, in_use);
        }
        Ok(())
    }

    /// Where the flags of an entry are.
    fn place(&self, index: u32) -> (&SharedPage, usize) {
        let (per_frame, bytes) = match self.version {
            1 => (v1::PER_FRAME, v1::ENTRY_BYTES),
            _ => (v2::PER_FRAME, v2::ENTRY_BYTES),
        };
        (&self.frames[(index / per_frame) as usize], (index % per_frame) as usize * bytes)
    }

    fn entries(&self) -> u32 {
        self.frames() * if self.version == 1 { v1::PER_FRAME } else { v2::PER_FRAME }
    }

    fn flags(&self, index: u32) -> u16 {
        let (page, at) = self.place(index);
        page.u16_at(at).load(Ordering::SeqCst)
    }

    fn set_flags(&self, index: u32, value: u16) {
        let (page, at) = self.place(index);
        page.u16_at(at).store(value, Ordering::SeqCst);
    }

    fn domid(&self, index: u32) -> DomId {
        let (page, at) = self.place(index);
        DomId(page.u16_at(at + 2).load(Ordering::SeqCst))
    }

    fn gfn(&self, index: u32) -> u64 {
        let (page, at) = self.place(index);
        match self.version {
            1 => page.u32_at(at + v1::FRAME).load(Ordering::SeqCst).into(),
            _ => page.u64_at(at + v2::FRAME).load(Ordering::SeqCst),
        }
    }

    /// The page and offset of the word with Xen's own bits.
    fn bits_place(&self, index: u32) -> (&SharedPage, usize) {
        match self.version {
            1 => self.place(index),
            _ => {
                let page = &self.status[(index / v2::STATUS_PER_FRAME) as usize];
                (page, (index % v2::STATUS_PER_FRAME) as usize * 2)
            }
        }
    }

    fn set_bits(&self, index: u32, bits: u16) {
        let (page, at) = self.bits_place(index);
        page.u16_at(at).fetch_or(bits, Ordering::SeqCst);
    }

    fn clear_bits(&self, index: u32, bits: u16) {
        let (page, at) = self.bits_place(index);
        page.u16_at(at).fetch_and(!bits, Ordering::SeqCst);
    }

    /// The entry's flags with Xen's bits, wherever they are.
    pub fn all_flags(&self, index: u32) -> u16 {
        let (page, at) = self.bits_place(index);
        let bits = page.u16_at(at).load(Ordering::SeqCst) & (flags::READING | flags::WRITING);
        self.flags(index) | bits
    }

    /// Fills an entry as a guest (or the domain builder) does.
    pub fn set_entry(&self, index: u32, domid: DomId, gfn: u64, readonly: bool) {
        let (page, at) = self.place(index);
        page.u16_at(at + 2).store(domid.0, Ordering::SeqCst);
        match self.version {
            1 => page.u32_at(at + v1::FRAME).store(gfn as u32, Ordering::SeqCst),
            _ => page.u64_at(at + v2::FRAME).store(gfn, Ordering::SeqCst),
        }
        let readonly = if readonly { flags::READONLY } else { 0 };
        self.set_flags(index, flags::PERMIT_ACCESS | readonly);
    }

    /// Begins a use of entry `index` by `domid`; the page that it is of.
    pub fn acquire(
        &mut self,
        memory: &Memory,
        index: u32,
        domid: DomId,
        readonly: bool,
    ) -> Result<SharedPage, GrantStatus> {
        if index >= self.entries() {
            return Err(GrantStatus::BAD_GRANT);
        }
        let active = self.active.get(&index);
        let (readers, writers) = active.map_or((0, 0), |active| (active.readers, active.writers));
        if readers > USERS_MAX || writers > USERS_MAX {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        if active.is_some_and(|active| active.domid != domid) {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        let in_use = active.is_some();
        if !in_use || (!readonly && writers == 0) {
            match self.version {
                1 => self.set_status_v1(index, in_use, domid, readonly)?,
                _ => self.set_status_v2(index, in_use, domid, readonly)?,
            }
        }
        if !in_use {
            let Some(page) = memory.ram(self.gfn(index)) else {
                self.clear_bits(index, flags::READING | flags::WRITING);
                return Err(GrantStatus::BAD_PAGE);
            };
            let new = Active { domid, page, readers: 0, writers: 0 };
            self.active.insert(index, new);
        }
        let Some(active) = self.active.get_mut(&index) else {
            return Err(GrantStatus::GENERAL_ERROR);
        };
        *(if readonly { &mut active.readers } else { &mut active.writers }) += 1;
        Ok(active.page.peer())
    }

    /// Ends a use.
    pub fn release(&mut self, index: u32, readonly: bool) {
        let Some(active) = self.active.get_mut(&index) else { return };
        *(if readonly { &mut active.readers } else { &mut active.writers }) -= 1;
        let (readers, writers) = (active.readers, active.writers);
        let writing = if writers == 0 && !readonly { flags::WRITING } else { 0 };
        let reading = if writers == 0 && readers == 0 { flags::READING } else { 0 };
        self.clear_bits(index, reading | writing);
        if readers == 0 && writers == 0 {
            self.active.remove(&index);
        }
    }

    /// Whether flags and grantee let `domid` begin.
    fn may_begin(&self, index: u32, seen: u16, domid: DomId) -> bool {
        seen & TYPE_MASK == flags::PERMIT_ACCESS && self.domid(index) == domid
    }

    /// Xen's bits are in the flags: set by compare-and-exchange, a few times.
    fn set_status_v1(
        &self,
        index: u32,
        in_use: bool,
        domid: DomId,
        readonly: bool,
    ) -> Result<(), GrantStatus> {
        let (page, at) = self.place(index);
        let word = page.u16_at(at);
        let mut seen = word.load(Ordering::SeqCst);
        for _ in 0..STATUS_TRIES {
            if !in_use && !self.may_begin(index, seen, domid) {
                return Err(GrantStatus::GENERAL_ERROR);
            }
            if !readonly && seen & flags::READONLY != 0 {
                return Err(GrantStatus::GENERAL_ERROR);
            }
            let new = seen | flags::READING | if readonly { 0 } else { flags::WRITING };
            match word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        Err(GrantStatus::GENERAL_ERROR)
    }

    /// Xen's bits are elsewhere: set, and then the flags are looked at again.
    fn set_status_v2(
        &self,
        index: u32,
        in_use: bool,
        domid: DomId,
        readonly: bool,
    ) -> Result<(), GrantStatus> {
        let may_write = |seen: u16| readonly || seen & flags::READONLY == 0;
        let seen = self.flags(index);
        if (!in_use && !self.may_begin(index, seen, domid)) || !may_write(seen) {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        let writing = if readonly { 0 } else { flags::WRITING };
        self.set_bits(index, flags::READING | writing);
        let seen = self.flags(index);
        if (in_use || self.may_begin(index, seen, domid)) && may_write(seen) {
            return Ok(());
        }
        // What others have set stays.
        let reading = if in_use { 0 } else { flags::READING };
        self.clear_bits(index, reading | flags::WRITING);
        Err(GrantStatus::GENERAL_ERROR)
    }
}
