//! The stubs that the IDT points at, and the way from there to the reporter.

use super::{Cause, STACK_SMASH_VECTOR, Trap, TrapFrame};
use crate::addr::VirtAddr;
use crate::{idle, paging};
use core::arch::{global_asm, naked_asm};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use x86_64::registers::control::Cr2;

/// What reports a trap and ends the domain.
pub type Reporter = fn(&Trap<'_>) -> !;

/// The reporter, as a pointer; null until one is set.
static REPORTER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Traps that have happened.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Says who reports traps from now on.
pub fn set_reporter(reporter: Reporter) {
    REPORTER.store(reporter as *mut (), Ordering::Relaxed);
}

// One stub of 16 bytes for each of the 32 exceptions. The CPU pushes an error code for some; for
// the others the stub pushes zero, so that all frames have one shape. Bits of the mask: vectors 8,
// 10 to 14, 17, 21, 29 and 30 (Intel SDM volume 3, table 6-1; AMD APM volume 2, 8.2).
global_asm!(
    ".pushsection .text.trap, \"ax\", @progbits",
    ".balign 16",
    "trap_stubs:",
    ".set trap_vector, 0",
    ".rept 32",
    ".balign 16",
    ".if ((0x60227d00 >> trap_vector) & 1) == 0",
    "pushq $0",
    ".endif",
    "pushq $trap_vector",
    "jmp trap_common",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    "trap_stub_stack_smash:",
    "pushq $0",
    "pushq ${smash}",
    "trap_common:",
    "pushq %rax",
    "pushq %rbx",
    "pushq %rcx",
    "pushq %rdx",
    "pushq %rsi",
    "pushq %rdi",
    "pushq %rbp",
    "pushq %r8",
    "pushq %r9",
    "pushq %r10",
    "pushq %r11",
    "pushq %r12",
    "pushq %r13",
    "pushq %r14",
    "pushq %r15",
    "cld",
    "movq %rsp, %rdi",
    // 22 words were pushed on a 16-byte aligned stack, so it is aligned for the call.
    "xorl %ebp, %ebp",
    "call {dispatch}",
    "ud2",
    ".popsection",
    smash = const STACK_SMASH_VECTOR,
    dispatch = sym dispatch,
    options(att_syntax),
);

unsafe extern "C" {
    fn trap_stubs();
    fn trap_stub_stack_smash();
}

/// Address of the stub for `vector`: one of the 32 exceptions or [`STACK_SMASH_VECTOR`].
pub fn stub(vector: u8) -> VirtAddr {
    if vector == STACK_SMASH_VECTOR {
        return addr_of(trap_stub_stack_smash as *const ());
    }
    addr_of((trap_stubs as *const u8).wrapping_add(16 * usize::from(vector & 31)).cast())
}

/// The address of a thing in the image, which lies in the lower half.
pub(crate) fn addr_of(thing: *const ()) -> VirtAddr {
    VirtAddr::new_truncate(thing.expose_provenance() as u64)
}

/// Called by the stubs.
extern "C" fn dispatch(frame: &TrapFrame) -> ! {
    let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
    let cr2 = Cr2::read_raw();
    let found = paging::kernel::look_up(cr2);
    let cause = Cause::of(frame.vector, frame.error_code, cr2, found);
    let reporter = REPORTER.load(Ordering::Relaxed);
    if reporter.is_null() || depth > 3 {
        idle::halt_forever();
    }
    // SAFETY: not null, so it was stored by `set_reporter` from a pointer of this very type.
    let reporter: Reporter = unsafe { core::mem::transmute::<*mut (), Reporter>(reporter) };
    reporter(&Trap { frame, cause, depth })
}

/// Called by a function that finds its canary damaged. The stack above is not to be trusted, so the
/// report runs on another one.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail() -> ! {
    naked_asm!("int {vector}", "ud2", vector = const STACK_SMASH_VECTOR)
}
