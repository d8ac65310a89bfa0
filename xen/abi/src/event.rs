//! Event channels: ports, virtual interrupts, the operations of `event_channel_op`, and the layout
//! of the FIFO interface (Xen: event_channel.h).

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

/// A virtual interrupt that a guest may bind (Xen: xen.h, VIRQ_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u32)]
pub enum Virq {
    /// The one-shot timer of the vCPU.
    Timer = xen_sys::VIRQ_TIMER,
    /// Sent by `xl debug-keys` and the like.
    Debug = xen_sys::VIRQ_DEBUG,
}

/// How urgent a port's events are; the FIFO interface hands out lower numbers first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// The most urgent.
    pub const HIGHEST: Self = Self(xen_sys::EVTCHN_FIFO_PRIORITY_MAX as u8);
    /// What a port has until it is changed.
    pub const DEFAULT: Self = Self(xen_sys::EVTCHN_FIFO_PRIORITY_DEFAULT as u8);
    /// The least urgent.
    pub const LOWEST: Self = Self(xen_sys::EVTCHN_FIFO_PRIORITY_MIN as u8);
    /// Control: the timer, xenstore, the console. Before all bulk I/O.
    pub const CONTROL: Self = Self(2);
    /// Bulk I/O: network and disks.
    pub const BULK: Self = Self(10);

    /// The number, 0 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// `event_channel_op` commands.
pub mod op {
    /// Connects to a port that a peer has left open for us.
    pub const BIND_INTERDOMAIN: u64 = xen_sys::EVTCHNOP_bind_interdomain as u64;
    /// Binds a virtual interrupt.
    pub const BIND_VIRQ: u64 = xen_sys::EVTCHNOP_bind_virq as u64;
    /// Frees a port.
    pub const CLOSE: u64 = xen_sys::EVTCHNOP_close as u64;
    /// Sends an event.
    pub const SEND: u64 = xen_sys::EVTCHNOP_send as u64;
    /// Opens a port for a peer to connect to.
    pub const ALLOC_UNBOUND: u64 = xen_sys::EVTCHNOP_alloc_unbound as u64;
    /// Lets events through again; raises one that came meanwhile.
    pub const UNMASK: u64 = xen_sys::EVTCHNOP_unmask as u64;
    /// Switches to the FIFO interface.
    pub const INIT_CONTROL: u64 = xen_sys::EVTCHNOP_init_control as u64;
    /// Adds a page to the FIFO event array.
    pub const EXPAND_ARRAY: u64 = xen_sys::EVTCHNOP_expand_array as u64;
    /// Sets a port's priority (FIFO).
    pub const SET_PRIORITY: u64 = xen_sys::EVTCHNOP_set_priority as u64;
}

/// Arguments of the commands.
pub use xen_sys::{
    evtchn_alloc_unbound as AllocUnbound, evtchn_bind_interdomain as BindInterdomain,
    evtchn_bind_virq as BindVirq, evtchn_close as EvtchnClose, evtchn_expand_array as ExpandArray,
    evtchn_init_control as InitControl, evtchn_send as EvtchnSend,
    evtchn_set_priority as SetPriority, evtchn_unmask as EvtchnUnmask,
};

const _: () = assert!(size_of::<AllocUnbound>() == 8 && size_of::<BindInterdomain>() == 12);
const _: () = assert!(size_of::<BindVirq>() == 12 && size_of::<InitControl>() == 24);

/// The FIFO interface: one word an event, linked into a queue for each priority.
pub mod fifo {
    /// Words (events) in one page of the event array.
    pub const WORDS_PER_PAGE: u32 = 1024;
    /// Ports that the interface has.
    pub const PORTS: u32 = xen_sys::EVTCHN_FIFO_NR_CHANNELS;
    /// Queues, one a priority.
    pub const QUEUES: usize = xen_sys::EVTCHN_FIFO_MAX_QUEUES as usize;
    /// The event has happened.
    pub const PENDING: u32 = 1 << xen_sys::EVTCHN_FIFO_PENDING;
    /// The event is not to be delivered.
    pub const MASKED: u32 = 1 << xen_sys::EVTCHN_FIFO_MASKED;
    /// The event is on a queue.
    pub const LINKED: u32 = 1 << xen_sys::EVTCHN_FIFO_LINKED;
    /// Xen is changing the word.
    pub const BUSY: u32 = 1 << xen_sys::EVTCHN_FIFO_BUSY;
    /// Port of the next event on the queue; 0 ends it.
    pub const LINK_MASK: u32 = xen_sys::EVTCHN_FIFO_LINK_MASK;
    /// Offset in the control block: u32, a bit for each queue that has events.
    pub const READY: usize = core::mem::offset_of!(xen_sys::evtchn_fifo_control_block, ready);
    /// Offset in the control block: u32 for each queue, the port of its first event.
    pub const HEAD: usize = core::mem::offset_of!(xen_sys::evtchn_fifo_control_block, head);

    const _: () = assert!(READY == 0 && HEAD == 8);
}
