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

use crate::console::print_crash;
use crate::heap;
use arch::trap::{Registers, Trap, backtrace, backtrace_from};
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
        print_crash(format_args!("\nxenios: crash: {}\n", trap.cause));
        print_crash(format_args!("{}", Registers(frame)));
        if Registers(frame).any(|value| value == POISON_WORD) {
            print_crash(format_args!("a register holds the poison of freed heap memory\n"));
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
        print_crash(format_args!("\nxenios: crash: {fault}\n"));
        frames(backtrace());
    }
    end()
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    if begin() {
        match out_of_memory(info) {
            Some(failure) => {
                print_crash(format_args!("\nxenios: crash: {failure}\n"));
            }
            None => {
                print_crash(format_args!("\nxenios: crash: {info}\n"));
            }
        }
        frames(backtrace());
    }
    end()
}

/// What was asked and what is left, if the panic is that of an allocation that failed: the standard
/// library's handler says so in a message that begins like this.
fn out_of_memory(info: &PanicInfo<'_>) -> Option<heap::OutOfMemory> {
    let (mut rest, mut matches) = ("memory allocation of ", true);
    let message = info.message();
    arch::text::format(format_args!("{message}"), &mut |piece| {
        let len = piece.len().min(rest.len());
        matches &= piece.as_bytes()[..len] == rest.as_bytes()[..len];
        rest = rest.get(len..).unwrap_or("");
    });
    if matches && rest.is_empty() { heap::out_of_memory() } else { None }
}

/// Whether this is the first report. A second one says where the first went wrong, a third nothing.
fn begin() -> bool {
    match REPORTS.fetch_add(1, Ordering::Relaxed) {
        0 => true,
        1 => {
            print_crash(format_args!("\nxenios: crash: another one while reporting:\n"));
            true
        }
        _ => false,
    }
}

/// Prints return addresses in the form that `cargo xenios` looks for and turns into names.
fn frames(addresses: impl Iterator<Item = u64>) {
    print_crash(format_args!("backtrace:\n"));
    for (i, addr) in addresses.enumerate() {
        print_crash(format_args!("  #{i} {addr:#018x}\n"));
    }
}

fn end() -> ! {
    crate::start::end(ShutdownReason::Crash)
}
