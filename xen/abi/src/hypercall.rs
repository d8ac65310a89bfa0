//! Numbers of the hypercalls (Xen: xen.h, __HYPERVISOR_*).

/// A hypercall's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
#[non_exhaustive]
pub enum Number {
    /// Memory map, physmap, reservations.
    MemoryOp = xen_sys::__HYPERVISOR_memory_op as u64,
    /// Version and features.
    XenVersion = xen_sys::__HYPERVISOR_xen_version as u64,
    /// The hypervisor's console.
    ConsoleIo = xen_sys::__HYPERVISOR_console_io as u64,
    /// Grant table.
    GrantTableOp = xen_sys::__HYPERVISOR_grant_table_op as u64,
    /// Virtual CPUs and their timers.
    VcpuOp = xen_sys::__HYPERVISOR_vcpu_op as u64,
    /// Block, poll, shut down.
    SchedOp = xen_sys::__HYPERVISOR_sched_op as u64,
    /// Event channels.
    EventChannelOp = xen_sys::__HYPERVISOR_event_channel_op as u64,
    /// Parameters of an HVM or PVH domain.
    HvmOp = xen_sys::__HYPERVISOR_hvm_op as u64,
}

/// `xen_version` commands (Xen: version.h).
pub mod version_op {
    /// Gives major << 16 | minor.
    pub const VERSION: u64 = 0;
    /// Writes 16 bytes of text, such as ".4".
    pub const EXTRA_VERSION: u64 = 1;
    /// Feature words.
    pub const GET_FEATURES: u64 = 6;
}

/// `console_io` command that writes (count, address).
pub const CONSOLE_IO_WRITE: u64 = xen_sys::CONSOLEIO_write as u64;
