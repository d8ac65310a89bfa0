//! Another domain: a backend, or one that means harm.

use super::{FakeXen, events};
use crate::gnttab::Access;
use crate::page::SharedPage;
use xen_abi::event::EvtchnPort;
use xen_abi::gnttab::{GrantRef, GrantStatus};
use xen_abi::{DomId, Errno};

/// A domain beside the guest. What Xen would refuse it is refused here.
#[derive(Clone)]
pub struct Peer {
    xen: FakeXen,
    domid: DomId,
}

/// A page of the guest's that the peer has mapped. Stays mapped when this is dropped: a peer need
/// not let go.
pub struct PeerMapping {
    grant: GrantRef,
    access: Access,
    page: SharedPage,
}

/// A page of the peer's that the guest may use.
pub struct PeerPage {
    /// What the guest is told.
    pub grant: GrantRef,
    /// The peer's own view.
    pub page: SharedPage,
}

impl PeerMapping {
    /// The page. Writing to one that is mapped for reading only is a fault of the test's.
    pub fn page(&self) -> &SharedPage {
        &self.page
    }

    /// How it is mapped.
    pub fn access(&self) -> Access {
        self.access
    }
}

impl Peer {
    pub(super) fn new(xen: FakeXen, domid: DomId) -> Self {
        Self { xen, domid }
    }

    /// Its number.
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// Maps a page that the guest has granted.
    pub fn map(&self, grant: GrantRef, access: Access) -> Result<PeerMapping, GrantStatus> {
        let page = self.acquire(grant, access)?;
        Ok(PeerMapping { grant, access, page })
    }

    /// Unmaps it.
    pub fn unmap(&self, mapping: PeerMapping) {
        self.release(mapping.grant, mapping.access);
    }

    /// Copies bytes out of a page that the guest has granted.
    pub fn copy_from(
        &self,
        grant: GrantRef,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), GrantStatus> {
        self.acquire(grant, Access::ReadOnly)?.read(offset, to);
        self.release(grant, Access::ReadOnly);
        Ok(())
    }

    /// Copies bytes into a page that the guest has granted.
    pub fn copy_to(&self, grant: GrantRef, offset: usize, from: &[u8]) -> Result<(), GrantStatus> {
        self.acquire(grant, Access::ReadWrite)?.write(offset, from);
        self.release(grant, Access::ReadWrite);
        Ok(())
    }

    fn acquire(&self, grant: GrantRef, access: Access) -> Result<SharedPage, GrantStatus> {
        let mut world = self.xen.0.lock();
        let world = &mut *world;
        let readonly = access == Access::ReadOnly;
        world.grants.acquire(&world.memory, grant.0, self.domid, readonly)
    }

    fn release(&self, grant: GrantRef, access: Access) {
        self.xen.0.lock().grants.release(grant.0, access == Access::ReadOnly);
    }

    /// Lets the guest use a new page of the peer's.
    pub fn share(&self, access: Access) -> PeerPage {
        let page = super::memory::new_page();
        let readonly = access == Access::ReadOnly;
        let grant = self.xen.0.lock().foreign.share(self.domid, page.peer(), readonly);
        PeerPage { grant, page }
    }

    /// Ends a grant for the guest; how many uses of it go on.
    pub fn revoke(&self, grant: GrantRef) -> u32 {
        self.xen.0.lock().foreign.revoke(self.domid, grant)
    }

    /// How many uses of a grant the guest has now.
    pub fn users(&self, grant: GrantRef) -> u32 {
        self.xen.0.lock().foreign.users(self.domid, grant)
    }

    /// Has the guest's next `times` uses of a grant end with `status`.
    pub fn refuse(&self, grant: GrantRef, status: GrantStatus, times: u32) {
        self.xen.0.lock().foreign.refuse(self.domid, grant, status, times);
    }

    /// Opens a port for the guest to connect to.
    pub fn alloc_unbound(&self) -> EvtchnPort {
        self.xen.0.lock().events.peer_alloc_unbound(self.domid)
    }

    /// Connects to a port that the guest has opened for this peer; the peer's own port.
    pub fn bind(&self, guest: EvtchnPort) -> Result<EvtchnPort, Errno> {
        self.xen.0.lock().events.peer_bind(self.domid, guest)
    }

    /// Sends an event through a port of the peer's. No one hears it if the guest is not connected.
    pub fn notify(&self, port: EvtchnPort) {
        let world = self.xen.0.lock();
        if let Some(guest) = world.events.peer_target(self.domid, port) {
            events::set_pending(&world.memory.shared_info, guest);
        }
    }

    /// Takes the events that came through a port of the peer's; how many the guest has sent.
    pub fn take_events(&self, port: EvtchnPort) -> u64 {
        self.xen.0.lock().events.peer_take(self.domid, port)
    }

    /// Closes a port of the peer's; the guest's end waits for a new connection.
    pub fn close(&self, port: EvtchnPort) {
        self.xen.0.lock().events.peer_close(self.domid, port);
    }
}
