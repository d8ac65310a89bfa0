//! The stack canary of the running kernel.
//!
//! `boot` sets the first one before any protected function runs (start.S). It can be replaced only
//! where no function that will return has stored it in its frame.

/// Makes a canary of a random word: the low byte is zero, so that a string that overflows stops
/// there.
pub const fn of_word(word: u64) -> u64 {
    word & !0xff
}

/// Replaces the canary. Inlined: the function that calls it must never return, and none of its
/// callers either. One that did would find its frame's canary damaged, and end the domain.
#[cfg(xenios_kernel)]
#[inline(always)]
pub fn replace(canary: u64) {
    // SAFETY: boot has set up fs with a block of at least 0x30 bytes (start.S: boot_thread_block),
    // whose word at 0x28 is the canary and nothing else.
    unsafe { core::arch::asm!("mov fs:[0x28], {}", in(reg) canary, options(nostack)) };
}
