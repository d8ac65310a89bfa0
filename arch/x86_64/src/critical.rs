//! The critical section of the crate of that name, for crates that share data by it (embassy-sync,
//! event-listener).
//!
//! There is nothing to shut out: see the argument below. What remains is to keep the compiler from
//! moving accesses over the borders.

use core::sync::atomic::{Ordering, compiler_fence};
use critical_section::RawRestoreState;

struct SingleCpu;

critical_section::set_impl!(SingleCpu);

// SAFETY: between `acquire` and `release` no other code touches what is protected:
// 1. There is one CPU: further vCPUs are never started.
// 2. Interrupts are off but between the `sti` and the `cli` of `crate::idle::sleep`, where no
//    section is open, and the only handler touches nothing but the hypervisor's flag.
// 3. An exception is never survived: its report shares no data by critical sections.
// 4. Nesting is harmless, as nothing is changed.
unsafe impl critical_section::Impl for SingleCpu {
    unsafe fn acquire() -> RawRestoreState {
        compiler_fence(Ordering::SeqCst);
    }

    unsafe fn release(_: RawRestoreState) {
        compiler_fence(Ordering::SeqCst);
    }
}
