//! Hypercalls as typed operations: the seam between this crate and the hypervisor.

#[cfg(xenios_kernel)]
#[allow(unsafe_code, reason = "leaves for the hypervisor")]
mod native;

#[cfg(xenios_kernel)]
pub use native::Native;

use xen_abi::Errno;
use xen_abi::event::EvtchnPort;
use xen_abi::hvm::Param;
use xen_abi::identity::XenVersion;
use xen_abi::sched::ShutdownReason;

/// What a guest asks of Xen. All calls are for the calling domain.
pub trait Hypervisor {
    /// Reads a parameter; 0 means that the toolstack gave none.
    fn hvm_param(&self, param: Param) -> Result<u64, Errno>;
    /// Puts a page of Xen's (`space`, `index`) at a guest frame. The frame must not hold RAM: that
    /// page would be lost for good.
    fn add_to_physmap(&self, space: u32, index: u64, gfn: u64) -> Result<(), Errno>;
    /// Sends an event.
    fn send(&self, port: EvtchnPort) -> Result<(), Errno>;
    /// Sleeps until one of `ports` is pending or system time `deadline_ns` has come. At most
    /// [`xen_abi::sched::POLL_PORTS_MAX`] ports.
    fn poll(&self, ports: &[EvtchnPort], deadline_ns: Option<u64>) -> Result<(), Errno>;
    /// Ends the domain. Comes back only with an error.
    fn shutdown(&self, reason: ShutdownReason) -> Errno;
    /// Xen's version, as told by hypercall.
    fn version(&self) -> Result<XenVersion, Errno>;
    /// What follows the version, such as ".4": NUL-padded text.
    fn extra_version(&self) -> Result<[u8; 16], Errno>;
}
