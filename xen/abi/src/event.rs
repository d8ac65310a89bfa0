//! Event channels: ports and the operations of `event_channel_op` (Xen: event_channel.h).

use core::fmt;

/// A local port: this domain's end of an event channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct EvtchnPort(pub u32);

impl fmt::Display for EvtchnPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}

/// `event_channel_op` commands.
pub mod op {
    /// Frees a port.
    pub const CLOSE: u64 = xen_sys::EVTCHNOP_close as u64;
    /// Sends an event.
    pub const SEND: u64 = xen_sys::EVTCHNOP_send as u64;
    /// Lets events through again.
    pub const UNMASK: u64 = xen_sys::EVTCHNOP_unmask as u64;
    /// Binds a virtual interrupt.
    pub const BIND_VIRQ: u64 = xen_sys::EVTCHNOP_bind_virq as u64;
}

/// Argument of `SEND`.
pub use xen_sys::evtchn_send as EvtchnSend;
