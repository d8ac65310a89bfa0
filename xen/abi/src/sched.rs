//! `sched_op`: waiting and ending (Xen: sched.h).

/// `sched_op` commands.
pub mod op {
    /// Gives the CPU away for a moment.
    pub const YIELD: u64 = xen_sys::SCHEDOP_yield as u64;
    /// Sleeps until an event that can be delivered.
    pub const BLOCK: u64 = xen_sys::SCHEDOP_block as u64;
    /// Ends the domain; takes a pointer to the reason.
    pub const SHUTDOWN: u64 = xen_sys::SCHEDOP_shutdown as u64;
    /// Sleeps until a port is pending or a time has come.
    pub const POLL: u64 = xen_sys::SCHEDOP_poll as u64;
}

/// Why a domain ends; decides what the toolstack does with it (`on_poweroff=` and so on).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ShutdownReason {
    /// Done.
    Poweroff = xen_sys::SHUTDOWN_poweroff,
    /// To be started again.
    Reboot = xen_sys::SHUTDOWN_reboot,
    /// Ready to be saved.
    Suspend = xen_sys::SHUTDOWN_suspend,
    /// Something went wrong.
    Crash = xen_sys::SHUTDOWN_crash,
}

/// Ports that one poll takes at the most.
pub const POLL_PORTS_MAX: usize = 128;

/// Argument of `POLL`: ports by address and number, a deadline in system time (0: none).
pub use xen_sys::sched_poll as SchedPoll;

const _: () = assert!(size_of::<SchedPoll>() == 24);
