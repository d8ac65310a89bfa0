//! Where we run: the hypervisor by CPUID, the early console, the way to end as crashed.

use crate::info::Hypervisor;
use arch::cpu::{self, Leaves};
use arch::early_console::EarlyConsole;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Mutex;
use xen_abi::hypercall::Number;
use xen_abi::identity::{FIRST_LEAF, LEAF_PLACES, LEAF_STEP, XEN_SIGNATURE, XenVersion};
use xen_abi::sched::{self, ShutdownReason};

/// Whether the hypervisor below is Xen.
static ON_XEN: AtomicBool = AtomicBool::new(false);
static EARLY_CONSOLE: Mutex<EarlyConsole> = Mutex::new(EarlyConsole::Absent);

/// Asks CPUID who is below us, and opens the early console that fits.
pub(crate) fn detect(leaves: &Leaves) -> Hypervisor {
    let hypervisor = hypervisor(leaves);
    ON_XEN.store(matches!(hypervisor, Hypervisor::Xen { .. }), Ordering::Relaxed);
    *EARLY_CONSOLE.lock() = match hypervisor {
        Hypervisor::Xen { .. } => EarlyConsole::on_xen(),
        // SAFETY: a PC's first serial port and debug port, which nothing else drives: we are the
        // only code on this machine.
        _ => unsafe { EarlyConsole::probe() },
    };
    hypervisor
}

/// Calls `write` with the early console, unless it is in use (by what has just crashed).
pub fn early_console(write: impl FnOnce(&mut EarlyConsole)) {
    if let Some(mut console) = EARLY_CONSOLE.try_lock() {
        write(&mut console);
    }
}

/// Ends the domain as crashed. On a machine that is not Xen, and if Xen refuses, the CPU stops.
pub fn crash_domain() -> ! {
    if ON_XEN.load(Ordering::Relaxed) {
        let reason = ShutdownReason::Crash as u32;
        let args = [sched::op::SHUTDOWN, (&raw const reason).expose_provenance() as u64, 0, 0, 0];
        // SAFETY: Xen is there and the instruction was chosen; the call reads `reason` and does not
        // come back.
        unsafe { arch::vmcall::call5(Number::SchedOp as u64, args) };
    }
    arch::idle::halt_forever()
}

fn hypervisor(leaves: &Leaves) -> Hypervisor {
    if !leaves.has_hypervisor() {
        return Hypervisor::None;
    }
    let mut first = None;
    for place in 0..LEAF_PLACES {
        let leaf = FIRST_LEAF + place * LEAF_STEP;
        let l = cpu::leaf(leaf, 0);
        let signature = cpu::vendor_bytes(l.ebx, l.ecx, l.edx);
        if signature == XEN_SIGNATURE {
            let version = XenVersion(cpu::leaf(leaf + 1, 0).eax);
            return Hypervisor::Xen { version, leaf };
        }
        // Without a hypervisor that knows the first place there is none at a later one.
        if place == 0 && l.eax < FIRST_LEAF {
            break;
        }
        first.get_or_insert(signature);
    }
    first.map_or(Hypervisor::None, Hypervisor::Other)
}
