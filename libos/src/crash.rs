//! The end that no one wants: a fault, a panic, a damaged heap. Told in words, with registers and
//! the way there, then `SHUTDOWN_crash`.
//!
//! ```text
//!   panic ─────────────┐
//!   trap (arch) ───────┼─▶ report ─▶ console and Xen's log ─▶ wait for the console ─▶ crash
//!   heap fault (heap) ─┘                                        at most a second
//! ```
//!
//! A report that itself goes wrong comes here again and then says less.

use crate::console::CrashWriter;
use crate::heap;
use arch::trap::{Registers, Trap, backtrace, backtrace_from};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};
use xen_abi::sched::ShutdownReason;

/// A word of freed heap memory.
const POISON_WORD: u64 = u64::from_ne_bytes([heap::POISON; 8]);

/// Reports begun so far.
static REPORTS: AtomicU32 = AtomicU32::new(0);

/// From now on traps and heap faults are reported here.
pub(crate) fn install() {
    arch::trap::set_reporter(on_trap);
    heap::set_fault_handler(on_heap_fault);
}

fn on_trap(trap: &Trap<'_>) -> ! {
    let frame = trap.frame;
    if begin() {
        let _ = writeln!(CrashWriter, "\nxenios: crash: {}", trap.cause);
        let _ = write!(CrashWriter, "{}", Registers(frame));
        if Registers(frame).any(|value| value == POISON_WORD) {
            let _ = writeln!(CrashWriter, "a register holds the poison of freed heap memory");
        }
        if trap.cause == arch::trap::Cause::StackSmashed {
            // The trap was raised by a call: its return address says which function it was.
            let smashed = backtrace_from(frame.rsp.wrapping_sub(8)).next();
            frames(smashed.into_iter().chain(backtrace_from(frame.rbp)));
        } else {
            frames(core::iter::once(frame.rip).chain(backtrace_from(frame.rbp)));
        }
    }
    end()
}

fn on_heap_fault(fault: &heap::HeapFault) -> ! {
    if begin() {
        let _ = writeln!(CrashWriter, "\nxenios: crash: {fault}");
        frames(backtrace());
    }
    end()
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    if begin() {
        match out_of_memory(info) {
            Some(failure) => {
                let _ = writeln!(CrashWriter, "\nxenios: crash: {failure}");
            }
            None => {
                let _ = writeln!(CrashWriter, "\nxenios: crash: {info}");
            }
        }
        frames(backtrace());
    }
    end()
}

/// What was asked and what is left, if the panic is that of an allocation that failed: the standard
/// library's handler says so in a message that begins like this.
fn out_of_memory(info: &PanicInfo<'_>) -> Option<heap::OutOfMemory> {
    let mut prefix = Prefix { rest: "memory allocation of ", matches: true };
    // Writing to a `Prefix` cannot fail.
    let _ = write!(prefix, "{}", info.message());
    if prefix.matches && prefix.rest.is_empty() { heap::out_of_memory() } else { None }
}

/// Compares what is written with the beginning of a text.
struct Prefix {
    rest: &'static str,
    matches: bool,
}

impl Write for Prefix {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let len = text.len().min(self.rest.len());
        self.matches &= text.as_bytes()[..len] == self.rest.as_bytes()[..len];
        self.rest = self.rest.get(len..).unwrap_or("");
        Ok(())
    }
}

/// Whether this is the first report. A second one says where the first went wrong, a third nothing.
fn begin() -> bool {
    match REPORTS.fetch_add(1, Ordering::Relaxed) {
        0 => true,
        1 => {
            let _ = writeln!(CrashWriter, "\nxenios: crash: another one while reporting:");
            true
        }
        _ => false,
    }
}

/// Prints return addresses in the form that `cargo xenios` looks for and turns into names.
fn frames(addresses: impl Iterator<Item = u64>) {
    let _ = writeln!(CrashWriter, "backtrace:");
    for (i, addr) in addresses.enumerate() {
        let _ = writeln!(CrashWriter, "  #{i} {addr:#018x}");
    }
}

fn end() -> ! {
    crate::start::end(ShutdownReason::Crash)
}
