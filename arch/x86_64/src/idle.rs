//! Ways to stop the CPU: until something happens, or for good.

/// Sleeps until the upcall comes, unless `ready` says that there is something to do already.
///
/// Interrupts are off before and after. An upcall that comes after the look at `ready` ends the
/// sleep at once: there is no gap in which a wake-up could be lost (trap/upcall.rs).
#[cfg(xenios_kernel)]
#[inline]
pub fn sleep(ready: impl FnOnce() -> bool) {
    if !ready() {
        crate::trap::wait_for_upcall();
    }
}

/// Stops this vCPU for ever, interrupts off. On Xen the last vCPU to do so ends the domain.
#[cfg(xenios_kernel)]
pub fn halt_forever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
