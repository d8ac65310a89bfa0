//! Grant tables: pages of ours that peers may use, and pages of theirs that we may use.
//!
//! ```text
//!   Grants ── grant ──▶ GrantedPage ── dropped ──▶ free, or set aside while the peer still uses it
//!     │ state       one lock: entries, free references, what is set aside
//!     │  ├ table       the entries, in pages that Xen reads and changes meanwhile
//!     │  ├ allocator   which references are free
//!     │  └ owner       who holds how many
//!     └─ copy ──▶ bytes between pages, in batches, no mapping
//!   Foreign ── map ──▶ MappedGrants ── dropped ──▶ unmapped
//!   PagePool           pages that are recycled, cleared and looked at in between
//! ```
//!
//! What an entry goes through (`docs/grants.md` has the same for pages):
//!
//! ```text
//!            grant                  end: not in use
//!   free ───────────▶ granted ─────────────────────────▶ free
//!                        │ end: in use
//!                        ▼           reclaim: not in use
//!                   quarantined ───────────────────────▶ free
//!                        │ reclaim, RECLAIM_TRIES times
//!                        ▼           resume in a new domain
//!                     leaked ──────────────────────────▶ free
//! ```
//!
//! A peer may use a page for as long as it likes: no call takes it away. So neither the page nor
//! the reference serves anything else before Xen says that the peer has let go.
//!
//! Sources: Xen: grant_table.h; common/grant_table.c for what is refused with which status.

mod allocator;
mod copy;
mod error;
mod foreign;
mod granted;
mod lent;
mod owner;
mod pool;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use copy::{CopyEnd, CopyError, CopyOp, EAGAIN_TRIES};
pub use error::{GrantError, SetupError, StillInUse};
pub use foreign::{Foreign, ForeignCounters, MapError, MappedGrants};
pub use granted::GrantedPage;
pub use lent::LentPages;
pub use pool::{Check, PagePool, PoolCounters};
pub use state::RECLAIM_TRIES;

use crate::Hypervisor;
use crate::page::SharedPage;
use crate::window::Window;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use owner::Owner;
use state::{Shared, State};
use xen_abi::DomId;

/// What a grantee may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Access {
    /// Read it. For what only flows to the peer.
    ReadOnly,
    /// Read and write it.
    ReadWrite,
}

/// The layout of a table's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Version {
    /// 512 entries a frame, guest frames of 32 bits: enough for 16 TiB.
    One,
    /// 256 entries a frame, guest frames of 64 bits. A host may not have it.
    Two,
}

impl Version {
    /// The number that Xen knows it by.
    pub const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// References that one holder has; see [`Grants::for_owner`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Granted.
    pub in_use: u32,
    /// Dropped, but a peer still uses them.
    pub quarantined: u32,
    /// The same for so long that they are not looked at any more.
    pub leaked: u32,
    /// How many it may have of the three together.
    pub limit: u32,
}

/// The table as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableCounters {
    /// Frames that it has.
    pub frames: u32,
    /// Frames that it may have.
    pub frames_limit: u32,
    /// References that it has now, without the reserved ones: the sum of the following.
    pub references: u32,
    /// To be had without growing.
    pub free: u32,
    /// Granted.
    pub in_use: u32,
    /// Set aside, those that an earlier kernel has left among them.
    pub quarantined: u32,
    /// Given up until the domain is resumed as a new one.
    pub leaked: u32,
}

/// The domain's grant table. A handle: copies name the same table and the same holder.
pub struct Grants<X: Hypervisor> {
    xen: X,
    window: Window,
    wanted: Version,
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

impl<X: Hypervisor> Clone for Grants<X> {
    fn clone(&self) -> Self {
        Self::share(self, self.owner.clone())
    }
}

impl<X: Hypervisor> Grants<X> {
    /// Takes the table over. Made once; `window` has room for its frames.
    ///
    /// The table is of `version`, or of version 2 where the domain's RAM needs it. What an earlier
    /// kernel has granted is ended, or set aside if it is in use; the toolstack's entries (the
    /// console's and xenstore's) are left alone.
    pub fn new(xen: X, window: &Window, version: Version) -> Result<Self, SetupError> {
        let wanted = if window.has_wide_frames() { Version::Two } else { version };
        let state = State::new(&xen, window, wanted)?;
        let shared = Arc::new(Shared::new(state));
        let owner = Arc::new(Owner::new("the domain", u32::MAX));
        Ok(Self { xen, window: window.clone(), wanted, shared, owner })
    }

    /// A handle for a holder of its own, such as a device: it has at most `limit` references, those
    /// that its peer does not let go among them, so that one bad peer cannot take all.
    pub fn for_owner(&self, name: &'static str, limit: u32) -> Self {
        Self::share(self, Arc::new(Owner::new(name, limit)))
    }

    fn share(&self, owner: Arc<Owner>) -> Self {
        Self {
            xen: self.xen.clone(),
            window: self.window.clone(),
            wanted: self.wanted,
            shared: self.shared.clone(),
            owner,
        }
    }

    /// Lets `domid` use `page`, all of it. A page that was just allocated is all zeroes: the peer
    /// sees nothing but what was written into it since.
    ///
    /// The table grows as long as Xen lets it.
    ///
    /// # Errors
    /// The page is dropped with any.
    pub fn grant(
        &self,
        domid: DomId,
        page: SharedPage,
        access: Access,
    ) -> Result<GrantedPage, GrantError> {
        self.try_grant(domid, &Arc::new(page), access, None)
    }

    /// The same, but gives the page back with an error: it may hold what must not be lost.
    pub fn grant_or_return(
        &self,
        domid: DomId,
        page: SharedPage,
        access: Access,
    ) -> Result<GrantedPage, (GrantError, Option<SharedPage>)> {
        let page = Arc::new(page);
        // What was not granted is held by nobody else.
        self.try_grant(domid, &page, access, None).map_err(|error| (error, Arc::into_inner(page)))
    }

    /// The same, but waits for a reference if none is free. Who waits longest is not served first:
    /// all who wait try again when one becomes free.
    ///
    /// # Errors
    /// Not [`GrantError::Exhausted`] and not [`GrantError::OwnerLimit`].
    ///
    /// # Cancellation
    /// Safe: nothing is granted; the page is dropped with the future.
    pub async fn grant_wait(
        &self,
        domid: DomId,
        page: SharedPage,
        access: Access,
    ) -> Result<GrantedPage, GrantError> {
        let page = Arc::new(page);
        poll_fn(|context| match self.try_grant(domid, &page, access, Some(context.waker())) {
            Err(error) if error.passes() => Poll::Pending,
            result => Poll::Ready(result),
        })
        .await
    }

    /// Grants, or has `waker` told when it is worth another try.
    fn try_grant(
        &self,
        domid: DomId,
        page: &Arc<SharedPage>,
        access: Access,
        waker: Option<&Waker>,
    ) -> Result<GrantedPage, GrantError> {
        let lease = self.shared.with(|state| {
            let what = (domid, &**page, access);
            let result = state.grant(&self.xen, &self.window, &self.owner, what);
            if let (Err(error), Some(waker)) = (result.as_ref(), waker)
                && error.passes()
            {
                state.wait(waker);
            }
            result
        })?;
        Ok(GrantedPage::new(page.clone(), lease, self.shared.clone()))
    }

    /// Looks again at what was set aside, and frees what its peer has let go; how many are left. To
    /// be called now and then, about once a second, while there are any.
    pub fn reclaim(&self) -> usize {
        self.shared.with(State::reclaim)
    }

    /// Waits until something is set aside, so that who reclaims need not look when there is
    /// nothing. One task at a time may wait.
    ///
    /// # Cancellation
    /// Safe: nothing is changed by waiting.
    pub async fn quarantined(&self) {
        poll_fn(|context| {
            let (any, _replaced) = self.shared.with(|state| state.is_quarantined(context.waker()));
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Copies, see [`CopyOp`]. Each has its own result; an error of one does not keep the others
    /// from being done. Those with offsets beyond a page are not shown to Xen.
    pub fn copy(&self, batch: &mut [CopyOp<'_>]) {
        copy::run(&self.xen, batch);
    }

    /// Takes the table of a new domain, after a suspend that ended in one
    /// ([`crate::hypercall::Resumed`]): the same frames in the same places, all entries free. Pages
    /// granted before are stale; dropping them, then or later, ends nothing in this table. What was
    /// set aside or given up is free again: no peer has it here.
    pub fn resume(&self) -> Result<(), SetupError> {
        self.shared.with(|state| state.resume(&self.xen, &self.window, self.wanted))
    }

    /// What this handle's holder has.
    pub fn counters(&self) -> Counters {
        self.owner.counters(self.shared.with(|state| state.generation()))
    }

    /// What the table has.
    pub fn table_counters(&self) -> TableCounters {
        self.shared.with(|state| state.counters())
    }

    /// The layout that is in use.
    pub fn version(&self) -> Version {
        self.shared.with(|state| state.version())
    }
}
