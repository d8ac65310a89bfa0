//! The upcall: the interrupt that ends a sleep. Its handler acknowledges and returns, nothing more.
//!
//! Interrupts are on only between the `sti` and the `cli` of [`crate::idle::sleep`], so the handler
//! interrupts no other code, and touches one byte: the hypervisor's "events are pending" flag,
//! which would raise the interrupt again as long as it is set.

use super::entry::addr_of;
use crate::addr::VirtAddr;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Address of the flag that the handler clears.
static FLAG: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".pushsection .text.trap, \"ax\", @progbits",
    ".balign 16",
    "trap_stub_upcall:",
    "pushq %rax",
    "movq {flag}(%rip), %rax",
    "movb $0, (%rax)",
    "popq %rax",
    "iretq",
    ".popsection",
    flag = sym FLAG,
    options(att_syntax),
);

unsafe extern "C" {
    fn trap_stub_upcall();
}

/// Says which flag the handler clears. Called before the first sleep.
pub fn acknowledge_at(flag: &'static AtomicU8) {
    FLAG.store(flag.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
}

/// Address of the handler.
pub(crate) fn upcall_stub() -> VirtAddr {
    addr_of(trap_stub_upcall as *const ())
}
