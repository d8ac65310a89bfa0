//! The time stamp counter, read in program order.

/// The counter now. Earlier loads have completed; ticks are the guest's (the hypervisor may scale).
#[inline]
pub fn read() -> u64 {
    // SAFETY: every x86_64 CPU has LFENCE and RDTSC, and CR4.TSD is never set here.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}
