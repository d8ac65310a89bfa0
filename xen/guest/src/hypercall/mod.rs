//! Hypercalls as typed operations: the seam between this crate and the hypervisor.

#[cfg(xenios_kernel)]
#[allow(unsafe_code, reason = "leaves for the hypervisor")]
mod native;

#[cfg(xenios_kernel)]
pub use native::Native;

use xen_abi::event::{EvtchnPort, Priority, Virq};
use xen_abi::gnttab::{GrantCopy, MapGrant, UnmapGrant};
use xen_abi::hvm::Param;
use xen_abi::identity::XenVersion;
use xen_abi::sched::ShutdownReason;
use xen_abi::{DomId, Errno};

/// How a suspended domain came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resumed {
    /// In a new domain: event channels, grants and pages of Xen's are gone.
    InNewDomain,
    /// In the same one: the suspend was cancelled, or was a checkpoint. All is as it was.
    InSameDomain,
}

/// Frames of a grant table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrantFrames {
    /// Frames it has.
    pub current: u32,
    /// Frames it may have.
    pub limit: u32,
}

/// Pieces of RAM of one size, by the guest frame number that each begins with.
#[derive(Clone, Copy, Debug)]
pub struct Extents<'a> {
    /// First frames, multiples of the size.
    pub gfns: &'a [u64],
    /// log2 of the pages in each.
    pub order: u32,
}

/// What a guest asks of Xen. All calls are for the calling domain.
///
/// Implementations are handles: copies name the same hypervisor.
pub trait Hypervisor: Clone + Send + Sync + 'static {
    /// Reads a parameter; 0 means that the toolstack gave none.
    fn hvm_param(&self, param: Param) -> Result<u64, Errno>;
    /// Writes one.
    fn set_hvm_param(&self, param: Param, value: u64) -> Result<(), Errno>;
    /// Xen's version, as told by hypercall.
    fn version(&self) -> Result<XenVersion, Errno>;
    /// What follows the version, such as ".4": NUL-padded text.
    fn extra_version(&self) -> Result<[u8; 16], Errno>;

    /// Puts a page of Xen's (`space`, `index`) at a guest frame. The frame must not hold RAM: that
    /// page would be lost for good.
    fn add_to_physmap(&self, space: u32, index: u64, gfn: u64) -> Result<(), Errno>;
    /// Gives the RAM at `extents` back to Xen; how many were taken, counted from the first. The
    /// frames must not be used any more.
    fn decrease_reservation(&self, extents: Extents<'_>) -> Result<usize, Errno>;
    /// Has Xen put zeroed RAM at `extents`, which hold none; how many were filled, counted from the
    /// first.
    fn populate_physmap(&self, extents: Extents<'_>) -> Result<usize, Errno>;
    /// Pages that the domain has.
    fn current_reservation(&self) -> Result<u64, Errno>;
    /// Pages that it may have.
    fn maximum_reservation(&self) -> Result<u64, Errno>;

    /// Sends an event.
    fn send(&self, port: EvtchnPort) -> Result<(), Errno>;
    /// Binds a virtual interrupt of vCPU 0.
    fn bind_virq(&self, virq: Virq) -> Result<EvtchnPort, Errno>;
    /// Opens a port that `remote` may connect to.
    fn alloc_unbound(&self, remote: DomId) -> Result<EvtchnPort, Errno>;
    /// Connects to the port that `remote` has opened for us.
    fn bind_interdomain(&self, remote: DomId, port: EvtchnPort) -> Result<EvtchnPort, Errno>;
    /// Frees a port.
    fn close(&self, port: EvtchnPort) -> Result<(), Errno>;
    /// Unmasks a port; an event that came while it was masked is raised again.
    fn unmask(&self, port: EvtchnPort) -> Result<(), Errno>;
    /// Switches vCPU 0 to the FIFO interface with its control block at the beginning of the page
    /// `gfn`.
    fn init_control(&self, gfn: u64) -> Result<(), Errno>;
    /// Adds the page `gfn` to the FIFO event array.
    fn expand_array(&self, gfn: u64) -> Result<(), Errno>;
    /// Sets a port's priority (FIFO).
    fn set_priority(&self, port: EvtchnPort, priority: Priority) -> Result<(), Errno>;

    /// Frames of the grant table.
    fn grant_frames(&self) -> Result<GrantFrames, Errno>;
    /// Version of the grant table, 1 or 2.
    fn grant_version(&self) -> Result<u32, Errno>;
    /// Changes it; possible while no entry but the reserved ones is in use.
    fn set_grant_version(&self, version: u32) -> Result<(), Errno>;
    /// Maps peers' frames; each element has its own status.
    fn grant_map(&self, batch: &mut [MapGrant]) -> Result<(), Errno>;
    /// Unmaps them; each element has its own status.
    fn grant_unmap(&self, batch: &mut [UnmapGrant]) -> Result<(), Errno>;
    /// Copies; each element has its own status. Own frames that are written to hold no Rust object
    /// in use.
    fn grant_copy(&self, batch: &mut [GrantCopy]) -> Result<(), Errno>;

    /// Sleeps until one of `ports` is pending or system time `deadline_ns` has come. At most
    /// [`xen_abi::sched::POLL_PORTS_MAX`] ports.
    fn poll(&self, ports: &[EvtchnPort], deadline_ns: Option<u64>) -> Result<(), Errno>;
    /// Arms the one-shot timer of vCPU 0 for a system time; one that has passed fires at once.
    fn set_timer(&self, deadline_ns: u64) -> Result<(), Errno>;
    /// Disarms it.
    fn stop_timer(&self) -> Result<(), Errno>;
    /// Whether the domain has a vCPU of this number, running or not.
    fn has_vcpu(&self, number: u32) -> bool;
    /// Suspends the domain; comes back when it is resumed.
    fn suspend(&self) -> Result<Resumed, Errno>;
    /// Ends the domain. Comes back only with an error.
    fn shutdown(&self, reason: ShutdownReason) -> Errno;
}
