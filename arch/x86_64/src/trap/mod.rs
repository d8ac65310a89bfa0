//! Exceptions: none is survived, each is told in words.
//!
//! ```text
//!   fault ──▶ stub (on its IST stack) ──▶ TrapFrame ──▶ Cause ──▶ reporter ──▶ SHUTDOWN_crash
//!   canary damaged ──▶ __stack_chk_fail: int 0x29 ──▶ the same
//! ```
//!
//! The reporter is the runtime's; until it is set, `boot`'s is there. A fault inside the reporter
//! comes back with a higher [`Trap::depth`], so that it can do less.

mod backtrace;
mod cause;
#[cfg(xenios_kernel)]
mod entry;
mod frame;
#[cfg(xenios_kernel)]
mod upcall;

pub use backtrace::{Backtrace, StackReader};
pub use cause::{Cause, PageFault};
pub use frame::{Registers, TrapFrame};

#[cfg(xenios_kernel)]
pub use backtrace::{backtrace, backtrace_from};
#[cfg(xenios_kernel)]
pub(crate) use entry::addr_of;
#[cfg(xenios_kernel)]
pub use entry::{Reporter, set_reporter, stub};
#[cfg(xenios_kernel)]
pub use upcall::acknowledge_at;
#[cfg(xenios_kernel)]
pub(crate) use upcall::{upcall_stub, wait_for_upcall};

/// The software interrupt that `__stack_chk_fail` raises.
pub const STACK_SMASH_VECTOR: u8 = 0x29;

/// The interrupt by which the hypervisor says that events are pending. It can come only while the
/// CPU sleeps: see [`crate::idle`].
pub const UPCALL_VECTOR: u8 = 0x20;

/// One exception, ready to be reported.
#[derive(Clone, Copy, Debug)]
pub struct Trap<'a> {
    /// The registers as they were.
    pub frame: &'a TrapFrame,
    /// Why, in words.
    pub cause: Cause,
    /// 1 for the first trap; more when the report itself trapped.
    pub depth: u32,
}
