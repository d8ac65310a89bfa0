//! Grants of the peers', and what the guest maps and copies.
//!
//! Source: Xen: grant_table.h; common/grant_table.c (`map_grant_ref`, `unmap_common`,
//! `gnttab_copy_buf`).

use super::World;
use super::memory::Special;
use crate::page::{PAGE_BYTES, SharedPage};
use alloc::collections::BTreeMap;
use xen_abi::DomId;
use xen_abi::gnttab::{
    COPY_DEST_GRANT, COPY_SOURCE_GRANT, CopySide, GrantCopy, GrantRef, GrantStatus, MAP_HOST,
    MAP_READONLY, MapGrant, UnmapGrant,
};

/// A grant of a peer's for the guest.
struct PeerGrant {
    page: SharedPage,
    readonly: bool,
    /// New uses may begin.
    valid: bool,
    users: u32,
    /// A status that the next so many uses end with.
    refuse: Option<(GrantStatus, u32)>,
}

/// Something that the guest has mapped.
#[derive(Clone, Copy)]
struct Mapping {
    domid: DomId,
    grant: GrantRef,
    readonly: bool,
    host_addr: u64,
}

#[derive(Default)]
pub(super) struct Foreign {
    grants: BTreeMap<(DomId, GrantRef), PeerGrant>,
    mapped: BTreeMap<u32, Mapping>,
    handles: u32,
    pub refuse_unmaps: u32,
}

impl Foreign {
    pub fn mapped(&self) -> usize {
        self.mapped.len()
    }

    pub fn forget_mapped(&mut self) {
        self.mapped.clear();
        self.grants.values_mut().for_each(|grant| grant.users = 0);
    }

    pub fn share(&mut self, domid: DomId, page: SharedPage, readonly: bool) -> GrantRef {
        let grant = GrantRef(8 + self.grants.len() as u32);
        let entry = PeerGrant { page, readonly, valid: true, users: 0, refuse: None };
        self.grants.insert((domid, grant), entry);
        grant
    }

    pub fn revoke(&mut self, domid: DomId, grant: GrantRef) -> u32 {
        let Some(entry) = self.grants.get_mut(&(domid, grant)) else { return 0 };
        entry.valid = false;
        entry.users
    }

    pub fn users(&self, domid: DomId, grant: GrantRef) -> u32 {
        self.grants.get(&(domid, grant)).map_or(0, |entry| entry.users)
    }

    pub fn refuse(&mut self, domid: DomId, grant: GrantRef, status: GrantStatus, times: u32) {
        if let Some(entry) = self.grants.get_mut(&(domid, grant)) {
            entry.refuse = (times > 0).then_some((status, times));
        }
    }

    /// Begins a use by the guest.
    fn acquire(
        &mut self,
        domid: DomId,
        grant: GrantRef,
        readonly: bool,
    ) -> Result<SharedPage, GrantStatus> {
        if !self.grants.keys().any(|(known, _)| *known == domid) {
            return Err(GrantStatus::BAD_DOMAIN);
        }
        let entry = self.grants.get_mut(&(domid, grant)).ok_or(GrantStatus::BAD_GRANT)?;
        if let Some((status, times)) = entry.refuse {
            entry.refuse = (times > 1).then_some((status, times - 1));
            return Err(status);
        }
        if (!entry.valid && entry.users == 0) || (entry.readonly && !readonly) {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        entry.users += 1;
        Ok(entry.page.peer())
    }

    fn release(&mut self, domid: DomId, grant: GrantRef) {
        if let Some(entry) = self.grants.get_mut(&(domid, grant)) {
            entry.users -= 1;
        }
    }
}

impl World {
    /// Begins a use by the guest of a grant of `domid`'s, which may be itself.
    fn acquire(
        &mut self,
        domid: DomId,
        grant: GrantRef,
        readonly: bool,
    ) -> Result<SharedPage, GrantStatus> {
        if domid == self.domid {
            return self.grants.acquire(&self.memory, grant.0, domid, readonly);
        }
        self.foreign.acquire(domid, grant, readonly)
    }

    fn release(&mut self, domid: DomId, grant: GrantRef, readonly: bool) {
        if domid == self.domid {
            self.grants.release(grant.0, readonly);
        } else {
            self.foreign.release(domid, grant);
        }
    }

    pub(super) fn map(&mut self, op: &mut MapGrant) {
        op.status = match self.try_map(op) {
            Ok(handle) => {
                op.handle = handle;
                GrantStatus::OKAY
            }
            Err(status) => status,
        };
    }

    fn try_map(&mut self, op: &MapGrant) -> Result<u32, GrantStatus> {
        if op.flags & !MAP_READONLY != MAP_HOST {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        let (domid, grant, readonly) = (DomId(op.domid), op.grant, op.flags & MAP_READONLY != 0);
        let gfn = op.host_addr / PAGE_BYTES as u64;
        let page = self.acquire(domid, grant, readonly)?;
        if !self.memory.is_empty(gfn) {
            self.release(domid, grant, readonly);
            return Err(GrantStatus::BAD_PAGE);
        }
        if domid == self.domid {
            // The page leaves its own frame when it comes to another one of the same domain.
            self.memory.lose_ram(page.gfn());
        }
        self.foreign.handles += 1;
        let handle = self.foreign.handles;
        self.memory.put(gfn, Special::Foreign(handle), &page);
        let host_addr = op.host_addr;
        self.foreign.mapped.insert(handle, Mapping { domid, grant, readonly, host_addr });
        Ok(handle)
    }

    pub(super) fn unmap(&mut self, op: &UnmapGrant) -> GrantStatus {
        let Some(mapping) = self.foreign.mapped.get(&op.handle).copied() else {
            return GrantStatus::BAD_HANDLE;
        };
        let gfn = op.host_addr / PAGE_BYTES as u64;
        assert!(SharedPage::views_at(gfn) == 0, "unmapped while still in the page tables");
        let at = self.memory.special(gfn);
        if mapping.host_addr != op.host_addr || at != Some(Special::Foreign(op.handle)) {
            return GrantStatus::GENERAL_ERROR;
        }
        if self.foreign.refuse_unmaps > 0 {
            self.foreign.refuse_unmaps -= 1;
            return GrantStatus::GENERAL_ERROR;
        }
        self.memory.remove(gfn);
        self.foreign.mapped.remove(&op.handle);
        self.release(mapping.domid, mapping.grant, mapping.readonly);
        GrantStatus::OKAY
    }

    pub(super) fn copy(&mut self, op: &GrantCopy) -> GrantStatus {
        match self.try_copy(op) {
            Ok(()) => GrantStatus::OKAY,
            Err(status) => status,
        }
    }

    fn try_copy(&mut self, op: &GrantCopy) -> Result<(), GrantStatus> {
        let source_grant = op.flags & COPY_SOURCE_GRANT != 0;
        let dest_grant = op.flags & COPY_DEST_GRANT != 0;
        let source = self.copy_side(&op.source, source_grant, true)?;
        let result = match self.copy_side(&op.dest, dest_grant, false) {
            Err(status) => Err(status),
            Ok(dest) => {
                let result = copy_bytes(op, &source, &dest);
                self.release_side(&op.dest, dest_grant, false);
                result
            }
        };
        self.release_side(&op.source, source_grant, true);
        result
    }

    fn copy_side(
        &mut self,
        side: &CopySide,
        is_grant: bool,
        readonly: bool,
    ) -> Result<SharedPage, GrantStatus> {
        let domid = if side.domid == DomId::SELF.0 { self.domid } else { DomId(side.domid) };
        if is_grant {
            return self.acquire(domid, GrantRef(side.frame as u32), readonly);
        }
        if side.domid != DomId::SELF.0 {
            return Err(GrantStatus::PERMISSION_DENIED);
        }
        self.memory.ram(side.frame).ok_or(GrantStatus::BAD_PAGE)
    }

    fn release_side(&mut self, side: &CopySide, is_grant: bool, readonly: bool) {
        let domid = if side.domid == DomId::SELF.0 { self.domid } else { DomId(side.domid) };
        if is_grant {
            self.release(domid, GrantRef(side.frame as u32), readonly);
        }
    }
}

fn copy_bytes(op: &GrantCopy, source: &SharedPage, dest: &SharedPage) -> Result<(), GrantStatus> {
    let len = usize::from(op.len_bytes);
    let (from, to) = (usize::from(op.source.offset), usize::from(op.dest.offset));
    if from + len > PAGE_BYTES || to + len > PAGE_BYTES {
        return Err(GrantStatus::BAD_COPY);
    }
    let mut bytes = [0; PAGE_BYTES];
    source.read(from, &mut bytes[..len]);
    dest.write(to, &bytes[..len]);
    Ok(())
}
