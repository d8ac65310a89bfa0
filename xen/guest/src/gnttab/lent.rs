//! Pages that a peer may read: buffers for what only flows to it.

use super::{Access, GrantError, GrantedPage, Grants};
use crate::Hypervisor;
use crate::page::PageRun;
use alloc::vec::Vec;
use core::fmt;
use xen_abi::DomId;
use xen_abi::gnttab::GrantRef;

/// Neighbouring pages of ours that a peer may read, and never write: so their bytes are plain
/// memory to us, and what is written there need not be copied to be shown.
///
/// The peer may read at any time, also while we write, and keeps all that was ever written: what is
/// not for it must not be here. When this is dropped, its access ends as with [`GrantedPage`].
pub struct LentPages {
    // First: the access ends before the pages become free.
    grants: Vec<GrantedPage>,
    run: PageRun,
}

impl LentPages {
    /// How many pages.
    pub fn pages(&self) -> usize {
        self.grants.len()
    }

    /// The bytes of all of them in one piece: page after page.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.run.bytes()
    }

    /// What the peer is told of page `index`, which is less than [`Self::pages`].
    pub fn reference(&self, index: usize) -> GrantRef {
        self.grants[index].reference()
    }
}

impl fmt::Debug for LentPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.grants).finish()
    }
}

impl<X: Hypervisor> Grants<X> {
    /// Lets `domid` read `count` new pages, at least 1, that are all zeroes.
    ///
    /// # Errors
    /// [`GrantError::OutOfMemory`] also if memory is in too small pieces.
    pub fn lend(&self, domid: DomId, count: usize) -> Result<LentPages, GrantError> {
        let run = PageRun::allocate(count).ok_or(GrantError::OutOfMemory)?;
        let grant = |page| self.try_grant(domid, page, Access::ReadOnly, None);
        let grants = run.shared().iter().map(grant).collect::<Result<_, _>>()?;
        Ok(LentPages { grants, run })
    }
}
