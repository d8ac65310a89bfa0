//! A page and the reference under which a peer may use it.

use super::StillInUse;
use super::state::{Lease, Shared};
use crate::page::SharedPage;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use xen_abi::gnttab::GrantRef;

/// A page of ours that a peer may use. Reads and writes like the [`SharedPage`] that it is.
///
/// When it is dropped, the peer's access ends and the page becomes free. If the peer is still using
/// the page, both the page and its reference are set aside instead, see [`super::Grants::reclaim`]:
/// neither is ever used for anything else while the peer may reach it.
///
/// A driver that grants its pages once and keeps them so ("persistent grants") keeps these.
pub struct GrantedPage {
    page: Arc<SharedPage>,
    lease: Lease,
    shared: Arc<Shared>,
    ended: bool,
}

impl GrantedPage {
    pub(super) fn new(page: Arc<SharedPage>, lease: Lease, shared: Arc<Shared>) -> Self {
        Self { page, lease, shared, ended: false }
    }

    /// What the peer is told.
    pub fn reference(&self) -> GrantRef {
        self.lease.grant
    }

    /// Whether the page was granted in a domain that is gone: its reference means nothing any more.
    pub fn is_stale(&self) -> bool {
        self.shared.with(|state| state.generation() != self.lease.generation)
    }

    /// Ends the peer's access and gives the page back; its contents are the peer's last word, so
    /// they are checked as they are read, and cleared before the page serves another peer (see
    /// [`super::PagePool`]).
    ///
    /// Where the peer had said that it is done, as with a response on a ring, an error means that
    /// it lies.
    ///
    /// # Errors
    /// When the peer still uses the page. The page and its reference are set aside then.
    pub fn end(mut self) -> Result<SharedPage, StillInUse> {
        self.finish()?;
        let (page, grant) = (self.page.clone(), self.lease.grant);
        drop(self);
        // It has no other holder: it was not set aside.
        Arc::into_inner(page).ok_or(StillInUse(grant))
    }

    fn finish(&mut self) -> Result<(), StillInUse> {
        if core::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.shared.with(|state| state.end(&self.lease, &self.page))
    }
}

impl Drop for GrantedPage {
    fn drop(&mut self) {
        // A page that is still in use has been set aside, and is counted there.
        let _ = self.finish();
    }
}

impl Deref for GrantedPage {
    type Target = SharedPage;

    fn deref(&self) -> &SharedPage {
        &self.page
    }
}

impl Borrow<SharedPage> for GrantedPage {
    fn borrow(&self) -> &SharedPage {
        &self.page
    }
}

impl fmt::Debug for GrantedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of guest frame {:#x}", self.lease.grant, self.page.gfn())
    }
}
