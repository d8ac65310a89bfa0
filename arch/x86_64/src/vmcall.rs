//! The instruction that leaves for the hypervisor: `vmcall` on Intel, `vmmcall` on AMD.
//!
//! The wrong one raises an invalid opcode, so the choice is made once, from the CPU's vendor string
//! (CPUID leaf 0). There is no hypercall page: a page that the hypervisor fills and we execute
//! would be a hole in W^X, and XSA-466 advises against it.
//!
//! Register contract (Xen: arch-x86/xen-x86_64.h): number in rax; arguments in rdi, rsi, rdx, r10,
//! r8; result in rax; argument registers are lost, all others and the flags' meaning kept.

use crate::cpu::Leaves;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// True when the CPU wants `vmmcall`. Set by [`select`], read by every call.
static USE_VMMCALL: AtomicBool = AtomicBool::new(false);

/// Chooses the instruction by the CPU's vendor. Called once, before the first [`call5`].
pub fn select(leaves: &Leaves) {
    USE_VMMCALL.store(leaves.vendor_is_amd_like(), Ordering::Relaxed);
}

/// Leaves for the hypervisor with a number and five arguments; gives what it put in rax.
///
/// # Safety
/// A hypervisor with the register contract above is present, [`select`] has run, and the call's
/// effect on memory (as its number and arguments say) breaks no Rust object that is in use.
#[inline]
pub unsafe fn call5(number: u64, args: [u64; 5]) -> i64 {
    let [a1, a2, a3, a4, a5] = args;
    let result: i64;
    if USE_VMMCALL.load(Ordering::Relaxed) {
        // SAFETY: the caller vouches for the call; the clobbers are those of the contract. The asm
        // is not `nomem`, so memory is taken to be read and written.
        unsafe {
            asm!(
                "vmmcall",
                inlateout("rax") number => result,
                inlateout("rdi") a1 => _, inlateout("rsi") a2 => _, inlateout("rdx") a3 => _,
                inlateout("r10") a4 => _, inlateout("r8") a5 => _,
                options(nostack),
            );
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!(
                "vmcall",
                inlateout("rax") number => result,
                inlateout("rdi") a1 => _, inlateout("rsi") a2 => _, inlateout("rdx") a3 => _,
                inlateout("r10") a4 => _, inlateout("r8") a5 => _,
                options(nostack),
            );
        }
    }
    result
}
