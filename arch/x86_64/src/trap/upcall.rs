//! The upcall: the interrupt that ends a sleep. Its handler acknowledges and returns, nothing more.
//!
//! Interrupts are on only between the `sti` and the `cli` of [`wait_for_upcall`], so the handler
//! interrupts no other code. It touches one byte: the hypervisor's "events are pending" flag, which
//! would raise the interrupt again as long as it is set.
//!
//! ```text
//!   flag clear? ─▶ sti ─┬─▶ hlt ─▶ cli ─▶ whoever called looks for events
//!                       │    ▲      ▲
//!    upcall in the gap ─┘    └──────┘ the handler returns behind the hlt
//! ```
//!
//! `sti` takes effect one instruction late, so on a real CPU an upcall never comes between it and
//! the `hlt` (Intel SDM volume 2, STI). An emulated hypervisor may lose that delay when it leaves
//! the guest there: the handler would then clear the flag and the CPU would sleep with the event
//! unseen. So the handler does not depend on the delay: what it interrupts at the `hlt` goes on
//! behind it.

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
    "cmpq $trap_wait_hlt, 8(%rsp)",
    "jne 1f",
    // The length of `hlt`.
    "incq 8(%rsp)",
    "1:",
    "popq %rax",
    "iretq",
    ".balign 16",
    "trap_wait_for_upcall:",
    "sti",
    "trap_wait_hlt:",
    "hlt",
    "cli",
    "ret",
    ".popsection",
    flag = sym FLAG,
    options(att_syntax),
);

unsafe extern "C" {
    fn trap_stub_upcall();
    fn trap_wait_for_upcall();
}

/// Sleeps until the upcall comes. Interrupts are off before and after.
pub(crate) fn wait_for_upcall() {
    // SAFETY: keeps all registers; the only interrupt that can come is the upcall, whose handler
    // saves what it uses.
    unsafe { trap_wait_for_upcall() };
}

/// Says which flag the handler clears. Called before the first sleep.
pub fn acknowledge_at(flag: &'static AtomicU8) {
    FLAG.store(flag.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
}

/// Address of the handler.
pub(crate) fn upcall_stub() -> VirtAddr {
    addr_of(trap_stub_upcall as *const ())
}
