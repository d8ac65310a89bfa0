//! A hypervisor that is a data structure: [`FakeXen`], for tests on the host.
//!
//! It does what Xen does, by Xen's headers and what Xen refuses; it knows nothing of how this crate
//! uses it. Pages are the host's ([`SharedPage::allocate`]); what Xen puts into the guest's address
//! space is found at its guest frame number.
//!
//! ```text
//!   guest code ── Hypervisor ──▶ FakeXen ◀── Peer: another domain, well-behaved or not
//!                                 ├ memory   what lies at each guest frame
//!                                 ├ events   ports; pending bits in the shared info page
//!                                 ├ grants   the guest's table, in its own pages
//!                                 └ foreign  the peers' grants, and what is mapped of them
//! ```
//!
//! Every call is recorded ([`FakeXen::take_calls`]); any can be made to fail ([`FakeXen::fail`]).
//! Mistakes that would cost a guest its memory, such as a page of Xen's on top of RAM, panic.

mod call;
mod events;
mod foreign;
mod grants;
mod memory;
mod peer;
pub mod store;
pub mod tasks;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use peer::{Peer, PeerMapping, PeerPage};

use crate::hypercall::Resumed;
use crate::page::SharedPage;
use alloc::sync::Arc;
use alloc::vec::Vec;
use call::Failure;
use core::sync::atomic::Ordering;
use spin::Mutex;
use xen_abi::event::Virq;
use xen_abi::hvm::Param;
use xen_abi::memory::MemoryMapEntry;
use xen_abi::sched::ShutdownReason;
use xen_abi::shared_info::VCPU_TIME;
use xen_abi::{DomId, Errno};

/// The number of the domain that the guest is, until [`FakeXen::set_domid`].
pub const GUEST: DomId = DomId(7);

/// A hypervisor with one guest, and peers as they are asked for. A handle: copies name the same
/// one.
#[derive(Clone)]
pub struct FakeXen(Arc<Mutex<World>>);

/// All that there is.
struct World {
    domid: DomId,
    calls: Vec<Call>,
    failures: Vec<Failure>,
    params: Vec<(Param, u64)>,
    now_ns: u64,
    timer_ns: Option<u64>,
    next_resume: Resumed,
    shutdown: Option<ShutdownReason>,
    memory: memory::Memory,
    events: events::Events,
    grants: grants::GrantTable,
    foreign: foreign::Foreign,
}

impl Default for FakeXen {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeXen {
    /// A fresh domain: 64 GiB of RAM, a grant table of version 1 with one frame of at most 64, no
    /// ports.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(World {
            domid: GUEST,
            calls: Vec::new(),
            failures: Vec::new(),
            params: Vec::new(),
            now_ns: 0,
            timer_ns: None,
            next_resume: Resumed::InNewDomain,
            shutdown: None,
            memory: memory::Memory::new(),
            events: events::Events::default(),
            grants: grants::GrantTable::new(64),
            foreign: foreign::Foreign::default(),
        })))
    }

    /// The map of the guest's memory. The window above it is this domain's own: pages are found by
    /// their frame numbers in the whole process, and tests run side by side.
    pub fn memory_map(&self) -> Vec<MemoryMapEntry> {
        self.0.lock().memory.map()
    }

    /// Another domain. Any number of handles for one domain see the same.
    pub fn peer(&self, domid: DomId) -> Peer {
        Peer::new(self.clone(), domid)
    }

    /// Makes the guest another domain than [`GUEST`].
    pub fn set_domid(&self, domid: DomId) {
        self.0.lock().domid = domid;
    }

    /// Has the `nth` of the coming calls that `which` picks fail, counted from 1.
    pub fn fail(&self, nth: u32, errno: Errno, which: fn(&Call) -> bool) {
        self.0.lock().failures.push(Failure { which, nth, errno });
    }

    /// The calls since this was asked last.
    pub fn take_calls(&self) -> Vec<Call> {
        core::mem::take(&mut self.0.lock().calls)
    }

    /// The reason that the guest has shut down with.
    pub fn shutdown_reason(&self) -> Option<ShutdownReason> {
        self.0.lock().shutdown
    }

    /// Sets a parameter as the toolstack does.
    pub fn set_param(&self, param: Param, value: u64) {
        self.0.lock().set_param(param, value);
    }

    /// Says how the coming suspends end. Until then: in a new domain.
    pub fn set_resume(&self, resumed: Resumed) {
        self.0.lock().next_resume = resumed;
    }

    /// Lets the table have at most `frames`.
    pub fn set_grant_frames_limit(&self, frames: u32) {
        self.0.lock().grants.limit = frames;
    }

    /// Says whether the host lets domains have tables of version 2.
    pub fn set_grant_version_2(&self, allowed: bool) {
        self.0.lock().grants.version_2_allowed = allowed;
    }

    /// Fills a reserved entry of the grant table as the domain builder does.
    pub fn set_reserved_grant(&self, index: u32, domid: DomId, gfn: u64) {
        self.0.lock().grants.set_entry(index, domid, gfn, false);
    }

    /// The flags of an entry of the guest's table: version 2's status bits among them.
    pub fn grant_flags(&self, index: u32) -> u16 {
        self.0.lock().grants.all_flags(index)
    }

    /// How many foreign pages the guest has mapped.
    pub fn foreign_mapped(&self) -> usize {
        self.0.lock().foreign.mapped()
    }

    /// Has the next `count` unmappings of the guest's fail, and leaves the pages mapped.
    pub fn refuse_unmaps(&self, count: u32) {
        self.0.lock().foreign.refuse_unmaps = count;
    }

    /// System time.
    pub fn now_ns(&self) -> u64 {
        self.0.lock().now_ns
    }

    /// Lets time pass; a timer that becomes due raises its event.
    pub fn advance(&self, ns: u64) {
        let mut world = self.0.lock();
        let now_ns = world.now_ns + ns;
        world.advance_to(now_ns);
    }

    /// Raises a virtual interrupt, if the guest has bound it.
    pub fn raise_virq(&self, virq: Virq) {
        self.0.lock().raise_virq(virq);
    }

    /// The shared info page as Xen sees it.
    pub fn shared_info(&self) -> SharedPage {
        self.0.lock().memory.shared_info.peer()
    }

    /// Records a call. An error if it is to fail.
    fn enter(&self, call: Call) -> Result<spin::MutexGuard<'_, World>, Errno> {
        let mut world = self.0.lock();
        world.calls.push(call.clone());
        let mut failed = None;
        world.failures.retain_mut(|failure| {
            if (failure.which)(&call) {
                failure.nth -= 1;
                if failure.nth == 0 {
                    failed = Some(failure.errno);
                }
            }
            failure.nth > 0
        });
        failed.map_or(Ok(world), Err)
    }
}

impl World {
    fn set_param(&mut self, param: Param, value: u64) {
        self.params.retain(|(known, _)| *known != param);
        self.params.push((param, value));
    }

    fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.write_time();
        if self.timer_ns.is_some_and(|due_ns| due_ns <= self.now_ns) {
            self.timer_ns = None;
            self.raise_virq(Virq::Timer);
        }
    }

    /// Shows the time as a snapshot that no ticks are added to (Xen: xen.h, vcpu_time_info).
    fn write_time(&self) {
        let page = &self.memory.shared_info;
        let version = page.u32_at(VCPU_TIME);
        version.fetch_add(1, Ordering::SeqCst);
        page.u64_at(VCPU_TIME + 16).store(self.now_ns, Ordering::SeqCst);
        page.u32_at(VCPU_TIME + 24).store(0, Ordering::SeqCst);
        version.fetch_add(1, Ordering::SeqCst);
    }

    fn raise_virq(&mut self, virq: Virq) {
        if let Some(port) = self.events.port_of(virq) {
            events::set_pending(&self.memory.shared_info, port);
        }
    }

    /// Sleeps: until a port is pending, the deadline, or the timer.
    fn sleep(&mut self, ports: &[xen_abi::event::EvtchnPort], deadline_ns: Option<u64>) {
        let page = &self.memory.shared_info;
        if ports.iter().any(|port| events::is_pending(page, *port)) {
            return;
        }
        let until_ns = match (deadline_ns, self.timer_ns) {
            (Some(deadline_ns), Some(timer_ns)) => deadline_ns.min(timer_ns),
            (Some(until_ns), None) | (None, Some(until_ns)) => until_ns,
            (None, None) => return,
        };
        self.advance_to(until_ns);
    }

    /// Another domain takes this one's place: its memory is the same, nothing else is.
    fn become_new_domain(&mut self) {
        self.memory.forget_physmap();
        self.events = events::Events::default();
        self.grants = self.grants.of_new_domain();
        self.foreign.forget_mapped();
        self.timer_ns = None;
        self.write_time();
    }
}
