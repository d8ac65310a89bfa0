//! Ways to stop the CPU for good.

/// Stops this vCPU for ever, interrupts off. On Xen the last vCPU to do so ends the domain.
pub fn halt_forever() -> ! {
    loop {
        #[cfg(xenios_kernel)]
        {
            x86_64::instructions::interrupts::disable();
            x86_64::instructions::hlt();
        }
        #[cfg(not(xenios_kernel))]
        panic!("halted");
    }
}
