//! Ways to stop the CPU: until something happens, or for good.

/// Sleeps until an interrupt comes, unless `ready` says that there is something to do already.
///
/// Interrupts are off before and after. `sti` takes effect one instruction late, so an interrupt
/// that arrives after the look at `ready` is taken by `hlt` itself and ends it at once: there is no
/// gap in which a wake-up could be lost (Intel SDM volume 2, STI; AMD APM volume 3, STI).
#[cfg(xenios_kernel)]
#[inline]
pub fn sleep(ready: impl FnOnce() -> bool) {
    if ready() {
        return;
    }
    // SAFETY: the only interrupt that can come is the upcall, whose handler saves what it uses. The
    // two instructions stand next to each other, as explained above. The asm is not `nomem`: memory
    // may have changed when it is over.
    unsafe { core::arch::asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this vCPU for ever, interrupts off. On Xen the last vCPU to do so ends the domain.
#[cfg(xenios_kernel)]
pub fn halt_forever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
